"""Kimi K2's pre-training, for any causal language model of transformers (sections 2.1, 2.3 and 2.5).

    pretraining = prepare(model, "muonclip", learning_rate=2e-4)
    loss = model(input_ids=tokens, labels=tokens).loss; loss.backward(); pretraining.optimizer.step()

One step of the optimizer is then: Muon for the matrices and AdamW for the rest, both with decoupled decay of every
parameter (algorithm 1); QK-Clip of the heads whose logits went above τ; and, where the model has routers, the move of
their biases against uneven loads. The parts are ``tenfold.optim`` and ``tenfold.models``; what is here is how the
report puts them together, the two arms it is compared with, its phases, and Moonlight's scaling fits.

"ML" is "Muon is Scalable for LLM Training" (Moonlight), arXiv 2502.16982. Rephrased data, agentic data and
reinforcement learning, the report's other parts, are not here. Shapes: H heads, E experts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.models import RouterBias, load_violation, routers
from tenfold.optim import MuonClip, QKClip
from tenfold.optim.schedules import Phase

OPTIMIZERS = ("adamw", "muon", "muonclip")


@dataclass(frozen=True)
class Pretraining:
    """An optimizer with what runs after each of its steps.

    Args:
        optimizer: its ``step`` is the whole of a step.
        clip: measures each head's largest logit, and clips for ``"muonclip"`` alone.
        router_bias: ``None`` for a model without experts.
    """

    optimizer: torch.optim.Optimizer
    clip: QKClip
    router_bias: RouterBias | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Largest logits, heads clipped and loads of experts at the last step; each head as ``logits/LAYER.HEAD``."""
        heads = {
            f"logits/{layer}.{head}": value
            for layer, logits_H in enumerate(self.clip.max_logits.values())
            for head, value in enumerate(logits_H.tolist())
        }
        return {**self.clip.metrics, **heads, **(self.router_bias.metrics if self.router_bias else {})}

    def detach(self) -> None:
        """Leave the model as an ordinary one, to be saved or measured."""
        self.clip.detach()
        if self.router_bias:
            self.router_bias.detach()


@dataclass(frozen=True)
class OptimizerSettings:
    """What the three optimizers share.

    Args:
        betas: of AdamW, also where it serves beside Muon.
        momentum: Muon's.
        nesterov: whether Muon orthogonalises one step of momentum ahead (ML), or the momentum itself (K2, algorithm 1).
        ns_steps: Newton–Schulz iterations.
        ns_dtype: their precision, see :class:`tenfold.optim.Muon`.
    """

    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.95
    ns_steps: int = 5
    ns_dtype: str = "auto"
    nesterov: bool = True

    def of_muon(self) -> dict[str, Any]:
        """All of them as arguments of :class:`tenfold.optim.Muon`."""
        return asdict(self)


DEFAULTS = OptimizerSettings()


def prepare(
    model: Any,
    optimizer: str = "muonclip",
    *,
    learning_rate: float = 2e-4,
    weight_decay: float = 0.1,
    tau: float = 100.0,
    bias_rate: float = 1e-3,
    bias_form: str = "moonlight",
    settings: OptimizerSettings = DEFAULTS,
) -> Pretraining:
    """The optimizer of an arm, with QK-Clip and balanced experts behind it.

    ``"adamw"`` is torch's, ``"muon"`` is MuonClip with τ = ∞, which measures and never clips. All of them decay the
    gains of norms too (ML, appendix D) and balance experts alike, so that arms differ by the optimizer alone.

    Args:
        model: a causal language model of transformers without wrappers, on its device.
        optimizer: one of :data:`OPTIMIZERS`.
        learning_rate: of all parameters; K2's peak is 2e-4.
        weight_decay: decoupled, of all parameters.
        tau: threshold on a head's largest logit; ``"muonclip"`` alone uses it.
        bias_rate: u of the routers' biases; 0 leaves them.
        bias_form: see :class:`tenfold.models.RouterBias`.
        settings: what the three share.

    Raises:
        UserError: for another optimizer or a setting out of range.

    Example:
        >>> from transformers import DeepseekV3ForCausalLM
        >>> from tenfold.models import kimi_k2_config
        >>> model = DeepseekV3ForCausalLM(kimi_k2_config("tiny"))
        >>> pretraining = prepare(model, "muonclip", learning_rate=1e-2)
        >>> tokens = torch.arange(32)[None]
        >>> model(input_ids=tokens, labels=tokens).loss.backward()
        >>> pretraining.optimizer.step()
        >>> int(pretraining.router_bias.loads["model.layers.1.mlp.gate"].sum())  # 32 tokens, 2 experts each
        64
    """
    made: torch.optim.Optimizer
    if optimizer == "adamw":
        made = torch.optim.AdamW(model.parameters(), learning_rate, settings.betas, weight_decay=weight_decay)
        clip = QKClip(model, tau=torch.inf).attach(made)
    elif optimizer in OPTIMIZERS:
        threshold = tau if optimizer == "muonclip" else torch.inf
        made = MuonClip(model, learning_rate, weight_decay, threshold, muon_options=settings.of_muon())
        clip = made.qk_clip
    else:
        raise UserError(f"optimizer = {optimizer!r}: must be one of {', '.join(OPTIMIZERS)}")
    has_experts = any(hasattr(module, "e_score_correction_bias") for module in model.modules())
    balance = RouterBias(model, rate=bias_rate, form=bias_form).attach(made) if has_experts else None
    return Pretraining(made, clip, balance)


