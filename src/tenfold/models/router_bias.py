"""Balanced experts without an auxiliary loss: the bias that selects them is moved after each optimizer step.

A router chooses the k experts of the largest s + b and weighs them by s alone. Once per step, with e_i = mean load −
load_i over the whole batch of all processes,

    "deepseek":   b_i ← b_i + u · sign(e_i)                                   (DeepSeek-V3, section 2.1.2)
    "moonlight":  b_i ← b_i + u · (sign(e_i) − mean_j sign(e_j))              ("Muon is Scalable …", appendix C)

transformers carries the bias (``e_score_correction_bias``) but never moves it; :class:`RouterBias` does, for every
router that returns (logits, weights, chosen experts): DeepSeek-V3, GLM-4 MoE, dots.1 and others.

Padding counts as any other token, for the experts compute it as well. Recomputed passes (activation checkpointing)
count twice, which changes no sign. Not covered: experts spread over processes with a router of their own.
Shapes: E experts, N tokens, K chosen experts of a token.
"""

from typing import Any
from weakref import ref

import torch
import torch.distributed
from torch import Tensor, nn

from tenfold.core.errors import UserError

FORMS = ("deepseek", "moonlight")
BIAS = "e_score_correction_bias"


def bias_step(load_E: Tensor, rate: float, form: str = "deepseek") -> Tensor:
    """The change of the bias of each expert, see the module's docstring.

    Args:
        load_E: tokens that each expert got, any real dtype.
        rate: u; DeepSeek-V3 and Moonlight use 1e-3, and 0 near the end of training.
        form: ``"deepseek"`` or ``"moonlight"``; the latter leaves the sum of the biases as it is.

    Returns:
        ``[E]`` float64.

    Raises:
        UserError: for another form.

    Example:
        >>> bias_step(torch.tensor([9, 1, 1, 1]), 0.5, "moonlight").tolist()
        [-0.75, 0.25, 0.25, 0.25]
    """
    _check_form(form)
    load_E = load_E.double()
    sign_E = (load_E.mean() - load_E).sign()
    return rate * (sign_E if form == "deepseek" else sign_E - sign_E.mean())


def load_violation(load_E: Tensor) -> float:
    """Maximal violation: max_i load_i / mean load − 1; 0 where all are equal, E / K − 1 where K experts get all.

    Args:
        load_E: tokens that each expert got, at least one in all.

    Example:
        >>> load_violation(torch.tensor([9, 1, 1, 1]))
        2.0
    """
    load_E = load_E.double()
    return float(load_E.max() / load_E.mean() - 1)


def gate_scale_factor(num_experts: int, num_active: int, samples: int = 10_000, seed: int = 0) -> float:
    """The factor after which the chosen experts' weights have norm 1 at the start ("Muon is Scalable …", figure 6).

    E[1 / ‖p‖] over Gaussian logits, where p are the largest K of their sigmoids, divided by their sum.

    Args:
        num_experts: E.
        num_active: K.
        samples: draws that the mean is taken over.
        seed: of the draws.

    Raises:
        UserError: if ``num_active`` is not in [1, ``num_experts``].

    Example:
        >>> round(gate_scale_factor(64, 6), 2)
        2.45
    """
    if not 1 <= num_active <= num_experts:
        raise UserError(f"num_active = {num_active}: must lie in [1, {num_experts}], the number of experts")
    generator = torch.Generator().manual_seed(seed)
    score_NE = torch.randn(samples, num_experts, generator=generator).sigmoid()
    chosen_NK = score_NE.topk(num_active, dim=-1).values.double()
    weight_NK = chosen_NK / chosen_NK.sum(-1, keepdim=True)
    return float((1 / weight_NK.norm(dim=-1)).mean())


