"""The language study: solutions that are right, splits that are disjoint, arms that run, and what iw-SFT changes."""

import logging
from dataclasses import replace
from importlib.resources import files

import pytest

from tenfold.core.cell import Cell, read_stages
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.config import IWSFTConfig, RatesConfig
from tenfold.papers.iw_sft.language import arithmetic, recipe
from tenfold.papers.iw_sft.language.config import Config, TaskConfig
from tenfold.papers.iw_sft.language.data import load_problems, load_solutions
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import LoraSettings, SFTSettings


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("trl").setLevel(logging.ERROR)


def test_worked_solutions_are_right():
    for a, b in [(0, 0), (9, 1), (37, 85), (99, 99), (5, 60)]:
        trace = arithmetic.careful(a, b)
        assert arithmetic.final_number(trace.completion) == trace.answer == str(a + b)
        for line in trace.completion.split(";")[:-1]:
            left, right = line.split("=")
            assert sum(map(int, left.split("+"))) == int(right)
    assert arithmetic.final_number(arithmetic.sloppy(37, 85, wrong=True).completion) != "122"


def tiny_study(**changes):
    settings = SFTSettings(steps=4, batch_size=8, max_length=48, log_every=2)
    options = {
        "cloning": settings,
        "fine_tuning": settings,
        "weighting": IWSFTConfig(log_ratio="mean", temperature=10.0),
        "policy": PolicyConfig(width=16, layers=1, context=112),
        "task": TaskConfig(num_traces=60, num_test=10, digits=1),
    }
    return Config(**(options | changes))


def cell_in(folder, arm, seed=0):
    directory = folder / "cells" / arm / f"seed-{seed}"
    return Cell(arm=arm, seed=seed, directory=directory, shared_directory=folder / "shared", device="cpu")


def test_training_and_test_problems_are_disjoint_and_wrong_solutions_are_not_kept():
    task = tiny_study().task
    solutions, problems = load_solutions(task, 0), load_problems(task, 0)
    held_out = {problem.prompt for problem in (*problems.test, *problems.validation)}
    assert len(problems.test) == len(problems.validation) == 10
    assert not {row["prompt"] for row in solutions.everything} & held_out
    assert len(solutions.everything) == 60 > len(solutions.kept) > 30
    assert all(eval(row["prompt"][:-1]) == int(arithmetic.final_number(row["completion"])) for row in solutions.kept)


def test_files_take_the_place_of_generated_sums(tmp_path):
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(f'{{"prompt": "{k}+0=", "completion": "{k}", "quality": {k}}}\n' for k in range(4)))
    test.write_text(
        '{"prompt": "5+0=", "answer": 5}\n{"messages": [{"role": "user", "content": "6?"}], "answer": "6"}\n'
    )
    solutions = load_solutions(TaskConfig(train_file=str(train)), 0)
    assert (len(solutions.everything), solutions.kept["prompt"][:]) == (4, ["1+0=", "2+0=", "3+0="])
    problems = load_problems(TaskConfig(test_file=str(test), num_test=1), 0)
    assert [problem.answers for problem in problems.test] == [("5",)] and len(problems.validation) == 1
    everything = load_problems(TaskConfig(test_file=str(test), num_test=2), 0)
    assert everything.validation == everything.test, "nothing is left for validation"
    assert recipe.drawn_from(everything.test, ["five", " six"]) == ["5+0=five", "6? six"]
    assert recipe.is_right("it is 6.", everything.test[1]) and not recipe.is_right("it is 5", everything.test[1])


@pytest.mark.parametrize("arm", ["sft", "iw_sft", "iw_sft_quality", "awr"])
def test_every_kind_of_arm_runs_on_texts(tmp_path, arm):
    scores = recipe.run(tiny_study(), arm, 0, cell_in(tmp_path, arm))
    assert 0 <= scores.metrics["test/score"] <= 1
    assert (scores.metrics["weights/effective_exponent"] > 0) == arm.startswith("iw")
    assert any(name.startswith("fine-tuning/") for name in scores.curves)
    readme = (files("tenfold.papers.iw_sft") / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in scores.metrics)


