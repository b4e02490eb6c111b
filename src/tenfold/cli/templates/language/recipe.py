"""One run of paper_name, top to bottom: questions, warm start, reinforcement, test. The arms differ in the reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.papers.paper_name.config import Config, TaskConfig
from tenfold.papers.paper_name.method import exact, graded, number_in
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study import pictures
from tenfold.study.language import build_policy, evaluated_as, prompt_ids
from tenfold.study.questions import Question, as_dataset
from tenfold.study.stages import policy_made_once
from tenfold.study.tuning import at_rate
from tenfold.train.grpo import grpo
from tenfold.train.sft import sft

ALPHABET = "0123456789+="


@dataclass(frozen=True)
class Arm:
    """What an arm is, and all that it does differently."""

    text: str
    reward: Callable[..., list[float]]
    rate: str


ARMS: Mapping[str, Arm] = {
    "exact": Arm("GRPO on right answers alone", exact, rate="exact"),
    "graded": Arm("GRPO on right and nearly right answers", graded, rate="graded"),
}
CLAIMS = (
    Claim(
        id="graded",
        text="A reward for nearly right answers ends with more right ones.",
        kind="superiority",
        metric="test/accuracy",
        split="test",
        arm="graded",
        baseline="exact",
        direction="higher",
        margin=0.0,
        budget="equal warm start, steps and samples; rates from one grid on validation questions of another seed",
    ),
)
_RATES = (3e-4, 1e-3, 3e-3)
GRID = {"rates.exact": _RATES, "rates.graded": _RATES}


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Reinforce one arm with one seed and test it."""
    start = warm_start(config, cell)
    part = cell.parts({"reinforcement": config.training.steps})["reinforcement"]
    before = accuracy(start, sums(config.task, config.task.num_test, seed, "test"))
    trained = reinforce(config, ARMS[arm], start, training_questions(config, seed), part)
    if cell.is_main:
        trained.save(cell.directory / "model")
    right = graded_answers(trained, sums(config.task, config.task.num_test, seed, "test"))
    return Scores(
        metrics={"test/accuracy": sum(right) / len(right), "start/accuracy": before},
        items={"test/accuracy": right},
        curves=cell.curves(),
    )


def sums(task: TaskConfig, num: int, *key: int | str) -> list[Question]:
    """Sums of two numbers as questions; equal keys give equal questions."""
    pairs = numpy_generator(*key, "sums").integers(task.largest + 1, size=(num, 2)).tolist()
    return [Question(f"{a}+{b}=", (str(a + b),), f"{number}") for number, (a, b) in enumerate(pairs)]


def training_questions(config: Config, seed: int) -> list[Question]:
    """As many as the reinforcement asks for."""
    return sums(config.task, config.training.steps * config.training.prompts_per_step, seed, "training")


def warm_start(config: Config, cell: Cell) -> Policy:
    """The policy that all arms of a seed start from; made once."""

    def make(stage: Cell) -> Policy:
        policy = build_policy(config.policy, ALPHABET, seed=key_to_seed(stage.seed, "policy"))
        if not config.warm_start.steps:
            return policy
        shown = sums(config.task, config.warm_start.steps * config.warm_start.batch_size, stage.seed, "warm start")
        rows = as_dataset(shown).select_columns(["prompt", "answer"]).rename_column("answer", "completion")
        return sft(policy, rows, config.warm_start, stage)

    return policy_made_once(cell, "warm-start", make)


def reinforce(config: Config, arm: Arm, policy: Policy, questions: Sequence[Question], cell: Cell) -> Policy:
    """GRPO with the arm's reward at the arm's rate."""
    evaluate = None
    if not config.task.file:
        held_out = sums(config.task, config.task.num_validation, cell.seed, "validation")
        evaluate = evaluated_as(policy.tokenizer, lambda shown: {"validation/accuracy": accuracy(shown, held_out)})
    settings = at_rate(config.training, getattr(config.rates, arm.rate))
    return grpo(policy, as_dataset(questions), [arm.reward], settings, cell, evaluate=evaluate)


def graded_answers(policy: Policy, questions: Sequence[Question]) -> list[float]:
    """1 for each question whose greedy answer is right, else 0."""
    prompts = [prompt_ids(policy, question.prompt) for question in questions]
    said = rollout(policy, prompts, Sampling(max_new_tokens=4, temperature=0.0))
    texts = [policy.decode(trajectory.token_ids) for trajectory in said]
    return [float(number_in(text) == int(q.answers[0])) for text, q in zip(texts, questions, strict=True)]


def accuracy(policy: Policy, questions: Sequence[Question]) -> float:
    """The share of questions that are answered rightly."""
    right = graded_answers(policy, questions)
    return sum(right) / len(right)


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """Accuracy on validation questions of the arm whose rate stands at ``field``; for choosing rates."""
    arm = next(arm for arm in ARMS.values() if field == f"rates.{arm.rate}")
    trained = reinforce(config, arm, warm_start(config, cell), training_questions(config, cell.seed), cell)
    held_out = sums(config.task, config.task.num_validation, cell.seed, "validation")
    return {"validation/accuracy": accuracy(trained, held_out)}


def figures(report: Report) -> list[Picture]:
    """Accuracy of each arm, and learning curves."""
    cells, colour_of = pictures.finished(report), pictures.colours(list(ARMS))
    if not cells:
        return []
    figure, ((left, right),) = pictures.panels(2)
    pictures.draw_bars(left, cells, "test/accuracy", colour_of)
    left.set(xlabel="accuracy", xlim=(0, 1))
    pictures.draw_curves(right, cells, pictures.named("reinforcement/validation/accuracy"), colour_of)
    right.set(xlabel="steps of GRPO", ylabel="accuracy on validation questions")
    pictures.finish(left)
    pictures.finish(right, legend=True)
    caption = "Left: mean over seeds, and single seeds. Right: thin lines are seeds, thick ones their mean."
    return [Picture("accuracy", "Accuracy and training", caption, figure)]


def estimate(config: Config) -> dict[str, float]:
    """Rough size of a seed of both arms, for ``--dry-run``; unknown for a model on disk or on the hub."""
    if config.policy.model:
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    parameters = float(build_policy(config.policy, ALPHABET, seed=0).num_parameters)
    completions = config.training.steps * config.training.prompts_per_step * config.training.num_generations
    return {
        "parameters": parameters,
        "memory_bytes": 16 * parameters + 1e9,
        "seconds": 2e-3 * completions * len(ARMS) + 0.05 * config.warm_start.steps + 10.0,
    }
