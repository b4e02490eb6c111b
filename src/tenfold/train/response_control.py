"""What steers responses in reinforcement learning: budgets, temperature, rewards of length, sampling, partial rollouts.

Each part is a pure function or a small frozen class; none knows a trainer.

Sources: Kimi K2, arXiv 2507.20534, section 3.2.3 (budget, temperature); Kimi k1.5, arXiv 2501.12599, section 2.3
(length reward, curriculum, prioritised sampling) and 2.6 (partial rollouts).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory


@dataclass(frozen=True)
class Budgets:
    """The most tokens of a response, by the type of its task.

    Args:
        tokens: type of task to budget.
        penalty: reward of a response that was cut, added to its own; at most 0.

    Raises:
        UserError: a budget is below 1, or the penalty is positive.

    Example:
        >>> budgets = Budgets({"math": 3, "chat": 2}, penalty=-1.0)
        >>> budgets.held([5, 6, 7], "math"), budgets.held([5, 6, 7], "chat")
        (([5, 6, 7], 0.0), ([5, 6], -1.0))
    """

    tokens: Mapping[str, int]
    penalty: float = -1.0

    def __post_init__(self) -> None:
        """Refuse budgets that nothing can keep."""
        for name, budget in self.tokens.items():
            if budget < 1:
                raise UserError(f"tokens.{name} = {budget}: must be at least 1")
        if self.penalty > 0:
            raise UserError(f"penalty = {self.penalty}: must be at most 0")

    def held(self, token_ids: Sequence[int], task_type: str) -> tuple[list[int], float]:
        """A response within its budget, and what is added to its reward.

        Raises:
            UserError: the type has no budget.
        """
        if task_type not in self.tokens:
            raise UserError(f"task type = {task_type!r}: budgets are given for {', '.join(self.tokens)}")
        budget = self.tokens[task_type]
        is_over = len(token_ids) > budget
        return list(token_ids[:budget]), self.penalty if is_over else 0.0


def decayed_temperature(
    step: int, steps: int, start: float = 1.0, end: float = 0.6, shape: Literal["linear", "cosine"] = "cosine"
) -> float:
    """High temperature for exploring early, lower later; the report gives no numbers.

    Args:
        step: from 0; from ``steps`` on it is ``end``.
        steps: over which it falls.
        start: at step 0.
        end: afterwards.
        shape: of the way between.

    Raises:
        UserError: a temperature is not positive, it would rise, or a number of steps is out of range.

    Example:
        >>> [round(decayed_temperature(step, 2, 1.0, 0.5), 2) for step in (0, 1, 2, 9)]
        [1.0, 0.75, 0.5, 0.5]
    """
    if not 0 < end <= start:
        raise UserError(f"start = {start}, end = {end}: must be above 0, and the end not above the start")
    if steps < 1 or step < 0:
        raise UserError(f"step = {step} of {steps}: must be at least 0 of at least 1")
    share = min(step / steps, 1.0)
    if shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return start + (end - start) * share


def length_rewards(lengths: Sequence[int], correct: Sequence[bool]) -> list[float]:
    """What is added for being short, among the responses to one prompt.

        lambda_i = 0.5 - (len_i - min) / (max - min);   right: lambda_i,  wrong: min(0, lambda_i);  0 if all are equal

    Example:
        >>> length_rewards([10, 20, 30], [True, True, False])
        [0.5, 0.0, -0.5]
    """
    shortest, longest = min(lengths), max(lengths)
    if shortest == longest:
        return [0.0] * len(lengths)
    rewards = []
    for length, is_right in zip(lengths, correct, strict=True):
        value = 0.5 - (length - shortest) / (longest - shortest)
        rewards.append(value if is_right else min(0.0, value))
    return rewards


def prioritised_shares(success_rates: Sequence[float]) -> list[float]:
    """Probabilities of drawing each task, in proportion to 1 - its success rate; even ones where all are solved.

    Example:
        >>> prioritised_shares([1.0, 0.5, 0.0])
        [0.0, 0.3333333333333333, 0.6666666666666666]
    """
    weights = [1 - rate for rate in success_rates]
    total = sum(weights)
    return [weight / total for weight in weights] if total > 0 else [1 / len(weights)] * len(weights)


def of_moderate_difficulty(success_rates: Sequence[float], low: float = 0.0, high: float = 1.0) -> list[int]:
    """Places of the tasks whose rate lies between the bounds, neither of them included.

    Example:
        >>> of_moderate_difficulty([0.0, 0.25, 1.0])
        [1]
    """
    return [place for place, rate in enumerate(success_rates) if low < rate < high]


def easy_to_hard(difficulties: Sequence[float]) -> list[int]:
    """Places in increasing difficulty; equally hard ones stay in their order.

    Example:
        >>> easy_to_hard([2.0, 1.0, 2.0])
        [1, 0, 2]
    """
    return sorted(range(len(difficulties)), key=lambda place: difficulties[place])


def is_repeating(token_ids: Sequence[int], longest: int = 32, times: int = 4) -> bool:
    """Whether the end is one block, of up to ``longest`` tokens, ``times`` in a row: a loop that can be stopped.

    Example:
        >>> is_repeating([9, 1, 2, 1, 2, 1, 2, 1, 2]), is_repeating([1, 2, 1, 2, 1, 2])
        (True, False)
    """
    for period in range(1, longest + 1):
        end = list(token_ids[-period * times :])
        if len(end) == period * times and end == end[:period] * times:
            return True
    return False


@dataclass(frozen=True)
class PartialResponse:
    """A response that is generated over several rounds.

    Args:
        prompt_ids: what it answers.
        token_ids: what is there of it.
        segments: the number of tokens of each round.
        finished: whether it ended by itself.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...] = ()
    segments: tuple[int, ...] = field(default=())
    finished: bool = False

    def mask(self, segment: int = -1) -> list[bool]:
        """Which tokens are of one segment, the last by default: those that the policy of that round said.

        Only these need log-probabilities of that round; older ones may be left out of the loss.

        Example:
            >>> PartialResponse((1,), (5, 6, 7), (2, 1)).mask()
            [False, False, True]
        """
        place = segment % len(self.segments)
        before, length = sum(self.segments[:place]), self.segments[place]
        return [before <= position < before + length for position in range(len(self.token_ids))]


def continued(
    responses: Sequence[PartialResponse],
    generate: Callable[[list[tuple[int, ...]], int], Sequence[Trajectory]],
    budget: int,
) -> list[PartialResponse]:
    """All responses after one more round, in which each unfinished one gets up to ``budget`` tokens.

    Args:
        responses: finished ones stay as they are.
        generate: given contexts and a number of tokens, a trajectory for each context.
        budget: tokens of a round, at least 1.

    Raises:
        UserError: the budget is below 1.
    """
    if budget < 1:
        raise UserError(f"budget = {budget}: must be at least 1")
    open_places = [place for place, response in enumerate(responses) if not response.finished]
    contexts = [(*responses[place].prompt_ids, *responses[place].token_ids) for place in open_places]
    grown = list(responses)
    if not contexts:
        return grown
    for place, said in zip(open_places, generate(contexts, budget), strict=True):
        before = responses[place]
        grown[place] = replace(
            before,
            token_ids=(*before.token_ids, *said.token_ids),
            segments=(*before.segments, len(said.token_ids)),
            finished=said.stop_reason != "length",
        )
    return grown
