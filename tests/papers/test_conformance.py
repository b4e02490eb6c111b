"""What every study must keep, whoever wrote it: one suite over all studies of all papers that can be run.

Joining is a matter of having a folder; there is no list to edit. The smoke preset is run three times for each study:
once without a break, by a configuration that records what is read of it; once stopped in the middle of every arm and of
every stage that arms share, and resumed; and once with other learning rates.
"""

import ast
import dataclasses
import inspect
import math
import re
import socket
import subprocess
import sys
import time
import typing
from dataclasses import dataclass

import pytest
from recording import recording
from rich.console import Console

from tenfold.cli.run import RunCommand
from tenfold.core import discovery
from tenfold.core.cell import Cell
from tenfold.core.config import from_plain, from_yaml, leaf_types, leaves, to_plain, to_yaml
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.report import SHARED_SECONDS, seconds_of_stages, values_by_arm
from tenfold.core.runner import execute
from tenfold.core.stated import stated_by
from tenfold.core.types import FEWEST_PLANNED, Claim, Picture, Report
from tenfold.study.sources import UNSTATED, unstated

FILES_OF_A_PAPER = ("paper.toml", "README.md", "__init__.py")
FILES_OF_A_STUDY = ("__init__.py", "config.py", "recipe.py")
HEADINGS = ["Claim", "What is here", "Equations in the code", "Metrics", "Our numbers", "Deviations", "Commands"]
MOST_SECONDS = 60
UNPAID = {"rlcr": "no response of its smoke preset earns a reward; its own tests weigh rewards"}
STUDIES = discovery.studies()
WITHOUT_EFFECT = ("does not act", "has no effect")
"""How a setting is refused that would do nothing."""

pytestmark = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name, scope="module")


@dataclass(frozen=True)
class SmokeRuns:
    whole: Report
    resumed: Report
    interruptions: list[tuple[str, int]]
    seconds: float
    read: frozenset[str]


@pytest.fixture(scope="session")
def made_smoke_runs():
    """The runs of each study by its name: several workers take the tests in an order that sets them up twice."""
    return {}


@pytest.fixture(scope="module")
def smoke_runs(study, made_smoke_runs, tmp_path_factory):
    """The smoke preset without a break, and stopped once in every arm and stage; no connection is allowed."""
    if study.name not in made_smoke_runs:
        folder = tmp_path_factory.mktemp(study.name.replace("/", "-"))
        made_smoke_runs[study.name] = run_smoke_twice(study, folder)
    return made_smoke_runs[study.name]


def run_smoke_twice(study, folder):
    read = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_connection)
        started = time.process_time()
        whole = smoke(study, folder / "whole", recording(discovery.preset_config(study.name, "smoke"), read))
        seconds = time.process_time() - started
        interruptions = stop_once_everywhere(patch)
        resumed = None
        while resumed is None:
            try:
                resumed = smoke(study, folder / "resumed")
            except Interrupted as stopped:
                assert stopped.checkpoint.exists()
    return SmokeRuns(whole, resumed, interruptions, seconds, frozenset(read))


def smoke(study, directory, config=None, arms=None):
    recipe = discovery.recipe_module(study.name)
    return execute(
        paper=study.name,
        recipe=recipe,
        config=discovery.preset_config(study.name, "smoke") if config is None else config,
        preset="smoke",
        seeds=[0],
        arms=tuple(recipe.ARMS) if arms is None else arms,
        directory=directory,
        command=f"tenfold run {study.name} --preset smoke",
        device="cpu",
        dtype="float32",
        console=Console(quiet=True),
    )


def refuse_connection(*_):
    raise AssertionError("the smoke preset opened a network connection")


def stop_once_everywhere(patch):
    """Make each arm, and each stage that arms share, stop once past two fifths of its steps; returns where they did."""
    stopped: list[tuple[str, int]] = []
    progress = Cell.progress

    def progress_and_stop(cell, step, total, metrics, rate):
        progress(cell, step, total, metrics, rate)
        place = f"stage {cell.stage}" if cell.stage else cell.arm
        if place not in [name for name, _ in stopped] and step >= 0.4 * total:
            stopped.append((place, step))
            cell.request_stop()

    patch.setattr(Cell, "progress", progress_and_stop)
    return stopped


def presets(study):
    """Every configuration that the study offers, by name."""
    module = discovery.config_module(study.name)
    names = discovery.presets_of(study.name)
    named = {name: getattr(module, name)() for name in names if name != "paper"}
    return named | {f"paper {task}": module.paper(task=task) for task in tasks(study)}


