"""Configuration of the RLCR experiments: task, policy, warm start, rewards, training, evaluation, and the presets.

Imports no torch.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.rlcr.prompts import require_same_blocks
from tenfold.papers.rlcr.sources import SOURCES as SOURCES
from tenfold.papers.rlcr.sources import TASKS as TASKS
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings


@dataclass(frozen=True)
class TaskConfig:
    """What is asked, and how an answer is judged."""

    kind: Literal["masked_addition", "questions"] = "masked_addition"
    """masked_addition: sums with hidden operands, drawn by seed; questions: files."""
    train_file: str = ""
    """questions: JSON lines with prompt and answer, or HotpotQA's own file of its distractor setting."""
    test_file: str = ""
    """questions: JSON lines with prompt and answer to test on, or HotpotQA's own file of its distractor setting."""
    layout: Literal["json_lines", "hotpotqa", "big_math"] = "json_lines"
    """questions: how the files are read; hotpotqa drops paragraphs, big_math keeps problems with short numbers."""
    system_prompt: Literal["none", "blocks", "sums", "tabc", "tabc_long", "tac", "tbac", "ac"] = "none"
    """none: the policy completes the plain text. Otherwise a chat with instructions: those for ``reward.blocks``, or
    these, which must fit it."""
    num_train: int = 0
    """Most training problems; 0 for all that the files hold, or for as many as training asks for."""
    num_validation: int = 1000
    """Number of problems for curves and for choosing rates, apart from those of training and test."""
    num_test: int = 6000
    """Number of test problems; a file gives at most so many."""
    verifier: Literal["exact", "squad", "math", "math_or_squad"] = "exact"
    """When an answer is right. exact: equal texts; squad: equal after SQuAD's normalisation, as published, for which
    1/2 is 12; math: equal as mathematics (extra ``math``); math_or_squad: either of the two, as the authors count in
    their evaluation."""


@dataclass(frozen=True)
class WarmStartConfig:
    """Supervised training before the reinforcement: right answers with confidences unrelated to the difficulty."""

    num_examples: int = 8192
    """Number of problems to draw for the warm start."""
    even_law: tuple[float, ...] = (*[0.015] * 7, 0.055, 0.05, 0.74, 0.05)
    """Probability of stating each of the confidences 0.0, 0.1 … 1.0, up to their sum, where the symbols add to an even
    number."""
    odd_law: tuple[float, ...] = (*[0.015] * 7, 0.055, 0.40, 0.04, 0.40)
    """Probability of stating each of the confidences 0.0, 0.1 … 1.0, up to their sum, where the symbols add to an odd
    number. Like ``even_law`` it is over-confident and gives every confidence now and then; the two have one mean."""
    training: SFTSettings = field(default_factory=SFTSettings)
    """Settings of the supervised training; 0 steps for none."""

    @property
    def steps(self) -> int:
        """Steps of the training; 0 where there is none."""
        return self.training.total_steps(self.num_examples)

    def __post_init__(self) -> None:
        """Refuse laws that are none."""
        for name in ("even_law", "odd_law"):
            law = getattr(self, name)
            if len(law) != 11 or min(law) < 0 or not sum(law) > 0:
                raise UserError(f"{name} = {law}: must be 11 numbers from 0 on, for 0.0 to 1.0, not all 0")


