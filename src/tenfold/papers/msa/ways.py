"""The ways of answering a situation: by a program that the network writes, by its numbers, or without it.

Each is a function of a :class:`Study` and the situations of a split, and gives numbers for the questions that are asked
of each. A program that fails counts as the prior's answer, and the kind of failure is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.envs.programs import InThisProcess, Posterior, ProgramRefused, Unsatisfiable, infer
from tenfold.papers.msa.asking import FREE, SLOT, Asked, ask, call
from tenfold.papers.msa.config import Config
from tenfold.papers.msa.rows import Told
from tenfold.papers.msa.situations import EVENTS, LEVELS, Question, people_of, prior_answer
from tenfold.papers.msa.training import Learned
from tenfold.papers.msa.wording import (
    answer_numbers,
    background_code,
    default_background,
    fact_code,
    gold_program,
    program_text,
    question_code,
    question_words,
    spelled,
)

RANKS, PAIRS = 2, 2  # questions of each form that are asked of a test situation


@dataclass(frozen=True)
class Study:
    """A seed's network and settings."""

    config: Config
    learned: Learned
    cell: Cell


@dataclass
class Answer:
    """What is said of one situation.

    Args:
        numbers: for each question that is asked.
        failure: kind of failure, where a program failed.
        program: if one was written.
        is_exact: whether that is the situation's own program, word for word.
    """

    numbers: list[tuple[float, ...]]
    failure: str = ""
    program: str = ""
    is_exact: bool = False
    details: dict[str, Any] = field(default_factory=dict)


Way = Callable[[Study, Sequence[Told], int], list[Answer]]
"""``(study, situations, key) -> answers``; the key tells the noise of inference apart."""


def asked(told: Told) -> list[Question]:
    """The questions that are asked of a test situation: two ranks and two pairs, the first of each."""
    questions = told.situation.questions
    ranks = [question for question in questions if len(question.people) == 1][:RANKS]
    return ranks + [question for question in questions if len(question.people) == 2][:PAIRS]


def by_prior(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """Without reading."""
    return [Answer([prior_answer(question) for question in asked(told)]) for told in situations]


def by_counting(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By wins minus losses."""
    counting = study.learned.counting
    return [Answer([counting.answer(told.situation, question) for question in asked(told)]) for told in situations]


def by_gold_program(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By the situation's own program."""
    answers = []
    for number, told in enumerate(situations):
        answer = _inferred(study.config, _gold(told), told, (study.cell.seed, key, number))
        answer.is_exact = True
        answers.append(answer)
    return answers


def _gold(told: Told) -> str:
    return gold_program(told.situation, [" ".join(sentence) for sentence in told.sentences], asked(told))


def directly(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By numbers at once."""
    return _by_numbers(study, situations, "<direct>", thinks=False)


def by_thoughts(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By numbers after thinking."""
    return _by_numbers(study, situations, "<thought>", thinks=True)


def _by_numbers(study: Study, situations: Sequence[Told], task: str, *, thinks: bool) -> list[Answer]:
    """Each question in a row of its own, as the first one behind the text."""
    rows: list[Asked] = []
    sizes = []
    for told in situations:
        text: list[list[str] | str] = [[task, *told.background]]
        for sentence, fact in zip(told.sentences, told.situation.facts, strict=True):
            text.append(sentence)
            for person in people_of(fact) if thinks else ():
                text += [[person], SLOT]
        for question in asked(told):
            size = len(prior_answer(question))
            rows.append([*text, question_words(question), *[SLOT] * size])
            sizes.append(size)
    said = iter(zip(ask(study.learned.network, rows), sizes, strict=True))
    answers = []
    for told in situations:
        filled = [next(said) for _ in asked(told)]
        answers.append(Answer([answer_numbers(words[-size:]) for words, size in filled]))
    return answers


def by_synthesis(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By a program, written in calls."""
    return _by_programs(study, situations, key, with_background=True)


def without_background(study: Study, situations: Sequence[Told], key: int) -> list[Answer]:
    """By a program whose model is always the same; its conditions and queries are those of synthesis."""
    return _by_programs(study, situations, key, with_background=False)


def _by_programs(study: Study, situations: Sequence[Told], key: int, *, with_background: bool) -> list[Answer]:
    rows: list[Asked] = []
    for told in situations:
        rows.append(call("<background>", told.background))
        rows += [call("<condition>", sentence) for sentence in told.sentences]
        rows += [call("<query>", question_words(question)) for question in asked(told)]
    assert all(row[-1] == FREE for row in rows)
    said = iter(ask(study.learned.network, rows))
    answers = []
    for number, told in enumerate(situations):
        background = next(said)
        conditions = [(" ".join(sentence), next(said)) for sentence in told.sentences]
        queries = [next(said) for _ in asked(told)]
        if not with_background:
            events = [word for _, code in conditions for word in code if word in EVENTS]
            background = default_background(tuple(dict.fromkeys(events)))
        text = program_text(background, conditions, [spelled(code) for code in queries])
        answer = _inferred(study.config, text, told, (study.cell.seed, key, number))
        answer.is_exact = background == background_code(told.situation) and _same_rest(told, conditions, queries)
        answers.append(answer)
    return answers


def _same_rest(told: Told, conditions: Sequence[tuple[str, Sequence[str]]], queries: Sequence[Sequence[str]]) -> bool:
    wanted = [fact_code(fact) for fact in told.situation.facts]
    return [list(code) for _, code in conditions] == wanted and list(map(list, queries)) == [
        question_code(question) for question in asked(told)
    ]


def _inferred(config: Config, program: str, told: Told, key: tuple[int, ...]) -> Answer:
    """A program's answer, or the prior's with the kind of failure.

    The words of the network are fragments of ours, so that its programs cannot reach outside and need no sandbox.
    """
    questions = asked(told)
    names = [f"q{number}" for number in range(len(questions))]
    try:
        posterior = infer(
            program,
            "likelihood_weighting",
            config.world.samples,
            key_to_seed(*key, "inference"),
            max_seconds=config.world.max_seconds,
            queries=names,
            runner=InThisProcess(),
        )
    except Unsatisfiable:
        return _failed(questions, program, "no particle meets the conditions")
    except ProgramRefused as error:
        return _failed(questions, program, _kind(error.reason))
    numbers = [_summary(posterior, name, question) for name, question in zip(names, questions, strict=True)]
    return Answer(numbers, program=program)


def _summary(posterior: Posterior, name: str, question: Question) -> tuple[float, ...]:
    one = posterior[name]
    if len(question.people) == 1:
        return tuple(one.quantile(level) for level in LEVELS)
    return (one.mean(),)


def _failed(questions: Sequence[Question], program: str, failure: str) -> Answer:
    return Answer([prior_answer(question) for question in questions], failure, program)


def _kind(reason: str) -> str:
    """Reasons in few kinds."""
    for words in ("is no Python", "is not defined", "does not bind"):
        if words in reason:
            return words
    return "refused for another reason"


def distance(said: Sequence[float], gold: Sequence[float]) -> float:
    """Wasserstein-1 between a posterior's five quantiles, or its probability, and the gold one's; 0 to 100.

    Example:
        >>> distance([10, 20, 30, 40, 50], [10, 20, 30, 40, 60]), distance([40.0], [50.0])
        (2.0, 10.0)
    """
    return float(np.abs(np.asarray(said, dtype=float) - np.asarray(gold, dtype=float)).mean())