def tasks(study):
    module = discovery.config_module(study.name)
    return module.TASKS if hasattr(module, "paper") else ()


def paper_of(study):
    return discovery.find(study.paper)


def test_the_folder_has_the_files_that_everyone_knows(study):
    assert [name for name in FILES_OF_A_PAPER if not (study.paper_directory / name).is_file()] == []
    assert [name for name in FILES_OF_A_STUDY if not (study.directory / name).is_file()] == []
    assert any((folder / "method.py").is_file() for folder in (study.directory, study.paper_directory))
    assert {"smoke", "laptop"} <= set(study.times)
    assert {"smoke", "laptop"} <= set(discovery.presets_of(study.name))


def test_the_readme_has_the_fixed_headings(study):
    lines = (study.paper_directory / "README.md").read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert f"<!-- results:{study.name} -->" in lines


def test_own_verbs_are_documented_functions(study):
    for verb in paper_of(study).verbs:
        function = getattr(discovery.commands_module(study.paper), verb)
        assert inspect.getdoc(function), f"{verb} has no docstring"
        assert all(
            parameter.annotation is not parameter.empty for parameter in inspect.signature(function).parameters.values()
        )


def test_what_trains_on_own_data_says_what_acts(study):
    if not study.own:
        pytest.skip("the study does not train on data of a user's own")
    config, module = discovery.config_module(study.name).own("my-data"), discovery.own_training_module(study.name)
    assert dataclasses.is_dataclass(config) and type(config).__dataclass_params__.frozen
    assert module.ARMS and callable(module.read) and callable(module.train)
    of_arm = getattr(module, "OF_ARM", {})
    assert set(of_arm) <= set(module.ARMS)
    for acting in (*module.ACTING, *(field for fields in of_arm.values() for field in fields)):
        assert any(leaf == acting or leaf.startswith(f"{acting}.") for leaf in leaves(config)), acting


def test_the_grid_of_rates_names_rates(study):
    recipe = discovery.recipe_module(study.name)
    if not hasattr(recipe, "GRID"):
        pytest.skip("the study has no rates to tune")
    for preset in ("smoke", "laptop"):
        values = leaves(discovery.preset_config(study.name, preset))
        for field in recipe.GRID:
            assert isinstance(values[field], float), f"{field} of {preset} is {values[field]!r}"
    assert all(len(rates) > 1 for rates in recipe.GRID.values())
    assert callable(recipe.validation_score)


def test_arms_are_data_and_nothing_asks_for_their_names(study):
    arms = discovery.recipe_module(study.name).ARMS
    for arm in arms.values():
        assert dataclasses.is_dataclass(arm) and type(arm).__dataclass_params__.frozen
        assert arm.text.strip() and not arm.text.endswith("."), "a phrase that says what the arm is"
    assert branches_on(arms, study.directory) == []


def branches_on(names, folder):
    """Comparisons of something called an arm, or its name, with the name of an arm."""
    found = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                words = {text.value for side in sides for text in ast.walk(side) if isinstance(text, ast.Constant)}
                asked = " ".join(ast.unparse(side) for side in sides if not isinstance(side, ast.Constant))
                if words & set(names) and "arm" in asked:
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_config_needs_no_torch(study):
    load = f"import sys, tenfold.core.discovery as d; d.config_module({study.name!r}).smoke()"
    program = f"{load}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_method_knows_no_trainer_and_no_files(study):
    forbidden = (
        "tenfold.train",
        "tenfold.cli",
        "tenfold.core.cell",
        "tenfold.core.runner",
        "accelerate",
        "trl",
        "pathlib",
    )
    folder = study.directory if (study.directory / "method.py").is_file() else study.paper_directory
    tree = ast.parse((folder / "method.py").read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name.startswith(forbidden)] == []


def test_every_field_has_a_docstring(study):
    tree = ast.parse((study.directory / "config.py").read_text())
    bare = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                is_documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and not is_documented:
                    bare.append(f"{node.name}.{ast.unparse(field.target)}")
    assert bare == []


def test_configurations_are_frozen_and_do_not_shadow_the_options_of_run(study):
    config_type = discovery.config_module(study.name).Config
    assert config_type.__dataclass_params__.frozen
    options = {field.name for field in dataclasses.fields(RunCommand)}
    assert options.isdisjoint(leaf_types(config_type))