@dataclass(frozen=True)
class RewardConfig:
    """What a completion earns; an arm leaves parts out, or has a rule of its own."""

    blocks: Literal["tabc", "tac", "tbac", "ac"] = "ac"
    """The blocks of a completion, in their order: think, answer, analysis, confidence."""
    rlvr_blocks: Literal["same", "ta"] = "same"
    """The blocks of a completion in the arm rlvr. ta: as published, it states no confidence in training, and is asked
    for one after its answers."""
    rule: Literal["brier", "spherical"] = "brier"
    """The scoring rule S that the arms rlcr and brier_only are paid by; in rlvr its score is only logged."""
    format_weight: float = 0.5
    """Weight of the reward for a completion in the right form."""
    correctness_weight: float = 0.5
    """Weight of the reward for a right answer; the arm brier_only has none."""
    calibration_weight: float = 0.5
    """Weight of the reward 1 - S(q, c) for the stated confidence; the arm rlvr has none."""


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rate; one for all, chosen on rlcr with seeds that are not reported."""

    rlvr: float = 1.5e-3
    """Learning rate of the arm rlvr, which has the binary reward."""
    rlcr: float = 1.5e-3
    """Learning rate of the arm rlcr, which is paid for correctness and calibration."""
    brier_only: float = 1.5e-3
    """Learning rate of the arm brier_only, which is paid for calibration alone."""
    log_score: float = 1.5e-3
    """Learning rate of the arm log_score, which is paid for correctness and the logarithmic score."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How problems are answered after training."""

    max_new_tokens: int = 12
    """Most new tokens of a completion in the test."""
    batch_size: int = 1024
    """Number of completions sampled at once in the test."""
    num_ballots: int = 1000
    """Number of questions that are put to a vote; 0 for none."""
    votes: int = 8
    """Sampled completions of each question that is put to a vote."""
    vote_temperature: float = 2.0
    """Temperature of the samples that vote; at 1 a trained policy says nearly the same each time."""
    resampled: int = 8
    """Confidences sampled anew for each answer, whose mean is the ensembled confidence; 0 for none."""
    classifier_steps: int = 100
    """Training steps of the classifiers of correctness in the arm rlvr, each of which is a copy of the policy; 0 for
    none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.resampled == 1:
            raise UserError("resampled = 1: allowed: 0, or at least 2, for one confidence has no deviation")


@dataclass(frozen=True)
class Config:
    """One RLCR experiment."""

    task: TaskConfig = field(default_factory=TaskConfig)
    """Which problems are asked, and how answers are judged."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The language model."""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """Supervised training before the reinforcement, the same for all arms of a seed."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """What a completion earns."""
    training: GRPOSettings = field(default_factory=GRPOSettings)
    """Reinforcement of every arm. ``steps`` are those of rlvr and rlcr; rates and weights stand in ``rates`` and
    ``reward``."""
    ablation_steps: int = 100
    """Steps of the arms brier_only and log_score."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the reinforcement."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained policies are tested."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, and those that another one puts out of action."""
        if self.task.kind == "questions":
            self._check_questions()
        else:
            self._check_masked_addition()
        require_same_blocks(self.task.system_prompt, self.reward.blocks)
        if self.training.evaluate_every and not self.task.num_validation:
            raise UserError(
                f"training.evaluate_every = {self.training.evaluate_every}: there are no validation problems; "
                "set task.num_validation above 0, or training.evaluate_every to 0"
            )
        self._refuse_idle()

    def _refuse_idle(self) -> None:
        weights = "reward.format_weight, reward.correctness_weight or reward.calibration_weight"
        refuse_idle(self, ("training.reward_weights",), acts=weights)
        refuse_idle(self, ("training.optimizer.learning_rate",), acts="the arm's rate, such as rates.rlcr")
        refuse_idle(self, ("warm_start.training.evaluate_every",), acts="training.evaluate_every")
        if not self.warm_start.steps:
            of_the_lessons = ("warm_start.num_examples", "warm_start.even_law", "warm_start.odd_law")
            refuse_idle(self, of_the_lessons, acts="warm_start.training.steps above 0")
        if not self.evaluation.num_ballots:
            of_the_vote = ("evaluation.votes", "evaluation.vote_temperature")
            refuse_idle(self, of_the_vote, acts="evaluation.num_ballots above 0")

    def _check_questions(self) -> None:
        if self.warm_start.steps:
            raise UserError("warm_start.training.steps: a warm start is for masked_addition; with questions: 0")
        if self.task.system_prompt == "sums":
            raise UserError("task.system_prompt = sums: is for masked_addition; with questions: none, or blocks' name")
        for name in ("train_file", "test_file"):
            if not getattr(self.task, name):
                raise UserError(f"task.{name} is empty: questions need a file to train and one to test on")

    def _check_masked_addition(self) -> None:
        refuse_idle(self, ("task.train_file", "task.test_file", "task.layout"), acts="task.kind = questions")
        if not self.policy.model and self.task.system_prompt != "none":
            prompt = self.task.system_prompt
            raise UserError(f"task.system_prompt = {prompt}: the tiny policy knows no words; allowed: none")
        if self.warm_start.steps and self.reward.blocks != "ac":
            raise UserError(
                f"reward.blocks = {self.reward.blocks}: a warm start teaches the form ac; allowed with it: ac"
            )


