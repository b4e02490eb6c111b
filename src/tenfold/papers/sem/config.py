"""Configuration of the SEM experiments: questions, policy, warm start, search, reward, training, and the presets.

Imports no torch.
"""

from dataclasses import dataclass, field
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.sem.sources import SOURCES as SOURCES
from tenfold.papers.sem.sources import TASKS as TASKS
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings

FIELDS_OF_KIND = {
    "facts": ("num_known", "num_taught"),
    "questions": ("musique_train", "mmlu_train", "musique_test", "mmlu_test", "musique_share", "num_train"),
    "own": ("data",),
}
"""Fields of ``task`` that act with one kind alone."""


def require_at_least(least: int, name: str, value: float) -> None:
    """Refuse a smaller number, and what is none."""
    if not value >= least:
        raise UserError(f"{name} = {value}: must be at least {least}")


def require_share(name: str, value: float, *, above_zero: bool = False) -> None:
    """Refuse what does not lie in [0, 1]."""
    if not 0 <= value <= 1 or (above_zero and value == 0):
        raise UserError(f"{name} = {value}: must {'be above 0 and at most 1' if above_zero else 'lie in [0, 1]'}")


@dataclass(frozen=True)
class TaskConfig:
    """What is asked."""

    kind: Literal["facts", "questions", "own"] = "facts"
    """facts: a world of made-up facts, drawn by seed; questions: MuSiQue and MMLU, from files; own: those of a user."""
    musique_train: str = ""
    """questions: MuSiQue's file of answerable questions; its paragraphs join the corpus."""
    mmlu_train: str = ""
    """questions: MMLU's file or folder to train on."""
    musique_test: str = ""
    """questions: MuSiQue's file of answerable questions to test on."""
    mmlu_test: str = ""
    """questions: MMLU's file or folder to test on."""
    musique_share: float = 0.5
    """questions: share of MuSiQue among the training questions; the rest is MMLU."""
    num_known: int = 140
    """facts: number of names whose two facts the warm start teaches."""
    num_test: int = 56
    """facts: number of known names in the test, and of unknown ones. questions: number of test questions of each
    source."""
    num_validation: int = 24
    """Size of the validation part, for curves and for choosing rates; counted as ``num_test`` is."""
    num_taught: int = 6000
    """facts: number of unknown names in the warm start, whose answers it guesses."""
    num_train: int = 0
    """questions: number of training questions; 0 for all."""
    data: str = ""
    """own: file of JSON lines with question and answers, and perhaps choices."""
    instructions: Literal["form", "none"] = "form"
    """questions, own: which form a chat explains to the policy; none gives it the plain question."""
    closed_book_samples: int = 0
    """questions, own: ask the untrained policy this often without search, and train on known and unknown questions in
    equal parts; 0 takes the questions as they are."""
    known_from: float = 0.5
    """questions, own: a training question is known if at least this share of the closed-book samples is right."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.musique_share < 1:
            raise UserError(f"musique_share = {self.musique_share}: must be above 0 and below 1")
        require_at_least(0, "closed_book_samples", self.closed_book_samples)
        require_share("known_from", self.known_from, above_zero=True)

    @property
    def reads_words(self) -> bool:
        """Whether the policy gets instructions."""
        return self.kind != "facts" and self.instructions == "form"


@dataclass(frozen=True)
class WarmStartConfig:
    """Supervised training before the reinforcement: facts, the grammar, and a weak decision to search."""

    num_examples: int = 80_000
    """Number of examples to draw for the warm start."""
    known_share: float = 0.5
    """Share of the examples of the warm start that are about known facts."""
    num_drafts: int = 3
    """Number of draft answers in the thinking; it then states whether they agree."""
    search_same: float = 0.3
    """Probability that an example searches where its draft answers are the same."""
    search_differ: float = 0.6
    """Probability that an example searches where its draft answers differ."""
    training: SFTSettings = field(default_factory=SFTSettings)
    """Settings of the supervised training; 0 steps for none."""

    def __post_init__(self) -> None:
        """Refuse drafts that cannot agree."""
        if self.num_drafts < 2:
            raise UserError(f"num_drafts = {self.num_drafts}: must be at least 2, or nothing can agree")


@dataclass(frozen=True)
class SearchConfig:
    """What is searched, and how much."""

    index: str = ""
    """questions: a folder of ``tenfold index build``; empty for BM25 over the paragraphs of the MuSiQue files."""
    passages: int = 2
    """Number of passages that a query returns."""
    max_searches: int = 1
    """Most searches of a response."""
    max_result_tokens: int = 40
    """Most tokens of a search result."""
    end_over_budget: bool = True
    """End the response at a search beyond ``max_searches``; otherwise a result says that no search is left."""
    count_results: bool = False
    """Count the tokens of search results towards the length of a response, too."""
    deterministic: bool = False
    """Search in synchronous rounds, so that a run repeats to the last bit on a CPU; all wait for a slow search."""

    def __post_init__(self) -> None:
        """Refuse limits below 1."""
        for name in ("passages", "max_searches", "max_result_tokens"):
            require_at_least(1, name, getattr(self, name))


@dataclass(frozen=True)
class RewardConfig:
    """SEM's reward; the arms change what their names say."""

    tau: float = 0.5
    """F1 of the first answer from which on it is good."""
    searched_but_known_reward: float = 0.0
    """Reward of a response that searched though its first answer was good."""
    a2_discount: float = 1.0
    """Factor on the F1 of the final answer after a search."""
    low_a2_discount: float = 0.5
    """Factor on the F1 of the final answer after a search in the arm sem_discount, instead of ``a2_discount``."""
    search_cost: float = 0.0
    """What each search takes off the reward."""
    rival: Literal["search_r1", "research", "otc_like", "boundary_contrast_like"] = "search_r1"
    """Whose reward pays the arm answer_reward."""
    search_below: float = 0.5
    """Stated confidence below which the arm sem_confidence searches."""
    normalisation: Literal["careful", "squad"] = "careful"
    """How open answers are compared, in rewards and tests. squad: as published, which makes 1/2 and 12 equal and counts
    words in every script. careful: whatever makes answers differ stays, and F1 counts Korean syllables."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        require_share("tau", self.tau, above_zero=True)
        for name in ("searched_but_known_reward", "a2_discount", "low_a2_discount", "search_below"):
            require_share(name, getattr(self, name))
        require_at_least(0, "search_cost", self.search_cost)


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rate, chosen on the validation questions over the same grid."""

    answer_reward: float = 1e-2
    """Learning rate of the arm answer_reward."""
    sem: float = 1e-2
    """Learning rate of the arm sem."""
    sem_discount: float = 1e-2
    """Learning rate of the arm sem_discount, in which an answer after a search is paid less."""
    sem_confidence: float = 1e-2
    """Learning rate of the arm sem_confidence, which has RLCR's reward for the first answer and its confidence."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How questions are answered after training."""

    max_new_tokens: int = 36
    """Most tokens that the policy says in a response."""
    temperature: float = 1.0
    """Temperature of sampling in the test; the same as in training."""
    samples: int = 1
    """Number of responses to each test question."""
    closed_book_samples: int = 8
    """Answers of the untrained policy to each test question without search, which show what it knows."""
    known_from: float = 0.5
    """A test question is known if at least this share of the closed-book samples is right."""
    batch_size: int = 1024
    """Number of responses sampled at once in the test."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("max_new_tokens", "samples", "closed_book_samples", "batch_size"):
            require_at_least(1, name, getattr(self, name))
        require_at_least(0, "temperature", self.temperature)
        require_share("known_from", self.known_from, above_zero=True)


@dataclass(frozen=True)
class Config:
    """One SEM experiment."""

    task: TaskConfig = field(default_factory=TaskConfig)
    """Which questions are asked."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The language model."""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """Supervised training before the reinforcement, the same for all arms of a seed."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """What is searched, and how much."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """What a response earns."""
    training: GRPOSettings = field(default_factory=GRPOSettings)
    """Settings of the reinforcement, the same for all arms that have one."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the reinforcement."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained policies are tested."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, and what does nothing."""
        if self.task.kind != "facts" and self.warm_start.training.steps:
            raise UserError("warm_start.training.steps: a warm start is for facts; allowed with questions: 0")
        if self.task.kind != "facts" and not self.policy.model:
            raise UserError(
                "policy.model = '': the tiny policy knows only the words of made-up facts; allowed: a name or a folder"
            )
        if self.training.evaluate_every and not self.task.num_validation:
            raise UserError(
                f"training.evaluate_every = {self.training.evaluate_every}: there are no validation questions; "
                "set task.num_validation above 0, or training.evaluate_every to 0"
            )
        self._refuse_idle_in_task()
        self._refuse_idle_in_warm_start()
        refuse_idle(self, ("training.optimizer.learning_rate",), acts="the arm's rate, such as rates.sem")
        refuse_idle(self, ("training.reward_weights",), acts="a field of the reward, such as reward.a2_discount")

    def _refuse_idle_in_task(self) -> None:
        for kind, names in FIELDS_OF_KIND.items():
            if kind != self.task.kind:
                refuse_idle(self, [f"task.{name}" for name in names], acts=f"task.kind = {kind}")
        if self.task.kind == "facts":
            of_questions = ("task.instructions", "task.closed_book_samples", "search.index")
            refuse_idle(self, of_questions, acts="task.kind = questions")
        if not self.task.closed_book_samples:
            refuse_idle(self, ("task.known_from",), acts="task.closed_book_samples above 0")

    def _refuse_idle_in_warm_start(self) -> None:
        refuse_idle(self, ("warm_start.training.epochs",), acts="warm_start.training.steps")
        refuse_idle(self, ("warm_start.training.evaluate_every",), acts="training.evaluate_every")
        if not self.warm_start.training.steps:
            lessons = ("num_examples", "known_share", "num_drafts", "search_same", "search_differ")
            names = [f"warm_start.{name}" for name in lessons]
            refuse_idle(self, names, acts="warm_start.training.steps above 0")


