"""What stands between a rollout and those who run models: trajectories in the making, and who samples their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt, StopReason, Trajectory
from tenfold.policies.constraint import Constrained


@dataclass(eq=False, slots=True)
class Row:
    """A trajectory in the making. A decoder reads it; only :func:`~tenfold.policies.rollout` writes to it.

    Args:
        prompt: what it begins with.
        seed: of the trajectory's noise.
        budget: tokens that may still be sampled.
        index: number of the prompt and number of the sample.
        ids: prompt and completion so far; its last token has not been seen by the model yet.
        stop_reason: set when the trajectory is finished.
        loss_mask: of the completion.
        log_probs: of the completion.
        turn_start: index in ``ids`` of the first token of this turn.
        waiting: for a reply; nothing is sampled meanwhile.
        tool_calls: of the environment so far.
        reward_parts: of the environment so far.
        constrained: what restricts the next token, if anything does.
    """

    prompt: Prompt
    seed: int
    budget: int
    index: tuple[int, int]
    ids: list[int] = field(init=False)
    stop_reason: StopReason | None = None
    loss_mask: list[bool] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    turn_start: int = 0
    waiting: bool = False
    tool_calls: list[Any] = field(default_factory=list)
    reward_parts: dict[str, float] = field(default_factory=dict)
    constrained: Constrained | None = None

    def __post_init__(self) -> None:
        self.ids = list(self.prompt.ids)

    @property
    def num_prompt(self) -> int:
        """How many of the ids are the prompt."""
        return len(self.prompt.ids)

    def append(self, token_ids: Sequence[int], log_probs: Sequence[float], *, sampled: bool) -> None:
        """Add tokens to the completion."""
        self.ids.extend(token_ids)
        self.log_probs.extend(log_probs)
        self.loss_mask.extend([sampled] * len(token_ids))

    def trajectory(self) -> Trajectory:
        """The finished trajectory."""
        assert self.stop_reason is not None
        return Trajectory(
            self.prompt.ids,
            self.ids[self.num_prompt :],
            self.loss_mask,
            self.log_probs,
            self.stop_reason,
            tool_calls=tuple(self.tool_calls),
            reward_parts=self.reward_parts,
            features=self.prompt.features,
        )


class Decoder(Protocol):
    """Samples the next tokens of rows: the seam behind which models, servers and scripts stand.

    What it computes for a prompt it may share among rows whose prompts are equal, which goes by their keys too, and it
    hands a prompt's features to its model or refuses them (:func:`refuse_features`).
    """

    def step(self) -> Sequence[tuple[Row, int, float]] | None:
        """A sampled token and its log-probability for some rows, at most one each, none for a row that waits.

        Empty when every row is finished or waits, or where it is better to have more replies before sampling goes on.
        The noise of a token is keyed by ``row.seed`` and its index in the completion. Between two steps rows grow by
        the tokens given here and by those of an environment, begin or cease to wait, or are finished (``stop_reason``
        is set). ``None`` says that tokens are under way, and that replies may be looked at before the next step.

        A decoder may have a method ``close``, which is called when the rollout ends, in whichever way.
        """
        ...


def refuse_features(rows: Sequence[Row], who: str) -> None:
    """For a decoder that takes tokens alone.

    Args:
        rows: to be sampled.
        who: the policy, as the user knows it.

    Raises:
        UserError: if a prompt has features.

    Example:
        >>> refuse_features([Row(Prompt((5, 6)), seed=0, budget=1, index=(0, 0))], "ScriptedPolicy")
    """
    for row in rows:
        if row.prompt.features:
            names = ", ".join(row.prompt.features)
            raise UserError(f"prompts[{row.index[0]}].features = {names}: {who} takes tokens alone")


def refuse_constraint(rows: Sequence[Row], who: str) -> None:
    """For a decoder that cannot restrict its tokens.

    Raises:
        UserError: if a row is constrained.
    """
    if any(row.constrained is not None for row in rows):
        raise UserError(f"constraint: {who} cannot restrict what it samples; a Policy can")
