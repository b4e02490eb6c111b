"""The reward's values, the safety of rules at the weights of the reward, and the six arms."""

import math

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.papers.rlcr.bandit import CONFIDENCES, ascend
from tenfold.papers.rlcr.method import rlcr_reward, rlcr_rewards, rlvr_rewards
from tenfold.rewards import brier_rule, log_rule, spherical_rule


def said(answer, q):
    return f"<answer>{answer}</answer><confidence>{q}</confidence>"


def earned(weighted, completions, answers):
    columns = {"prompts": [""] * len(completions), "completions": completions, "answer": answers}
    parts = [np.array(function(**columns)) for function in weighted.functions]
    return sum(weight * part for weight, part in zip(weighted.weights, parts, strict=True))


@pytest.mark.spec("rlcr", "1")
@pytest.mark.parametrize(("c", "q", "value"), [(1, 1, 1), (1, 0, 0), (0, 0, 0), (0, 1, -1), (1, 0.5, 0.75)])
def test_the_table_of_values(c, q, value):
    assert rlcr_reward(q, c) == value


@pytest.mark.spec("rlcr", "1")
def test_the_form_of_the_code_gives_half_the_advantages():
    """Sixteen well-formed completions of a group, right and wrong, with all confidences."""
    completions = [said("7" if k % 3 else "8", CONFIDENCES[k % 11]) for k in range(16)]
    code = earned(rlcr_rewards("ac"), completions, ["7"] * 16)
    paper = np.array([rlcr_reward(CONFIDENCES[k % 11], int(k % 3 > 0)) for k in range(16)])
    c, q = np.array([k % 3 > 0 for k in range(16)], dtype=float), np.array([CONFIDENCES[k % 11] for k in range(16)])
    assert code == pytest.approx(0.5 + 0.5 * (c + 1 - (q - c) ** 2))
    assert code - code.mean() == pytest.approx(0.5 * (paper - paper.mean()), abs=1e-12)


def test_no_malformed_completion_earns_more_than_the_worst_well_formed_one():
    worst, malformed = earned(rlcr_rewards("ac"), [said("8", 1.0), said("7", "sure")], ["7", "7"])
    assert worst == 0.5 and malformed == 0.0


def test_a_group_of_right_answers_still_teaches_calibration_and_nothing_under_the_binary_reward():
    completions = [said("7", q) for q in (0.0, 0.5, 1.0)]
    assert np.ptp(earned(rlcr_rewards("ac"), completions, ["7"] * 3)) == 0.5
    assert np.ptp(earned(rlcr_rewards("ac", weights=(0.5, 0.5, 0.0)), completions, ["7"] * 3)) == 0
    assert earned(rlvr_rewards("ac"), completions, ["7"] * 3).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": log_rule}, "log_rule.*surely wrong"),
        ({"weights": (0.5, 0.0, 0.5)}, "brier_rule.*surely wrong"),
        ({"weights": (0.5, 0.4, 0.5)}, "weighing 0.4 to 0.5"),
        ({"rule": lambda q, c: abs(q - c)}, "is not proper"),
        ({"weights": (-1.0, 0.5, 0.5)}, "format = -1"),
        ({"weights": (0.5, math.nan, 0.5)}, "correctness = nan"),
        ({"weights": (math.inf, 0.5, 0.5)}, "format = inf"),
    ],
)
def test_unsafe_rewards_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        rlcr_rewards("ac", **options)


def test_unsafe_rewards_can_be_asked_for_and_safe_rules_are_free():
    assert len(rlcr_rewards("ac", rule=log_rule, allow_unsafe=True).functions) == 3
    assert rlcr_rewards("ac", rule=spherical_rule).weights == [0.5] * 3


@pytest.mark.spec("rlcr", "3")
@pytest.mark.parametrize("rule", [brier_rule, spherical_rule])
def test_six_arms_under_a_safe_rule(rule):
    found = ascend(lambda q, c: rlcr_reward(q, c, rule))
    assert (found.arm, found.confidence) == (0, 0.3)
    assert found.accuracy == pytest.approx(0.340, abs=1e-3)
    assert found.confidence_entropy < 0.1


@pytest.mark.spec("rlcr", "3")
@pytest.mark.parametrize(
    "reward", [lambda q, c: rlcr_reward(q, c, log_rule), lambda q, c: rlcr_reward(q, c, correctness_weight=0.0)]
)
def test_six_arms_under_an_unsafe_rule_end_at_the_arm_that_never_wins(reward):
    found = ascend(reward)
    assert (found.arm, found.confidence) == (5, 0.0)
    assert found.accuracy < 1e-3


@pytest.mark.spec("rlcr", "3")
def test_six_arms_under_the_binary_reward_leave_the_confidence_open():
    found = ascend(lambda q, c: float(c))
    assert found.arm == 0 and found.accuracy == pytest.approx(0.340, abs=1e-3)
    assert found.confidence_entropy == pytest.approx(math.log(11))