def test_configurations_go_to_yaml_and_back(study, tmp_path):
    config_type = discovery.config_module(study.name).Config
    for name, config in presets(study).items():
        path = tmp_path / "config.yaml"
        path.write_text(to_yaml(config))
        assert from_yaml(config_type, path) == config, name


def test_unknown_keys_are_refused_with_the_nearest_one(study, tmp_path):
    config_type = discovery.config_module(study.name).Config
    field = list(leaf_types(config_type))[-1]
    path = tmp_path / "mistyped.yaml"
    path.write_text(f"{field}x: 1\n")
    with pytest.raises(UserError, match=f"mistyped.yaml:1: unknown key {field}x; did you mean {field}\\?"):
        from_yaml(config_type, path)


def test_sources_are_of_fields_that_exist_and_say_something(study):
    module = discovery.config_module(study.name)
    for task in tasks(study):
        sources, fields = module.SOURCES[task], leaves(module.paper(task=task))
        assert set(sources) <= set(fields), task
        for field, source in sources.items():
            assert source.strip(), field
            assert source != UNSTATED, f"{field}: what no entry names is ours anyway"
            assert not source.startswith("unstated") or source.startswith(UNSTATED), f"{field}: {source}"
        assert len(unstated(sources, module.paper(task=task))) < len(fields), f"{task}: nothing has a source"


def test_claims_name_arms_and_metrics_of_the_recipe(study, smoke_runs):
    recipe = discovery.recipe_module(study.name)
    assert len(recipe.ARMS) >= 2 and recipe.CLAIMS
    assert len({claim.id for claim in recipe.CLAIMS}) == len(recipe.CLAIMS)
    for claim in recipe.CLAIMS:
        assert isinstance(claim, Claim) and claim.text and claim.budget and claim.split
        assert claim.kind in ("threshold", "exact") or claim.baseline is not None
        assert claim.kind != "non_inferiority" or claim.margin >= 0
        for arm in filter(None, (claim.arm, claim.baseline)):
            assert claim.metric in smoke_runs.whole.scores[arm][0].metrics, f"{claim.id}: {arm} has no {claim.metric}"
        if claim.gate is not None:
            assert claim.gate.metric in smoke_runs.whole.scores[claim.gate.arm][0].metrics and claim.gate.text
        assert claim.source, f"{claim.id}: where does its margin come from?"
    compared = {claim.baseline for claim in recipe.CLAIMS}
    assert next(iter(recipe.ARMS)) in compared, "the first arm is the baseline of a claim"
    assert sum(claim.headline for claim in recipe.CLAIMS) == 1, "one claim is the sentence that the paper is known for"


def test_the_plan_has_five_seeds_or_more_and_none_that_anything_was_chosen_on(study):
    recipe, stated = discovery.recipe_module(study.name), stated_by(study)
    assert (stated.plan, stated.chosen_on) == (recipe.PLAN, recipe.CHOSEN_ON), "both are literals"
    assert recipe.PLAN.why and recipe.CHOSEN_ON
    for preset in ("laptop", "gpu", "paper"):
        seeds = recipe.PLAN.seeds(preset)
        assert len(set(seeds)) == len(seeds) and (len(seeds) >= FEWEST_PLANNED or (preset != "laptop" and not seeds))
        assert not set(seeds) & set(recipe.CHOSEN_ON), preset


def test_smoke_has_a_row_for_every_arm_and_no_verdict_on_one_seed(study, smoke_runs):
    report = smoke_runs.whole
    assert list(report.scores) == list(discovery.recipe_module(study.name).ARMS)
    for scores in report.scores.values():
        assert all("/" in name for name in scores[0].metrics)
        learned = [scores[0].curves, *(stage.curves for stage in report.stages.get(0, {}).values())]
        assert any(learned), "a run shows learning curves, of the arm or of what it starts from"
    assert {judgement.verdict for judgement in report.judgements} == {"undecided"}


def test_what_arms_share_is_charged_to_none_and_shown_beside_all(study, smoke_runs):
    """Seconds of the stages of a seed are one number, the same for every arm."""
    rows = values_by_arm(smoke_runs.whole)
    shared = {tuple(row.get(SHARED_SECONDS, ())) for row in rows.values()}
    stages = smoke_runs.whole.stages[0]
    assert shared == ({(seconds_of_stages(smoke_runs.whole, 0),)} if stages else {()})
    assert not any(
        name.startswith(f"{stage}/")
        for stage in stages
        for cells in smoke_runs.whole.scores.values()
        for name in cells[0].curves
    )


