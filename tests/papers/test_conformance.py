"""What every paper must keep, whoever wrote it: one suite over all papers that can be run.

Joining is a matter of having a folder; there is no list to edit. The smoke preset is run twice for each paper:
once without a break, and once stopped in the middle of every arm and resumed.
"""

import ast
import dataclasses
import inspect
import math
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from rich.console import Console

from tenfold.cli.run import RunCommand
from tenfold.core import discovery
from tenfold.core.cell import Cell
from tenfold.core.config import from_yaml, leaf_types, leaves, to_yaml
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.runner import execute
from tenfold.core.types import Claim, Picture, Report

FILES = ("paper.toml", "README.md", "__init__.py", "config.py", "method.py", "recipe.py")
HEADINGS = ["Claim", "What is here", "Equations in the code", "Metrics", "Our numbers", "Deviations", "Commands"]
MOST_SECONDS = 60
PAPERS = [paper for paper in discovery.papers() if paper.available]

pytestmark = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name, scope="module")


@dataclass(frozen=True)
class SmokeRuns:
    whole: Report
    resumed: Report
    interruptions: list[tuple[str, int]]
    seconds: float


@pytest.fixture(scope="module")
def smoke_runs(paper, tmp_path_factory):
    """The smoke preset without a break, and stopped once in every arm; no connection is allowed."""
    folder = tmp_path_factory.mktemp(paper.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_connection)
        started = time.process_time()
        whole = smoke(paper, folder / "whole")
        seconds = time.process_time() - started
        interruptions = stop_once_in_every_arm(patch)
        resumed = None
        while resumed is None:
            try:
                resumed = smoke(paper, folder / "resumed")
            except Interrupted as stopped:
                assert stopped.checkpoint.exists()
    return SmokeRuns(whole, resumed, interruptions, seconds)


def smoke(paper, directory):
    recipe = discovery.recipe_module(paper.name)
    return execute(
        paper=paper.name,
        recipe=recipe,
        config=discovery.preset_config(paper.name, "smoke"),
        preset="smoke",
        seeds=[0],
        arms=tuple(recipe.ARMS),
        directory=directory,
        command=f"tenfold run {paper.name} --preset smoke",
        device="cpu",
        dtype="float32",
        console=Console(quiet=True),
    )


def refuse_connection(*_):
    raise AssertionError("the smoke preset opened a network connection")


def stop_once_in_every_arm(patch):
    """Make the next cells stop when they are past two fifths of their steps, once each; returns where they did."""
    stopped: list[tuple[str, int]] = []
    progress = Cell.progress

    def progress_and_stop(cell, step, total, metrics, rate):
        progress(cell, step, total, metrics, rate)
        if cell.arm not in [arm for arm, _ in stopped] and step >= 0.4 * total:
            stopped.append((cell.arm, step))
            cell.request_stop()

    patch.setattr(Cell, "progress", progress_and_stop)
    return stopped


def presets(paper):
    """Every configuration that the paper offers, by name."""
    module = discovery.config_module(paper.name)
    named = {name: getattr(module, name)() for name in discovery.PRESETS if name != "paper"}
    return named | {f"paper {task}": module.paper(task=task) for task in module.TASKS}


def test_the_folder_has_the_files_that_everyone_knows(paper):
    assert [name for name in FILES if not (paper.directory / name).is_file()] == []
    assert {"smoke", "laptop"} <= set(paper.times)


def test_the_readme_has_the_fixed_headings(paper):
    lines = (paper.directory / "README.md").read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert f"<!-- results:{paper.name} -->" in lines


def test_own_verbs_are_documented_functions(paper):
    for verb in paper.verbs:
        function = getattr(discovery.commands_module(paper.name), verb)
        assert inspect.getdoc(function), f"{verb} has no docstring"
        assert all(
            parameter.annotation is not parameter.empty for parameter in inspect.signature(function).parameters.values()
        )


def test_config_needs_no_torch(paper):
    load = f"import sys, tenfold.core.discovery as d; d.config_module({paper.name!r}).smoke()"
    program = f"{load}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_method_knows_no_trainer_and_no_files(paper):
    forbidden = (
        "tenfold.train",
        "tenfold.cli",
        "tenfold.core.cell",
        "tenfold.core.runner",
        "accelerate",
        "trl",
        "pathlib",
    )
    tree = ast.parse((paper.directory / "method.py").read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name.startswith(forbidden)] == []


def test_every_field_has_a_docstring(paper):
    tree = ast.parse((paper.directory / "config.py").read_text())
    bare = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                is_documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and not is_documented:
                    bare.append(f"{node.name}.{ast.unparse(field.target)}")
    assert bare == []


