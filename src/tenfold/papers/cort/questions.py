"""The problems of an experiment: products drawn by seed, or JSON lines with prompt and answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.json_lines import read_json_lines
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.config import TaskConfig
from tenfold.papers.cort.formats import user_prompt

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True)
class Question:
    """A problem as a policy gets it.

    Args:
        prompt: text, or the messages of a chat.
        answer: one accepted text or several.
        key: names it.
        data_source: picks the reward, see ``method.UNPENALIZED_SOURCES``.
    """

    prompt: Prompt
    answer: str | tuple[str, ...]
    key: str
    data_source: str = ""


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
        counts = {"train": num_train, "validation": task.num_validation, "test": task.num_test}
        return Questions(**{part: products(num, part, seed) for part, num in counts.items()})
    train = own_questions(Path(task.train_file))
    order = numpy_generator(seed, "validation").permutation(len(train))
    validation = [train[i] for i in order[: task.num_validation]]
    asked = {repr(question.prompt) for question in validation}
    test = own_questions(Path(task.test_file))[: task.num_test]
    return Questions([q for q in train if repr(q.prompt) not in asked], validation, test)


def products(num: int, part: Any, seed: int) -> list[Question]:
    """Problems of the multiplication task.

    Example:
        >>> products(1, "test", 0)[0].key.count("*")
        1
    """
    found = multiplication.problems(num, part, seed)
    return [Question(p.prompt, p.answer, f"{p.left}*{p.right}") for p in found]


def own_questions(file: Path) -> list[Question]:
    """Problems of a file: in each line ``prompt`` and ``answer``.

    The prompt is a text, which gets the paper's request below it and goes into a chat, or a list of messages, which is
    taken as it is. The answer is a text, a number or a list of accepted texts. Rows in the published layout
    (``reward_model.ground_truth``, ``data_source``) are taken, too.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used; with the row, counted from 1.
    """
    rows = read_json_lines(file, ("prompt",))
    return [_question(row, f"{file}, row {number}", str(number)) for number, row in enumerate(rows, start=1)]


def _question(row: dict[str, Any], where: str, key: str) -> Question:
    prompt = row["prompt"]
    if isinstance(prompt, str) and prompt.strip():
        prompt = [{"role": "user", "content": user_prompt(prompt)}]
    elif not _is_chat(prompt):
        raise UserError(f"{where}: prompt is {str(prompt)[:40]!r}; allowed: a text, or messages with role and content")
    published = row.get("reward_model")
    given = row.get("answer", published.get("ground_truth") if isinstance(published, dict) else None)
    answers = given if isinstance(given, list) else [given]
    if not answers or not all(map(_is_answer, answers)):
        raise UserError(f"{where}: answer is {given!r}; allowed: a text, a finite number, or a list of them")
    texts = tuple(str(answer) for answer in answers)
    return Question(prompt, texts if len(texts) > 1 else texts[0], key, str(row.get("data_source", "")))


def _is_answer(answer: Any) -> bool:
    if isinstance(answer, str):
        return answer != ""
    return isinstance(answer, int | float) and not isinstance(answer, bool) and isfinite(answer)


def _is_chat(prompt: Any) -> bool:
    return isinstance(prompt, list) and len(prompt) > 0 and all(map(_is_message, prompt))


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content"))


def answers_of(questions: Sequence[Question]) -> list[str | list[str]]:
    """References in the order of the problems."""
    return [q.answer if isinstance(q.answer, str) else list(q.answer) for q in questions]
