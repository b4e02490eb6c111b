"""What the arms of a seed share, made once: the warm start, and what it knows by closed-book samples.

A warm start teaches half of the facts and the grammar by examples in tokens, in which searches have the very results
that the environment gives. The composition with RLCR has one of its own, which teaches to state a confidence.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Turn
from tenfold.papers.sem import fact_world
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.environment import SearchEnvironment
from tenfold.papers.sem.fact_world import Lesson, lessons
from tenfold.papers.sem.prompts import CLOSED_BOOK
from tenfold.papers.sem.questions import balanced, closed_book_accuracy
from tenfold.papers.sem.study import Study
from tenfold.policies import Policy, Sampling
from tenfold.study.language import build_policy
from tenfold.study.questions import Question
from tenfold.study.stages import json_made_once, policy_made_once
from tenfold.train.distributed import device_of
from tenfold.train.sft import sft

_CLOSED_BOOK_STOP = ("</answer>",)  # what follows the first answer is not read


def build(config: Config, seed: int, device: str | torch.device = "cpu") -> Policy:
    """The policy before any training; equal seeds give equal weights."""
    weights = key_to_seed(seed, "policy")
    return build_policy(config.policy, fact_world.ALPHABET, fact_world.SPECIAL, seed=weights, device=device)


def untrained(study: Study) -> Policy:
    """The same where the cell computes, for a policy may answer before it is ever trained."""
    return build(study.config, study.seed, device_of(study.cell))


def warm_start(study: Study) -> Policy:
    """The policy that all arms of the seed are judged against, and most go on from."""
    if not study.config.warm_start.training.steps:
        return untrained(study)
    return policy_made_once(study.cell, "warm-start", lambda stage: taught(study, stage))


def taught(study: Study, cell: Cell, *, confidences: bool = False) -> Policy:
    """A policy after its lessons: trained in ``cell``, or loaded if that is done.

    Args:
        study: one arm with one seed.
        cell: the training.
        confidences: whether it is taught to state a confidence after its first answer.
    """
    warm = study.config.warm_start
    if not warm.training.steps:
        return untrained(study)
    policy = build(study.config, study.seed, device_of(cell))
    assert study.questions.world is not None, "a warm start is for facts"
    found = lessons(
        study.questions.world,
        min(warm.num_examples, warm.training.steps * warm.training.batch_size),
        study.seed,
        "confidence" if confidences else "warm start",
        known_share=warm.known_share,
        num_drafts=warm.num_drafts,
        search_same=warm.search_same,
        search_differ=warm.search_differ,
        confidences=confidences,
    )
    return sft(policy, as_rows(found, policy, study.search(policy)), warm.training, cell)


def as_rows(found: Sequence[Lesson], policy: Policy, search: SearchEnvironment) -> Dataset:
    """Examples in tokens: prompt and results without loss, results as the environment gives them."""
    results: dict[str, list[int]] = {}
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for lesson in found:
        prompt = policy.encode(str(lesson.question.prompt), start=True)
        parts = [(prompt, False), (policy.encode(lesson.said), True)]
        if lesson.query:
            if lesson.query not in results:
                results[lesson.query] = result_ids(lesson.query, policy, search)
            parts += [
                (policy.encode(f"<search>{lesson.query}</search>"), True),
                (results[lesson.query], False),
                (policy.encode(f"<answer>{lesson.final}</answer>"), True),
            ]
        parts.append(([policy.tokenizer.eos_token_id], True))
        token_ids: list[int] = []
        labels: list[int] = []
        for ids, is_learned in parts:
            token_ids += ids
            labels += ids if is_learned else [-100] * len(ids)
        rows["input_ids"].append(token_ids)
        rows["labels"].append(labels)
    return Dataset.from_dict(rows)


def result_ids(query: str, policy: Policy, search: SearchEnvironment) -> list[int]:
    """The tokens that the environment inserts after a query."""
    session = search.open(0, 0)
    reply = session.respond(Turn(f"<search>{query}</search>", search.stop[0], (), [], []))
    session.close()
    assert reply is not None and reply.token_ids is not None
    return list(reply.token_ids)


def known_before(study: Study) -> list[float]:
    """Closed-book accuracy of each test question before any reinforcement: what all arms are judged against."""

    def asked(stage: Cell) -> list[float]:
        evaluation = study.config.evaluation
        return closed_book_accuracy(
            warm_start(replace(study, cell=stage)),
            study.questions.test,
            Sampling(evaluation.max_new_tokens, evaluation.temperature, stop=_CLOSED_BOOK_STOP),
            num_samples=evaluation.closed_book_samples,
            seed=key_to_seed(study.seed, "closed book"),
            instructions=study.instructions(CLOSED_BOOK),
            batch_size=evaluation.batch_size,
            normalisation=study.config.reward.normalisation,
        )

    accuracies: list[float] = json_made_once(study.cell, "closed-book", asked)
    return accuracies


def training_questions(study: Study, policy: Policy) -> list[Question]:
    """The questions as they were drawn, or as many known as unknown ones.

    Args:
        study: one arm with one seed.
        policy: the untrained one, by whose closed-book samples it is told what is known; the same for all arms.
    """
    task, training, questions = study.config.task, study.config.training, study.questions.train
    if not task.closed_book_samples:
        return questions

    def asked(stage: Cell) -> list[float]:
        return closed_book_accuracy(
            policy,
            questions,
            Sampling(training.max_completion_length, training.temperature, stop=_CLOSED_BOOK_STOP),
            num_samples=task.closed_book_samples,
            seed=study.seed,
            instructions=study.instructions(CLOSED_BOOK),
            normalisation=study.config.reward.normalisation,
        )

    accuracies = json_made_once(study.cell, "closed-book-training", asked)
    return balanced(questions, accuracies, known_from=task.known_from, seed=study.seed)
