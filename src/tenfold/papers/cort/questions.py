"""The problems of an experiment: products drawn by seed, or a user's own, put to a policy as the paper puts them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.eval.math_match import math_match
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.config import TaskConfig
from tenfold.papers.cort.formats import user_prompt
from tenfold.papers.cort.method import Grade, same_answer
from tenfold.study.questions import Question, read_questions, readable_by


@dataclass(frozen=True)
class Questions:
    """Training, validation and test problems; none is in two of them."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]


def load_questions(task: TaskConfig, num_train: int, seed: int) -> Questions:
    """The problems of a seed.

    Args:
        task: what is asked.
        num_train: training problems that are needed; those of a file are repeated by whoever needs more.
        seed: of the draws.

    Raises:
        UserError: a file is missing, or a row cannot be used.
    """
    if task.kind == "multiplication":
        return Questions(
            train=products(num_train, "train", seed),
            validation=products(task.num_validation, "validation", seed),
            test=products(task.num_test, "test", seed),
        )
    grade = grade_of(task)
    train = own_questions(Path(task.train_file), grade)
    order = numpy_generator(seed, "validation").permutation(len(train))
    validation = [train[i] for i in order[: task.num_validation]]
    # A file may ask the same twice: what is validated on is not trained on, whichever row it stands in.
    asked = {repr(question.prompt) for question in validation}
    test = own_questions(Path(task.test_file), grade)[: task.num_test]
    return Questions([question for question in train if repr(question.prompt) not in asked], validation, test)


def products(num: int, part: multiplication.Split, seed: int) -> list[Question]:
    """Problems of the multiplication task, as text up to the opened thinking: the tiny policy knows no chat.

    Example:
        >>> products(1, "test", 0)[0].key.count("*")
        1
    """
    found = multiplication.problems(num, part, seed)
    return [Question(problem.prompt, (problem.answer,), f"{problem.left}*{problem.right}") for problem in found]


def grade_of(task: TaskConfig) -> Grade:
    """How answers are judged."""
    return {"plain": same_answer, "math": math_match}[task.grade]


def own_questions(file: Path, grade: Grade = same_answer) -> list[Question]:
    """Problems of a file, as :func:`tenfold.study.questions.read_questions` takes it, put as the paper puts them.

    Args:
        file: JSON lines.
        grade: how answers are judged; those of the file it must be able to read.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used or has the key of another one; with the row.
    """
    questions = read_questions(file, check=readable_by(grade))
    _require_keys_of_their_own(questions, file)
    return [in_chat(question) for question in questions]


def in_chat(question: Question) -> Question:
    """A text with the paper's request below it, as what a user says; a conversation is taken as it is.

    Example:
        >>> in_chat(Question("What is 2 + 2?", ("4",), "1")).prompt[0]["role"]
        'user'
    """
    if not isinstance(question.prompt, str):
        return question
    return replace(question, prompt=[{"role": "user", "content": user_prompt(question.prompt)}])


def _require_keys_of_their_own(questions: Sequence[Question], file: Path) -> None:
    """The key names a problem's traces, and the noise that they are sampled with."""
    seen: set[str] = set()
    for number, question in enumerate(questions, start=1):
        if question.key in seen:
            raise UserError(f"{file}, row {number}: key is {question.key!r} again; allowed: keys that differ")
        seen.add(question.key)