_STOP = ("</confidence>",)


def smoke() -> Config:
    """A few steps of everything, in seconds; proves nothing about calibration."""
    return Config(
        task=TaskConfig(num_validation=100, num_test=200),
        policy=PolicyConfig(width=32, layers=1, context=64),
        warm_start=WarmStartConfig(num_examples=512, training=_warm_start(20, 32)),
        training=_masked_grpo(8, prompts=8, generations=4, log_every=2, evaluate_every=4, checkpoint_every=2),
        ablation_steps=4,
        evaluation=EvaluationConfig(num_ballots=20, votes=3, resampled=2),
    )


def laptop() -> Config:
    """Masked addition in text by a transformer of 0.1 M parameters: four arms of one seed in minutes on two cores.

    All completions of a group share the hidden operands, and so whether an answer is right: what averages this chance
    out is the number of groups. Hence 128 groups of 4, where the specification's small networks have 32 of 16.
    """
    return Config(
        policy=PolicyConfig(layers=2, context=64),
        warm_start=WarmStartConfig(training=_warm_start(800, 64)),
        training=_masked_grpo(500, prompts=128, generations=4, log_every=10, evaluate_every=20, checkpoint_every=100),
        ablation_steps=150,
    )


def _warm_start(steps: int, batch_size: int) -> SFTSettings:
    optimizer = OptimizerSettings(learning_rate=3e-3, schedule="cosine", warmup_steps=10, beta2=0.95)
    return SFTSettings(steps=steps, batch_size=batch_size, max_length=0, optimizer=optimizer, checkpoint_every=400)


def _masked_grpo(
    steps: int, prompts: int, generations: int, log_every: int, evaluate_every: int, checkpoint_every: int
) -> GRPOSettings:
    return GRPOSettings(
        steps=steps,
        prompts_per_step=prompts,
        num_generations=generations,
        max_completion_length=12,
        stop=_STOP,
        entropy_coefficient=0.02,
        optimizer=OptimizerSettings(schedule="linear", beta2=0.99),
        log_every=log_every,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
    )


def gpu() -> Config:
    """Masked addition in words by SmolLM2-135M, sized for half an hour on one GPU; untimed.

    Questions of your own in place of the sums need no warm start: begin with the preset ``paper``, which has none, and
    name your files and a smaller ``--policy.model``.
    """
    optimizer = OptimizerSettings(learning_rate=5e-5, schedule="cosine", warmup_fraction=0.05)
    rate = 1e-5
    return Config(
        task=TaskConfig(system_prompt="sums", num_validation=300, num_test=2000),
        policy=PolicyConfig(model="smollm2-135m"),
        warm_start=WarmStartConfig(
            num_examples=4096,
            training=SFTSettings(steps=200, batch_size=32, mixed_precision="bf16", optimizer=optimizer),
        ),
        training=GRPOSettings(
            steps=200,
            prompts_per_step=32,
            num_generations=16,
            gradient_accumulation=8,
            max_completion_length=32,
            stop=_STOP,
            rollout_batch_size=256,
            entropy_coefficient=0.005,
            mixed_precision="bf16",
            optimizer=OptimizerSettings(schedule="linear", warmup_fraction=0.05),
            log_every=5,
            evaluate_every=25,
            checkpoint_every=50,
        ),
        ablation_steps=100,
        rates=RatesConfig(rlvr=rate, rlcr=rate, brier_only=rate, log_score=rate),
        evaluation=EvaluationConfig(max_new_tokens=32, batch_size=512, num_ballots=300),
    )


