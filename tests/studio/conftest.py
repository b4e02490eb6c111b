"""Models that are trained in seconds, by the smoke runs of the studies whose tabs need one. They know nothing."""

import pytest
from rich.console import Console

from tenfold.core import discovery
from tenfold.core.runner import execute
from tenfold.core.touch import Tab


def trained(tab: Tab, directory) -> None:
    """A smoke run of the arms that a tab needs."""
    execute(
        paper=tab.study,
        recipe=discovery.recipe_module(tab.study),
        config=discovery.preset_config(tab.study, "smoke"),
        preset="smoke",
        seeds=[0],
        arms=tab.arms,
        directory=directory,
        command=f"tenfold run {tab.study} --preset smoke",
        device="cpu",
        dtype="float32",
        console=Console(quiet=True),
    )


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Study to its smoke run, made when it is first asked for."""
    made = {}

    def run(tab: Tab):
        if tab.study not in made:
            made[tab.study] = tmp_path_factory.mktemp("runs") / f"{tab.study.replace('/', '-')}-smoke"
            trained(tab, made[tab.study])
        return made[tab.study]

    return run
