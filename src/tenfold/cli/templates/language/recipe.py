"""One run of paper_name, top to bottom: questions, warm start, reinforcement, test. The arms differ in the reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.paper_name.config import Config, TaskConfig
from tenfold.papers.paper_name.method import exact, graded
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study import pictures
from tenfold.study.language import build_policy, evaluated_as, prompt_ids
from tenfold.study.questions import Question, as_dataset, as_demonstrations
from tenfold.study.stages import policy_made_once
from tenfold.study.tuning import at_rate
from tenfold.train.distributed import device_of
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
        source="no difference",
        headline=True,
    ),
)
CHOSEN_ON = (0, 1, 2, 1000)
"""Sizes and steps on 0 to 2, rates on 1000: seeds that a verdict must not be taken from."""
PLAN = Plan(laptop=(10, 11, 12, 13, 14), why="five, the fewest: no pilot was run")
_RATES = (1e-4, 3e-4, 1e-3)
GRID = {"rates.exact": _RATES, "rates.graded": _RATES}


@dataclass(frozen=True)
class Split:
    """Questions of three parts, none of them in two; all arms of a seed see the same."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Reinforce one arm with one seed and test it."""
    questions = split_questions(config.task, seed)
    start = warm_start(config, cell)
    before = accuracy(config, start, questions.test)
    trained = reinforce(config, ARMS[arm], start, questions, cell)
    if cell.is_main:
        trained.save(cell.directory / "model")
    right = graded_answers(config, trained, questions.test)
    return Scores(
        metrics={"test/accuracy": sum(right) / len(right), "start/accuracy": before},
        items={"test/accuracy": right},
        curves=cell.curves(),
    )


def split_questions(task: TaskConfig, seed: int) -> Split:
    """All sums of two numbers in an order of the seed's own, cut in three.

    Raises:
        UserError: questions of a user's own are asked for, which are not cut.
    """
    if task.kind == "own":
        raise UserError("task.kind = own is only for tenfold train; allowed in a run: sums")
    numbers = numpy_generator(seed, "split").permutation((task.largest + 1) ** 2).tolist()
    questions = [sum_of(*divmod(number, task.largest + 1)) for number in numbers]
    first, second = task.num_test, task.num_test + task.num_validation
    return Split(test=questions[:first], validation=questions[first:second], train=questions[second:])


def sum_of(a: int, b: int) -> Question:
    """One sum as a question."""
    return Question(prompt=f"{a}+{b}=", answers=(str(a + b),), key=f"{a}+{b}")


def warm_start(config: Config, cell: Cell) -> Policy:
    """The policy that all arms of a seed start from; made once, so it may depend on nothing of an arm."""

    def make(stage: Cell) -> Policy:
        policy = build_policy(config.policy, ALPHABET, seed=key_to_seed(stage.seed, "policy"), device=device_of(stage))
        shown = as_demonstrations(split_questions(config.task, stage.seed).train, lambda one: one.answers[0])
        if not config.warm_start.total_steps(len(shown)):
            return policy
        return sft(policy, shown, config.warm_start, stage)

    return policy_made_once(cell, "warm-start", make)


def reinforce(config: Config, arm: Arm, policy: Policy, questions: Split, cell: Cell) -> Policy:
    """GRPO with the arm's reward at the arm's rate, measured on the validation questions if there are any."""
    evaluate = None
    if questions.validation:
        held_out = questions.validation
        evaluate = evaluated_as(policy.tokenizer, lambda one: {"validation/accuracy": accuracy(config, one, held_out)})
    settings = at_rate(config.training, getattr(config.rates, arm.rate))
    return grpo(policy, as_dataset(questions.train), [arm.reward], settings, cell, evaluate=evaluate)


def graded_answers(config: Config, policy: Policy, questions: Sequence[Question]) -> list[float]:
    """1 for each question whose greedy answer is right, else 0."""
    prompts = [prompt_ids(policy, question.prompt) for question in questions]
    greedy = Sampling(max_new_tokens=config.training.max_completion_length, temperature=0.0)
    texts = [policy.decode(said.token_ids) for said in rollout(policy, prompts, greedy)]
    return exact(texts, [question.answers[0] for question in questions])


def accuracy(config: Config, policy: Policy, questions: Sequence[Question]) -> float:
    """The share of questions that are answered rightly."""
    right = graded_answers(config, policy, questions)
    return sum(right) / len(right)


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """Accuracy on validation questions of the arm whose rate stands at ``field``; for choosing rates."""
    arm = next(arm for arm in ARMS.values() if field == f"rates.{arm.rate}")
    questions = split_questions(config.task, cell.seed)
    trained = reinforce(config, arm, warm_start(config, cell), questions, cell)
    return {"validation/accuracy": accuracy(config, trained, questions.validation)}


def figures(report: Report) -> list[Picture]:
    """Accuracy of each arm, and learning curves."""
    cells, colour_of = pictures.finished(report), pictures.colours(list(ARMS))
    if not cells:
        return []
    figure, ((left, right),) = pictures.panels(2)
    pictures.draw_bars(left, cells, "test/accuracy", colour_of)
    left.set(xlabel="accuracy", xlim=(0, 1))
    pictures.draw_curves(right, cells, pictures.named("validation/accuracy"), colour_of)
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
        "seconds": 1e-3 * completions * len(ARMS) + 0.02 * config.warm_start.steps + 10.0,
    }
