"""What GRPO does with rewards before trl has them: their contract, the text they read, groups without variance.

A reward that is not a number would pass for one that does not apply: trl marks both by NaN. So every reward function is
called through :func:`finite`, which tells them apart.
"""

import functools
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from trl.trainer.utils import get_callable_name, is_async_callable

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.rewards.said import SEAM

RewardFunction = Callable[..., Sequence[float | None]]
"""trl's: ``(prompts, completions, **columns) -> a number for each completion``, ``None`` where it does not apply.

A completion is text, or ``[{"role": "assistant", "content": text}]`` where the prompt is a conversation. The columns
are those of the dataset, ``trajectory``, the :class:`~tenfold.core.types.Trajectory` itself, and ``said``, what of its
text the policy sampled: a completion also holds what an environment wrote, which may claim anything."""


def check_rewards(rewards: Sequence[RewardFunction], weights: Sequence[float] | None) -> None:
    """Refuse rewards that cannot be told apart or summed.

    Raises:
        UserError: if there is none, two share a name, or their weights are not as many.
    """
    names = [get_callable_name(reward) for reward in rewards]
    if not names:
        raise UserError("rewards: none given; at least one is needed")
    if len(set(names)) < len(names):
        raise UserError(f"rewards: {', '.join(names)}; each needs a name of its own")
    if weights is not None and len(weights) != len(names):
        raise UserError(f"reward_weights = {list(weights)}: must be {len(names)}, one for each of {', '.join(names)}")


def finite(reward: RewardFunction) -> RewardFunction:
    """The same reward under the same name, which must give a finite number or ``None`` for each completion.

    Reward models (modules) and the names of such are left as they are.

    Example:
        >>> def brevity(prompts, completions, **columns):
        ...     return [1 / len(text) if text else None for text in completions]
        >>> finite(brevity)(prompts=["a", "b"], completions=["word", ""])
        [0.25, None]
    """
    if isinstance(reward, nn.Module | str):
        return reward
    name = get_callable_name(reward)
    if is_async_callable(reward):

        async def checked_later(*args: Any, **columns: Any) -> list[float | None]:
            promised: Any = reward(*args, **columns)
            return _checked(name, await promised, columns["completions"])

        return _named(checked_later, reward, name)

    def checked(*args: Any, **columns: Any) -> list[float | None]:
        return _checked(name, reward(*args, **columns), columns["completions"])

    return _named(checked, reward, name)


def _named(wrapper: Any, reward: RewardFunction, name: str) -> RewardFunction:
    functools.update_wrapper(wrapper, reward, updated=())
    wrapper.__name__ = name
    return wrapper


def _checked(name: str, given: Sequence[float | None], completions: Sequence[Any]) -> list[float | None]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UserError(f"reward {name!r}: gave {given!r}; allowed: a list with a number for each completion")
    values = list(given)
    if len(values) != len(completions):
        raise UserError(
            f"reward {name!r}: gave {len(values)} values for {len(completions)} completions; needed: one for each"
        )
    for value, completion in zip(values, completions, strict=True):
        if value is not None and not _is_finite(value):
            raise UserError(f"reward {name!r}: gave {value!r} for {completion!r}; allowed: finite numbers, None")
    return values


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):  # a text, a list, a tensor of several
        return False


def completion_text(trajectory: Trajectory, tokenizer: Any, end_ids: Collection[int]) -> str:
    """The text of all tokens but a final end of sequence, other special tokens spelled out.

    Args:
        trajectory: what was sampled.
        tokenizer: spells it.
        end_ids: the tokens that end what the policy says; a final token for padding is left out as well.
    """
    size = _size_without_end(trajectory, tokenizer, end_ids)
    return tokenizer.decode(trajectory.token_ids[:size], clean_up_tokenization_spaces=False)


def said_text(trajectory: Trajectory, tokenizer: Any, end_ids: Collection[int]) -> str:
    """What the policy said of it: the text of the tokens that it sampled, each stretch of them by itself.

    Where no environment wrote into the completion, it is :func:`completion_text`.

    Args:
        trajectory: what was sampled.
        tokenizer: spells it.
        end_ids: as for :func:`completion_text`.
    """
    size = _size_without_end(trajectory, tokenizer, end_ids)
    sampled = zip(trajectory.token_ids[:size], trajectory.loss_mask[:size], strict=True)
    stretches = [[token for token, _ in stretch] for own, stretch in groupby(sampled, itemgetter(1)) if own]
    return SEAM.join(tokenizer.decode(stretch, clean_up_tokenization_spaces=False) for stretch in stretches)


def _size_without_end(trajectory: Trajectory, tokenizer: Any, end_ids: Collection[int]) -> int:
    """How many tokens there are before the one that ended the completion."""
    token_ids = trajectory.token_ids
    return len(token_ids) - bool(token_ids and (token_ids[-1] in end_ids or token_ids[-1] == tokenizer.pad_token_id))


def without_variance(rewards_NF: Tensor, weights_F: Tensor, num_samples: int) -> float:
    """Fraction of groups whose completions all have the same weighted reward, from which nothing is learned.

    Args:
        rewards_NF: N completions, groups one after the other, F functions; NaN where one does not apply.
        weights_F: of the functions.
        num_samples: completions of a group.

    Example:
        >>> rewards_NF = torch.tensor([[1.0], [1.0], [0.0], [1.0]])
        >>> without_variance(rewards_NF, torch.ones(1), 2)
        0.5
    """
    rewards_N = (rewards_NF * weights_F).nansum(1)
    unscored = rewards_NF.isnan().all(1)
    highest = rewards_N.masked_fill(unscored, -torch.inf).view(-1, num_samples).amax(1)
    lowest = rewards_N.masked_fill(unscored, torch.inf).view(-1, num_samples).amin(1)
    return (highest - lowest < 1e-6).float().mean().item()