def test_configurations_are_frozen_and_do_not_shadow_the_options_of_run(paper):
    config_type = discovery.config_module(paper.name).Config
    assert config_type.__dataclass_params__.frozen
    options = {field.name for field in dataclasses.fields(RunCommand)}
    assert options.isdisjoint(leaf_types(config_type))


def test_configurations_go_to_yaml_and_back(paper, tmp_path):
    config_type = discovery.config_module(paper.name).Config
    for name, config in presets(paper).items():
        path = tmp_path / "config.yaml"
        path.write_text(to_yaml(config))
        assert from_yaml(config_type, path) == config, name


def test_unknown_keys_are_refused_with_the_nearest_one(paper, tmp_path):
    config_type = discovery.config_module(paper.name).Config
    field = list(leaf_types(config_type))[-1]
    path = tmp_path / "mistyped.yaml"
    path.write_text(f"{field}x: 1\n")
    with pytest.raises(UserError, match=f"mistyped.yaml:1: unknown key {field}x; did you mean {field}\\?"):
        from_yaml(config_type, path)


def test_every_value_of_the_published_settings_has_its_source(paper):
    module = discovery.config_module(paper.name)
    assert set(module.SOURCES) == set(module.TASKS)
    for task in module.TASKS:
        sources = module.SOURCES[task]
        assert set(sources) == set(leaves(module.paper(task=task))), task
        for field, source in sources.items():
            assert source.strip(), field
            assert not source.startswith("unstated") or source.startswith("unstated: ours"), f"{field}: {source}"


def test_claims_name_arms_and_metrics_of_the_recipe(paper, smoke_runs):
    recipe = discovery.recipe_module(paper.name)
    assert len(recipe.ARMS) >= 2 and recipe.CLAIMS
    assert len({claim.id for claim in recipe.CLAIMS}) == len(recipe.CLAIMS)
    for claim in recipe.CLAIMS:
        assert isinstance(claim, Claim) and claim.text and claim.budget and claim.split
        assert claim.kind in ("threshold", "exact") or claim.baseline is not None
        assert claim.kind != "non_inferiority" or claim.margin >= 0
        for arm in filter(None, (claim.arm, claim.baseline)):
            assert claim.metric in smoke_runs.whole.scores[arm][0].metrics, f"{claim.id}: {arm} has no {claim.metric}"
    compared = {claim.baseline for claim in recipe.CLAIMS}
    assert next(iter(recipe.ARMS)) in compared, "the first arm is the baseline of a claim"


def test_smoke_has_a_row_for_every_arm_and_no_verdict_on_one_seed(paper, smoke_runs):
    report = smoke_runs.whole
    assert list(report.scores) == list(discovery.recipe_module(paper.name).ARMS)
    for scores in report.scores.values():
        assert all("/" in name for name in scores[0].metrics)
        assert scores[0].curves, "a run shows learning curves"
    assert {judgement.verdict for judgement in report.judgements} == {"undecided"}


def test_smoke_is_short(paper, smoke_runs):
    assert smoke_runs.seconds < MOST_SECONDS


def test_smoke_interrupted_in_every_arm_and_resumed_equals_smoke_without_a_break(paper, smoke_runs):
    assert [arm for arm, _ in smoke_runs.interruptions] == list(discovery.recipe_module(paper.name).ARMS)
    for arm in smoke_runs.whole.scores:
        whole, resumed = (report.scores[arm][0] for report in (smoke_runs.whole, smoke_runs.resumed))
        assert untimed(resumed.metrics) == untimed(whole.metrics), arm
        assert untimed(resumed.curves) == untimed(whole.curves), arm
        assert resumed.items == whole.items, arm
        assert resumed.samples == whole.samples, arm


def untimed(values):
    """The values that do not depend on the clock: those outside of the group ``cost`` (NaN equals itself)."""
    return {name: repr(value) for name, value in values.items() if not name.startswith("cost/")}


def test_the_figures_are_pictures(paper, smoke_runs):
    from matplotlib.figure import Figure

    pictures = discovery.recipe_module(paper.name).figures(smoke_runs.whole)
    assert pictures and len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert isinstance(picture, Picture) and picture.title and picture.caption
        assert isinstance(picture.figure, Figure)


def test_every_preset_has_an_estimate(paper):
    recipe = discovery.recipe_module(paper.name)
    for name, config in presets(paper).items():
        estimate = recipe.estimate(config)
        assert set(estimate) == {"parameters", "memory_bytes", "seconds"}, name
        assert all(value > 0 or math.isnan(value) for value in estimate.values()), name  # NaN: nobody knows