class RouterBias:
    """Counts the tokens of each expert in training passes and moves the routers' biases after each optimizer step.

    The biases are in the model's own state; nothing else has to be saved at a step's boundary. A step that a loss
    scaler skipped leaves its counts to the next one. Casting a model to bfloat16 casts its biases as well; put those
    back with ``router.e_score_correction_bias.data = router.e_score_correction_bias.float()``.

    Args:
        model: any model with routers of transformers, wrapped or not.
        rate: u; may be set anew at any time (``.rate``).
        form: ``"deepseek"`` or ``"moonlight"``.
        process_group: whose processes share a batch; all by default.

    Raises:
        UserError: if a setting is out of range, the model has no such router, or a bias is not float32.

    Example:
        >>> from transformers import DeepseekV3ForCausalLM
        >>> from tenfold.models import kimi_k2_config
        >>> model = DeepseekV3ForCausalLM(kimi_k2_config("tiny"))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> router_bias = RouterBias(model, rate=0.01).attach(optimizer)
        >>> tokens = torch.arange(16)[None]
        >>> model(input_ids=tokens, labels=tokens).loss.backward()
        >>> optimizer.step()
        >>> int(router_bias.loads["model.layers.1.mlp.gate"].sum())  # 16 tokens, 2 experts each
        32
    """

    def __init__(self, model: nn.Module, rate: float = 1e-3, form: str = "deepseek", process_group: Any = None) -> None:
        if not rate >= 0:
            raise UserError(f"rate = {rate}: must not be negative")
        _check_form(form)
        self.rate, self.form, self.process_group = rate, form, process_group
        self.routers = routers(model)
        self.loads: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        for name in self.routers:
            self._bias(name)
        self._handles: list[Any] = [
            router.register_forward_hook(_AfterForward(self, name)) for name, router in self.routers.items()
        ]

    def attach(self, optimizer: torch.optim.Optimizer) -> "RouterBias":
        """Run :meth:`step` after each step of the optimizer; returns itself."""
        self._handles.append(optimizer.register_step_post_hook(self._after_step))
        return self

    def _after_step(self, *_: Any) -> None:
        self.step()

    def detach(self) -> None:
        """Leave the model and the optimizer; the biases stay as they are."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """Move the biases by the loads since the last step, on all processes alike; returns :attr:`metrics`.

        A router that saw no token on any process keeps its bias and its last entry in ``loads``.
        """
        for name, load_E in self._agree().items():
            if load_E.any():
                bias_E = self._bias(name)
                bias_E += bias_step(load_E, self.rate, self.form).to(bias_E)
                self.loads[name] = load_E
        self._counts.clear()
        return self.metrics

    @property
    def metrics(self) -> dict[str, float]:
        """Violation (largest and mean over the layers) and experts without a token at the last step; empty before."""
        if not self.loads:
            return {}
        violations = [load_violation(load_E) for load_E in self.loads.values()]
        return {
            "router/load_violation": max(violations),
            "router/load_violation_mean": sum(violations) / len(violations),
            "router/unused_experts": float(sum(int((load_E == 0).sum()) for load_E in self.loads.values())),
        }

    @torch.compiler.disable  # breaks the graph, so that compiled models are counted as others are
    @torch.no_grad()
    def count(self, name: str, output: Any) -> None:
        """Add the chosen experts of one training pass of a router to its counts.

        Raises:
            UserError: if the module that has the bias returns something else than a router.
        """
        router = self.routers[name]
        if not router.training:
            return
        chosen = output[2] if isinstance(output, tuple) and len(output) > 2 else None
        if not isinstance(chosen, Tensor) or chosen.is_floating_point():
            raise UserError(
                f"{name} ({type(router).__name__}): not supported, for it does not return (logits, weights, "
                "chosen experts)"
            )
        chosen = chosen.flatten()
        if name not in self._counts:
            self._counts[name] = torch.zeros(self._bias(name).numel(), dtype=torch.int64, device=chosen.device)
        self._counts[name].scatter_add_(0, chosen.long(), torch.ones_like(chosen, dtype=torch.int64))

    def _agree(self) -> dict[str, Tensor]:
        """The counts of each router, summed over all processes, on the CPU."""
        biases = {name: self._bias(name) for name in self.routers}
        device = next(iter(biases.values())).device
        parts = [
            self._counts[name].to(device)
            if name in self._counts
            else torch.zeros(bias.numel(), dtype=torch.int64, device=device)
            for name, bias in biases.items()
        ]
        packed = torch.cat(parts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(packed, torch.distributed.ReduceOp.SUM, group=self.process_group)
        sizes = [bias.numel() for bias in biases.values()]
        return dict(zip(biases, packed.cpu().split(sizes), strict=True))

    def _bias(self, name: str) -> Tensor:
        bias: Tensor = getattr(self.routers[name], BIAS)
        if bias.dtype != torch.float32:
            raise UserError(f"{name}.{BIAS}: is {str(bias.dtype)[6:]}, must be float32, or small steps would be lost")
        return bias


class _AfterForward:
    """A hook that does not keep its RouterBias alive, and does nothing in a copy of the model."""

    def __init__(self, owner: RouterBias | None = None, name: str = "") -> None:
        self.owner = (lambda: None) if owner is None else ref(owner)
        self.name = name

    def __call__(self, _: nn.Module, __: Any, output: Any) -> None:
        owner = self.owner()
        if owner is not None:
            owner.count(self.name, output)

    def __reduce__(self) -> Any:
        return _AfterForward, ()


def routers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model that hold a bias for the selection of experts, by name.

    Raises:
        UserError: if there is none.

    Example:
        >>> routers(nn.Linear(2, 2))
        Traceback (most recent call last):
        ...
        tenfold.core.errors.UserError: model = Linear: has no router with e_score_correction_bias
    """
    found = {name: module for name, module in model.named_modules() if hasattr(module, BIAS)}
    if not found:
        raise UserError(f"model = {type(model).__name__}: has no router with {BIAS}")
    return found


def _check_form(form: str) -> None:
    if form not in FORMS:
        raise UserError(f"form = {form!r}: must be one of {', '.join(FORMS)}")
