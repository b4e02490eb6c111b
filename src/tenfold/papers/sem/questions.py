"""Questions to train and test on: rows of a user's own, and labels by what a policy itself knows.

Rows have the columns of :class:`tenfold.data.question_answering.Question`, whose readers of MuSiQue and MMLU and whose
``DataMix`` (one half of each, in the specification) give them, too. ``expected`` says whether search is thought to be
needed, by the source or by the policy itself (k closed-book samples, known if at least m are right). It is for
analysis, and no reward reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.data.json_lines import read_json_lines
from tenfold.data.question_answering import Question
from tenfold.papers.sem.grammar import read_response
from tenfold.papers.sem.method import Gold
from tenfold.papers.sem.prompts import CLOSED_BOOK, SEM, prompt_for
from tenfold.policies import Policy, Sampling, rollout

if TYPE_CHECKING:
    import datasets

MOST_CHOICES = 26


def gold_of(question: Question) -> Gold:
    """What counts as right for a question.

    Example:
        >>> gold_of(Question("1", "2 + 2?", ("4", "four"), "open", "made up", "direct")).f1("Four.")
        1.0
    """
    return Gold(question.answers, question.choices, question.kind == "choice")


def own_questions(path: Path) -> list[Question]:
    """Questions of JSON lines.

    Args:
        path: each line has ``question`` (a text) and ``answers`` (a text, a number, or a list of accepted texts), and
            may have ``choices`` (a list of texts; ``answers`` is then a letter or the text of one), ``id``, ``source``
            and ``expected`` (``search`` or ``direct``).

    Raises:
        UserError: with the row, counted from 1, and what is wrong with it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.jsonl"
        ...     _ = path.write_text('{"question": "River of Rome?", "answers": ["Tiber", "Tevere"]}')
        ...     (question,) = own_questions(path)
        >>> question.answers, question.kind, question.expected
        (('Tiber', 'Tevere'), 'open', 'search')
    """
    rows = read_json_lines(path, ("question", "answers"))
    return [_own(f"{path}, row {number}", str(number), row) for number, row in enumerate(rows, start=1)]


def _own(where: str, number: str, row: Mapping[str, Any]) -> Question:
    question, choices = row["question"], row.get("choices") or []
    answers = _texts(row["answers"])
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{where}: question is {question!r}; allowed: a text that is not empty")
    if not answers:
        raise UserError(f"{where}: answers is {row['answers']!r}; allowed: a text, a number, a list of texts")
    if not isinstance(choices, list) or len(choices) > MOST_CHOICES or not all(isinstance(x, str) for x in choices):
        raise UserError(f"{where}: choices is {choices!r}; allowed: a list of at most {MOST_CHOICES} texts")
    expected = row.get("expected", "direct" if choices else "search")
    if expected not in ("search", "direct"):
        raise UserError(f"{where}: expected is {expected!r}; allowed: search, direct")
    found = Question(
        id=str(row.get("id", number)),
        question=question,
        answers=answers,
        kind="choice" if choices else "open",
        source=str(row.get("source", "own")),
        expected=expected,
        choices=tuple(choices),
    )
    try:
        gold_of(found).f1("")
    except UserError as error:  # an answer that names none of the options
        raise UserError(f"{where}: {error}") from None
    return found


def _texts(value: Any) -> tuple[str, ...]:
    """The accepted texts; none for what is no answer."""
    values = value if isinstance(value, list) else [value]
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in values]
    if not all(number or (isinstance(one, str) and one.strip()) for one, number in zip(values, numbers, strict=True)):
        return ()
    return tuple(str(one) for one in values)


def as_dataset(questions: Sequence[Question], instructions: str = SEM) -> "datasets.Dataset":
    """Rows for GRPO: the columns that the rewards read, and ``prompt``.

    Args:
        questions: at least one.
        instructions: of the system; empty for prompts of plain text.

    Example:
        >>> rows = as_dataset([Question("1", "River of Rome?", ("Tiber",), "open", "own", "search")], instructions="")
        >>> rows[0]["prompt"], rows[0]["answers"], rows[0]["kind"]
        ('River of Rome?', ['Tiber'], 'open')
    """
    import datasets

    return datasets.Dataset.from_list(
        [{"prompt": prompt_for(one.question, one.choices, instructions), **asdict(one)} for one in questions]
    )


def encoded(policy: Policy, question: Question, instructions: str) -> list[int]:
    """The tokens of a question's prompt, as GRPO gives them to the policy."""
    prompt = prompt_for(question.question, question.choices, instructions)
    if isinstance(prompt, str):
        return policy.encode(prompt, start=True)
    return policy.chat([Message(message["role"], message["content"]) for message in prompt])


def closed_book_accuracy(
    policy: Policy,
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    num_samples: int = 4,
    seed: int = 0,
    instructions: str = CLOSED_BOOK,
    batch_size: int = 64,
) -> list[float]:
    """Share of right answers to each question without any tool: of the first answer, whatever follows it.

    Args:
        policy: who is asked.
        questions: what.
        sampling: how.
        num_samples: k, answers to each question.
        seed: of the noise.
        instructions: of the system; empty for prompts of plain text.
        batch_size: answers at the same time.
    """
    said = rollout(
        policy,
        [encoded(policy, question, instructions) for question in questions],
        sampling,
        num_samples=num_samples,
        seed=seed,
        keys=[("closed book", question.source, question.id) for question in questions],
        batch_size=batch_size,
    )
    right = []
    for number, trajectory in enumerate(said):
        gold = gold_of(questions[number // num_samples])
        right.append(gold.exact(read_response(trajectory, policy.tokenizer).first_answer))
    return [sum(right[i : i + num_samples]) / num_samples for i in range(0, len(right), num_samples)]


def labelled(
    questions: Sequence[Question], accuracies: Sequence[float], *, known_from: float = 0.5
) -> dict[Literal["search", "direct"], list[Question]]:
    """Questions by what the policy itself needs, for a mix of known and unknown ones.

    Args:
        questions: of any source.
        accuracies: closed-book accuracy of each.
        known_from: m/k: at least this share of right answers makes a question known.

    Returns:
        ``direct``: the known ones, ``search``: the others, with ``expected`` set accordingly.

    Example:
        >>> question = Question("1", "River of Rome?", ("Tiber",), "open", "own", "search")
        >>> parts = labelled([question, question], [0.75, 0.25])
        >>> [one.expected for one in parts["direct"]], len(parts["search"])
        (['direct'], 1)
    """
    parts: dict[Literal["search", "direct"], list[Question]] = {"direct": [], "search": []}
    for question, accuracy in zip(questions, accuracies, strict=True):
        label: Literal["search", "direct"] = "direct" if accuracy >= known_from else "search"
        parts[label].append(replace(question, expected=label))
    return parts
