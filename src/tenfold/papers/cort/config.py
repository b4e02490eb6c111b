"""Configuration of the CoRT experiments: task, policy, base, tool loop, traces, tuning, rewards, evaluation; presets.

Imports no torch.
"""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.cort.published import STAGES, published_reinforcement, published_tuning
from tenfold.papers.cort.sources import SOURCES as SOURCES
from tenfold.papers.cort.sources import TASKS as TASKS
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings


@dataclass(frozen=True)
class TaskConfig:
    """What is asked, and how an answer is judged."""

    kind: Literal["multiplication", "questions"] = "multiplication"
    """multiplication: products, drawn by seed; questions: files."""
    train_file: str = ""
    """questions: JSON lines with prompt and answer to train on."""
    test_file: str = ""
    """questions: JSON lines with prompt and answer to test on; not for ``tenfold train``, which tests nothing."""
    num_test: int = 600
    """Number of test problems; a file gives at most so many."""
    num_validation: int = 200
    """Number of problems for curves and for choosing rates, apart from those of training and test."""
    grade: Literal["plain", "math"] = "plain"
    """plain: answers are equal but for spaces and separators; math: they are equal as mathematics (extra ``math``)."""


@dataclass(frozen=True)
class HabitsConfig:
    """How often the traces that the base learns from do what; each a probability."""

    general: float = 0.3
    """Probability that a trace begins with the general hint."""
    direct: float = 0.15
    """Probability that a trace writes a program at once, with the compute hint."""
    verify: float = 0.4
    """Probability that a trace verifies with a program after working by hand."""
    verify_after_general: float = 0.95
    """Probability that a trace that began with the general hint verifies with a program after working by hand."""
    distrust: float = 0.7
    """Probability that a trace checks a program's output by hand."""
    trust: float = 0.15
    """Probability that a trace says the trust hint after an output, instead of checking it."""
    slip: float = 0.25
    """Probability that a partial product by hand is wrong, where no program has run before."""


@dataclass(frozen=True)
class BaseConfig:
    """The long-thinking base policy of the multiplication task: supervised, first on programs alone."""

    num_problems: int = 5000
    """Number of problems whose traces the base learns from."""
    programs: SFTSettings = field(default_factory=lambda: SFTSettings(steps=0))
    """First training run of the base, on programs and their outputs alone; 0 steps for none."""
    thinking: SFTSettings = field(default_factory=lambda: SFTSettings(steps=0))
    """Second training run of the base, on long traces; 0 steps where the model is the base as it is."""
    habits: HabitsConfig = field(default_factory=HabitsConfig)
    """How often the long traces show each habit."""


@dataclass(frozen=True)
class LoopConfig:
    """How programs are run."""

    state: Literal["persistent", "fresh", "replay"] = "persistent"
    """Which variables of earlier programs a program finds; replay: earlier programs run again, as in the released
    code."""
    max_tool_calls: int = 4
    """Most programs of a completion: generation rounds minus one."""
    count_outputs: bool = False
    """Count the tokens of outputs towards the length of a completion, too."""
    deterministic: bool = True
    """Run programs in synchronous rounds, so that a run repeats to the last bit on a CPU; without it generation goes on
    while they run."""
    echo_last_expression: bool = False
    """Show the value of a last line that is an expression."""
    seconds: float = 5.0
    """Most seconds that a program may run."""
    output_characters: int = 800
    """Most characters of a program's output; a longer one keeps its beginning and its end."""
    max_sessions: int = 256
    """Most interpreters that live at once; at least as many as completions are sampled at once."""
    allow_unsafe: bool = False
    """Run programs without isolation where the machine offers none."""

    def __post_init__(self) -> None:
        """Refuse what the released code does not do, where it is followed."""
        if self.state == "replay":
            refuse_idle(self, ("echo_last_expression",), acts="loop.state = persistent or fresh")