def paper(task: str = "hotpotqa") -> Config:
    """The published setting of a task; ``SOURCES`` says where each value comes from."""
    if task == "hotpotqa":
        return _hotpotqa()
    if task == "big-math":
        return _big_math()
    raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")


def _hotpotqa() -> Config:
    rows, prompts_per_step = 20_000, 4 * 8 * 64 // 32  # GPUs, completions of each, pieces, completions of a prompt
    return _published(
        TaskConfig(
            kind="questions",
            train_file="hotpotqa/train.json",
            test_file="hotpotqa/test.json",
            layout="hotpotqa",
            system_prompt="tabc_long",
            num_train=rows,
            num_validation=0,
            num_test=500,
            verifier="squad",
        ),
        GRPOSettings(
            steps=rows // prompts_per_step,
            prompts_per_step=prompts_per_step,
            max_prompt_length=3072,
            max_completion_length=1536,
            optimizer=OptimizerSettings(schedule="constant", warmup_fraction=0.05),
        ),
        rate=1e-6,
    )


def _big_math() -> Config:
    rows, prompts_per_step = 30_000, 6 * 6 * 64 // 32
    return _published(
        TaskConfig(
            kind="questions",
            train_file="big-math/train.json",
            test_file="big-math/test.json",
            layout="big_math",
            system_prompt="tabc",
            num_train=rows,
            num_validation=0,
            num_test=500,
            verifier="math",
        ),
        GRPOSettings(
            steps=rows // 2 // prompts_per_step,
            prompts_per_step=prompts_per_step,
            max_prompt_length=1024,
            max_completion_length=4096,
            mask_truncated=True,
            optimizer=OptimizerSettings(schedule="linear", warmup_fraction=0.2),
        ),
        rate=5e-6,
    )


def _published(task: TaskConfig, training: GRPOSettings, rate: float) -> Config:
    """What both tasks have in common around their own data and training."""
    return Config(
        task=task,
        policy=PolicyConfig(model="Qwen/Qwen2.5-7B"),
        warm_start=WarmStartConfig(training=SFTSettings(steps=0)),
        reward=RewardConfig(blocks="tabc", rlvr_blocks="ta"),
        training=replace(
            training,
            num_generations=32,
            gradient_accumulation=64,
            rollout_batch_size=64,
            temperature=0.7,
            mixed_precision="bf16",
            gradient_checkpointing=True,
            log_every=1,
            checkpoint_every=50,
        ),
        ablation_steps=training.steps,
        rates=RatesConfig(rlvr=rate, rlcr=rate, brier_only=rate, log_score=rate),
        evaluation=EvaluationConfig(
            max_new_tokens=4096, batch_size=64, num_ballots=500, vote_temperature=0.7, classifier_steps=0
        ),
    )


def own(data: str) -> Config:
    """A language model on questions of your own; the arm of ``tenfold train rlcr`` says by which reward."""
    rate = 1e-6
    return Config(
        # One file is asked for: nothing is tested in such a training.
        task=TaskConfig(kind="questions", train_file=data, test_file=data, system_prompt="blocks", num_validation=0),
        policy=PolicyConfig(model="smollm2-135m"),
        warm_start=WarmStartConfig(training=SFTSettings(steps=0)),
        reward=RewardConfig(blocks="tabc"),
        training=GRPOSettings(
            max_completion_length=1024,
            temperature=0.7,
            optimizer=OptimizerSettings(warmup_fraction=0.05),
            log_every=1,
            checkpoint_every=25,
        ),
        rates=RatesConfig(rlvr=rate, rlcr=rate, brier_only=rate, log_score=rate),
    )