def test_smoke_is_short(study, smoke_runs):
    assert smoke_runs.seconds < MOST_SECONDS


def test_smoke_interrupted_in_every_arm_and_stage_and_resumed_equals_smoke_without_a_break(study, smoke_runs):
    stopped = [place for place, _ in smoke_runs.interruptions]
    assert [place for place in stopped if not place.startswith("stage ")] == list(
        discovery.recipe_module(study.name).ARMS
    )
    trained = [name for name, stage in smoke_runs.whole.stages.get(0, {}).items() if stage.curves]
    assert {f"stage {name}" for name in trained} <= set(stopped)
    for arm in smoke_runs.whole.scores:
        whole, resumed = (report.scores[arm][0] for report in (smoke_runs.whole, smoke_runs.resumed))
        assert untimed(resumed.metrics) == untimed(whole.metrics), arm
        assert untimed(resumed.curves) == untimed(whole.curves), arm
        assert resumed.items == whole.items, arm
        assert resumed.samples == whole.samples, arm
    for name, stage in smoke_runs.whole.stages.get(0, {}).items():
        assert untimed(smoke_runs.resumed.stages[0][name].curves) == untimed(stage.curves), name


def test_every_setting_acts_or_is_refused_with_the_one_that_acts(study, smoke_runs):
    """A leaf that no arm reads would be a setting that does nothing: changing it must be refused."""
    for preset in ("smoke", "laptop"):
        config = discovery.preset_config(study.name, preset)
        kinds = leaf_types(type(config))
        idle = [field for field in leaves(config) if field not in smoke_runs.read]
        ignored = [field for field in idle if not is_refused(config, field, kinds[field])]
        assert not ignored, f"{preset}: accepted and not read by any arm: {', '.join(ignored)}"


def is_refused(config, field, kind):
    """Whether other values of a field are refused as ones that do nothing, by its name, and none is accepted."""
    reasons, name = [], field.rpartition(".")[2]
    for value in other_values(leaves(config)[field], kind):
        try:
            from_plain(type(config), with_changes(config, {field: value}))
        except UserError as error:
            reasons.append(str(error))
        else:
            return False
    return any(words in reason and name in reason.partition(words)[0] for reason in reasons for words in WITHOUT_EFFECT)


def with_changes(config, changes):
    """The configuration as plain data, with other values at dotted fields."""
    plain = to_plain(config)
    for field, value in changes.items():
        *groups, last = field.split(".")
        holder = plain
        for group in groups:
            holder = holder[group]
        holder[last] = value
    return plain


def other_values(value, kind):
    """Some values that a field of this kind may have, other than its own."""
    if typing.get_origin(kind) is typing.Literal:
        return [choice for choice in typing.get_args(kind) if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2 + 2]
    if isinstance(value, float):
        return [other for other in (value / 2 + 0.1, value + 1.0) if other != value]
    if isinstance(value, tuple):
        kinds = [part for part in typing.get_args(kind) if part is not Ellipsis]
        return [[*value, value[0]]] if value else [[{int: 1, float: 0.5}.get(kinds[0], "another")]]
    return ["another"] if value is None or isinstance(value, str) else []


def test_other_rates_give_other_trainings(study, smoke_runs, tmp_path):
    """Every learning rate that the grid names acts: each arm that trains by one logs other numbers."""
    recipe, config = discovery.recipe_module(study.name), discovery.preset_config(study.name, "smoke")
    if not hasattr(recipe, "GRID"):
        pytest.skip("the study has no rates to tune")
    rates = {field: 1.7 * leaves(config)[field] for field in recipe.GRID}
    assert set(rates) <= smoke_runs.read
    other = smoke(study, tmp_path / "other", from_plain(type(config), with_changes(config, rates)))
    for arm in recipe.ARMS:
        before, after = (learned(report.scores[arm][0].curves) for report in (smoke_runs.whole, other))
        assert set(before) == set(after)
        assert not before or before != after, arm


def learned(curves):
    """What training logs, rates and clocks aside."""
    logged = {name: curve for name, curve in curves.items() if "train/" in name and "learning_rate" not in name}
    return untimed(logged)


