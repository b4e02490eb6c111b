"""QK-Clip (Kimi K2, section 2.1): after each optimizer step, shrink the query and key weights of those heads alone
whose largest attention logit in this step's forward passes went above τ.

    S_max^h = largest logit of head h over the step's batch       γ_h = min(1, τ / S_max^h)

Works behind any optimizer and on any transformers model that calls its attention through the library's interface with
``sdpa``, ``eager`` or ``flex_attention``: its modules are switched to an implementation that measures and then calls
the original one (:mod:`tenfold.optim.observed_attention`). Nothing of the step's forward or backward pass changes.

It regulates the logits to about τ; it gives no bound. γ comes from the weights before the step and from this batch,
and the inputs of deeper layers move too. On a small byte model at rates far above the usual the next steps' largest
logit was 1.3 τ (rate 0.03) to 2.5 τ (rate 0.1), without the clip 20 τ and more; ``margin=0.7`` brought that to 1.2 τ
and 1.8 τ at no cost in loss (docs/muon-clip.md).
"""

from collections.abc import Callable
from typing import Any
from weakref import ref

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tenfold.core.errors import UserError
from tenfold.optim.observed_attention import (
    Observer,
    attention_modules,
    is_observed,
    observe,
    release,
    require_measurable,
)
from tenfold.optim.qk_layouts import GQA_MODES, Layout, head_factors, layout_of, scale_heads
from tenfold.optim.qk_log import ClipLog
from tenfold.optim.qk_scores import bound_logits, largest_logits, visibility

MODES = ("exact", "bound", "sampled")


