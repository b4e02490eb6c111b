"""``tenfold run … --dry-run``: the resolved configuration, and what it would take, in people's units."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from tenfold.core import discovery, timing
from tenfold.core.config import to_yaml
from tenfold.core.discovery import Study


def print_plan(
    study: Study, recipe: ModuleType, config: Any, preset: str, seeds: Sequence[int], arms: Sequence[str]
) -> None:
    """The resolved configuration as YAML, then what it takes as comments, so that the output is a valid file.

    Args:
        study: the study.
        recipe: its recipe module.
        config: the resolved configuration.
        preset: the preset it started from, with its task.
        seeds: the seeds that would run.
        arms: the arms that would run.
    """
    print(to_yaml(config), end="")
    print(f"# arms: {', '.join(arms)}; seeds: {', '.join(map(str, seeds))}")
    guessed = recipe.estimate(config)
    memory, parameters = guessed["memory_bytes"], guessed["parameters"]
    print(f"# largest model: {timing.count(parameters)} parameters" if math.isfinite(parameters) else _UNKNOWN_SIZE)
    print(f"# memory: {timing.size(memory)}" if math.isfinite(memory) else "# memory: unknown")
    for line in guessed.get("gpus", ()):
        print(f"# {line}")
    if guessed.get("gpus") and not math.isfinite(guessed["seconds"]):
        return  # the hours are among those lines
    print(f"# time: {_time(study, recipe, config, preset, guessed['seconds'])}")


_UNKNOWN_SIZE = "# largest model: as large as the one that is loaded"


def _time(study: Study, recipe: ModuleType, config: Any, preset: str, guessed: float) -> str:
    """Time for one seed of all arms: as measured for this preset, scaled to what was changed; else as estimated."""
    name, _, task = preset.partition(":")
    usual_config = discovery.preset_config(study.name, name, task or None)
    usual, run = recipe.estimate(usual_config)["seconds"], timing.measured(study.name, preset)
    if run is None and config == usual_config and preset in study.times:
        return f"{study.times[preset]}"
    if run is None:
        return f"{timing.about(guessed)} for each seed of all arms, estimated" if math.isfinite(guessed) else "unknown"
    seconds = timing.seconds_per_seed(run)
    if math.isfinite(guessed) and math.isfinite(usual) and usual > 0:
        seconds *= guessed / usual
    return f"{timing.about(seconds)} for each seed of all arms, from what was measured on {run['hardware']}"
