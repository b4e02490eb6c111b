"""One training of an arm: a model, its optimizer, the loop of ``tenfold.train``, and what the trained model is worth.

A seed gives all arms the same weights to begin with and the same windows in the same order.
Shapes: N windows, T tokens of a window, E experts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.eval.bits_per_byte import token_bits
from tenfold.models import byte_transformer_config, kimi_k2_config
from tenfold.models.causal_lm import save_causal_lm
from tenfold.optim import Muon, muon_param_groups, phased
from tenfold.papers.kimi_k2.pretraining.config import Config, PartConfig
from tenfold.papers.kimi_k2.pretraining.data import Text
from tenfold.papers.kimi_k2.pretraining.method import (
    OptimizerSettings,
    Pretraining,
    mean_violation,
    observed_loads,
    prepare,
    rate_phases,
)
from tenfold.train.distributed import device_of
from tenfold.train.loop import LoopConfig, train

ModelKind = Literal["dense", "experts"]
RateName = Literal["adamw_rate", "muon_rate", "muonclip_rate"]
PRECISION: Mapping[str, Literal["no", "bf16"]] = {"float32": "no", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Arm:
    """An arm of the study.

    Args:
        text: what it is.
        optimizer: as :func:`~tenfold.papers.kimi_k2.pretraining.method.prepare` names it.
        rate: the field of each part that holds its learning rate.
        trains_controls: it also trains where nothing explodes, with and without QK-Clip, and experts without balance.
    """

    text: str
    optimizer: str
    rate: RateName
    trains_controls: bool = False


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Args:
        name: unique within an arm; its folder.
        model: which model.
        part: phases, batch, decay, threshold.
        optimizer: ``"adamw"``, ``"muon"``, ``"muonclip"``; ``"unobserved muon"`` has no QK-Clip in the model at all.
        learning_rate: of all parameters.
        bias_rate: u of the routers' biases.
        log_every: steps between logged metrics.
    """

    name: str
    model: ModelKind
    part: PartConfig
    optimizer: str
    learning_rate: float
    bias_rate: float
    log_every: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training left.

    Args:
        model: trained, in evaluation mode, on the CPU.
        losses: mean cross-entropy in nats per byte of each test window.
        loads_before: router to tokens of each expert, over the test windows, of the fresh model.
        loads: the same of the trained model; both empty without experts.
        skipped: steps left out because a gradient was not finite.
    """

    model: Any
    losses: Sequence[float]
    loads_before: Mapping[str, Sequence[int]] = field(default_factory=dict)
    loads: Mapping[str, Sequence[int]] = field(default_factory=dict)
    skipped: int = 0


def trainings(config: Config, arm: Arm) -> list[Training]:
    """The training runs of an arm in their order; those without steps are left out."""

    def planned_as(name: str, model: ModelKind, part: PartConfig, log_every: int) -> Training:
        rate = getattr(part, arm.rate)
        return Training(name, model, part, arm.optimizer, rate, config.expert_model.bias_rate, log_every)

    every = config.optimization.log_every
    experts = planned_as("experts", "experts", config.experts, every)
    planned = [
        planned_as("dense", "dense", config.dense, every),
        experts,
        planned_as("stress", "dense", config.stress, log_every=1),
    ]
    if arm.trains_controls:
        calm = planned_as("calm", "dense", config.calm, every)
        planned += [calm, replace(calm, name="calm-unobserved", optimizer="unobserved muon")]
        if config.expert_model.control:
            planned.append(replace(experts, name="unbalanced", bias_rate=0.0))
    return [training for training in planned if training.part.steps]


def pretrain(training: Training, config: Config, text: Text, seed: int, cell: Cell) -> Outcome:
    """Train from the newest checkpoint of ``cell`` to the end, save the model for transformers, and measure it."""
    model = build(training.model, config, seed).to(device_of(cell))
    before = measure(model, text.test_NT)[1] if training.model == "experts" else {}
    prepared: list[Pretraining] = []

    def make_optimizers(model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        if training.optimizer == "unobserved muon":
            return [_plain_muon(model, training, config)]
        prepared.append(_prepare(model, training, config))
        return [prepared[0].optimizer]

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        tokens_NT = text.batch(training.part.batch_size, seed, step, slots).to(next(wrapped.parameters()).device)
        return wrapped(input_ids=tokens_NT, labels=tokens_NT, use_cache=False).loss, carry, {}

    def evaluate(shown: nn.Module, step: int) -> Mapping[str, float]:
        loss_N, loads = measure(shown, text.validation_NT)
        violation = {"validation/load_violation": mean_violation(loads)} if loads else {}
        return {"validation/loss": float(loss_N.mean()), **violation}

    trained = train(
        model,
        make_optimizers,
        step_function,
        loop_config(training, config, cell.dtype),
        cell,
        schedule=schedule(training.part),
        evaluate=evaluate,
        meters=lambda: prepared[0].metrics if prepared else {},
    )
    for pretraining in prepared:
        pretraining.detach()
    learned: Any = trained.model
    loss_N, loads = measure(learned, text.test_NT)
    if cell.is_main:
        save_causal_lm(learned, cell.directory / "model")
    return Outcome(learned.cpu(), loss_N.tolist(), _plain(before), _plain(loads), trained.skipped)


def build(kind: ModelKind, config: Config, seed: int) -> Any:
    """A fresh model; equal seeds give equal weights."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(key_to_seed(seed, "weights"))
    return AutoModelForCausalLM.from_config(model_config(kind, config))


