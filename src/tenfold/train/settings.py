"""Settings of supervised and reinforcement training of language models: every published setting by its own name.

Nothing is inherited from trl's defaults, which change from release to release: whatever the functions ``sft`` and
``grpo`` hand to trl comes from here, and what trl offers beyond goes through their ``extra``. Imports no torch, so that
a paper's configuration can nest these. Conventions: 0 (or an empty tuple) means none or no limit; batches are global,
over all processes and accumulated pieces; a step is an optimizer step. A field that another one puts out of action is
refused with the name of that one, unless it is at its default.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.core.config import leaves, refuse_idle
from tenfold.core.errors import UserError


def _at_least(least: float, settings: Any, *names: str) -> None:
    for name in names:
        if not least <= getattr(settings, name) < math.inf:
            raise UserError(f"{name} = {getattr(settings, name)}: allowed: finite numbers from {least} on")


def _above_0(settings: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise UserError(f"{name} = {getattr(settings, name)}: allowed: finite numbers above 0")


def _below_1(settings: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise UserError(f"{name} = {getattr(settings, name)}: allowed: from 0 to below 1")


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimizer, learning rate and its schedule, clipping."""

    name: Literal["adamw", "muon_clip"] = "adamw"
    """Which optimizer. muon_clip: Muon for matrices, AdamW for the rest, and QK-Clip; not together with LoRA."""
    learning_rate: float = 1e-5
    """Learning rate of all parameters, after the warm-up."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up; linear and cosine end at 0."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly."""
    warmup_fraction: float = 0.0
    """When not 0, the length of the warm-up as a fraction of all steps, rounded up, instead of ``warmup_steps``."""
    weight_decay: float = 0.0
    """Decoupled weight decay. adamw: not for biases and norms. muon_clip: for all parameters, as its paper found
    important."""
    beta1: float = 0.9
    """AdamW's decay of the first moment."""
    beta2: float = 0.999
    """AdamW's decay of the second moment."""
    epsilon: float = 1e-8
    """AdamW's epsilon, which is added to the denominator."""
    momentum: float = 0.95
    """muon_clip: decay of Muon's momentum."""
    tau: float = 100.0
    """muon_clip: threshold on the largest attention logit of each head."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient; larger ones are scaled down to it, and 0 means no clipping."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(0, self, "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm")
        _below_1(self, "warmup_fraction", "beta1", "beta2", "momentum")
        _above_0(self, "epsilon", "tau")
        if self.name == "adamw":
            refuse_idle(self, ("momentum", "tau"), acts="name = muon_clip")
        if self.warmup_fraction:
            refuse_idle(self, ("warmup_steps",), acts="warmup_fraction = 0")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (peft) instead of training all weights."""

    rank: int = 0
    """Rank of each low-rank adapter; 0 trains all weights."""
    alpha: float = 32.0
    """The output of a low-rank adapter is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability of dropout on the input of a low-rank adapter."""
    target_modules: tuple[str, ...] = ()
    """Names of the modules that get a low-rank adapter; empty for all linear layers but the head."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(0, self, "rank", "alpha")
        _below_1(self, "dropout")
        if not self.rank:
            refuse_idle(self, ("alpha", "dropout", "target_modules"), acts="rank")


@dataclass(frozen=True)
class SFTSettings:
    """Supervised fine-tuning."""

    steps: int = 100
    """Optimizer steps; 0 for a training run that is left out, which no other field may then describe. With ``epochs``:
    the most steps that these may come to; 0 or the default for any number."""
    epochs: float = 0.0
    """When not 0, the number of steps follows from it: epochs * rows / batch_size, rounded up."""
    batch_size: int = 8
    """Sequences of a step, over all processes and pieces."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of the batch into."""
    max_length: int = 1024
    """Most tokens of a sequence; longer ones lose their end, and 0 means no limit."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the forward pass by autocast; the weights keep the type they have."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """Optimizer, learning rate and schedule."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Low-rank adapters, if not all weights are trained."""
    log_every: int = 10
    """Optimizer steps between logged metrics, which are means since the last log."""
    evaluate_every: int = 0
    """Optimizer steps between evaluations; 0 for the end only."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints; 0 for the end only."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "batch_size", "gradient_accumulation", "log_every", "keep_checkpoints")
        _at_least(0, self, "steps", "epochs", "max_length", "evaluate_every", "checkpoint_every")
        if not self.steps and not self.epochs:
            described = [name for name in leaves(self) if name not in ("steps", "epochs")]
            refuse_idle(self, described, acts="steps or epochs above 0")

    def total_steps(self, num_rows: int) -> int:
        """Optimizer steps on a data set of ``num_rows``; 0 for a training that is left out.

        Raises:
            UserError: if epochs come to more steps than ``steps`` allows.

        Example:
            >>> SFTSettings(epochs=2, batch_size=8).total_steps(10)
            3
        """
        if not self.epochs:
            return self.steps
        steps = math.ceil(self.epochs * num_rows / self.batch_size)
        any_number = (0, type(self).steps)
        if self.steps not in any_number and steps > self.steps:
            raise UserError(
                f"epochs = {self.epochs:g}: {steps} steps on {num_rows} rows; allowed: up to steps = {self.steps}, or "
                "any number with steps = 0"
            )
        return steps


@dataclass(frozen=True)
class EngineSettings:
    """Who samples the completions of training."""

    name: Literal["in_process", "served"] = "in_process"
    """Who samples. in_process: the trained model itself. served: vLLM behind HTTP, to which the weights are pushed;
    then the trained model may be sharded."""
    urls: tuple[str, ...] = ()
    """Addresses of the servers of the engine, up to ``/v1``; completions are spread over them."""
    model: str = ""
    """Name of the model at the servers of the engine; empty for the only one that they serve."""
    folder: str = ""
    """Folder for the versions of the weights, which the servers of the engine read; empty for one in the run."""
    push_every: int = 1
    """Rounds of generation from one push of the weights to the next; with more than 1, sampling is off-policy."""
    adapters: Literal["merged", "alone"] = "merged"
    """How LoRA adapters are pushed. merged: folded into all weights. alone: under a name of their own, to servers that
    were started with ``--enable-lora``."""
    seconds: float = 600.0
    """Seconds until a request to a server of the engine is given up; a turn must end within them."""
    importance_cap: float = 2.0
    """Largest weight by which a token's loss is multiplied for its trained probability over the one that it was sampled
    with, which differ in rounding (trl's ``token_truncate``); 0 for no such weights."""
    largest_difference: float = 0.2
    """Largest mean absolute difference in nats of the log-probabilities of a round, trained and sampled, that training
    accepts. Rounding of bfloat16 gave 0.04 for a model of 135 million parameters."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "push_every")
        _at_least(0, self, "importance_cap")
        _above_0(self, "seconds", "largest_difference")
        if self.name == "in_process":
            refuse_idle(self, [name for name in leaves(self) if name != "name"], acts="name = served")
        elif not self.urls:
            raise UserError(
                "urls = (): a served engine needs the address of a server, such as http://127.0.0.1:8000/v1"
            )


@dataclass(frozen=True)
class GRPOSettings:
    """Group-relative policy optimization."""

    steps: int = 100
    """Optimizer steps."""
    prompts_per_step: int = 8
    """Number of prompts in a step; the batch has ``prompts_per_step * num_generations`` completions."""
    num_generations: int = 8
    """Number of completions of each prompt, which make a group."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of the batch into."""
    updates_per_generation: int = 1
    """Number of steps that one round of generation feeds, each with its own share; 1 keeps every step on-policy. With
    more, which completions share a step depends on the number of processes, for each shuffles its own."""
    num_iterations: int = 1
    """Number of passes over each round of generation."""
    max_prompt_length: int = 0
    """Most tokens of a prompt; longer ones lose their beginning, and 0 means no limit."""
    max_completion_length: int = 64
    """Most new tokens of a completion."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion, besides the end-of-sequence token."""
    temperature: float = 1.0
    """Temperature of sampling in training; the loss uses the log-probabilities at this temperature."""
    top_p: float = 1.0
    """Share of the probability that sampling keeps; 1 keeps all tokens."""
    rollout_batch_size: int = 0
    """Number of completions that a process samples at the same time; 0 for all of a round. It changes memory, not
    results."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    """Who samples the completions."""
    mask_truncated: bool = False
    """Leave completions that met ``max_completion_length`` out of the loss (their rewards still count)."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "bnpo"
    """How the loss is averaged. grpo: mean over each completion, then over completions. bnpo: mean over the tokens of a
    process's piece. dapo: mean over the tokens of the global batch. dr_grpo: sum over tokens / (completions *
    max_completion_length)."""
    scale_rewards: Literal["none", "group", "batch"] = "none"
    """What the advantage is divided by after the group's mean is subtracted: nothing, or the standard deviation of the
    group or the batch."""
    reward_weights: tuple[float, ...] = ()
    """Weight of each reward function; empty for 1 each."""
    epsilon: float = 0.2
    """How far the ratio of probabilities may go from 1 before it is clipped; it acts only when a round of generation
    feeds more than one step."""
    epsilon_high: float = 0.0
    """How far the ratio of probabilities may go above 1 before it is clipped; 0 for ``epsilon``. It acts only when a
    round of generation feeds more than one step."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Whether the ratio of probabilities is taken over a token or over a sequence, which is GSPO's. It acts only when a
    round of generation feeds more than one step: at a ratio of 1 both have the same gradient."""
    beta: float = 0.0
    """Coefficient of the KL divergence from the initial policy; 0 needs no reference model."""
    entropy_coefficient: float = 0.0
    """Bonus in the loss for each nat of the mean entropy of the policy's tokens."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the forward pass by autocast; the weights keep the type they have."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """Optimizer, learning rate and schedule."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Low-rank adapters, if not all weights are trained."""
    log_every: int = 10
    """Optimizer steps between logged metrics, which are means since the last log."""
    evaluate_every: int = 0
    """Optimizer steps between evaluations; 0 for the end only."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints, a multiple of ``updates_per_generation * num_iterations``; 0 for the end
    only."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "steps", "prompts_per_step", "gradient_accumulation", "updates_per_generation")
        _at_least(1, self, "num_iterations", "max_completion_length", "log_every", "keep_checkpoints")
        _at_least(2, self, "num_generations")
        _at_least(0, self, "max_prompt_length", "rollout_batch_size", "epsilon", "epsilon_high", "beta")
        _at_least(0, self, "evaluate_every", "checkpoint_every")
        _above_0(self, "temperature")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p = {self.top_p}: allowed: above 0, up to 1")
        if self.cycle == 1:
            of_the_ratio = ("epsilon", "epsilon_high", "importance_sampling_level")
            refuse_idle(self, of_the_ratio, acts="updates_per_generation or num_iterations above 1")
        if self.engine.name == "served":
            refuse_idle(self, ("top_p",), acts="engine.name = in_process")
        if not self.lora.rank:
            refuse_idle(self, ("engine.adapters",), acts="lora.rank")

    @property
    def cycle(self) -> int:
        """Steps from one round of generation to the next."""
        return self.updates_per_generation * self.num_iterations
