"""Correctness and calibration rewards: the gate, the columns, several accepted answers."""

import pytest

from tenfold.core.errors import UserError
from tenfold.rewards import CalibrationReward, CorrectnessReward, spherical_rule


def said(answer, confidence):
    return f"<answer>{answer}</answer><confidence>{confidence}</confidence>"


def score(reward, completions, answer):
    return reward(
        prompts=["?"] * len(completions), completions=completions, answer=answer, other=[0] * len(completions)
    )


def test_a_malformed_completion_earns_nothing_anywhere():
    malformed = ["7", said("7", "nan"), said("7", "1.5"), said("7", 1.0) + "!", said("7", 0.5) + "!"]
    assert score(CorrectnessReward("ac"), malformed, ["7"] * 5) == [0.0] * 5
    assert score(CalibrationReward("ac"), malformed, ["7"] * 5) == [0.0] * 5


def test_without_the_gate_a_right_answer_counts_in_any_form():
    reward = CorrectnessReward("ac", gate_on_format=False)
    assert score(reward, [said("7", "nan"), "7"], ["7", "7"]) == [1.0, 0.0]


def test_each_row_has_its_own_answers():
    completions = [said("the Eiffel tower", 1), said("Paris", 1), said("3", 0)]
    answers = [["Eiffel Tower", "Tour Eiffel"], "London", "3"]
    assert score(CorrectnessReward("ac"), completions, answers) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(("answer", "q", "expected"), [("7", 0.8, 0.96), ("7", 0, 0), ("8", 0.8, 0.36), ("8", 0, 1)])
def test_calibration_is_one_minus_the_brier_score(answer, q, expected):
    assert score(CalibrationReward("ac"), [said(answer, q)], ["7"]) == [pytest.approx(expected)]


def test_any_rule_and_any_verifier():
    reward = CalibrationReward("ac", spherical_rule, verifier=lambda answer, reference: int(answer) % 2 == reference)
    assert score(reward, [said("9", 1.0), said("8", 1.0)], [1, 1]) == [1.0, 0.0]


def test_a_missing_column_and_a_form_without_confidence_are_refused():
    with pytest.raises(UserError, match="column 'answer'"):
        CorrectnessReward("ac")(prompts=["?"], completions=[said("7", 1)])
    with pytest.raises(UserError, match="needs a confidence block"):
        CalibrationReward("ta")