def model_config(kind: ModelKind, config: Config) -> Any:
    """The configuration of one of the two models, for transformers."""
    data, dense = config.data, config.dense_model
    if kind == "dense":
        return byte_transformer_config(dense.width, dense.layers, dense.heads, data.context, data.vocab_size)
    changes: dict[str, Any] = dict(vocab_size=data.vocab_size, max_position_embeddings=data.context)
    if config.expert_model.scale == "full":  # YaRN comes after pre-training
        changes["rope_parameters"] = dict(rope_type="default", rope_theta=50_000.0)
    return kimi_k2_config(config.expert_model.scale, **changes)


def schedule(part: PartConfig) -> Any:
    """Factor on the learning rate at a step, counted from 1."""
    phases = rate_phases(
        part.warmup_steps,
        part.stable_steps,
        part.decay_steps,
        part.anneal_steps,
        decay_floor=part.decay_floor,
        anneal_floor=part.anneal_floor,
    )
    return partial(phased, phases=phases, start=0.0 if part.warmup_steps else 1.0)


def loop_config(training: Training, config: Config, dtype: str) -> LoopConfig:
    """The loop's own settings."""
    shared = config.optimization
    return LoopConfig(
        steps=training.part.steps,
        batch_size=training.part.batch_size,
        gradient_accumulation=shared.gradient_accumulation,
        mixed_precision=PRECISION[dtype],
        log_every=training.log_every,
        evaluate_every=shared.evaluate_every,
        checkpoint_every=shared.checkpoint_every,
    )


def measure(model: Any, tokens_NT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of each window in nats per byte, ``[N]``, and the loads of experts where there are any."""
    if any(hasattr(module, "e_score_correction_bias") for module in model.modules()):
        with observed_loads(model) as loads:
            return _losses(model, tokens_NT), loads
    return _losses(model, tokens_NT), {}


def _losses(model: Any, tokens_NT: Tensor) -> Tensor:
    return token_bits(model, tokens_NT).mean(1) * math.log(2)


def _prepare(model: Any, training: Training, config: Config) -> Pretraining:
    return prepare(
        model,
        training.optimizer,
        learning_rate=training.learning_rate,
        weight_decay=training.part.weight_decay,
        tau=training.part.tau,
        bias_rate=training.bias_rate,
        bias_form=config.expert_model.bias_form,
        settings=_settings(config),
    )


def _plain_muon(model: nn.Module, training: Training, config: Config) -> Muon:
    """Muon on a model that nothing observes, in every setting as MuonClip would have it."""
    groups = muon_param_groups(model, training.learning_rate, training.part.weight_decay)
    return Muon(groups, **_settings(config).of_muon())


def _settings(config: Config) -> OptimizerSettings:
    s = config.optimization
    return OptimizerSettings((s.beta1, s.beta2), s.momentum, s.ns_steps, s.ns_dtype, s.nesterov)


def _plain(loads: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: load_E.tolist() for name, load_E in loads.items()}
