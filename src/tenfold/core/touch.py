"""What a paper lets its reader touch: a tab of the studio, as data. No page is imported here.

A paper's ``touch.py`` holds ``TAB``, a :class:`Tab`: a few fields, and one pure function from their values to HTML. The
studio draws the fields and shows what the function gives; a function that is a generator is shown piece by piece, as
it goes on. A tab that needs a trained model names its study; the reader chooses among finished runs of this machine.
"""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError

Act = Callable[..., str | Iterator[str]]
"""``(values of the fields) -> HTML``, with the run directory in front where a model is needed."""


@dataclass(frozen=True)
class Text:
    """A text that is typed.

    Args:
        label: what is asked for.
        value: what stands there at first.
        lines: height.
    """

    label: str
    value: str = ""
    lines: int = 1


@dataclass(frozen=True)
class Number:
    """A whole number on a scale.

    Args:
        label: what is asked for.
        value: at first.
        low: the least.
        high: the largest.
    """

    label: str
    value: int
    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of several.

    Args:
        label: what is asked for.
        choices: all of them; the first one is chosen at first.
    """

    label: str
    choices: Sequence[str]


@dataclass(frozen=True)
class Ticks:
    """Any of several, which another field decides; all of them at first.

    Args:
        label: what is asked for.
        of: name of the :class:`Choice` that decides.
        choices: its value to what can be ticked.
    """

    label: str
    of: str
    choices: Callable[[str], Sequence[str]]


Field = Text | Number | Choice | Ticks


@dataclass(frozen=True)
class Tab:
    """What can be touched of a paper.

    Args:
        title: of the tab.
        about: what it shows, in a sentence or two.
        button: what the action is called.
        fields: name to field, in the order of the page and of the arguments of ``act``.
        act: see :data:`Act`.
        study: whose trained models it takes; empty where none is needed.
        arms: those whose models it takes, all of which a run must have finished.
    """

    title: str
    about: str
    button: str
    fields: Mapping[str, Field]
    act: Act
    study: str = ""
    arms: tuple[str, ...] = ()


def shown(tab: Tab, run: Path | None, values: Sequence[Any]) -> Iterator[str]:
    """What a tab shows for the values of its fields, piece by piece; what is refused is shown as a sentence.

    Args:
        tab: which.
        run: the run directory, where it needs one.
        values: of its fields.
    """
    try:
        found = tab.act(*values) if not tab.study else tab.act(run, *values)
        yield from ([found] if isinstance(found, str) else found)
    except UserError as error:
        yield f'<p class="refused">{html.escape(str(error))}</p>'


def usable_runs(tab: Tab, roots: Sequence[Path]) -> list[Path]:
    """The run directories with all that a tab needs, newest first.

    Args:
        tab: which.
        roots: folders of runs, or run directories themselves.
    """
    from tenfold.core.directory import RunDirectory, is_run

    folders = [folder for root in roots for folder in ([root] if is_run(root) else sorted(root.glob("*/")))]
    found = []
    for folder in folders:
        if not is_run(folder):
            continue
        run = RunDirectory(folder)
        finished = {arm for arm, _ in run.finished()}
        if run.facts()["paper"] == tab.study and finished.issuperset(tab.arms):
            found.append(folder)
    return sorted(found, key=lambda folder: (folder / "run.json").stat().st_mtime, reverse=True)


def how_to_make(tab: Tab, time: str) -> str:
    """The sentence that a tab shows while nothing is there that it could use.

    Args:
        tab: which.
        time: how long the preset ``laptop`` takes; empty where it is not known.

    Example:
        >>> how_to_make(Tab("HRM", "", "Solve", {}, str, study="hrm"), "about 10 min")
        'No trained model is here yet. To make one: tenfold run hrm --preset laptop (about 10 min); then start anew.'
    """
    took = f" ({time})" if time else ""
    command = f"tenfold run {tab.study} --preset laptop"
    return f"No trained model is here yet. To make one: {command}{took}; then start anew."


def first_finished(run: Path, arm: str) -> tuple[Path, int]:
    """The cell of an arm that was finished first, by its seed: its folder and its seed.

    Raises:
        UserError: no seed of the arm is finished.
    """
    from tenfold.core.directory import RunDirectory

    stored = RunDirectory.open(run)
    seeds = sorted(seed for name, seed in stored.finished() if name == arm)
    if not seeds:
        raise UserError(f"{run} has no finished cell of the arm {arm}")
    return stored.cell(arm, seeds[0]), seeds[0]


def figure(drawn: Any, text: str) -> str:
    """A figure of matplotlib within a page.

    Args:
        drawn: the figure.
        text: what it shows, for those who do not see it.
    """
    from tenfold.core.pages import inside, svg_of

    source = inside("svg+xml", svg_of(drawn))
    return f'<figure><img src="{source}" alt="{html.escape(text, quote=True)}"></figure>'


def pieces_html(pieces: Sequence[Sequence[str]]) -> str:
    """A text in pieces of several authors, each in the colour of its kind.

    Args:
        pieces: kind and text of each: ``prose``, ``hint``, ``code``, ``output``, ``search`` or ``result``.

    Example:
        >>> pieces_html([("prose", "a < b"), ("code", "print(1)")])
        '<div class="pieces"><span class="prose">a &lt; b</span><span class="code">print(1)</span></div>'
    """
    inside = "".join(f'<span class="{html.escape(kind)}">{html.escape(text)}</span>' for kind, text in pieces)
    return f'<div class="pieces">{inside}</div>'