class QKClip:
    """Measures the largest logit of each head and clips after each optimizer step.

    Frozen attention is measured and left as it is; where its layout is not known, it is not measured either. A model
    has one clip at a time: a second one takes its place, and the first one says so if it is stepped again.

    Args:
        model: a transformers model, before any wrapper; every attention module that is trained must have a known layout
            (see :func:`tenfold.optim.layout_of`).
        tau: threshold on the largest logit; the paper uses 100.
        alpha: share of the factor that the queries take, in [0, 1].
        gqa: how heads that share a key divide the factor: ``"compensated"``, ``"q_only"`` or ``"group"``.
        mode: ``"exact"``; ``"bound"`` (Cauchy–Schwarz, an upper bound in O(T), about twice the exact value);
            ``"sampled"`` (exact on some rows, a lower bound).
        fraction: of the query rows that ``"sampled"`` looks at.
        every_n: measure and clip at each n-th step.
        margin: heads above ``tau`` are scaled to ``margin * tau``; below 1 against overshoot.
        chunk_rows: query rows that are measured at a time.
        master_copy: gives the copy of higher precision that an optimizer keeps of a parameter, or None; scaled too.
        process_group: whose processes share a batch; all by default.

    Raises:
        UserError: if a setting is out of range, or the model has attention that cannot be measured or scaled.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        ...                      num_attention_heads=4, num_key_value_heads=2)
        >>> model = LlamaForCausalLM(config)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        >>> clip = QKClip(model, tau=1e-4).attach(optimizer)
        >>> tokens = torch.arange(16)[None]
        >>> model(input_ids=tokens, labels=tokens).loss.backward()
        >>> optimizer.step()
        >>> clip.metrics["qk_clip/heads_clipped"]
        4.0
    """

    def __init__(
        self,
        model: Any,
        *,
        tau: float = 100.0,
        alpha: float = 0.5,
        gqa: str = "compensated",
        mode: str = "exact",
        fraction: float = 0.1,
        every_n: int = 1,
        margin: float = 1.0,
        chunk_rows: int = 128,
        master_copy: Callable[[nn.Parameter], Tensor | None] = lambda parameter: None,
        process_group: Any = None,
    ) -> None:
        _check_settings(tau, alpha, gqa, mode, fraction, every_n, margin, chunk_rows)
        self.tau, self.alpha, self.gqa, self.mode = tau, alpha, gqa, mode
        self.fraction, self.every_n, self.margin, self.chunk_rows = fraction, every_n, margin, chunk_rows
        self.master_copy, self.process_group = master_copy, process_group
        modules = attention_modules(model)
        self.layouts = _trainable_layouts(modules)
        self.modules = {name: modules[name] for name in self.layouts}
        for name, module in self.modules.items():
            require_measurable(name, module)
        self._names = {module: name for name, module in self.modules.items()}
        self._largest: dict[str, Tensor] = {}
        self._rows_generator = torch.Generator().manual_seed(0)
        self._forward_seen = self._backward_seen = False
        self._optimizer: torch.optim.Optimizer | None = None
        self._handles: list[Any] = [model.register_forward_pre_hook(_BeforeForward(self))]
        self.steps = 0
        self.log = ClipLog({name: layout.heads for name, layout in self.layouts.items()})
        self.max_logits: dict[str, Tensor] = {}
        self._observer = _weakly(self)
        for module in self.modules.values():
            observe(module, self._observer)

    def attach(self, optimizer: torch.optim.Optimizer) -> "QKClip":
        """Run :meth:`step` after each step of the optimizer; returns itself."""
        self._optimizer = optimizer
        self._handles.append(optimizer.register_step_post_hook(self._after_step))
        return self

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # Functions that ask a fresh optimizer for its state, such as get_optimizer_state_dict of torch's checkpoints,
        # step it at a rate of 0 to have one.
        is_fresh = self.steps == 0 and not self._forward_seen
        if not (is_fresh and all(float(group["lr"]) == 0 for group in optimizer.param_groups)):
            self.step()

    def detach(self) -> None:
        """Give the model its attention back and forget the optimizer."""
        for handle in self._handles:
            handle.remove()
        for module in self.modules.values():
            release(module, self._observer)

    def reset(self) -> None:
        """Forget what was measured since the last step."""
        self._largest.clear()
        self._backward_seen = False

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """Clip the heads that went above τ since the last step, on all processes alike; returns :attr:`metrics`.

        Heads without data, or whose maximum is not a number, are left as they are; the latter are counted and warned
        of. A step that was not measured (``every_n``) changes nothing.
        """
        self._check_still_observed()
        measured = self._measuring
        self.steps += 1
        if measured:
            self.max_logits = self._agree()
            factors = {name: self._clip(name, largest) for name, largest in self.max_logits.items()}
            self.log.note(self.steps, self.max_logits, factors)
        self.reset()
        return self.metrics

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the last measured step: largest logits, heads clipped, smallest factor, counters."""
        return self.log.metrics

    @property
    def history(self) -> list[tuple[int, float, int]]:
        """``(step, largest logit, heads clipped)`` of each measured step."""
        return self.log.history

    def state_dict(self) -> dict[str, Any]:
        """Settings, counters and history, as plain values and tensors."""
        settings = {name: getattr(self, name) for name in ("tau", "alpha", "margin", "steps")}
        return {**settings, "log": self.log.state_dict(), "rows_generator": self._rows_generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises:
            UserError: if it belongs to a model with other attention modules.
        """
        self.log.load_state_dict(state["log"])
        self.tau, self.alpha, self.margin, self.steps = (state[name] for name in ("tau", "alpha", "margin", "steps"))
        self._rows_generator.set_state(state["rows_generator"].cpu())

    @property
    def _measuring(self) -> bool:
        return self.steps % self.every_n == 0

    def record(
        self, module: nn.Module, query: Tensor, key: Tensor, _: Tensor, mask: Any, scaling: float, causal: bool
    ) -> None:
        """Raise the running maxima of one module's heads; the same pass again, as in recomputation, changes nothing."""
        if not module.training:
            return
        self._forward_seen = True
        if not self._measuring:
            return
        if query.requires_grad:
            query.register_hook(self._note_backward)
        name = self._names[module]
        if query.shape[1] != self.layouts[name].heads:
            raise UserError(
                f"{name} has {query.shape[1]} query heads here and {self.layouts[name].heads} in its weights: "
                "tensor-parallel attention is not supported"
            )
        largest = self._measure(query.detach(), key.detach(), scaling, visibility(mask, causal, query, key))
        before = self._largest.get(name)
        self._largest[name] = largest if before is None else torch.maximum(before, largest)

    def _measure(self, query: Tensor, key: Tensor, scaling: float, visible: Any) -> Tensor:
        if self.mode == "bound":
            return bound_logits(query, key, scaling, visible)
        rows = None
        if self.mode == "sampled":
            number = max(1, round(self.fraction * query.shape[2]))
            rows = torch.randperm(query.shape[2], generator=self._rows_generator)[:number].sort().values
        return largest_logits(query, key, scaling, visible, rows=rows, chunk_rows=self.chunk_rows)

    def _note_backward(self, _: Tensor) -> None:
        self._backward_seen = True

    def before_forward(self) -> None:
        """Forget a step that a loss scaler skipped: its backward pass is over, and its gradients were thrown away.

        Sharded parameters may lack a gradient between the parts of an accumulated batch as well; there, the maxima of a
        skipped step, which left the weights as they were, count for the next one too.
        """
        if self._backward_seen and self._optimizer is not None:
            params = (p for group in self._optimizer.param_groups for p in group["params"])
            if all(p.grad is None and not isinstance(p, DTensor) for p in params):
                self.reset()

    def _check_still_observed(self) -> None:
        for name, module in self.modules.items():
            require_measurable(name, module)  # it may have changed since
            if not is_observed(module, self._observer):
                raise UserError(
                    f"{name} was not measured: another QKClip was built for the model since, or this one was detached"
                )

    def _agree(self) -> dict[str, Tensor]:
        """The largest logits of each module over all processes, on the CPU; NaN travels as infinity."""
        if not self.layouts:
            return {}
        device = next(iter(self._largest.values())).device if self._largest else _device(self.modules)
        parts = [
            self._largest[name].to(device)
            if name in self._largest
            else torch.full((layout.heads,), -torch.inf, device=device)
            for name, layout in self.layouts.items()
        ]
        packed = torch.cat(parts).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(packed, torch.distributed.ReduceOp.MAX, group=self.process_group)
        sizes = [layout.heads for layout in self.layouts.values()]
        return dict(zip(self.layouts, packed.cpu().split(sizes), strict=True))

    def _clip(self, name: str, largest: Tensor) -> Tensor:
        """Scale the heads of one module; returns each head's factor."""
        above = (largest > self.tau) & (largest < torch.inf)
        gamma = torch.where(above, self.margin * self.tau / largest.double(), 1.0)
        if not above.any():
            return gamma
        layout = layout_of(self.modules[name])  # anew, for sharding may have replaced the parameters
        if _is_frozen(name, layout):
            return torch.ones_like(gamma)
        scale_heads(layout, head_factors(gamma, layout, self.alpha, self.gqa), self.master_copy)
        return gamma


