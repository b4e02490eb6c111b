"""What QK-Clip did so far: counters, the history of the largest logit, and the numbers of the last step."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tenfold.core.errors import UserError


class ClipLog:
    """Counters and history over steps.

    Args:
        heads: number of query heads of each attention module, by name.

    Example:
        >>> log = ClipLog({"layer": 2})
        >>> log.note(1, {"layer": torch.tensor([3.0, 8.0])}, {"layer": torch.tensor([1.0, 0.5])})
        >>> log.metrics["qk_clip/fraction_clipped"], log.history
        (0.5, [(1, 8.0, 1)])
    """

    def __init__(self, heads: Mapping[str, int]) -> None:
        self.nonfinite, self.last_clip_step = 0, -1
        self.ever_clipped = {name: torch.zeros(number, dtype=torch.bool) for name, number in heads.items()}
        self.history: list[tuple[int, float, int]] = []
        self.metrics: dict[str, float] = {}

    def note(self, step: int, max_logits: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> None:
        """Take a step into account.

        Args:
            step: its number, from 1.
            max_logits: largest logit of each head of each module; infinity for heads that had none that is finite.
            factors: what each head was scaled by; 1 for heads that were left alone.
        """
        for name, gamma in factors.items():
            self.ever_clipped[name] |= gamma < 1
        logits, gammas = _values(max_logits), _values(factors)
        ever_clipped = _values(self.ever_clipped)
        clipped, nonfinite = sum(gamma < 1 for gamma in gammas), logits.count(math.inf)
        if clipped:
            self.last_clip_step = step
        if nonfinite:
            self.nonfinite += nonfinite
            warnings.warn(f"QK-Clip left {nonfinite} heads alone, whose largest logit is not finite", stacklevel=4)
        largest = max(logits, default=-math.inf)
        heads = max(1, len(gammas))
        self.history.append((step, largest, clipped))
        self.metrics = {
            "qk_clip/max_logit": largest,
            "qk_clip/heads_clipped": float(clipped),
            "qk_clip/fraction_clipped": clipped / heads,
            "qk_clip/min_gamma": min(gammas, default=1.0),
            "qk_clip/fraction_ever_clipped": sum(ever_clipped) / heads,
            "qk_clip/last_clip_step": float(self.last_clip_step),
            "qk_clip/nonfinite": float(self.nonfinite),
            **{f"qk_clip/max_logit/{name}": values.max().item() for name, values in max_logits.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """Counters and history, as plain values and tensors."""
        return {
            "nonfinite": self.nonfinite,
            "last_clip_step": self.last_clip_step,
            "ever_clipped": {name: heads.clone() for name, heads in self.ever_clipped.items()},
            "history": list(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises:
            UserError: if it belongs to a model with other attention modules.
        """
        theirs, ours = (
            {name: len(h) for name, h in flags.items()} for flags in (state["ever_clipped"], self.ever_clipped)
        )
        if theirs != ours:
            raise UserError(f"the state's attention heads are {theirs}: the model has {ours}")
        self.nonfinite, self.last_clip_step = state["nonfinite"], state["last_clip_step"]
        self.ever_clipped = {name: heads.clone().cpu() for name, heads in state["ever_clipped"].items()}
        self.history = [tuple(entry) for entry in state["history"]]


def _values(by_module: Mapping[str, Tensor]) -> list[float]:
    """The entries of all modules together; none where all attention is left out."""
    return [value for values in by_module.values() for value in values.tolist()]