@dataclass(frozen=True)
class TracesConfig:
    """How the examples for fine-tuning are gathered from the policy's own samples."""

    num_problems: int = 700
    """Number of training problems that are sampled for the hinted and unhinted examples."""
    num_examples: int = 400
    """Number of examples of every fine-tuned arm; fewer if some arm has fewer."""
    num_hinted: int = 40
    """Number of hand-hinted examples among those of the arm rft."""
    rft_samples: int = 2
    """Samples of each problem for the arm rft, drawn from the policy that was tuned on hinted traces."""
    num_steps: int = 2
    """k, the number of arithmetic steps that the heuristic and the detectors take for a computation."""
    max_new_tokens: int = 120
    """Most tokens sampled for a completion, or after a hint."""
    temperature: float = 1.0
    """Temperature at which traces are sampled."""
    top_p: float = 0.95
    """Share of the probability that sampling of traces keeps; 1 keeps all tokens."""
    only_right: bool = True
    """Keep only traces with a right answer; off in smoke, whose policy gets nothing right."""
    drafts: str = ""
    """``tenfold train`` alone: a file of traces to use instead of sampling them."""
    places: str = ""
    """``tenfold train`` alone: a file of places for hints in those drafts, by ``tenfold hints cort``; without it the
    heuristic chooses."""


@dataclass(frozen=True)
class RewardConfig:
    """R = R_acc + w R_code."""

    code_weight: float = 0.1
    """w, the weight of the code reward, which is -1 for a completion whose programs all fail."""
    penalize_no_code: bool = True
    """Give a completion without a program the code reward of one whose programs all fail."""


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rates, chosen on validation problems over one grid for each kind of training."""

    prompt_hint: float = 2.5e-4
    """Learning rate of fine-tuning in the arm prompt_hint."""
    hint_engineering: float = 2.5e-4
    """Learning rate of fine-tuning in the arm hint_engineering."""
    random_hints: float = 1.25e-4
    """Learning rate of fine-tuning in the arm random_hints."""
    truncated: float = 1.25e-4
    """Learning rate of fine-tuning in the arm truncated."""
    rft: float = 2.5e-4
    """Learning rate of fine-tuning in the arm rft."""
    no_tool: float = 5e-4
    """Learning rate of fine-tuning in the arm no_tool."""
    no_tool_rl: float = 1e-4
    """Learning rate of GRPO without the tool, in the arm no_tool."""
    rl: float = 1e-4
    """Learning rate of GRPO in the arm rl."""
    rl_from_base: float = 3e-4
    """Learning rate of GRPO from the base, in the arm rl_from_base."""
    rl_from_base_unmasked: float = 3e-4
    """Learning rate of GRPO from the base with the interpreter's tokens in the loss, in the arm
    rl_from_base_unmasked."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How problems are answered after training."""

    max_new_tokens: int = 160
    """Most tokens sampled for a completion in the test."""
    samples: int = 1
    """Completions of each problem: the k of avg@k and pass@k."""
    temperature: float = 0.6
    """Temperature of sampling in the test."""
    top_p: float = 0.95
    """Share of the probability that sampling in the test keeps; 1 keeps all tokens."""
    batch_size: int = 200
    """Number of completions sampled at once in the test."""
    budgets: tuple[int, ...] = (20, 40, 80)
    """Numbers of model tokens within which accuracy is reported."""


