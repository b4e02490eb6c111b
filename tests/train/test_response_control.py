"""Budgets, temperature, rewards of length, sampling by difficulty, and responses over several rounds."""

import pytest

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, rollout, tiny_policy
from tenfold.train.response_control import (
    Budgets,
    PartialResponse,
    continued,
    decayed_temperature,
    easy_to_hard,
    is_repeating,
    length_rewards,
    of_moderate_difficulty,
    prioritised_shares,
)


@pytest.mark.spec("kimi_k2/agentic", "D4")
def test_a_response_of_the_budget_is_free_and_one_token_more_is_cut_and_costs():
    budgets = Budgets({"math": 5, "chat": 3}, penalty=-0.5)
    for task_type, budget in budgets.tokens.items():
        assert budgets.held(range(budget), task_type) == (list(range(budget)), 0.0)
        assert budgets.held(range(budget + 1), task_type) == (list(range(budget)), -0.5)
    with pytest.raises(UserError, match="task type = 'code': budgets are given for math, chat"):
        budgets.held([1], "code")


@pytest.mark.spec("kimi_k2/agentic", "D5")
def test_rewards_of_length_are_those_by_hand():
    assert length_rewards([100, 200, 300, 150], [True, True, True, True]) == [0.5, 0.0, -0.5, 0.25]
    assert length_rewards([100, 200, 300, 150], [False] * 4) == [0.0, 0.0, -0.5, 0.0]
    assert length_rewards([100, 300], [False, True]) == [0.0, -0.5]
    assert length_rewards([7, 7, 7], [True, False, True]) == [0.0, 0.0, 0.0]
    assert length_rewards([7], [True]) == [0.0]


@pytest.mark.spec("kimi_k2/agentic", "D6")
def test_a_response_in_segments_is_that_of_one_pass():
    policy = tiny_policy("abcdefgh ", width=16, layers=2, heads=2)
    prompts = [tuple(policy.encode(text)) for text in ("abc", "h", "fg a")]

    def generate(contexts, budget):
        return rollout(policy, [list(context) for context in contexts], Sampling(budget, temperature=0.0), seed=0)

    whole = generate(prompts, 12)
    responses = [PartialResponse(prompt) for prompt in prompts]
    for _ in range(3):
        responses = continued(responses, generate, 4)
    for response, expected in zip(responses, whole, strict=True):
        assert list(response.token_ids) == expected.token_ids
        assert response.finished == (expected.stop_reason == "stop")
        assert sum(response.segments) == len(response.token_ids)
        covered = [response.mask(segment) for segment in range(len(response.segments))]
        assert [sum(flags) for flags in zip(*covered, strict=True)] == [1] * len(response.token_ids)
    assert any(len(response.segments) == 3 for response in responses)


def test_finished_responses_are_not_generated_again():
    done = PartialResponse((1,), (2,), (1,), finished=True)

    def never(contexts, budget):
        raise AssertionError

    assert continued([done], never, 4) == [done]
    with pytest.raises(UserError, match="budget = 0"):
        continued([done], never, 0)


def test_temperature_falls_from_start_to_end():
    for shape in ("linear", "cosine"):
        temperatures = [decayed_temperature(step, 10, 1.2, 0.4, shape) for step in range(15)]
        assert temperatures[0] == 1.2 and temperatures[10:] == pytest.approx([0.4] * 5)
        assert temperatures == sorted(temperatures, reverse=True)
        assert temperatures[5] == pytest.approx(0.8)
    for arguments in ((0, 10, 0.4, 1.2), (0, 10, 1.0, 0.0), (-1, 10), (0, 0)):
        with pytest.raises(UserError):
            decayed_temperature(*arguments)


def test_harder_tasks_are_drawn_more_often():
    assert prioritised_shares([0.5, 0.75]) == pytest.approx([2 / 3, 1 / 3])
    assert prioritised_shares([1.0, 1.0]) == [0.5, 0.5]
    assert of_moderate_difficulty([0.0, 0.1, 0.9, 1.0]) == [1, 2] == of_moderate_difficulty([0, 0.4, 0.5, 1], 0.2, 0.8)
    assert easy_to_hard([3, 1, 2, 1]) == [1, 3, 2, 0]


def test_loops_are_seen_at_the_end_alone():
    assert is_repeating([5] * 4) and is_repeating([1, *[2, 3, 4] * 4])
    assert not is_repeating([*[2, 3] * 4, 9]) and not is_repeating([5] * 3) and not is_repeating([])
    assert not is_repeating([*range(33)] * 4) and is_repeating([*range(33)] * 4, longest=33)


def test_bad_budgets_are_named():
    with pytest.raises(UserError, match=r"tokens\.math = 0"):
        Budgets({"math": 0})
    with pytest.raises(UserError, match="penalty = 1"):
        Budgets({"math": 1}, penalty=1)
