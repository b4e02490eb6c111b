"""Judgments of people: a table that is read strictly, agreement with known values, intervals."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.eval.distributions import r_squared, wasserstein_1
from tenfold.papers.msa.evaluation import against_people, agreement, load_people

HEADER = "participant,vignette,query,click,value\n"


def table(tmp_path, text):
    path = tmp_path / "human.csv"
    path.write_text(HEADER + text)
    return path


def made_up(tmp_path, participants=12, noise=5.0):
    """People whose clicks lie around known means."""
    generator = np.random.default_rng(0)
    means = {("a", "query1"): 20, ("a", "query2"): 70, ("b", "query1"): 50, ("b", "query2"): 90, ("c", "query1"): 35}
    rows = [
        f"p{p},{vignette},{query},{click},{mean + noise * generator.normal():.3f}\n"
        for p in range(participants)
        for (vignette, query), mean in means.items()
        for click in range(5)
    ]
    return table(tmp_path, "".join(rows)), means


def judgments(means, shift=0.0):
    generator = np.random.default_rng(1)
    found = {}
    for (vignette, query), mean in means.items():
        found.setdefault(vignette, {})[query] = mean + shift + 5 * generator.normal(size=2000)
    return found


def test_a_table_is_read_and_pooled(tmp_path):
    people = load_people(table(tmp_path, "p,a,query1,1,10\np,a,query1,2,20\nq,a,query1,1,60\n"))
    assert sorted(people.pooled()["a"]["query1"]) == [10, 20, 60]
    assert sorted(people.pooled(["q", "q"])["a"]["query1"]) == [60, 60]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p,a,query1,1,high\n", "human.csv:2: value is 'high'; allowed: a number"),
        ("p,a,query1,1,nan\n", "human.csv:2: value is 'nan'"),
        ("p,a,query1,1,3\np,a,query1,1,4\n", "human.csv:3: the same participant, vignette, query and click"),
        ("p,,query1,1,3\n", "human.csv:2: a field is empty"),
        ("", "has no rows"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, reason):
    with pytest.raises(UserError, match=reason):
        load_people(table(tmp_path, text))


def test_a_table_without_a_column_is_refused(tmp_path):
    path = tmp_path / "human.csv"
    path.write_text("participant,vignette,value\np,a,1\n")
    with pytest.raises(UserError, match="has no column query; needed: participant, vignette, query, click, value"):
        load_people(path)


def test_agreement_is_that_of_its_parts():
    ours = {"a": {"x": np.array([0.0, 10.0]), "y": np.array([50.0])}, "b": {"x": np.array([30.0])}}
    theirs = {"a": {"x": np.array([20.0]), "y": np.array([40.0])}, "b": {"x": np.array([35.0]), "z": np.array([1.0])}}
    found = agreement(ours, theirs)
    assert found.questions == 3
    assert found.r2 == pytest.approx(r_squared([5, 50, 30], [20, 40, 35]))
    assert found.wasserstein == pytest.approx((15 + 10 + 5) / 3)
    assert found.wasserstein_interval[0] <= found.wasserstein <= found.wasserstein_interval[1]
    with pytest.raises(UserError, match="no question in common; ours: a, b; theirs: c"):
        agreement(ours, {"c": {"x": np.array([1.0])}})


def test_a_model_like_people_agrees_and_a_shifted_one_is_as_far_as_the_shift(tmp_path):
    path, means = made_up(tmp_path)
    people = load_people(path)
    like = against_people(judgments(means), people)
    assert like.r2 > 0.99 and like.wasserstein < 2 and like.questions == 5
    shifted = against_people(judgments(means, shift=15.0), people)
    assert shifted.r2 > 0.99 and shifted.wasserstein == pytest.approx(15, abs=1.5)
    low, high = shifted.wasserstein_interval
    assert low < 15.2 and high > 14.8 and high - low < 4


def test_halves_of_people_are_compared(tmp_path):
    path, _ = made_up(tmp_path)
    halves = load_people(path).split_half()
    assert halves.r2 > 0.98 and halves.wasserstein < 3
    alone = load_people(table(tmp_path, "p,a,query1,1,10\n"))
    assert alone.split_half() is None


def test_wasserstein_of_equal_judgments_is_zero():
    values = np.array([1.0, 5.0, 9.0])
    assert agreement({"a": {"x": values}}, {"a": {"x": values[::-1]}}).wasserstein == wasserstein_1(values, values) == 0
