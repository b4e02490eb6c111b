"""Questions of an experiment as rows that trl trains on; the reader of a user's files is in ``tenfold.data``."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenfold.core.errors import UserError
from tenfold.data.questions import Messages as Messages
from tenfold.data.questions import Question as Question
from tenfold.data.questions import read_questions as read_questions

if TYPE_CHECKING:
    import datasets

PromptOf = Callable[[Question], str | Messages]
"""How an experiment puts a question to its policy."""


def as_dataset(questions: Sequence[Question], prompt_of: PromptOf | None = None) -> "datasets.Dataset":
    """Rows with ``prompt``, ``answer``, ``choices``, ``key``, ``source``, and one column for each fact.

    A column has one type: where a question has several answers, every row has a list of them, else a text. Facts that
    only some questions have are ``None`` for the others.

    Args:
        questions: at least one.
        prompt_of: a question to its prompt; by default the question's own.

    Example:
        >>> rows = as_dataset([Question("1+2=", ("3",), "1", facts={"num_hidden": 0})])
        >>> rows[0]["prompt"], rows[0]["answer"], rows[0]["num_hidden"]
        ('1+2=', '3', 0)
    """
    import datasets

    facts = dict.fromkeys(name for question in questions for name in question.facts)
    columns: dict[str, list[Any]] = {
        "prompt": [question.prompt if prompt_of is None else prompt_of(question) for question in questions],
        "answer": answers_of(questions),
        "choices": [list(question.choices) for question in questions],
        "key": [question.key for question in questions],
        "source": [question.source for question in questions],
    }
    columns |= {name: [question.facts.get(name) for question in questions] for name in facts}
    return datasets.Dataset.from_dict(columns)


def as_demonstrations(
    questions: Sequence[Question], completion_of: Callable[[Question], str], prompt_of: PromptOf | None = None
) -> "datasets.Dataset":
    """Rows with ``prompt`` and ``completion``, for supervised training.

    Args:
        questions: at least one.
        completion_of: what is to be said to a question.
        prompt_of: a question to its prompt; by default the question's own.

    Example:
        >>> as_demonstrations([Question("1+2=", ("3",), "1")], lambda question: question.answers[0])[0]
        {'prompt': '1+2=', 'completion': '3'}
    """
    import datasets

    prompts = [question.prompt if prompt_of is None else prompt_of(question) for question in questions]
    completions = [completion_of(question) for question in questions]
    return datasets.Dataset.from_dict({"prompt": prompts, "completion": completions})


def answers_of(questions: Sequence[Question]) -> list[Any]:
    """What counts as right for each: a text, or, if some question has several answers, a list for every one."""
    if all(len(question.answers) == 1 for question in questions):
        return [question.answers[0] for question in questions]
    return [list(question.answers) for question in questions]


def reference_of(question: Question) -> str | list[str]:
    """What counts as right for one question, as rewards and verifiers take it."""
    return question.answers[0] if len(question.answers) == 1 else list(question.answers)


def readable_by(verifier: Callable[[str, str], bool]) -> Callable[[Question], None]:
    """A check of questions: the verifier must find every answer equal to itself, or no completion could be right.

    Args:
        verifier: whether an answer is a reference.

    Example:
        >>> readable_by(lambda answer, reference: answer == reference)(Question("1+1=", ("2",), "1"))
    """

    def check(question: Question) -> None:
        for answer in question.answers:
            if not verifier(answer, answer):
                raise UserError(
                    f"answer is {answer!r}, which the verifier cannot read; allowed: what it finds equal to itself"
                )

    return check


def with_facts(question: Question, **facts: Any) -> Question:
    """The question with further facts, or other values of them.

    Example:
        >>> with_facts(Question("1+2=", ("3",), "1"), expected="direct").facts
        {'expected': 'direct'}
    """
    from dataclasses import replace

    merged: Mapping[str, Any] = {**question.facts, **facts}
    return replace(question, facts=merged)