@dataclass(frozen=True)
class Config:
    """One CoRT experiment."""

    task: TaskConfig = field(default_factory=TaskConfig)
    """Which problems are asked."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The language model."""
    base: BaseConfig = field(default_factory=BaseConfig)
    """The long-thinking base, which all arms of a seed share."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How the policy's programs are run."""
    traces: TracesConfig = field(default_factory=TracesConfig)
    """How examples for fine-tuning are gathered."""
    sft: SFTSettings = field(default_factory=SFTSettings)
    """Fine-tuning of every arm; the learning rate is that in ``rates``."""
    grpo: GRPOSettings = field(default_factory=GRPOSettings)
    """Reinforcement of the arms that have one; learning rate and reward stand in ``rates`` and ``reward``."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """What a completion is rewarded for."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the arms."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained policies are tested."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant, that contradict each other, or that do nothing."""
        self._refuse_impossible()
        self._refuse_idle()

    def _refuse_impossible(self) -> None:
        """Raise for the first value, or pair of values, that no run could use."""
        if self.task.kind == "questions" and not self.policy.model:
            raise UserError("policy.model = '': the tiny policy knows no words; allowed with questions: a model")
        if self.task.kind == "questions" and self.base.thinking.steps:
            raise UserError(
                "base.thinking.steps: only multiplication trains a base of its own; allowed with questions: 0"
            )
        if self.base.programs.steps and not self.base.thinking.steps:
            steps = self.base.programs.steps
            raise UserError(
                f"base.programs.steps = {steps}: the base is trained only with base.thinking.steps above 0; set both"
            )
        if not self.sft.steps and not self.sft.epochs:
            raise UserError("sft.steps = 0: arms must be fine-tuned; allowed: at least 1, or sft.epochs above 0")
        if self.traces.num_hinted >= self.traces.num_examples:
            raise UserError(
                f"traces.num_hinted = {self.traces.num_hinted}: must be below num_examples = {self.traces.num_examples}"
            )
        if not isfinite(self.reward.code_weight):
            raise UserError(f"reward.code_weight = {self.reward.code_weight}: must be a finite number")
        for name in ("num_examples", "num_problems", "rft_samples", "num_steps"):
            if getattr(self.traces, name) < 1:
                raise UserError(f"traces.{name} = {getattr(self.traces, name)}: must be at least 1")

    def _refuse_idle(self) -> None:
        """Raise for the first value of a field that another one puts out of action."""
        refuse_idle(
            self,
            ("sft.optimizer.learning_rate", "grpo.optimizer.learning_rate"),
            acts="the arm's rate in rates, such as rates.rl",
        )
        refuse_idle(self, ("grpo.reward_weights",), acts="reward.code_weight")
        supervised = ("base.programs", "base.thinking", "sft")
        refuse_idle(self, [f"{name}.evaluate_every" for name in supervised], acts="grpo.evaluate_every")
        for name in ("base.programs", "base.thinking"):
            refuse_idle(self, (f"{name}.epochs",), acts=f"{name}.steps")
        if not self.task.num_validation:
            refuse_idle(self, ("grpo.evaluate_every",), acts="task.num_validation")
        if not self.base.thinking.steps:
            refuse_idle(self, ("base.num_problems", "base.habits"), acts="base.thinking.steps")
        if self.task.kind == "multiplication":
            refuse_idle(self, ("task.train_file", "task.test_file"), acts="task.kind = questions")
        else:
            refuse_idle(self, ("rates.no_tool",), acts="rates.no_tool_rl: only products have traces by hand to tune on")
        if self.task.kind == "multiplication" or self.task.test_file:
            refuse_idle(self, ("traces.drafts", "traces.places"), acts="them in tenfold train cort")


def _muon(steps: int, batch_size: int, rate: float, checkpoint_every: int) -> SFTSettings:
    optimizer = OptimizerSettings(name="muon_clip", learning_rate=rate, schedule="cosine", warmup_steps=20)
    return SFTSettings(
        steps=steps, batch_size=batch_size, max_length=0, optimizer=optimizer, checkpoint_every=checkpoint_every
    )


def _adamw(steps: int, batch_size: int) -> SFTSettings:
    optimizer = OptimizerSettings(schedule="cosine", warmup_steps=5, beta2=0.95)
    return SFTSettings(steps=steps, batch_size=batch_size, max_length=0, optimizer=optimizer, checkpoint_every=50)


def _reinforcement(steps: int, prompts: int, generations: int, length: int, evaluate_every: int) -> GRPOSettings:
    return GRPOSettings(
        steps=steps,
        prompts_per_step=prompts,
        num_generations=generations,
        max_completion_length=length,
        scale_rewards="group",
        optimizer=OptimizerSettings(schedule="linear", warmup_steps=3, beta2=0.99),
        log_every=2,
        evaluate_every=evaluate_every,
        checkpoint_every=20,
    )


def smoke() -> Config:
    """A few steps of everything, in seconds; its policy gets nothing right, so that GRPO learns by entropy alone."""
    grpo = _reinforcement(steps=3, prompts=2, generations=2, length=24, evaluate_every=3)
    return Config(
        task=TaskConfig(num_test=8, num_validation=4),
        policy=PolicyConfig(width=32, layers=1),
        base=BaseConfig(num_problems=32, programs=_muon(3, 8, 2e-2, 2), thinking=_muon(3, 8, 2e-2, 2)),
        traces=TracesConfig(
            num_problems=6, num_examples=4, num_hinted=2, rft_samples=1, max_new_tokens=24, only_right=False
        ),
        sft=replace(_adamw(3, 4), checkpoint_every=2),
        grpo=replace(grpo, entropy_coefficient=0.01, log_every=1, checkpoint_every=2),
        evaluation=EvaluationConfig(max_new_tokens=24),
    )


def laptop() -> Config:
    """Products by a transformer of 0.17 M parameters: nine arms of one seed in minutes on two cores."""
    return Config(
        base=BaseConfig(programs=_muon(160, 64, 2e-2, 40), thinking=_muon(160, 64, 2e-2, 40)),
        sft=_adamw(300, 16),
        grpo=_reinforcement(40, 8, 8, 120, 10),
    )