def rate_phases(
    warmup: int, stable: int, decay: int, anneal: int, *, decay_floor: float = 0.1, anneal_floor: float = 0.035
) -> list[Phase]:
    """Factors on the rate (section 2.5): linear warm-up, stable, cosine decay, linear anneal; empty phases left out.

    Args:
        warmup: steps from 0 to 1.
        stable: steps at 1.
        decay: steps to ``decay_floor``; K2's is 0.1.
        anneal: steps to ``anneal_floor``; K2's is 0.035.
        decay_floor: factor at the end of the decay.
        anneal_floor: factor at the end of the anneal.

    Returns:
        Phases for :func:`tenfold.optim.phased`; without a warm-up its ``start`` is 1.

    Example:
        >>> rate_phases(20, 0, 230, 0)
        [(20, 'linear', 1.0), (230, 'cosine', 0.1)]
    """
    phases: Sequence[Phase] = (
        (warmup, "linear", 1.0),
        (stable, "linear", 1.0),
        (decay, "cosine", decay_floor),
        (anneal, "linear", anneal_floor),
    )
    return [phase for phase in phases if phase[0]]


@contextmanager
def observed_loads(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Count the tokens that each expert gets in the passes made inside, in evaluation as in training.

    Yields:
        Router's name to ``[E]`` int64 on the CPU, filled as passes are made.

    Raises:
        UserError: if the model has no router.
    """
    counts: dict[str, Tensor] = {}

    def count(name: str, router: Any, chosen: Tensor) -> None:
        number = router.e_score_correction_bias.numel()
        load_E = torch.bincount(chosen.flatten(), minlength=number).cpu()
        counts[name] = counts[name] + load_E if name in counts else load_E

    handles = [
        router.register_forward_hook(lambda router, _, output, name=name: count(name, router, output[2]))
        for name, router in routers(model).items()
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def mean_violation(loads: Mapping[str, Tensor]) -> float:
    """Mean over the routers of max_i load_i / mean load − 1; 0 where all experts of each router get as many tokens.

    Example:
        >>> mean_violation({"a": torch.tensor([3, 1]), "b": torch.tensor([2, 2])})
        0.25
    """
    return sum(load_violation(load_E) for load_E in loads.values()) / len(loads)


class ComputeOptimal(NamedTuple):
    """What ML's fits advise for a compute budget.

    Args:
        parameters: N.
        tokens: D.
        learning_rate: peak.
        batch_tokens: tokens of a step; that the fit counts tokens is our reading.
    """

    parameters: float
    tokens: float
    learning_rate: float
    batch_tokens: float


def compute_optimal(flops: float) -> ComputeOptimal:
    """Size, tokens, rate and batch for a compute budget (ML, scaling fits of AdamW, which Muon takes over).

    N = 0.0483359 C^0.5112684, D = 3.4480927 C^0.4887316, lr = 0.0127339 C^−0.0574752, batch = 0.0065202 C^0.4137915.

    Args:
        flops: C, floating-point operations of the whole training.

    Raises:
        UserError: if ``flops`` is not positive.

    Example:
        >>> advice = compute_optimal(1e20)
        >>> f"{advice.learning_rate:.1e}, {advice.parameters / 1e9:.1f} B"
        '9.0e-04, 0.8 B'
    """
    if not flops > 0:
        raise UserError(f"flops = {flops}: must be positive")
    C = flops
    return ComputeOptimal(
        parameters=0.0483359 * C**0.5112684,
        tokens=3.4480927 * C**0.4887316,
        learning_rate=0.0127339 * C**-0.0574752,
        batch_tokens=0.0065202 * C**0.4137915,
    )


@dataclass(frozen=True)
class LossFit:
    """A power law of the loss.

    Args:
        factor: loss at 1 PFLOP/s-day.
        exponent: negative.
    """

    factor: float
    exponent: float

    def loss(self, petaflop_days: float) -> float:
        """L = factor · C^exponent, with C in PFLOP/s-days as in ML's plot (8k context)."""
        return self.factor * petaflop_days**self.exponent

    def petaflop_days(self, loss: float) -> float:
        """C at which the loss is reached: (L / factor)^(1 / exponent)."""
        return (loss / self.factor) ** (1 / self.exponent)


MUON_FIT = LossFit(2.506, -0.052)
ADAMW_FIT = LossFit(2.608, -0.054)


def muon_share_of_compute(petaflop_days: float) -> float:
    """Share of AdamW's compute after which Muon reaches the loss that AdamW has at ``petaflop_days`` (ML: about 52 %).

    Example:
        >>> round(muon_share_of_compute(1.0), 2)
        0.46
    """
    return MUON_FIT.petaflop_days(ADAMW_FIT.loss(petaflop_days)) / petaflop_days