def smoke() -> Config:
    """A few steps of everything, until some responses are paid for; proves nothing about searching."""
    return Config(
        task=TaskConfig(num_known=12, num_test=4, num_validation=2, num_taught=20),
        policy=PolicyConfig(layers=1, context=96),
        warm_start=WarmStartConfig(num_examples=480, num_drafts=2, training=_warm_start(30, 16, warmup_steps=4)),
        search=SearchConfig(deterministic=True),
        training=_grpo(4, prompts=8, length=28, log_every=2, evaluate_every=2, checkpoint_every=2),
        evaluation=EvaluationConfig(max_new_tokens=28, samples=2, closed_book_samples=2),
    )


def laptop() -> Config:
    """The fact world and a transformer of 0.16 M parameters: all arms of one seed in minutes on two cores.

    Only the attention is adapted, and by adapters of low rank: all weights changed at this size would forget facts that
    the reinforcement does not ask for.
    """
    return Config(
        policy=PolicyConfig(context=96),
        warm_start=WarmStartConfig(training=_warm_start(800, 96, warmup_steps=20)),
        training=_grpo(80, prompts=32, length=36, log_every=5, evaluate_every=10, checkpoint_every=20),
        evaluation=EvaluationConfig(samples=4),
    )


def _warm_start(steps: int, batch_size: int, warmup_steps: int) -> SFTSettings:
    optimizer = OptimizerSettings(name="muon_clip", learning_rate=3e-2, schedule="cosine", warmup_steps=warmup_steps)
    return SFTSettings(steps=steps, batch_size=batch_size, max_length=0, optimizer=optimizer, checkpoint_every=400)