def test_what_needs_rewards_step_by_step_is_no_arm_on_texts():
    assert "iql" not in recipe.ARMS and not any(arm.advantages for arm in recipe.ARMS.values())
    assert not any("two-route" in claim.text for claim in recipe.CLAIMS)


def test_stage_1_is_learned_once_for_all_arms_of_a_seed(tmp_path):
    """The second arm loads what the first one made, and ends where it would have without the first."""
    apart = recipe.run(tiny_study(), "bc", 0, cell_in(tmp_path / "apart", "bc"))
    recipe.run(tiny_study(), "sft", 0, cell_in(tmp_path, "sft"))
    stages = read_stages(tmp_path / "shared")
    assert set(stages) == {"cloning"} and "validation/score" in stages["cloning"].curves
    after = recipe.run(tiny_study(), "bc", 0, cell_in(tmp_path, "bc"))
    assert read_stages(tmp_path / "shared")["cloning"] == stages["cloning"]
    assert (after.metrics, after.curves, after.samples) == (apart.metrics, apart.curves, apart.samples)


def test_a_column_that_is_missing_is_named_before_anything_is_trained(tmp_path):
    config = tiny_study(weighting=IWSFTConfig(log_ratio="sum", ref="column"))
    with pytest.raises(UserError, match="ref = column: no column 'ref_log_probs'; the data have prompt"):
        recipe.run(config, "iw_sft", 0, cell_in(tmp_path, "iw_sft"))
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("weight_fn", ["rwr", "awr"])
def test_weights_of_a_score_take_the_quality_of_a_solution(weight_fn):
    config = tiny_study(weighting=IWSFTConfig(weight_fn=weight_fn, quality="weight"))
    found = {name: recipe.weights_of(config, arm) for name, arm in recipe.ARMS.items()}
    assert (found["iw_sft"].weight_fn, found["iw_sft"].quality_column) == (weight_fn, "quality")
    assert found["iw_sft_quality"] == found["iw_sft"] and found["sft_quality"].quality == "weight"


def test_a_rate_is_scored_on_validation_problems(tmp_path):
    assert set(recipe.GRID) == {f"rates.{arm}" for arm in recipe.ARMS}
    rates = RatesConfig(awr=1e-2)
    score = recipe.validation_score(tiny_study(rates=rates), "rates.awr", cell_in(tmp_path, "awr", seed=1000))
    assert list(score) == ["validation/score"] and 0 <= score["validation/score"] <= 1


@pytest.mark.slow
def test_a_tiny_transformer_works_as_often_as_the_solutions_that_it_learns_from(tmp_path):
    """Half of all solutions guess, a third of the kept ones.

    iw-SFT moves away from that share, and in which direction is nobody's claim: over three seeds of this task it worked
    less often than SFT (0.62, 0.44, 0.27 after 0.67, 0.74, 0.61).
    """
    stage = SFTSettings(steps=600, batch_size=32, max_length=48, log_every=50)
    config = tiny_study(
        cloning=stage,
        fine_tuning=replace(stage, steps=200),
        policy=PolicyConfig(width=64, layers=2, context=112),
        task=TaskConfig(num_traces=1500, num_test=200, digits=1),
        rates=RatesConfig(2e-3, *[5e-4] * 7),
    )
    solutions = load_solutions(config.task, 0)
    for arm, data in (("bc", solutions.everything), ("sft", solutions.kept)):
        scores = recipe.run(config, arm, 0, cell_in(tmp_path, arm))
        truth = sum("=" in completion for completion in data["completion"]) / len(data)
        assert scores.metrics["test/share_with_working"] == pytest.approx(truth, abs=0.1)


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.usefixtures("_smollm2_installed")
def test_a_step_of_smollm2_with_lora(tmp_path):
    stage = SFTSettings(steps=1, batch_size=2, max_length=48, log_every=1, lora=LoraSettings(rank=4))
    config = tiny_study(
        cloning=stage,
        fine_tuning=stage,
        policy=PolicyConfig(model="smollm2-135m"),
        task=TaskConfig(num_traces=8, num_test=2, digits=1, max_new_tokens=4),
    )
    scores = recipe.run(config, "iw_sft", 0, cell_in(tmp_path, "iw_sft"))
    assert scores.metrics["cost/parameters"] > 1.3e8
