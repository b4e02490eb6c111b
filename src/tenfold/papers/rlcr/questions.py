"""Questions with answers from files: JSON lines of one's own, HotpotQA-Modified, Big-Math-Digits.

HotpotQA-Modified takes paragraphs away: for each question of the distractor setting (ten paragraphs, two of them gold)
it drops two distractors, a gold one and a distractor, or both gold ones, equally often, so that some questions can be
answered and some can only be guessed. The authors' script draws from a Python set, which raises from Python 3.11 on,
and its bare ``except`` then keeps all ten paragraphs. Here the draw is from a list in order, by seed and question.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.json_lines import read_json_lines
from tenfold.eval.exact_match import exact_match
from tenfold.eval.math_match import math_match
from tenfold.papers.rlcr.config import TaskConfig
from tenfold.papers.rlcr.masked_addition import problems
from tenfold.papers.rlcr.prompts import render
from tenfold.rewards import Verifier

VERIFIERS: dict[str, Verifier] = {"exact": exact_match, "math": math_match}
"""By the names that ``task.verifier`` takes."""
MOST_CHARACTERS = 6000
MOST_ANSWER = 20
SOLVE_RATE = 0.75


@dataclass(frozen=True)
class Question:
    """A prompt, in text or as a conversation, and what answers it.

    Args:
        prompt: what the policy is given.
        answer: the right answer, or several.
        text: the problem alone.
        num_hidden: how much of what the answer needs is hidden; -1 where nobody knows.
    """

    prompt: str | list[dict[str, str]]
    answer: str | list[str]
    text: str
    num_hidden: int = -1


@dataclass(frozen=True)
class Questions:
    """The three parts of a task."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]


def load_questions(task: TaskConfig, num_train: int, seed: int, system_prompt: str | None = None) -> Questions:
    """The problems of a seed.

    Args:
        task: which.
        num_train: how many training asks for; ``task.num_train`` caps it.
        seed: masked addition draws by it; of files only the validation part depends on it.
        system_prompt: other instructions than the task's.

    Raises:
        UserError: a file is missing or has a row that cannot be used, or too few rows.
    """
    system_prompt = task.system_prompt if system_prompt is None else system_prompt
    if task.kind == "masked_addition":
        wanted = min(num_train, task.num_train or num_train)
        return Questions(
            sums(system_prompt, wanted, seed, "training"),
            sums(system_prompt, task.num_validation, seed, "validation"),
            sums(system_prompt, task.num_test, seed, "test"),
        )
    train, test = (_read(task, Path(file), system_prompt) for file in (task.train_file, task.test_file))
    if len(train) <= task.num_validation:
        raise UserError(f"num_validation = {task.num_validation}: {task.train_file} has {len(train)} usable problems")
    if not test:
        raise UserError(f"{task.test_file}: has no usable problem; at least 1 is needed")
    order = numpy_generator(seed, "validation part").permutation(len(train)).tolist()
    kept = sorted(order[task.num_validation :])[: task.num_train or None]
    held_out = [train[row] for row in order[: task.num_validation]]
    return Questions([train[row] for row in kept], held_out, test[: task.num_test])


def sums(system_prompt: str, num: int, *key: int | str) -> list[Question]:
    """Problems of masked addition as questions."""
    return [
        Question(render(problem.prompt, system_prompt), problem.answer, problem.prompt, problem.num_hidden)
        for problem in problems(num, *key)
    ]


def own_questions(path: Path, system_prompt: str = "none", verifier: Verifier = exact_match) -> list[Question]:
    """JSON lines with ``prompt`` (a text) and ``answer`` (a text, a number, or a list of texts).

    Args:
        path: the file.
        system_prompt: see :func:`~tenfold.papers.rlcr.prompts.render`.
        verifier: must find every answer equal to itself, or no completion could be right.

    Raises:
        UserError: with the row, counted from 1, and what is wrong with it.
    """
    found = []
    for number, row in enumerate(read_json_lines(path, ("prompt", "answer")), start=1):
        prompt, answer = row["prompt"], _as_answer(row["answer"])
        if not isinstance(prompt, str) or not prompt:
            raise UserError(f"{path}, row {number}: prompt is {prompt!r}; allowed: a text that is not empty")
        if answer is None:
            raise UserError(
                f"{path}, row {number}: answer is {row['answer']!r}; allowed: a text, a finite number, a list of texts"
            )
        for text in [answer] if isinstance(answer, str) else answer:
            if not verifier(text, text):
                raise UserError(
                    f"{path}, row {number}: answer is {text!r}, which the verifier cannot read; "
                    "allowed: what it finds equal to itself"
                )
        found.append(Question(render(prompt, system_prompt), answer, prompt))
    return found


