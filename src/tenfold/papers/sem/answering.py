"""Responses of a policy to questions, and the numbers that SEM reports of them.

Beside the measures of ``measures.py`` there are those of the two halves: ``search_known`` and ``search_unknown`` are
the shares of searched responses to questions that the policy is expected to know, and not to know; ``first_known`` is
the accuracy of first answers to the former, which falls where a policy spoils, or forgets, what it knew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Trajectory
from tenfold.papers.sem.config import EvaluationConfig
from tenfold.papers.sem.grammar import Response
from tenfold.papers.sem.measures import Measured, column, measure, search_calibration, summary
from tenfold.papers.sem.prompts import prompt_of
from tenfold.papers.sem.questions import gold_of
from tenfold.papers.sem.study import Study
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study.language import prompt_ids
from tenfold.study.questions import Question

ENVIRONMENT, PROSE, SEARCH = "result", "prose", "search"
"""Who wrote a piece of a response, for the report's colours."""
EXAMPLES = 3
"""Known questions of the report's example responses, and as many unknown ones."""


@dataclass(frozen=True)
class Answers:
    """Responses to questions.

    Args:
        questions: what was asked, one for each response; samples of one question stand together.
        trajectories: what was said and inserted.
        responses: the same, read.
        measured: and judged.
    """

    questions: list[Question]
    trajectories: list[Trajectory]
    responses: list[Response]
    measured: list[Measured]

    @property
    def searched(self) -> np.ndarray:
        """Whether each response searched."""
        return column(self.measured, "searches") > 0

    @property
    def expected_known(self) -> np.ndarray:
        """Whether each question is one that the policy is expected to know."""
        return np.array([question.facts["expected"] == "direct" for question in self.questions])

    @property
    def f1(self) -> np.ndarray:
        """F1 of each final answer."""
        return column(self.measured, "f1")

    @property
    def first_right(self) -> np.ndarray:
        """Whether each first answer is right."""
        return column(self.measured, "first_right")


def ask(study: Study, policy: Policy, questions: Sequence[Question]) -> Answers:
    """Ask each question ``samples`` times in the form of an arm.

    Args:
        study: one arm with one seed.
        policy: who is asked.
        questions: what.
    """
    form, evaluation, search = study.arm.form, study.config.evaluation, study.config.search
    environment = form.searching(study.search(policy), study.config.reward)
    stop: tuple[str, ...] = ()
    if environment is None:  # the first answer ends a response without a search
        stop = ("</answer>",)
    sampling = Sampling(
        evaluation.max_new_tokens, evaluation.temperature, stop=stop, count_replies=search.count_results
    )
    instructions = study.instructions(form.instructions)
    prompts, keys = [], []
    asked: list[Question] = []  # one for each response
    for question in questions:
        prompts.append(prompt_ids(policy, prompt_of(question, instructions)))
        keys.append(("answer", question.source, question.key))
        asked += [question] * evaluation.samples
    trajectories = rollout(
        policy,
        prompts,
        sampling,
        num_samples=evaluation.samples,
        seed=key_to_seed(study.seed, "test"),
        keys=keys,
        environment=environment,
        batch_size=evaluation.batch_size,
        deterministic=search.deterministic,
    )
    responses = [form.read(said, policy.tokenizer) for said in trajectories]
    texts = [str(question.prompt) for question in asked]
    golds = [gold_of(question, study.config.reward.normalisation) for question in asked]
    measured = measure(responses, trajectories, golds, questions=texts)
    return Answers(asked, trajectories, responses, measured)


def halves(answers: Answers) -> dict[str, float]:
    """Searching and first answers where the policy is expected to know, and where it is not."""
    metrics = {}
    for name, chosen in (("known", answers.expected_known), ("unknown", ~answers.expected_known)):
        metrics[f"search_{name}"] = _mean(answers.searched[chosen])
        metrics[f"first_{name}"] = _mean(answers.first_right[chosen])
        metrics[f"f1_{name}"] = _mean(answers.f1[chosen])
    return metrics


def validated(answers: Answers) -> dict[str, float]:
    """What curves and the choice of rates go by; F1 first."""
    return _of_split("validation", {"f1": sum(answers.f1.tolist()) / len(answers.measured)} | halves(answers))


def report(answers: Answers, closed_book: Sequence[float], config: EvaluationConfig, split: str) -> dict[str, float]:
    """All metrics, ``split/name``; the decision is judged against closed-book accuracy."""
    return _of_split(split, summary(answers.measured, closed_book, known_from=config.known_from) | halves(answers))


def _of_split(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in metrics.items()}


def items(answers: Answers, closed_book: Sequence[float], config: EvaluationConfig) -> dict[str, list[float]]:
    """What the claims' metrics are means of."""
    known = np.asarray(closed_book) >= config.known_from
    searched, expected = answers.searched.astype(float), answers.expected_known
    return {
        "test/f1": answers.f1.tolist(),
        "test/search_known": searched[expected].tolist(),
        "test/search_unknown": searched[~expected].tolist(),
        "test/over_search": searched[known].tolist(),
    }


def drawn_from(answers: Answers, closed_book: Sequence[float], policy: Policy) -> dict[str, Any]:
    """What pictures are drawn from: example responses, and searching over closed-book accuracy."""
    rows = search_calibration(answers.searched, closed_book)
    return {
        "calibration": [[row.size, row.mean_confidence, row.accuracy] for row in rows if row.size],
        "examples": [_example(answers, number, policy) for number in _shown(answers)],
    }


def _shown(answers: Answers) -> list[int]:
    """The first responses to the first known questions, then to the first unknown ones."""
    known: list[int] = []
    unknown: list[int] = []
    for number, question in enumerate(answers.questions):
        if number and question is answers.questions[number - 1]:
            continue  # another sample of the same question
        chosen = known if answers.expected_known[number] else unknown
        chosen.append(number)
    return [*known[:EXAMPLES], *unknown[:EXAMPLES]]


def _example(answers: Answers, number: int, policy: Policy) -> dict[str, Any]:
    question, trajectory = answers.questions[number], answers.trajectories[number]
    return {
        "question": str(question.prompt)[-200:],
        "answer": question.answers[0],
        "expected": question.facts["expected"],
        "first_right": answers.measured[number].first_right,
        "right": answers.measured[number].right,
        "pieces": pieces(trajectory, policy),
    }


def pieces(trajectory: Trajectory, policy: Policy) -> list[list[str]]:
    """A response as ``[kind, text]``: the policy's prose, its searches, the environment's results."""
    found: list[list[str]] = []
    opened = False  # by the environment, as in the arms that decide for the policy
    for piece, sampled in _runs(trajectory):
        text = policy.decode(piece)
        if not sampled:
            found.append([ENVIRONMENT, text])
            opened = text.endswith("search>")
            continue
        before, tag, query = ("", "", text) if opened else text.partition("<search>")
        found += [[PROSE, before]] * bool(before) + [[SEARCH, tag + query]] * bool(tag + query)
    return found


def _runs(trajectory: Trajectory) -> list[tuple[list[int], bool]]:
    """Tokens in a row that were all sampled, or all inserted."""
    runs: list[tuple[list[int], bool]] = []
    for token, sampled in zip(trajectory.token_ids, trajectory.loss_mask, strict=True):
        if not runs or runs[-1][1] != sampled:
            runs.append(([], sampled))
        runs[-1][0].append(token)
    return runs


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
