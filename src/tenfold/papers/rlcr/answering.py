"""What a policy answers and how sure it says it is: greedily, several times for a vote, and again for one answer.

Confidences are read as evaluation does (the first number, percent where above 1, 0 where there is none); whether the
form was right is kept beside them. The ballots of a vote are sampled answers, each with the confidence that the policy
states most readily after it: sampled at the temperature that makes the answers differ, confidences would be noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.types import Trajectory
from tenfold.eval.answer_text import normalized
from tenfold.eval.calibration import calibration_report, confidence_sum, intra_answer_std
from tenfold.eval.voting import (
    confidence_weighted_vote,
    ensembled_confidence,
    in_one_form,
    majority_vote,
    max_confidence,
)
from tenfold.papers.rlcr.config import EvaluationConfig
from tenfold.papers.rlcr.masked_addition import NUM_HIDDEN, probability_right
from tenfold.papers.rlcr.prompts import render
from tenfold.policies import Policy, Sampling, rollout
from tenfold.rewards import Parsed, Verifier, blocks_of, parse_tagged
from tenfold.study.language import prompt_ids
from tenfold.study.questions import Messages, Question, reference_of

Ballots = tuple[list[str], list[float]]
"""Sampled answers to one question, and the confidence in each; completions without an answer are left out."""


@dataclass(frozen=True)
class Answers:
    """One completion to each question.

    Args:
        trajectories: the completions.
        parsed: what they say.
        right: ``[N]``, 1 where the answer is right.
    """

    trajectories: list[Trajectory]
    parsed: list[Parsed]
    right: np.ndarray

    @property
    def confidences(self) -> np.ndarray:
        """``[N]`` in [0, 1]."""
        return np.array([parsed.confidence or 0.0 for parsed in self.parsed])


@dataclass(frozen=True)
class Examiner:
    """Puts questions to a policy, reads what it says, and marks the answers.

    Args:
        blocks: the form of a completion.
        verifier: whether an answer is right.
        stop: strings that end a completion, as in training.
        instructions: what a prompt says beside the problem, a name that ``render`` takes.
        knows_law: the questions are those of masked addition, so that the probability of any answer is known.
    """

    blocks: str
    verifier: Verifier
    stop: tuple[str, ...] = ("</confidence>",)
    instructions: str = "none"
    knows_law: bool = False

    @property
    def reads_confidence(self) -> bool:
        """Whether completions of this form state one."""
        return "confidence" in blocks_of(self.blocks)

    def prompt_of(self, question: Question) -> str | Messages:
        """How a question is put."""
        return render(question.prompt, self.instructions)

    def read(self, policy: Policy, trajectory: Trajectory) -> Parsed:
        """What a completion says."""
        return parse_tagged(policy.decode(without_end(policy, trajectory.token_ids)), self.blocks, loose=True)

    def right(self, question: Question, answer: str | None) -> bool:
        """Whether an answer is right."""
        return answer is not None and bool(self.verifier(answer, reference_of(question)))

    def chance(self, question: Question, answer: str | None) -> float:
        """The probability that an answer is right: by the law where it is known, else 1 or 0."""
        if not self.knows_law:
            return float(self.right(question, answer))
        if answer is None:
            return 0.0
        return probability_right(str(question.prompt), normalized(answer))

    def chances(self, questions: Sequence[Question], answers: Answers) -> list[float]:
        """The same for one completion to each question."""
        return [self.chance(q, parsed.answer) for q, parsed in zip(questions, answers.parsed, strict=True)]


def answer(policy: Policy, questions: Sequence[Question], examiner: Examiner, config: EvaluationConfig) -> Answers:
    """The greedy answers; equal prompts are answered once."""
    prompts = [tuple(prompt_ids(policy, examiner.prompt_of(question))) for question in questions]
    distinct = list(dict.fromkeys(prompts))
    sampling = Sampling(config.max_new_tokens, temperature=0.0, stop=examiner.stop)
    said = dict(zip(distinct, rollout(policy, distinct, sampling, batch_size=config.batch_size), strict=True))
    read = {prompt: examiner.read(policy, trajectory) for prompt, trajectory in said.items()}
    trajectories, parsed, right = [], [], []
    for question, prompt in zip(questions, prompts, strict=True):
        trajectories.append(said[prompt])
        parsed.append(read[prompt])
        right.append(examiner.right(question, read[prompt].answer))
    return Answers(trajectories, parsed, np.array(right, dtype=np.float64))


def report(answers: Answers, questions: Sequence[Question], examiner: Examiner, split: str) -> dict[str, float]:
    """All metrics of one completion a question, ``split/name``; accuracy is the expected one where the law is known."""
    metrics = calibration_report(answers.confidences, answers.right)
    metrics["accuracy"] = float(np.mean(examiner.chances(questions, answers)))
    metrics["format"] = float(np.mean([parsed.ok for parsed in answers.parsed]))
    return {f"{split}/{name}": value for name, value in metrics.items()}


def by_hidden(answers: Answers, questions: Sequence[Question]) -> dict[int, tuple[float, float]]:
    """Number of hidden operands to (mean confidence, share of right answers); empty where nobody knows it."""
    hidden_N = np.array([question.facts.get(NUM_HIDDEN, -1) for question in questions])
    table = {}
    for num_hidden in np.unique(hidden_N[hidden_N >= 0]).tolist():
        rows = hidden_N == num_hidden
        table[num_hidden] = (float(answers.confidences[rows].mean()), float(answers.right[rows].mean()))
    return table


def vote(
    policy: Policy, questions: Sequence[Question], examiner: Examiner, config: EvaluationConfig, seed: int
) -> dict[str, float]:
    """Several sampled answers to each question: accuracy of one, of the majority, weighted by confidence, the surest.

    Answers that the verifier takes for the same are counted as one. A question without any answer counts as wrong.
    """
    scores: dict[str, list[float]] = {"single": [], "majority": [], "weighted": [], "max_confidence": []}
    sums = []
    ballots = sampled_ballots(policy, questions, examiner, config, seed)
    for question, (answers, confidences) in zip(questions, ballots, strict=True):
        if not answers:
            for values in scores.values():
                values.append(0.0)
            continue
        chosen = {
            "single": answers[0],
            "majority": majority_vote(answers),
            "weighted": confidence_weighted_vote(answers, confidences),
            "max_confidence": max_confidence(answers, confidences),
        }
        for name, winner in chosen.items():
            scores[name].append(examiner.chance(question, winner))
        sums.append(confidence_sum(answers, confidences))
    metrics = {f"vote/{name}": float(np.mean(values)) for name, values in scores.items()}
    metrics["vote/gain"] = metrics["vote/weighted"] - metrics["vote/majority"]
    metrics["vote/confidence_sum"] = float(np.mean(sums)) if sums else float("nan")
    return metrics


def sampled_ballots(
    policy: Policy, questions: Sequence[Question], examiner: Examiner, config: EvaluationConfig, seed: int
) -> list[Ballots]:
    """``votes`` sampled answers to each question in one form, each with the confidence stated greedily after it."""
    sampling = Sampling(config.max_new_tokens, config.vote_temperature, stop=examiner.stop)
    prompts = [prompt_ids(policy, examiner.prompt_of(question)) for question in questions]
    said = rollout(policy, prompts, sampling, num_samples=config.votes, seed=seed, batch_size=config.batch_size)
    parsed = [examiner.read(policy, trajectory) for trajectory in said]
    known = [one.confidence or 0.0 for one in parsed]
    greedy = Sampling(config.max_new_tokens, temperature=0.0, stop=examiner.stop)
    stated = _stated_after(policy, said, known, examiner, greedy, config.batch_size)
    ballots = []
    for first in range(0, len(said), config.votes):
        answers, confidences = [], []
        for place in range(first, first + config.votes):
            text = parsed[place].answer
            if text is not None:
                answers.append(text)
                confidences.append(stated[place][0])
        ballots.append((in_one_form(answers, examiner.verifier), confidences))
    return ballots


def ensembled(
    policy: Policy, answers: Answers, examiner: Examiner, config: EvaluationConfig, seed: int
) -> dict[str, float]:
    """How the confidence in one answer varies, and Brier score and calibration error of its mean."""
    stated = resampled_confidences(policy, answers, examiner, config, seed)
    metrics = calibration_report([ensembled_confidence(one) for one in stated], answers.right)
    return {
        "ensemble/intra_answer_std": intra_answer_std(stated),
        "ensemble/brier": metrics["brier"],
        "ensemble/ece": metrics["ece"],
    }


def resampled_confidences(
    policy: Policy, answers: Answers, examiner: Examiner, config: EvaluationConfig, seed: int
) -> list[list[float]]:
    """For each answer ``resampled`` confidences, from what follows ``</answer>`` sampled anew at temperature 1.

    An answer without the closing tag keeps the confidence it has.
    """
    sampling = Sampling(config.max_new_tokens, stop=examiner.stop)
    known = answers.confidences.tolist()
    trajectories, num = answers.trajectories, config.resampled
    return _stated_after(policy, trajectories, known, examiner, sampling, config.batch_size, num=num, seed=seed)


def _stated_after(
    policy: Policy,
    trajectories: Sequence[Trajectory],
    known: Sequence[float],
    examiner: Examiner,
    sampling: Sampling,
    batch_size: int,
    *,
    num: int = 1,
    seed: int = 0,
) -> list[list[float]]:
    """For each completion ``num`` confidences, from what follows its ``</answer>``; without the tag the one known."""
    stated = [[confidence] * num for confidence in known]
    asked, prompts = [], []
    for row, trajectory in enumerate(trajectories):
        end = first_token(policy, trajectory.token_ids, "</answer>")
        if end is not None:
            # The very tokens that were sampled: their text might be encoded otherwise.
            asked.append(row)
            prompts.append([*trajectory.prompt_ids, *trajectory.token_ids[: end + 1]])
    said = rollout(policy, prompts, sampling, num_samples=num, seed=seed, batch_size=batch_size)
    for place, row in enumerate(asked):
        again = [examiner.read(policy, trajectory) for trajectory in said[place * num : (place + 1) * num]]
        stated[row] = [parsed.confidence or 0.0 for parsed in again]
    return stated


def first_token(policy: Policy, token_ids: Sequence[int], text: str) -> int | None:
    """The index of the token that completes the last occurrence of ``text``; ``None`` where it doesn't occur."""
    occurrences = policy.decode(token_ids).count(text)
    if not occurrences:
        return None
    low, high = 0, len(token_ids) - 1
    while low < high:  # the number of occurrences in a prefix grows with the prefix
        middle = (low + high) // 2
        if policy.decode(token_ids[: middle + 1]).count(text) >= occurrences:
            high = middle
        else:
            low = middle + 1
    return low


def without_end(policy: Policy, token_ids: Sequence[int]) -> Sequence[int]:
    """What was said, without the token that ended it."""
    if token_ids and token_ids[-1] in policy.end_ids:
        return token_ids[:-1]
    return token_ids
