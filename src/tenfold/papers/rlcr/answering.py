"""What a policy answers and how sure it says it is: greedily, several times for a vote, and again for one answer.

Confidences are read as evaluation does (the first number, percent where above 1, 0 where there is none); whether the
form was right is kept beside them. The ballots of a vote are sampled answers, each with the confidence that the policy
states most readily after it: sampled at the temperature that makes the answers differ, confidences would be noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.types import Message, Trajectory
from tenfold.eval.calibration import calibration_report, confidence_sum, intra_answer_std
from tenfold.eval.exact_match import normalized
from tenfold.eval.voting import (
    confidence_weighted_vote,
    ensembled_confidence,
    in_one_form,
    majority_vote,
    max_confidence,
)
from tenfold.papers.rlcr.config import EvaluationConfig
from tenfold.papers.rlcr.masked_addition import probability_right
from tenfold.papers.rlcr.questions import Question
from tenfold.policies import Policy, Sampling, rollout
from tenfold.rewards import Parsed, Verifier, blocks_of, parse_tagged


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
class Judge:
    """How completions are read.

    Args:
        blocks: their form.
        verifier: whether an answer is right.
        stop: strings that end a completion, as in training.
        knows_law: the questions are those of masked addition, so that the probability of any answer is known.
    """

    blocks: str
    verifier: Verifier
    stop: tuple[str, ...] = ("</confidence>",)
    knows_law: bool = False

    @property
    def reads_confidence(self) -> bool:
        """Whether completions of this form state one."""
        return "confidence" in blocks_of(self.blocks)

    def read(self, policy: Policy, trajectory: Trajectory) -> Parsed:
        """What a completion says."""
        return parse_tagged(policy.decode(_without_end(policy, trajectory.token_ids)), self.blocks, loose=True)

    def right(self, question: Question, answer: str | None) -> bool:
        """Whether an answer is right."""
        return answer is not None and bool(self.verifier(answer, question.answer))

    def chance(self, question: Question, answer: str | None) -> float:
        """The probability that an answer is right: by the law where it is known, else 1 or 0."""
        if not self.knows_law:
            return float(self.right(question, answer))
        return probability_right(question.text, None if answer is None else normalized(answer))


def encode(policy: Policy, question: Question) -> list[int]:
    """The tokens of a prompt."""
    if isinstance(question.prompt, str):
        return policy.encode(question.prompt, start=True)
    return policy.chat([Message(message["role"], message["content"]) for message in question.prompt])


def answer(policy: Policy, questions: Sequence[Question], judge: Judge, config: EvaluationConfig) -> Answers:
    """The greedy answers; equal prompts are answered once."""
    prompts = [tuple(encode(policy, question)) for question in questions]
    distinct = list(dict.fromkeys(prompts))
    sampling = Sampling(config.max_new_tokens, temperature=0.0, stop=judge.stop)
    said = dict(zip(distinct, rollout(policy, distinct, sampling, batch_size=config.batch_size), strict=True))
    parsed = {prompt: judge.read(policy, trajectory) for prompt, trajectory in said.items()}
    right = [judge.right(q, parsed[prompt].answer) for q, prompt in zip(questions, prompts, strict=True)]
    return Answers(
        [said[prompt] for prompt in prompts], [parsed[p] for p in prompts], np.array(right, dtype=np.float64)
    )


def report(answers: Answers, questions: Sequence[Question], judge: Judge, split: str) -> dict[str, float]:
    """All metrics of one completion a question, ``split/name``; accuracy is the expected one where the law is known."""
    metrics = calibration_report(answers.confidences, answers.right)
    chances = [judge.chance(q, parsed.answer) for q, parsed in zip(questions, answers.parsed, strict=True)]
    metrics |= {"accuracy": float(np.mean(chances)), "format": float(np.mean([p.ok for p in answers.parsed]))}
    return {f"{split}/{name}": value for name, value in metrics.items()}


def by_hidden(answers: Answers, questions: Sequence[Question]) -> dict[int, tuple[float, float]]:
    """Number of hidden operands to (mean confidence, share of right answers); empty where nobody knows it."""
    hidden = np.array([question.num_hidden for question in questions])
    return {
        int(k): (float(answers.confidences[hidden == k].mean()), float(answers.right[hidden == k].mean()))
        for k in np.unique(hidden)
        if k >= 0
    }


def vote(
    policy: Policy, questions: Sequence[Question], judge: Judge, config: EvaluationConfig, seed: int
) -> dict[str, float]:
    """Several sampled answers to each question: accuracy of one, of the majority, weighted by confidence, the surest.

    Answers that the verifier takes for the same are counted as one. Completions without an answer don't vote; a
    question without any answer counts as wrong.
    """
    sampling = Sampling(config.max_new_tokens, config.vote_temperature, stop=judge.stop)
    prompts = [encode(policy, question) for question in questions]
    said = rollout(policy, prompts, sampling, num_samples=config.votes, seed=seed, batch_size=config.batch_size)
    parsed = [judge.read(policy, trajectory) for trajectory in said]
    greedy = Sampling(config.max_new_tokens, temperature=0.0, stop=judge.stop)
    stated = _stated_after(policy, said, [p.confidence or 0.0 for p in parsed], judge, greedy, config.batch_size)
    rules = {
        "single": lambda answers, confidences: answers[0],
        "majority": lambda answers, confidences: majority_vote(answers),
        "weighted": confidence_weighted_vote,
        "max_confidence": max_confidence,
    }
    scores: dict[str, list[float]] = {name: [] for name in rules}
    sums = []
    for number, question in enumerate(questions):
        places = range(number * config.votes, (number + 1) * config.votes)
        ballots = [(answer, stated[place][0]) for place in places if (answer := parsed[place].answer) is not None]
        answers = in_one_form([answer for answer, _ in ballots], judge.verifier)
        confidences = [confidence for _, confidence in ballots]
        for name, rule in rules.items():
            scores[name].append(judge.chance(question, rule(answers, confidences)) if ballots else 0.0)
        if ballots:
            sums.append(confidence_sum(answers, confidences))
    metrics = {f"vote/{name}": float(np.mean(values)) for name, values in scores.items()}
    gain = metrics["vote/weighted"] - metrics["vote/majority"]
    return metrics | {"vote/gain": gain, "vote/confidence_sum": float(np.mean(sums)) if sums else float("nan")}


def resampled_confidences(
    policy: Policy, answers: Answers, judge: Judge, config: EvaluationConfig, num: int, seed: int
) -> list[list[float]]:
    """For each answer ``num`` confidences, from what follows ``</answer>`` sampled anew at temperature 1.

    An answer without the closing tag keeps the confidence it has.
    """
    sampling = Sampling(config.max_new_tokens, stop=judge.stop)
    known = answers.confidences.tolist()
    return _stated_after(policy, answers.trajectories, known, judge, sampling, config.batch_size, num=num, seed=seed)


def _stated_after(
    policy: Policy,
    trajectories: Sequence[Trajectory],
    known: Sequence[float],
    judge: Judge,
    sampling: Sampling,
    batch_size: int,
    *,
    num: int = 1,
    seed: int = 0,
) -> list[list[float]]:
    """For each completion ``num`` confidences, from what follows its ``</answer>``; without the tag the one known."""
    prefixes = [_up_to_answer(policy, trajectory) for trajectory in trajectories]
    asked = [row for row, prefix in enumerate(prefixes) if prefix is not None]
    prompts = [[*trajectories[row].prompt_ids, *(prefixes[row] or ())] for row in asked]
    said = rollout(policy, prompts, sampling, num_samples=num, seed=seed, batch_size=batch_size)
    stated = [[confidence] * num for confidence in known]
    for place, row in enumerate(asked):
        texts = [policy.decode(_without_end(policy, t.token_ids)) for t in said[place * num :][:num]]
        stated[row] = [parse_tagged(text, judge.blocks, loose=True).confidence or 0.0 for text in texts]
    return stated


def ensembled(
    policy: Policy, answers: Answers, judge: Judge, config: EvaluationConfig, num: int, seed: int
) -> dict[str, float]:
    """How the confidence in one answer varies, and Brier score and calibration error of its mean."""
    stated = resampled_confidences(policy, answers, judge, config, num, seed)
    metrics = calibration_report([ensembled_confidence(one) for one in stated], answers.right)
    return {
        "ensemble/intra_answer_std": intra_answer_std(stated),
        "ensemble/brier": metrics["brier"],
        "ensemble/ece": metrics["ece"],
    }


def _up_to_answer(policy: Policy, trajectory: Trajectory) -> list[int] | None:
    """The tokens of a completion up to the end of its answer; a prefix is found by text, and never encoded again."""
    place = first_token(policy, trajectory.token_ids, "</answer>")
    return None if place is None else trajectory.token_ids[: place + 1]


def first_token(policy: Policy, token_ids: Sequence[int], text: str) -> int | None:
    """The index of the token that completes the last occurrence of ``text``; ``None`` where it doesn't occur."""
    occurrences = policy.decode(token_ids).count(text)
    if not occurrences:
        return None
    low, high = 0, len(token_ids) - 1
    while low < high:  # the number of occurrences in a prefix grows with the prefix
        middle = (low + high) // 2
        complete = policy.decode(token_ids[: middle + 1]).count(text) >= occurrences
        low, high = (low, middle) if complete else (middle + 1, high)
    return low


def _without_end(policy: Policy, token_ids: Sequence[int]) -> Sequence[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in policy.end_ids else token_ids