def test_other_budgets_give_longer_trainings(study, smoke_runs, tmp_path):
    """Every number of steps that is read acts: trainings of the first two arms, and of what they share, get longer."""
    config, recipe = discovery.preset_config(study.name, "smoke"), discovery.recipe_module(study.name)
    budgets = {field: value for field, value in leaves(config).items() if field.endswith("steps") and value > 0}
    budgets = {field: value for field, value in budgets.items() if field in smoke_runs.read and "warmup" not in field}
    assert budgets, "a study trains for some steps"
    longer = from_plain(type(config), with_changes(config, {field: value + 2 for field, value in budgets.items()}))
    arms = tuple(recipe.ARMS)[:2]
    report = smoke(study, tmp_path / "longer", longer, arms)
    for arm in arms:
        before, after = (last_steps(found.scores[arm][0].curves) for found in (smoke_runs.whole, report))
        assert before.keys() == after.keys()
        assert not before or before != after, arm
    for name, stage in report.stages.get(0, {}).items():
        before, after = last_steps(smoke_runs.whole.stages[0][name].curves), last_steps(stage.curves)
        assert not before or before != after, name


def test_other_weights_of_rewards_give_other_rewards(study, smoke_runs, tmp_path):
    """Every weight of a reward that is read acts: what the last arm that is paid anything earns is another number."""
    config = discovery.preset_config(study.name, "smoke")
    weights = {field: 1.5 * value for field, value in leaves(config).items() if is_weight(field, value)}
    weights = {field: value for field, value in weights.items() if field in smoke_runs.read}
    if not weights:
        pytest.skip("the study weighs no rewards")
    paid = [arm for arm, cells in smoke_runs.whole.scores.items() if is_paid(cells[0])]
    assert bool(paid) == (study.name not in UNPAID)
    if not paid:
        pytest.skip(UNPAID[study.name])
    arm = paid[-1]
    other = smoke(study, tmp_path / "other", from_plain(type(config), with_changes(config, weights)), (arm,))
    assert rewards_of(other.scores[arm][0]) != rewards_of(smoke_runs.whole.scores[arm][0])


def is_weight(field, value):
    return field.startswith("reward") and "weight" in field and isinstance(value, float) and value > 0


def is_paid(scores):
    curves = [curve for name, curve in scores.curves.items() if name.endswith("train/reward")]
    return any(value != 0 for curve in curves for _, value in curve)


def rewards_of(scores):
    """What training paid, step by step."""
    return untimed({name: curve for name, curve in scores.curves.items() if name.endswith("train/reward")})


def last_steps(curves):
    """The last step of each training curve."""
    return {name: curve[-1][0] for name, curve in curves.items() if "train/" in name}


def untimed(values):
    """The values that do not depend on the clock: those outside of the group ``cost`` (NaN equals itself)."""
    return {name: repr(value) for name, value in values.items() if not name.startswith("cost/")}


def test_the_figures_are_pictures(study, smoke_runs):
    from matplotlib.figure import Figure

    pictures = discovery.recipe_module(study.name).figures(smoke_runs.whole)
    assert pictures and len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert isinstance(picture, Picture) and picture.title and picture.caption
        assert isinstance(picture.figure, Figure)


def test_what_the_figures_draw_is_measured(study, smoke_runs):
    """A misspelt name would only leave a picture out: each that the figures mention is a curve or a metric."""
    known = set()
    for of_arm in smoke_runs.whole.scores.values():
        for scores in of_arm.values():
            known |= scores.curves.keys() | scores.metrics.keys()
    for of_seed in smoke_runs.whole.stages.values():
        for stage in of_seed.values():
            known |= stage.curves.keys()
    mentioned = set()
    for path in (study.directory / "pictures.py", study.directory.parent / "pictures.py"):
        if path.is_file():
            nodes = list(ast.walk(ast.parse(path.read_text())))
            made = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
            words = {str(node.value) for node in nodes if isinstance(node, ast.Constant) and id(node) not in made}
            mentioned |= {word for word in words if re.fullmatch(r"[a-z]\w*(/\w+)+", word)}
    unknown = {name for name in mentioned if not any(one == name or one.endswith(f"/{name}") for one in known)}
    assert not unknown


def test_every_preset_has_an_estimate(study):
    recipe = discovery.recipe_module(study.name)
    for name, config in presets(study).items():
        estimate = recipe.estimate(config)
        assert set(estimate) - {"gpus"} == {"parameters", "memory_bytes", "seconds"}, name
        numbers = [value for field, value in estimate.items() if field != "gpus"]
        assert all(value > 0 or math.isnan(value) for value in numbers), name  # NaN: nobody knows
