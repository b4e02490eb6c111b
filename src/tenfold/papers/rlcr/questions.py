"""RLCR's problems: masked addition, HotpotQA-Modified, Big-Math-Digits, and questions of a user's own.

HotpotQA-Modified takes paragraphs away: for each question of the distractor setting (ten paragraphs, two of them gold)
it drops two distractors, a gold one and a distractor, or both gold ones, equally often, so that some questions can be
answered and some can only be guessed. The authors' script draws from a Python set, which raises from Python 3.11 on,
and its bare ``except`` then keeps all ten paragraphs. Here the draw is from a list in order, by seed and question.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.json_lines import read_json_lines
from tenfold.data.questions import answer_text
from tenfold.eval.exact_match import exact_match, squad_match
from tenfold.eval.math_match import math_match
from tenfold.papers.rlcr.config import TaskConfig
from tenfold.papers.rlcr.masked_addition import NUM_HIDDEN, problems
from tenfold.rewards import Verifier
from tenfold.study.questions import Question, read_questions, readable_by


def math_or_squad(answer: str, references: str | Sequence[str]) -> bool:
    """Right as mathematics, or by exact match as SQuAD has it: how the authors count in their evaluation of maths."""
    return squad_match(answer, references) or math_match(answer, references)


VERIFIERS: dict[str, Verifier] = {
    "exact": exact_match,
    "squad": squad_match,
    "math": math_match,
    "math_or_squad": math_or_squad,
}
"""By the names that ``task.verifier`` takes."""
MOST_CHARACTERS = 6000
MOST_ANSWER = 20
SOLVE_RATE = 0.75


@dataclass(frozen=True)
class Questions:
    """The three parts of a task."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]


def load_questions(task: TaskConfig, num_train: int, seed: int) -> Questions:
    """The problems of a seed.

    Args:
        task: which.
        num_train: how many training asks for; ``task.num_train`` caps it.
        seed: masked addition draws by it; of files only the validation part depends on it.

    Raises:
        UserError: a file is missing or has a row that cannot be used, or too few rows.
    """
    if task.kind == "masked_addition":
        wanted = min(num_train, task.num_train or num_train)
        return Questions(
            problems(wanted, seed, "training"),
            problems(task.num_validation, seed, "validation"),
            problems(task.num_test, seed, "test"),
        )
    train, test = read_file(task, Path(task.train_file)), read_file(task, Path(task.test_file))
    if len(train) <= task.num_validation:
        raise UserError(f"num_validation = {task.num_validation}: {task.train_file} has {len(train)} usable problems")
    order = numpy_generator(seed, "validation part").permutation(len(train)).tolist()
    held_out, rest = order[: task.num_validation], sorted(order[task.num_validation :])
    kept = rest[: task.num_train or None]
    return Questions([train[row] for row in kept], [train[row] for row in held_out], test[: task.num_test])


def read_file(task: TaskConfig, path: Path) -> list[Question]:
    """The usable problems of a file, in the layout of the task.

    Raises:
        UserError: the file is missing, has a row that cannot be used, or no usable problem.
    """
    if task.layout == "hotpotqa":
        rows = _rows(path, ("_id", "question", "answer", "context", "supporting_facts"))
        found = hotpotqa_modified(rows, seed=0)  # a data set, the same for all seeds of a run
    elif task.layout == "big_math":
        found = big_math_digits(_rows(path, ("problem", "answer", "llama8b_solve_rate")))
    else:
        found = read_questions(path, check=readable_by(VERIFIERS[task.verifier]))
    if not found:
        raise UserError(f"{path}: has no usable problem; at least 1 is needed")
    return found


def hotpotqa_modified(rows: Iterable[Mapping[str, Any]], seed: int) -> list[Question]:
    """Rows of HotpotQA's distractor setting with two paragraphs dropped, those below 6,000 characters.

    The fact ``num_hidden`` says how many gold paragraphs were dropped.

    Args:
        rows: with ``_id``, ``question``, ``answer``, ``context`` (pairs of title and sentences) and
            ``supporting_facts`` (pairs, the first of which is the title of a gold paragraph), as in HotpotQA's files.
        seed: of what is dropped.
    """
    found = []
    for row in rows:
        gold_titles = {fact[0] for fact in row["supporting_facts"]}
        gold: list[int] = []
        others: list[int] = []
        for place, (title, _) in enumerate(row["context"]):
            kind = gold if title in gold_titles else others
            kind.append(place)
        generator = numpy_generator(seed, "hotpotqa", str(row["_id"]))
        num_hidden = int(generator.integers(3))
        dropped = set(generator.permutation(gold)[:num_hidden].tolist())
        dropped |= set(generator.permutation(others)[: 2 - num_hidden].tolist())
        prompt = f"{row['question']}\n\n{_paragraphs(row['context'], dropped)}"
        if len(prompt) < MOST_CHARACTERS:
            answer, key, facts = _answer_of(row), str(row["_id"]), {NUM_HIDDEN: num_hidden}
            found.append(Question(prompt, (answer,), key, source="hotpotqa", facts=facts))
    return found


def _paragraphs(context: Sequence[Any], dropped: set[int]) -> str:
    kept = []
    for place, (title, sentences) in enumerate(context):
        if place not in dropped:
            kept.append(f"{title}: {''.join(sentences).strip()}")
    return "\n".join(kept)


def _answer_of(row: Mapping[str, Any]) -> str:
    """The answer as text; a number reads as everywhere, 4 and not 4.0."""
    return answer_text(row["answer"]) or str(row["answer"])


def big_math_digits(rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    """Rows of Big-Math whose answer is a short number and whose solve rate is above 0 and below 0.75.

    Args:
        rows: with ``problem``, ``answer`` and ``llama8b_solve_rate``.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        answer, rate = _answer_of(row).strip(), row["llama8b_solve_rate"]
        is_short_number = _is_number(answer) and len(answer) < MOST_ANSWER
        if is_short_number and rate is not None and 0 < rate < SOLVE_RATE:
            found.append(Question(row["problem"], (answer,), str(number), source="big-math"))
    return found


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a published file: one JSON list (``.json``), or JSON lines."""
    if path.suffix != ".json":
        return read_json_lines(path, columns)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; allowed: JSON with {', '.join(columns)}")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: allowed: a JSON list with at least one row")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: is of type {type(row).__name__}; allowed: a JSON object")
        for name in columns:
            if name not in row:
                raise UserError(f"{path}, row {number}: no column {name!r}")
    return rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
