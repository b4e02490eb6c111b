"""Readers of MuSiQue and MMLU in their published formats, and mixing of questions from several sources.

MuSiQue asks for facts over several hops, with twenty paragraphs a question, some of which support the answer; MMLU is
multiple choice over 57 subjects. Of each question three facts are told: ``expected``, which of ``search`` and
``direct`` its data set is usually thought to need, a label to analyse by, never to reward by; ``topic``, the subject of
MMLU or the number of hops of MuSiQue, as ``2hop``; and for MuSiQue ``supporting``, ids of the passages that the answer
follows from. How a question and its choices are put to a policy is the caller's.

MuSiQue: Trivedi, Balasubramanian, Khot and Sabharwal, TACL 2022 (CC BY 4.0). MMLU: Hendrycks et al., ICLR 2021 (MIT).
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.json_lines import read_json_lines
from tenfold.data.passages import Passage
from tenfold.data.questions import Question

LETTERS = "ABCD"


def read_musique(path: Path) -> tuple[list[Question], list[Passage]]:
    """The answerable questions of a MuSiQue file, and the paragraphs of all of them as one corpus.

    Questions marked ``answerable: false`` (half of MuSiQue-Full) are left out; their paragraphs are not.

    Args:
        path: JSON lines as published: ``id``, ``question``, ``answer``, ``answer_aliases``, ``answerable`` and
            ``paragraphs``, each with ``title``, ``paragraph_text`` and ``is_supporting``.

    Returns:
        Questions, and passages in order of their first appearance. Equal paragraphs of several questions are one
        passage; its id depends on title and text alone.

    Raises:
        UserError: a row lacks a column or has a value of the wrong kind, or no question is answerable.
    """
    rows = read_json_lines(path, ("id", "question", "answer", "answer_aliases", "answerable", "paragraphs"))
    questions: list[Question] = []
    passages: dict[str, Passage] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        paragraphs = _musique_paragraphs(where, row["paragraphs"])
        supporting: dict[str, None] = {}  # in order, each once
        for passage, supports in paragraphs:
            passages.setdefault(passage.id, passage)
            if supports:
                supporting[passage.id] = None
        answers = _answers(where, row["answer"], row["answer_aliases"])
        if row["answerable"]:
            hops = str(row["id"]).partition("__")[0]
            facts = {"expected": "search", "supporting": tuple(supporting), "topic": hops}
            questions.append(Question(str(row["question"]), answers, key=str(row["id"]), source="musique", facts=facts))
    if not questions:
        raise UserError(f"{path}: none of {len(rows)} questions is answerable; allowed: at least one")
    return questions, list(passages.values())


def _musique_paragraphs(where: str, paragraphs: Any) -> list[tuple[Passage, bool]]:
    if not isinstance(paragraphs, list):
        raise UserError(f"{where}: paragraphs is of type {type(paragraphs).__name__}; allowed: a list of paragraphs")
    found = []
    for paragraph in paragraphs:
        try:
            title, text, supports = (paragraph[key] for key in ("title", "paragraph_text", "is_supporting"))
        except (KeyError, TypeError):
            raise UserError(
                f"{where}: a paragraph is {str(paragraph)[:60]!r}; allowed: title, paragraph_text and is_supporting"
            ) from None
        if not isinstance(title, str) or not isinstance(text, str):
            raise UserError(f"{where}: a paragraph has title {title!r} and text {text!r}; allowed: texts")
        digest = hashlib.blake2b(f"{title}\n{text}".encode(), digest_size=8).hexdigest()
        found.append((Passage(digest, title, text), bool(supports)))
    return found


def _answers(where: str, answer: Any, aliases: Any) -> tuple[str, ...]:
    """The answer and its aliases, each once; blank aliases, which nothing equals, are left out."""
    if not isinstance(answer, str) or not answer.strip():
        raise UserError(f"{where}: answer = {answer!r}; allowed: text that is not empty")
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise UserError(f"{where}: answer_aliases = {aliases!r}; allowed: a list of texts")
    return tuple(dict.fromkeys([answer, *(alias for alias in aliases if alias.strip())]))


def read_mmlu(path: Path) -> list[Question]:
    """The questions of MMLU.

    Args:
        path: a file or a folder of the published ``SUBJECT_SPLIT.csv`` files (no heading; question, four options,
            letter), or JSON lines with ``question``, ``choices``, ``answer`` (a letter or a number from 0) and
            ``subject`` (or ``type``).

    Raises:
        UserError: there is no such file, a row does not have four options, or an answer is none of them.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "geography_test.csv"
        ...     _ = path.write_text("What river is Rome on?,Po,Tiber,Arno,Adige,B")
        ...     (question,) = read_mmlu(path)
        >>> question.answers, question.choices, question.facts["topic"]
        (('B',), ('Po', 'Tiber', 'Arno', 'Adige'), 'geography')
    """
    if path.suffix == ".jsonl":
        return _mmlu_lines(path)
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
    if not files or not files[0].is_file() or files[0].suffix != ".csv":
        raise UserError(f"{path}: no questions; allowed: a .csv or .jsonl file of MMLU, or a folder of .csv files")
    return list(chain.from_iterable(map(_mmlu_csv, files)))


def _mmlu_lines(path: Path) -> list[Question]:
    questions = []
    for number, row in enumerate(read_json_lines(path, ("question", "choices", "answer")), start=1):
        subject = str(row.get("subject", row.get("type", "")))
        questions.append(_mmlu(f"{path}, row {number}", f"{path.stem}/{number}", subject, row))
    return questions


def _mmlu_csv(path: Path) -> list[Question]:
    subject = path.stem.rpartition("_")[0] or path.stem
    questions = []
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no CSV in UTF-8 ({error}); allowed: a file of MMLU as published") from None
    for number, cells in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        if len(cells) != 6:
            raise UserError(f"{where}: {len(cells)} cells; allowed: question, four options and a letter")
        row = {"question": cells[0], "choices": cells[1:5], "answer": cells[5].strip()}
        questions.append(_mmlu(where, f"{path.stem}/{number}", subject, row))
    return questions


def _mmlu(where: str, key: str, subject: str, row: Mapping[str, Any]) -> Question:
    choices, answer = row["choices"], row["answer"]
    if not isinstance(choices, list) or len(choices) != len(LETTERS):
        raise UserError(f"{where}: choices = {choices!r}; allowed: a list of four options")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(LETTERS):
        answer = LETTERS[answer]
    if not isinstance(answer, str) or len(answer) != 1 or answer not in LETTERS:
        raise UserError(f"{where}: answer = {row['answer']!r}; allowed: A, B, C or D, or a number from 0 to 3")
    return Question(
        prompt=str(row["question"]),
        answers=(answer,),
        key=key,
        choices=tuple(map(str, choices)),
        source="mmlu",
        facts={"expected": "direct", "topic": subject},
    )


@dataclass(frozen=True)
class DataMix:
    """How much of what: a share for each source, and the seed of the order.

    Args:
        shares: source to its share; they add up to 1.
        seed: of the shuffling of each source, and of which source comes next.

    Raises:
        UserError: a share is not above 0, or they don't add up to 1.

    Example:
        >>> asked = {source: [Question("?", ("!",), str(i), source=source) for i in range(30)] for source in "ab"}
        >>> mixed = DataMix({"a": 0.5, "b": 0.5}).mixed(asked)
        >>> max(sum(question.source == source for question in mixed) for source in "ab")
        30
    """

    shares: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if any(share <= 0 for share in self.shares.values()) or abs(sum(self.shares.values()) - 1) > 1e-9:
            raise UserError(f"shares = {dict(self.shares)}; allowed: shares above 0 that add up to 1")

    def mixed(self, questions: Mapping[str, Sequence[Question]]) -> list[Question]:
        """Questions of all sources: at each place the source is drawn by its share, until one has no more questions.

        Args:
            questions: source to its questions, in the names of the shares.

        Returns:
            Questions, none of them twice.

        Raises:
            UserError: the sources are not those of the shares, or one has no questions.
        """
        import datasets

        if set(questions) != set(self.shares) or not all(questions.values()):
            counts = {source: len(rows) for source, rows in questions.items()}
            raise UserError(f"questions = {counts}; allowed: some questions for each of {', '.join(self.shares)}")
        parts = []
        for source in self.shares:
            order = numpy_generator("data mix", self.seed, source).permutation(len(questions[source])).tolist()
            parts.append(datasets.Dataset.from_dict({"source": [source] * len(order), "place": order}))
        drawn = datasets.interleave_datasets(
            parts,
            probabilities=list(self.shares.values()),
            seed=key_to_seed("data mix", self.seed) % 2**32,
            stopping_strategy="first_exhausted",
        )
        return [questions[source][place] for source, place in zip(drawn["source"][:], drawn["place"][:], strict=True)]