def _grpo(
    steps: int, prompts: int, length: int, log_every: int, evaluate_every: int, checkpoint_every: int
) -> GRPOSettings:
    return GRPOSettings(
        steps=steps,
        prompts_per_step=prompts,
        num_generations=8,
        max_completion_length=length,
        optimizer=OptimizerSettings(schedule="linear", beta2=0.99),
        lora=LoraSettings(rank=8, alpha=8.0, target_modules=("q_proj", "k_proj", "v_proj", "o_proj")),
        log_every=log_every,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
    )


def gpu() -> Config:
    """MuSiQue and MMLU by a small instruction-tuned model, sized for half an hour on one GPU; untimed."""
    return Config(
        task=_published_task(num_test=250, num_train=4000),
        policy=PolicyConfig(model="Qwen/Qwen2.5-1.5B-Instruct"),
        warm_start=_none(),
        search=SearchConfig(passages=3, max_searches=2, max_result_tokens=400),
        reward=RewardConfig(normalisation="squad"),
        training=GRPOSettings(
            steps=100,
            prompts_per_step=16,
            num_generations=8,
            gradient_accumulation=8,
            max_prompt_length=512,
            max_completion_length=512,
            rollout_batch_size=64,
            beta=0.001,
            mixed_precision="bf16",
            gradient_checkpointing=True,
            log_every=1,
            checkpoint_every=25,
        ),
        rates=_rates(1e-6),
        evaluation=EvaluationConfig(max_new_tokens=512, closed_book_samples=4, batch_size=128),
    )


