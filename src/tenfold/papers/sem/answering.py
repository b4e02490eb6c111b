"""Responses of a policy to questions, and the numbers that SEM reports of them.

Beside the measures of ``measures.py`` there are those of the two halves: ``search_known`` and ``search_unknown`` are
the shares of searched responses to questions that the policy is expected to know, and not to know; ``first_known`` is
the accuracy of first answers to the former, which falls where a policy spoils, or forgets, what it knew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.types import Environment, Trajectory
from tenfold.data.question_answering import Question
from tenfold.papers.sem.config import EvaluationConfig
from tenfold.papers.sem.grammar import Response, read_response
from tenfold.papers.sem.measures import Measured, measure, search_calibration, summary
from tenfold.papers.sem.questions import encoded, gold_of
from tenfold.policies import Policy, Sampling, rollout

ENVIRONMENT, PROSE, SEARCH = "result", "prose", "search"
"""Who wrote a piece of a response, for the report's colours."""
Reader = Callable[[Trajectory, Any], Response]


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
        return np.array([one.searches > 0 for one in self.measured])

    @property
    def expected_known(self) -> np.ndarray:
        """Whether each question is one that the policy is expected to know."""
        return np.array([question.expected == "direct" for question in self.questions])


def answer(
    policy: Policy,
    questions: Sequence[Question],
    config: EvaluationConfig,
    environment: Environment | None,
    *,
    instructions: str,
    read: Reader = read_response,
    count_results: bool = False,
    deterministic: bool = False,
    seed: int = 0,
) -> Answers:
    """Ask each question ``samples`` times; without an environment the first answer ends the response.

    Args:
        policy: who is asked.
        questions: what.
        config: how.
        environment: what answers searches.
        instructions: of the system; empty for prompts of plain text.
        read: a trajectory and the tokenizer to what was said.
        count_results: whether results use up the length of a response.
        deterministic: whether searches are made in synchronous rounds.
        seed: of the noise.
    """
    stop = () if environment is not None else ("</answer>",)
    trajectories = rollout(
        policy,
        [encoded(policy, question, instructions) for question in questions],
        Sampling(config.max_new_tokens, config.temperature, stop=stop, count_replies=count_results),
        num_samples=config.samples,
        seed=seed,
        keys=[("answer", question.source, question.id) for question in questions],
        environment=environment,
        batch_size=config.batch_size,
        deterministic=deterministic,
    )
    responses = [read(one, policy.tokenizer) for one in trajectories]
    asked = [question for question in questions for _ in range(config.samples)]
    golds = [gold_of(question) for question in asked]
    measured = measure(responses, trajectories, golds, questions=[question.question for question in asked])
    return Answers(asked, trajectories, responses, measured)


def halves(answers: Answers) -> dict[str, float]:
    """Searching and first answers where the policy is expected to know, and where it is not."""
    first = np.array([one.first_right for one in answers.measured], dtype=float)
    metrics = {}
    for name, chosen in (("known", answers.expected_known), ("unknown", ~answers.expected_known)):
        metrics[f"search_{name}"] = _mean(answers.searched[chosen])
        metrics[f"first_{name}"] = _mean(first[chosen])
        metrics[f"f1_{name}"] = _mean(np.array([one.f1 for one in answers.measured])[chosen])
    return metrics


def report(answers: Answers, closed_book: Sequence[float], config: EvaluationConfig, split: str) -> dict[str, float]:
    """All metrics, ``split/name``; the decision is judged against closed-book accuracy."""
    metrics = summary(answers.measured, closed_book, known_from=config.known_from) | halves(answers)
    return {f"{split}/{name}": value for name, value in metrics.items()}


def items(answers: Answers, closed_book: Sequence[float], config: EvaluationConfig) -> dict[str, list[float]]:
    """What the claims' metrics are means of."""
    known = np.asarray(closed_book) >= config.known_from
    searched, expected = answers.searched.astype(float), answers.expected_known
    return {
        "test/f1": [one.f1 for one in answers.measured],
        "test/search_known": searched[expected].tolist(),
        "test/search_unknown": searched[~expected].tolist(),
        "test/over_search": searched[known].tolist(),
    }


def material(answers: Answers, closed_book: Sequence[float], policy: Policy) -> dict[str, Any]:
    """What the pictures need, as plain data: example responses, and searching over closed-book accuracy."""
    rows = search_calibration(answers.searched, closed_book)
    first = np.array(
        [number == 0 or one is not answers.questions[number - 1] for number, one in enumerate(answers.questions)]
    )
    known, unknown = (
        np.flatnonzero(first & part)[:3].tolist() for part in (answers.expected_known, ~answers.expected_known)
    )
    return {
        "calibration": [[row.size, row.mean_confidence, row.accuracy] for row in rows if row.size],
        "examples": [_example(answers, number, policy) for number in [*known, *unknown]],
    }


def _example(answers: Answers, number: int, policy: Policy) -> dict[str, Any]:
    question, trajectory = answers.questions[number], answers.trajectories[number]
    return {
        "question": question.question[-200:],
        "answer": question.answers[0],
        "expected": question.expected,
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