def hotpotqa_modified(rows: Iterable[Mapping[str, Any]], seed: int, system_prompt: str = "none") -> list[Question]:
    """Rows of HotpotQA's distractor setting with two paragraphs dropped, those below 6,000 characters.

    Args:
        rows: with ``_id``, ``question``, ``answer``, ``context`` (pairs of title and sentences) and
            ``supporting_facts`` (pairs, the first of which is the title of a gold paragraph), as in HotpotQA's files.
        seed: of what is dropped.
        system_prompt: see :func:`~tenfold.papers.rlcr.prompts.render`.
    """
    found = []
    for row in rows:
        gold_titles = {fact[0] for fact in row["supporting_facts"]}
        gold = [i for i, (title, _) in enumerate(row["context"]) if title in gold_titles]
        others = [i for i in range(len(row["context"])) if i not in gold]
        generator = numpy_generator(seed, "hotpotqa", str(row["_id"]))
        num_hidden = int(generator.integers(3))
        dropped = {
            *generator.permutation(gold)[:num_hidden].tolist(),
            *generator.permutation(others)[: 2 - num_hidden].tolist(),
        }
        kept = [paragraph for i, paragraph in enumerate(row["context"]) if i not in dropped]
        paragraphs = "\n".join(f"{title}: {''.join(sentences).strip()}" for title, sentences in kept)
        text = f"{row['question']}\n\n{paragraphs}"
        if len(text) < MOST_CHARACTERS:
            found.append(Question(render(text, system_prompt), str(row["answer"]), text, num_hidden))
    return found


def big_math_digits(rows: Iterable[Mapping[str, Any]], system_prompt: str = "none") -> list[Question]:
    """Rows of Big-Math whose answer is a short number and whose solve rate is above 0 and below 0.75.

    Args:
        rows: with ``problem``, ``answer`` and ``llama8b_solve_rate``.
        system_prompt: see :func:`~tenfold.papers.rlcr.prompts.render`.
    """
    found = []
    for row in rows:
        answer, rate = str(row["answer"]).strip(), row["llama8b_solve_rate"]
        if _is_number(answer) and len(answer) < MOST_ANSWER and rate is not None and 0 < rate < SOLVE_RATE:
            found.append(Question(render(row["problem"], system_prompt), answer, row["problem"]))
    return found


def _read(task: TaskConfig, path: Path, system_prompt: str) -> list[Question]:
    if task.layout == "json_lines":
        return own_questions(path, system_prompt, VERIFIERS[task.verifier])
    names = {
        "hotpotqa": ("_id", "question", "answer", "context", "supporting_facts"),
        "big_math": ("problem", "answer", "llama8b_solve_rate"),
    }[task.layout]
    rows = _json_array(path, names) if path.suffix == ".json" else read_json_lines(path, names)
    if task.layout == "hotpotqa":
        return hotpotqa_modified(rows, 0, system_prompt)  # a data set, the same for all seeds of a run
    return big_math_digits(rows, system_prompt)


def _json_array(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; allowed: JSON with {', '.join(columns)}")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: allowed: a JSON list with at least one row")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: {type(row).__name__}; allowed: a JSON object")
        missing = [name for name in columns if name not in row]
        if missing:
            raise UserError(f"{path}, row {number}: no column {missing[0]!r}")
    return rows


def _as_answer(value: Any) -> str | list[str] | None:
    """A text, a number's text, or a list of such; ``None`` for what is no answer."""
    if isinstance(value, list):
        texts = [_as_answer(one) for one in value]
        usable = texts and all(isinstance(text, str) for text in texts)
        return [str(text) for text in texts] if usable else None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