class _BeforeForward:
    """A hook that does not keep its QKClip alive, and does nothing in a copy of the model."""

    def __init__(self, clip: QKClip | None = None) -> None:
        self.clip = (lambda: None) if clip is None else ref(clip)

    def __call__(self, *_: Any) -> None:
        clip = self.clip()
        if clip is not None:
            clip.before_forward()

    def __reduce__(self) -> Any:
        return _BeforeForward, ()


def _weakly(clip: QKClip) -> Observer:
    """An observer that does not keep its QKClip (and so the model) alive."""
    weak = ref(clip)

    def observer(*call: Any) -> None:
        alive = weak()
        if alive is not None:
            alive.record(*call)

    return observer


def _trainable_layouts(modules: dict[str, Any]) -> dict[str, Layout]:
    """The layout of each module, without those of unknown forms of which nothing is trained.

    Raises:
        UserError: for another module of an unknown form, one that is frozen in part, and weights that two share.
    """
    layouts: dict[str, Layout] = {}
    owners: dict[nn.Parameter, str] = {}
    for name, module in modules.items():
        try:
            layouts[name] = layout_of(module)
        except UserError:
            if any(parameter.requires_grad for parameter in module.parameters()):
                raise
            continue
        if _is_frozen(name, layouts[name]):
            continue
        for scaled in layouts[name].scaled:
            other = owners.setdefault(scaled.parameter, name)
            if other != name:
                raise UserError(
                    f"{other} and {name} share a query or key weight: QK-Clip would scale it twice; untie them, or use "
                    "one module in both places"
                )
    return layouts


def _is_frozen(name: str, layout: Layout) -> bool:
    """Whether nothing of a module's queries and keys is trained."""
    trained = [scaled.parameter.requires_grad for scaled in layout.scaled]
    if any(trained) and not all(trained):
        raise UserError(f"{name}: queries and keys are frozen in part; QK-Clip scales both or none")
    return not any(trained)


def _device(modules: dict[str, Any]) -> torch.device:
    return next(next(iter(modules.values())).parameters()).device


def _check_settings(
    tau: float, alpha: float, gqa: str, mode: str, fraction: float, every_n: int, margin: float, chunk_rows: int
) -> None:
    if not tau > 0:
        raise UserError(f"tau = {tau}: must be positive")
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha = {alpha}: must lie in [0, 1]")
    if gqa not in GQA_MODES:
        raise UserError(f"gqa = {gqa!r}: must be one of {', '.join(GQA_MODES)}")
    if mode not in MODES:
        raise UserError(f"mode = {mode!r}: must be one of {', '.join(MODES)}")
    if not 0 < fraction <= 1:
        raise UserError(f"fraction = {fraction}: must lie in (0, 1]")
    if every_n < 1:
        raise UserError(f"every_n = {every_n}: must be at least 1")
    if not 0 < margin <= 1:
        raise UserError(f"margin = {margin}: must lie in (0, 1]")
    if chunk_rows < 1:
        raise UserError(f"chunk_rows = {chunk_rows}: must be at least 1")
