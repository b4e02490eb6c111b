"""Runs smoke presets one after another: what each process of a launch does for ``test_two_processes.py``.

    accelerate launch … smoke_worker.py DIRECTORY STUDY …

A study's run is in its :func:`folder_of` the directory, and what process K got of it in the run's ``process-K.json``.
"""

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from tenfold.core import discovery
from tenfold.core.directory import scores_to_plain
from tenfold.core.files import to_json
from tenfold.core.runner import execute


def smoke(study, directory):
    """The first arm, a baseline, and the last one, which has the most parts: their scores, and curves of stages."""
    recipe = discovery.recipe_module(study)
    first, *_, last = recipe.ARMS
    report = execute(
        paper=study,
        recipe=recipe,
        config=discovery.preset_config(study, "smoke"),
        preset="smoke",
        seeds=[0],
        arms=(first, last),
        directory=directory,
        command=f"tenfold run {study} --preset smoke --arms {first} {last}",
        device="cpu",
        dtype="float32",
        console=Console(quiet=True),
    )
    arms = {arm: scores_to_plain(by_seed[0]) for arm, by_seed in report.scores.items()}
    stages = {name: stage.curves for name, stage in report.stages[0].items()}
    return json.loads(to_json({"arms": arms, "stages": stages}))


def folder_of(study, directory):
    """One folder for each: a study may be named after another one."""
    return directory / study.replace("/", "-")


def main(directory, studies):
    for study in studies:
        run = folder_of(study, directory)
        found = smoke(study, run)
        (run / f"process-{os.environ['RANK']}.json").write_text(to_json(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    os._exit(0)  # all is written; threads of gloo may abort an interpreter that ends before them
