"""How long a preset takes, from one source: what published runs measured, and where none has, what the paper says."""

from tenfold.core.discovery import Study
from tenfold.core.entries import Run, published_here
from tenfold.core.wording import readable


def measured(study: str, preset: str) -> Run | None:
    """The newest published run of a preset as it is, or ``None``.

    Args:
        study: name of the study.
        preset: the preset, with its task.
    """
    plain = [run for run in published_here(study) if run["preset"] == preset and not run["changed"]]
    return max(plain, key=lambda run: str(run["date"])) if plain else None


def seconds_per_seed(run: Run) -> float:
    """What all arms of a seed took, with what they share, on average over a run's seeds."""
    return float(run["seconds"]) / len(run["seeds"])


def time_of(study: Study, preset: str) -> str:
    """How long a preset takes, in words; empty where nobody has said.

    Args:
        study: the study.
        preset: one of its presets.
    """
    run = measured(study.name, preset)
    if run is None:
        return study.times.get(preset, "")
    return f"{about(seconds_per_seed(run))} for each seed, measured on {run['hardware']}"


def about(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> about(8.2), about(100), about(1432), about(9000)
        ('about 8 s', 'about 2 min', 'about 24 min', 'about 2.5 h')
    """
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def size(num_bytes: float) -> str:
    """Bytes as people say them.

    Example:
        >>> size(9.4e7), size(2.5e9), size(9.31e11)
        ('about 94 MB', 'about 2.5 GB', 'about 931 GB')
    """
    if num_bytes < 1e9:
        return f"about {round(num_bytes / 1e6)} MB"
    return f"about {num_bytes / 1e9:.2g} GB" if num_bytes < 1e11 else f"about {num_bytes / 1e9:,.0f} GB"


def count(number: float) -> str:
    """A number of parameters as people say it.

    Example:
        >>> count(27275266), count(1540)
        ('27.3 million', '1,540')
    """
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return readable(number)
