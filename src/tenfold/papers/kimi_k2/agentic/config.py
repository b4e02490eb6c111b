"""Configuration of the agentic study: dialogues, network, supervised training, reinforcement, tests; and the presets.

Imports no torch.
"""

from dataclasses import dataclass, field

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2.agentic.sources import SOURCES as SOURCES
from tenfold.papers.kimi_k2.agentic.sources import TASKS as TASKS
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} = {value}: must lie in [0, 1]")


def _require_at_least(least: int, settings: object, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < least:
            raise UserError(f"{name} = {getattr(settings, name)}: must be at least {least}")


@dataclass(frozen=True)
class DialoguesConfig:
    """Dialogues of scripted agents with tools that are dealt out anew for each task."""

    number: int = 12_000
    """Number of dialogues that are synthesised for the supervised training, before any is rejected."""
    lost_share: float = 0.15
    """Share of the tasks whose item no tool finds, which is to be reported."""
    failures: float = 0.25
    """Probability that a valid call is answered with busy and does nothing."""
    careful_share: float = 0.5
    """Share of careful agents; the others are sloppy."""
    most_slip: float = 0.2
    """Largest probability of a careful agent's error at a decision; each agent has its own, from 0 to this."""
    passing: float = 0.9
    """Least score of a dialogue that is kept; at 0.8 lucky guesses of agents that did not look pass, too."""

    def __post_init__(self) -> None:
        """Refuse what is no share, and too few dialogues."""
        _require_at_least(1, self, "number")
        for name in ("lost_share", "failures", "careful_share", "most_slip", "passing"):
            _require_share(name, getattr(self, name))


@dataclass(frozen=True)
class NetworkConfig:
    """The policy: a small Llama whose first layer adds to each token what stands before it."""

    width: int = 64
    """Width of the residual stream."""
    layers: int = 2
    """Number of transformer blocks."""
    heads: int = 4
    """Number of attention heads of a block."""


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates of the reinforcement."""

    grpo: float = 1e-3
    """Learning rate of the arm grpo."""
    k2: float = 1e-3
    """Learning rate of the arms with K2's objective."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """K2's objective and what is added to it."""

    tau: float = 0.1
    """Strength of the pull towards the policy that sampled."""
    normalize: bool = True
    """Divide K2's objective by 2 tau, so that the size of a step does not depend on tau."""
    ptx_weight: float = 1.0
    """Weight of the supervised loss beside K2's objective in the arm k2_ptx."""
    ptx_batch: int = 32
    """Number of kept dialogues in a step of that loss."""
    budget: int = 13
    """Most tokens that the agent of the arm k2_budget says; what goes beyond is cut and penalised."""
    penalty: float = -0.5
    """Reward of a dialogue that went beyond its budget."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        _require_at_least(1, self, "ptx_batch", "budget")
        if not self.tau > 0:
            raise UserError(f"tau = {self.tau}: must be above 0")
        if self.ptx_weight < 0:
            raise UserError(f"ptx_weight = {self.ptx_weight}: must be at least 0")
        if self.penalty > 0:
            raise UserError(f"penalty = {self.penalty}: must be at most 0")


@dataclass(frozen=True)
class EvaluationConfig:
    """How the policies are tested."""

    num_test: int = 500
    """Number of test tasks with graphs that no training sees, and as many with those of the training."""
    num_validation: int = 200
    """Number of validation tasks, for curves and the choice of rates; their graphs are those of the training."""
    more_failures: float = 0.5
    """Probability of a busy answer in the test of robustness, higher than in training."""
    max_new_tokens: int = 40
    """Most tokens that an agent says in a test dialogue."""
    batch_size: int = 512
    """Number of dialogues that are held at the same time."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        _require_at_least(1, self, "num_test", "num_validation", "max_new_tokens", "batch_size")
        _require_share("more_failures", self.more_failures)


@dataclass(frozen=True)
class Config:
    """One experiment about agents."""

    dialogues: DialoguesConfig = field(default_factory=DialoguesConfig)
    """What is synthesised."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The policy."""
    supervised: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training, equal for all selections of dialogues."""
    reinforcement: GRPOSettings = field(default_factory=GRPOSettings)
    """Reinforcement, equal for all arms that have one; what describes GRPO's loss acts in the arm grpo alone."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the reinforcement."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """K2's objective."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Tests."""

    def __post_init__(self) -> None:
        """Refuse what does nothing, and a budget that nothing can exceed."""
        refuse_idle(self, ("reinforcement.optimizer.learning_rate",), acts="the arm's rate, such as rates.grpo")
        refuse_idle(self, ("reinforcement.reward_weights",), acts="the rubric, which is the only reward")
        refuse_idle(self, ("supervised.evaluate_every",), acts="reinforcement.evaluate_every")
        if self.objective.budget >= self.reinforcement.max_completion_length:
            raise UserError(
                f"objective.budget = {self.objective.budget}: must be below reinforcement.max_completion_length = "
                f"{self.reinforcement.max_completion_length}"
            )
        if not self.supervised.steps and not self.supervised.epochs:
            raise UserError("supervised.steps = 0: must be above 0, for every arm starts with supervised training")


def smoke() -> Config:
    """A few steps of everything; proves nothing about agents."""
    return Config(
        dialogues=DialoguesConfig(number=300),
        network=NetworkConfig(width=32, layers=1, heads=2),
        supervised=_supervised(steps=20, batch_size=16, warmup_steps=2, log_every=5),
        reinforcement=_reinforcement(steps=4, prompts=4, log_every=2, evaluate_every=2, checkpoint_every=2),
        objective=ObjectiveConfig(ptx_batch=4),
        evaluation=EvaluationConfig(num_test=12, num_validation=6),
    )


def laptop() -> Config:
    """The small world and a network of 0.1 M parameters: all arms of one seed in minutes on one core."""
    return Config(
        supervised=_supervised(steps=250, batch_size=96, warmup_steps=20, log_every=10),
        reinforcement=_reinforcement(steps=60, prompts=16, log_every=4, evaluate_every=10, checkpoint_every=20),
    )


def gpu() -> Config:
    """The same world on a GPU with a larger network and more of everything; untimed."""
    return Config(
        dialogues=DialoguesConfig(number=50_000),
        network=NetworkConfig(width=256, layers=4, heads=8),
        supervised=_supervised(steps=500, batch_size=256, warmup_steps=40, log_every=10),
        reinforcement=_reinforcement(steps=300, prompts=64, log_every=4, evaluate_every=20, checkpoint_every=60),
        evaluation=EvaluationConfig(num_test=2000),
    )


def paper(task: str = "small-world") -> Config:
    """What is known of the published setting, in the small world: the report's own tools and policy are not public."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    return gpu()


def _supervised(steps: int, batch_size: int, warmup_steps: int, log_every: int) -> SFTSettings:
    return SFTSettings(
        steps=steps,
        batch_size=batch_size,
        max_length=0,
        optimizer=OptimizerSettings(name="muon_clip", learning_rate=3e-2, schedule="cosine", warmup_steps=warmup_steps),
        log_every=log_every,
        checkpoint_every=100,
    )


def _reinforcement(
    steps: int, prompts: int, log_every: int, evaluate_every: int, checkpoint_every: int
) -> GRPOSettings:
    return GRPOSettings(
        steps=steps,
        prompts_per_step=prompts,
        num_generations=8,
        num_iterations=2,
        max_completion_length=40,
        scale_rewards="group",
        optimizer=OptimizerSettings(beta2=0.99),
        log_every=log_every,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
    )
