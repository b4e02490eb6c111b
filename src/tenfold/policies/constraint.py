"""What a policy may say, decided token by token: a grammar, a form, a list of answers.

A constraint stands between the logits and the draw. It sees the tokens that the policy samples and no others: neither
the prompt's, unless it asks for them at the start, nor the replies of an environment. Log-probabilities are those of
the distribution over what it leaves, which is what was drawn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tenfold.core.errors import UserError


class Constraint(Protocol):
    """Restricts the next token of a trajectory, given those before it."""

    def start(self, prompt_ids: Sequence[int]) -> Any:
        """The state before the first token."""
        ...

    def mask(self, state: Any) -> np.ndarray:
        """Which tokens may come next, bool [V]; an end-of-sequence token among them where a text may end."""
        ...

    def accept(self, state: Any, token: int) -> Any:
        """The state after a token that the mask allowed."""
        ...


@dataclass
class Constrained:
    """A constraint with the state of one trajectory.

    Args:
        constraint: shared by all trajectories.
        state: of this one.
    """

    constraint: Constraint
    state: Any

    def mask(self) -> np.ndarray:
        """See :meth:`Constraint.mask`.

        Raises:
            UserError: if nothing may come next.
        """
        allowed = self.constraint.mask(self.state)
        if not allowed.any():
            raise UserError("constraint: it allows no token here, not even the end")
        return allowed

    def accept(self, token: int) -> None:
        """Go on with a token."""
        self.state = self.constraint.accept(self.state, token)