def paper(task: str = "qwen2.5-7b") -> Config:
    """The setting of a published model as far as it is known; every value has its source in ``SOURCES``."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    return Config(
        task=_published_task(num_test=1000, num_train=0),
        policy=PolicyConfig(model={"qwen2.5-7b": "Qwen/Qwen2.5-7B", "qwen2.5-14b": "Qwen/Qwen2.5-14B"}[task]),
        warm_start=_none(),
        search=SearchConfig(passages=5, max_searches=4, max_result_tokens=1500, count_results=True),
        reward=RewardConfig(normalisation="squad"),
        training=GRPOSettings(
            steps=200,
            prompts_per_step=256,
            num_generations=5,
            gradient_accumulation=160,
            max_prompt_length=512,
            max_completion_length=8192,
            rollout_batch_size=16,
            beta=0.001,
            scale_rewards="group",
            mixed_precision="bf16",
            gradient_checkpointing=True,
            log_every=1,
            checkpoint_every=50,
        ),
        rates=_rates(1e-6),
        evaluation=EvaluationConfig(max_new_tokens=8192, closed_book_samples=8, batch_size=16),
    )


def own(data: str) -> Config:
    """Questions and an index of your own, for ``tenfold train sem``; the index is ``search.index``."""
    return Config(
        task=TaskConfig(kind="own", data=data, num_validation=0),
        policy=PolicyConfig(model="smollm2-135m"),
        warm_start=_none(),
        search=SearchConfig(
            passages=5, max_searches=4, max_result_tokens=500, end_over_budget=False, count_results=True
        ),
        training=GRPOSettings(
            steps=100,
            prompts_per_step=8,
            num_generations=8,
            max_completion_length=1024,
            beta=0.001,
            scale_rewards="group",
            optimizer=OptimizerSettings(warmup_fraction=0.05),
            log_every=1,
            checkpoint_every=25,
        ),
        rates=_rates(1e-6),
    )


def _published_task(num_test: int, num_train: int) -> TaskConfig:
    return TaskConfig(
        kind="questions",
        musique_train="musique/train.jsonl",
        mmlu_train="mmlu/train",
        musique_test="musique/dev.jsonl",
        mmlu_test="mmlu/test",
        num_test=num_test,
        num_validation=0,
        num_train=num_train,
    )


def _none() -> WarmStartConfig:
    return WarmStartConfig(training=SFTSettings(steps=0))


def _rates(rate: float) -> RatesConfig:
    return RatesConfig(answer_reward=rate, sem=rate, sem_discount=rate, sem_confidence=rate)
