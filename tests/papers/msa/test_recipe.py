"""The experiment: what a failed program counts for, what is compared, and what the gate asks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tenfold.core.cell import Cell
from tenfold.papers.msa import recipe, ways
from tenfold.papers.msa.config import smoke
from tenfold.papers.msa.recipe import ARMS, errors_of, summaries
from tenfold.papers.msa.rows import tell
from tenfold.papers.msa.situations import SPLITS, prior_answer
from tenfold.papers.msa.training import Counting, Learned, count
from tenfold.papers.msa.ways import Answer, Study, asked, distance
from tenfold.papers.msa.wording import background_code, fact_code, question_code


@pytest.fixture
def study(tmp_path):
    config = replace(smoke(), world=replace(smoke().world, samples=1500))
    cell = Cell(arm="synthesis", seed=0, directory=tmp_path)
    return Study(config, Learned(None, Counting({})), cell)


def told(name="same", count=6):
    return [tell(SPLITS[name], 0, 0, "test", number) for number in range(count)]


def perfect(network, rows, situations):
    """What a network that makes no mistake would write."""
    said = []
    for each in situations:
        said.append(background_code(each.situation))
        said += [fact_code(fact) for fact in each.situation.facts]
        said += [question_code(question) for question in asked(each)]
    assert len(said) == len(rows)
    return said


def test_a_network_that_makes_no_mistake_is_as_near_as_the_gold_program_run_again(study, monkeypatch):
    situations = told()
    monkeypatch.setattr(ways, "ask", lambda network, rows: perfect(network, rows, situations))
    answers = ways.by_synthesis(study, situations, recipe.RERUN)
    assert all(answer.is_exact and not answer.failure for answer in answers)
    gold = [answer.numbers for answer in ways.by_gold_program(study, situations, recipe.GOLD)]
    again = errors_of(ways.by_gold_program(study, situations, recipe.RERUN), gold)
    ours = errors_of(answers, gold)
    assert np.mean(ours) == pytest.approx(np.mean(again), abs=0.5)
    assert np.mean(ours) < 3


def test_a_program_that_fails_counts_as_the_priors_answer_with_its_kind(study, monkeypatch):
    situations = told(count=3)

    def broken(network, rows):
        said = perfect(network, rows, situations)
        said[0] = said[0][:-3]
        return said

    monkeypatch.setattr(ways, "ask", broken)
    first, *others = ways.by_synthesis(study, situations, recipe.RERUN)
    assert first.failure == "is no Python" or first.failure == "is not defined"
    assert first.numbers == [prior_answer(question) for question in asked(situations[0])]
    assert not any(answer.failure for answer in others)


def test_storms_are_where_an_exact_program_of_the_language_loses(study, monkeypatch):
    situations = told("storms", 16)
    monkeypatch.setattr(ways, "ask", lambda network, rows: perfect(network, rows, situations))
    gold = [answer.numbers for answer in ways.by_gold_program(study, situations, recipe.GOLD)]
    ours = np.mean([np.mean(row) for row in errors_of(ways.by_synthesis(study, situations, recipe.RERUN), gold)])
    again = np.mean([np.mean(row) for row in errors_of(ways.by_gold_program(study, situations, recipe.RERUN), gold)])
    assert ours > again + 2


def test_without_background_conditions_and_queries_stay(study, monkeypatch):
    situations = told(count=4)
    monkeypatch.setattr(ways, "ask", lambda network, rows: perfect(network, rows, situations))
    for each, answer in zip(situations, ways.without_background(study, situations, recipe.RERUN), strict=True):
        assert answer.program.count("condition(") == sum("condition(" in fact_code(f)[0] for f in each.situation.facts)
        assert "gaussian(100, 25)" in answer.program


def test_counting_gives_the_median_of_training():
    situations = [tell(SPLITS["same"], 200, 0, "train", number) for number in range(80)]
    counting = count(situations)
    ranks = {key: values[2] for key, values in counting.medians.items() if key.startswith("1:")}
    assert ranks["1:1"] > ranks["1:0"] > ranks["1:-1"]
    pairs = {key: values[0] for key, values in counting.medians.items() if key.startswith("2:")}
    assert pairs["2:1"] > 50 > pairs["2:-1"]


def test_the_better_way_on_validation_answers_for_the_best_rival(study, monkeypatch):
    near = lambda study, situations, key: ways.by_gold_program(study, situations, key)  # noqa: E731
    far = lambda study, situations, key: ways.by_prior(study, situations, key)  # noqa: E731
    arm = replace(ARMS["best_rival"], ways=(far, near))
    assert recipe.chosen(study, arm) is near
    assert recipe.chosen(study, replace(arm, ways=(far,))) is far


def test_the_gate_asks_the_rival_to_beat_counting():
    gated = [claim for claim in recipe.CLAIMS if claim.gate is not None]
    assert {claim.id for claim in gated} == {"further", "inside"}
    assert all(claim.gate.metric == "same/beyond_counting" and claim.gate.bound == 0 for claim in gated)
    near_gold = next(claim for claim in recipe.CLAIMS if claim.id == "near-gold")
    assert near_gold.gate is None


def test_the_worst_expressible_split_counts():
    errors = {name: [[1.0, 1.0, 3.0, 3.0]] for name in SPLITS} | {"storms": [[90.0] * 4], "names": [[10.0] * 4]}
    found = summaries(errors, {name: {"rerun": 0.5} for name in SPLITS})
    assert found["names/w1"] == 10 and found["same/rank"] == 1 and found["same/win"] == 3
    assert found["expressible/beyond_gold"] == 9.5


def test_distances_are_mean_differences_of_quantiles():
    assert distance([0, 10, 20, 30, 40], [5, 15, 25, 35, 45]) == 5
    assert errors_of([Answer([(50.0,), (1.0, 3.0)])], [[[60.0], [2.0, 2.0]]]) == [[10.0, 1.0]]


def test_answers_of_a_split_are_kept_and_found_again(study):
    calls = []

    def way(study, situations, key):
        calls.append(len(situations))
        return ways.by_prior(study, situations, key)

    first = recipe.answered_once(study, way, "same")
    assert recipe.answered_once(study, way, "same") == first and len(calls) == 1
    assert Path(recipe.answers_file(study.cell, "same")).is_file()