def gpu() -> Config:
    """Products in words by SmolLM2-135M, sized for half an hour on one GPU; untimed.

    Questions of your own in place of the products need no base: begin with the preset ``paper``, which trains none, and
    name your files and a smaller ``--policy.model``.
    """
    optimizer = OptimizerSettings(learning_rate=1e-4, schedule="cosine", warmup_fraction=0.05)
    thinking = SFTSettings(steps=300, batch_size=32, max_length=0, mixed_precision="bf16", optimizer=optimizer)
    rates = dict.fromkeys(("prompt_hint", "hint_engineering", "random_hints", "truncated", "rft", "no_tool"), 2e-5)
    return Config(
        task=TaskConfig(num_validation=200, num_test=500),
        policy=PolicyConfig(model="smollm2-135m"),
        base=BaseConfig(thinking=thinking),
        traces=TracesConfig(num_problems=400, num_examples=160, num_hinted=20, max_new_tokens=400),
        sft=replace(thinking, steps=60, batch_size=16, optimizer=replace(optimizer, learning_rate=1e-5)),
        grpo=GRPOSettings(
            steps=60,
            prompts_per_step=16,
            num_generations=8,
            max_completion_length=400,
            rollout_batch_size=64,
            scale_rewards="group",
            mixed_precision="bf16",
            optimizer=OptimizerSettings(warmup_steps=3),
            log_every=2,
            evaluate_every=20,
            checkpoint_every=20,
        ),
        rates=RatesConfig(**rates, no_tool_rl=2e-6, rl=2e-6, rl_from_base=2e-6, rl_from_base_unmasked=2e-6),
        evaluation=EvaluationConfig(max_new_tokens=400, budgets=(100, 200, 400)),
    )


def paper(task: str = "hint-engineering-rft-32b") -> Config:
    """The published setting of a stage; every value has its source in ``SOURCES``."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    stage = STAGES[task]
    tuned = ("prompt_hint", "hint_engineering", "random_hints", "truncated", "rft")
    reinforced = ("no_tool_rl", "rl", "rl_from_base", "rl_from_base_unmasked")
    return Config(
        task=TaskConfig(
            kind="questions",
            train_file=f"cort/{stage.train_file}",
            test_file="cort/aime24.jsonl",
            num_test=30,
            num_validation=0,
            grade="math",
        ),
        policy=PolicyConfig(model=stage.model),
        loop=LoopConfig(
            max_tool_calls=14, count_outputs=True, deterministic=False, seconds=stage.seconds, output_characters=800
        ),
        traces=TracesConfig(
            num_problems=max(820, stage.num_examples),
            num_examples=stage.num_examples,
            num_hinted=stage.num_hinted,
            rft_samples=4,
            max_new_tokens=16_000,
            temperature=0.6,
        ),
        sft=published_tuning(stage),
        grpo=published_reinforcement(),
        rates=RatesConfig(**dict.fromkeys(tuned, stage.rate), **dict.fromkeys(reinforced, 1e-6)),
        evaluation=EvaluationConfig(
            max_new_tokens=32_768, samples=16, batch_size=16, budgets=(4096, 8192, 16_384, 32_768)
        ),
    )


def own(data: str) -> Config:
    """Training on problems of your own, as the paper trains but for its lengths: your model, or SmolLM2-135M."""
    optimizer = OptimizerSettings(warmup_fraction=0.05)
    return Config(
        task=TaskConfig(kind="questions", train_file=data, num_validation=0, grade="math"),
        policy=PolicyConfig(model="smollm2-135m"),
        loop=LoopConfig(max_tool_calls=14, count_outputs=True, deterministic=False),
        traces=TracesConfig(num_examples=800, num_hinted=0, rft_samples=1, max_new_tokens=2048, temperature=0.6),
        sft=SFTSettings(max_length=0, optimizer=optimizer, log_every=1, checkpoint_every=25),
        grpo=GRPOSettings(
            max_completion_length=2048,
            temperature=0.6,
            top_p=0.95,
            scale_rewards="group",
            optimizer=optimizer,
            log_every=1,
            checkpoint_every=25,
        ),
        rates=RatesConfig(prompt_hint=1e-5, hint_engineering=1e-5, rl=1e-6),
        evaluation=EvaluationConfig(batch_size=64),
    )
