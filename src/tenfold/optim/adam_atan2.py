"""AdamATan2: Adam without epsilon, scale-invariant through atan2 (Everett et al., "Scaling exponents across
parameterizations and optimizers"), in the form of the CUDA kernel that trained HRM (imoneoi/adam-atan2).

Two forms are in use. They agree at the first step and differ in the steady state:

    kernel   p <- p - (lr / (1 - β1^t)) · atan2( m, sqrt(v) / sqrt(1 - β2^t) )              [default]
    ported   p <- p - lr · a · atan2( m / (1 - β1^t), b · sqrt(v / (1 - β2^t)) )            [a = 1.27, b = 1 in
             lucidrains/adam-atan2-pytorch: the constant-gradient step is 1.27 times larger]

with m <- β1 m + (1-β1) g, v <- β2 v + (1-β2) g², and decoupled decay p <- p · (1 - lr · wd) first in both.
All parameters of a group are stepped by a few multi-tensor ("foreach") calls.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.closure import loss_of
from tenfold.optim.first_step import asks_for_state


class AdamATan2(torch.optim.Optimizer):
    """AdamATan2 with decoupled weight decay; needs no epsilon and is invariant to the gradients' scale.

    Args:
        params: parameters or parameter groups.
        lr: learning rate; the constant-gradient step tends to lr · π/4 (kernel form, a = b = 1).
        betas: decay of the first and second moment.
        weight_decay: decoupled, multiplied by the learning rate.
        a: factor on the step.
        b: factor on the second argument of atan2.
        correct_inside: divide the first moment by its bias correction inside atan2 (the ported form) instead of
            scaling the step by it (the kernel form).

    Raises:
        ValueError: if a rate, beta or decay is out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = AdamATan2([weight], lr=0.1, weight_decay=0.0)
        >>> weight.grad = torch.tensor([5.0])
        >>> optimizer.step()
        >>> round(weight.item(), 4)  # 1 - (0.1 / 0.1) · atan2(0.1 · 5, 5)
        0.9003
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.1,
        a: float = 1.0,
        b: float = 1.0,
        correct_inside: bool = False,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"lr = {lr}: must not be negative")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas = {betas}: each must lie in [0, 1)")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay = {weight_decay}: must not be negative")
        super().__init__(
            params, dict(lr=lr, betas=betas, weight_decay=weight_decay, a=a, b=b, correct_inside=correct_inside)
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = loss_of(closure)
        only_makes_state = asks_for_state(self)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update_group(group, params)
        if only_makes_state:
            for state in self.state.values():
                state["step"] = 0
        return loss

    def _update_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p), "step": 0}
            self.state[p]["step"] += 1
        for t in {self.state[p]["step"] for p in params}:
            same_age = [p for p in params if self.state[p]["step"] == t]
            adam_atan2_(
                same_age,
                [p.grad for p in same_age],  # type: ignore[misc]
                [self.state[p]["m"] for p in same_age],
                [self.state[p]["v"] for p in same_age],
                t,
                **{name: value for name, value in group.items() if name in _STEP_OPTIONS},
            )


_STEP_OPTIONS = ("lr", "betas", "weight_decay", "a", "b", "correct_inside")


def adam_atan2_(
    p: list[Tensor],
    g: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    t: int,
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    a: float,
    b: float,
    correct_inside: bool,
) -> None:
    """The update of the module's docstring, in place on lists of tensors that are all at step ``t`` (from 1)."""
    beta1, beta2 = betas
    first_correction = 1 - beta1**t
    torch._foreach_lerp_(m, g, 1 - beta1)
    torch._foreach_mul_(v, beta2)
    torch._foreach_addcmul_(v, g, g, 1 - beta2)
    denominator = torch._foreach_sqrt(v)
    inside = b * (first_correction if correct_inside else 1.0) / (1 - beta2**t) ** 0.5
    torch._foreach_mul_(denominator, inside)
    # torch has no foreach atan2; written into the denominator, it needs no further memory.
    for first_moment, below in zip(m, denominator, strict=True):
        torch.atan2(first_moment, below, out=below)
    if weight_decay:
        torch._foreach_mul_(p, 1 - lr * weight_decay)
    torch._foreach_add_(p, denominator, alpha=-lr * a * (1.0 if correct_inside else 1 / first_correction))
