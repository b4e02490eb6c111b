"""What stands above the numbers of a report."""

from dataclasses import replace

import fake_recipe
import pytest
from fake_recipe import arguments
from rich.console import Console

from tenfold.core.notices import notices, seeds_text
from tenfold.core.runner import execute
from tenfold.core.types import Report, Scores


def make_report(preset, seeds, plan):
    facts = {} if plan is None else {"plan": {"seeds": plan, "why": "enough"}}
    scores = {arm: {seed: Scores({}) for seed in seeds} for arm in ("a", "b")}
    return Report("demo", preset, seeds, scores, (), facts, {})


def test_a_smoke_run_says_that_its_numbers_mean_nothing_and_asks_for_no_verdicts(tmp_path):
    (notice,) = notices(make_report("smoke", [0], None), tmp_path)
    assert "Its numbers mean nothing" in notice.text and not notice.command


def test_a_preset_without_a_plan_says_so(tmp_path):
    (notice,) = notices(make_report("gpu", [0, 1, 2], None), tmp_path)
    assert "No seeds are planned for the preset gpu" in notice.text and not notice.command


@pytest.mark.parametrize(("seeds", "has"), [([10], "has 1"), ([10, 12], "has 2"), ([0], "has none")])
def test_below_the_plan_the_command_for_the_others_is_given(seeds, has, tmp_path):
    (notice,) = notices(make_report("paper:maze-hard", seeds, [10, 11, 12, 13, 14]), tmp_path)
    assert "5 planned seeds, 10 to 14" in notice.text and has in notice.text
    assert notice.command == "tenfold run demo --preset paper --task maze-hard --seeds plan"
    assert ("judged more strictly" in notice.text) is (0 in seeds)


def test_with_all_planned_seeds_there_is_nothing_to_say(tmp_path):
    assert notices(make_report("laptop", [10, 11, 12], [10, 11, 12]), tmp_path) == []
    assert notices(make_report("laptop", [9, 10, 11, 12], [10, 11, 12]), tmp_path) == []


def test_missing_cells_are_counted(tmp_path):
    report = make_report("laptop", [10, 11], [10, 11])
    (notice,) = notices(replace(report, scores=report.scores | {"b": {10: Scores({})}}), tmp_path)
    assert "1 of 4 cells" in notice.text and not notice.command


def test_a_run_goes_on_where_it_lies_and_the_command_gives_its_verdicts(tmp_path):
    directory = tmp_path / "my run"
    report = execute(**arguments(directory), seeds=[0, 1], console=Console(quiet=True))
    (notice,) = notices(report, directory)
    assert notice.command == f"tenfold run fake --resume '{directory}' --seeds plan"
    assert report.arms == {"slow": "a tenth of the way at each step", "fast": "three tenths of it"}
    whole = execute(**arguments(directory), seeds=fake_recipe.PLAN.laptop, console=Console(quiet=True))
    assert notices(whole, directory) == [] and all(judged.look == 1 for judged in whole.judgements)


def test_seeds_in_words():
    assert seeds_text([4, 3, 5]) == "3 to 5" and seeds_text([3, 5]) == "3, 5" and seeds_text([3, 4]) == "3, 4"
