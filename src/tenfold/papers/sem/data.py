"""The questions of a seed and what is searched for them: a world of made-up facts, or MuSiQue and MMLU from files."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, numpy_generator
from tenfold.data.passages import Passage
from tenfold.data.question_answering import DataMix, read_mmlu, read_musique
from tenfold.envs import BM25, Retriever, load_index
from tenfold.papers.sem import fact_world
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.fact_world import FactWorld
from tenfold.study.questions import Question


@dataclass(frozen=True)
class Questions:
    """The questions of a seed, and what is searched.

    Args:
        train: of the reinforcement.
        shown: some of its known ones, to see whether what is asked there is remembered.
        validation: for curves and for choosing rates.
        test: asked in no training.
        retriever: over all passages.
        world: of the made-up facts; ``None`` for questions from files.
    """

    train: list[Question]
    shown: list[Question]
    validation: list[Question]
    test: list[Question]
    retriever: Retriever
    world: FactWorld | None = None


def draw_questions(config: Config, seed: int) -> Questions:
    """Questions and corpus of a seed.

    Raises:
        UserError: a file is missing or has a row that cannot be used, numbers don't fit, or the questions are a user's
            own, which have no test.
    """
    if config.task.kind == "own":
        raise UserError("task.kind = own is only for tenfold train sem; allowed in a run: facts, questions")
    if config.task.kind == "facts":
        return _facts(config, seed)
    return _files(config, seed)


def _facts(config: Config, seed: int) -> Questions:
    task, num_asked = config.task, config.training.steps * config.training.prompts_per_step
    num_fresh = num_asked // 2
    world = fact_world.fact_world(
        seed,
        num_known=task.num_known,
        num_test=task.num_test,
        num_validation=task.num_validation,
        num_taught=task.num_taught,
        num_fresh=-(-num_fresh // 2),
    )
    # Unknown facts are asked once each, or they would be learned; the known ones come again and again.
    known = list(islice(cycle(world.shown), num_asked - num_fresh))
    return Questions(
        train=[*known, *world.fresh[:num_fresh]],
        shown=_shuffled(world.shown, seed, "shown")[: 2 * task.num_validation],
        validation=[*world.validation, *world.unknown_validation],
        test=[*world.test, *world.unknown_test],
        retriever=BM25(world.corpus()),
        world=world,
    )


def _files(config: Config, seed: int) -> Questions:
    task = config.task
    train, passages = _read(task.musique_train, task.mmlu_train, seed)
    test, others = _read(task.musique_test, task.mmlu_test, seed)
    validation, left = _split(train, task.num_validation)
    mixed = DataMix({"musique": task.musique_share, "mmlu": 1 - task.musique_share}, seed=seed).mixed(left)
    return Questions(
        train=mixed[: task.num_train or None],
        shown=[],
        validation=validation,
        test=_split(test, task.num_test)[0],
        retriever=_retriever(config, passages | others),
    )


def _read(musique_file: str, mmlu_file: str, seed: int) -> tuple[dict[str, list[Question]], dict[str, Passage]]:
    """The questions of both sources, shuffled, and MuSiQue's passages by their ids."""
    musique, passages = read_musique(Path(musique_file))
    mmlu = read_mmlu(Path(mmlu_file))
    shuffled = {
        "musique": _shuffled(musique, seed, "order", "musique"),
        "mmlu": _shuffled(mmlu, seed, "order", "mmlu"),
    }
    return shuffled, {passage.id: passage for passage in passages}


def _shuffled(questions: Sequence[Question], *key: Key) -> list[Question]:
    order = numpy_generator(*key).permutation(len(questions))
    return [questions[i] for i in order.tolist()]


def _split(questions: dict[str, list[Question]], number: int) -> tuple[list[Question], dict[str, list[Question]]]:
    """The first questions of each source, and what is left of it."""
    first: list[Question] = []
    left = {}
    for source, of_source in questions.items():
        first += of_source[:number]
        left[source] = of_source[number:]
    return first, left


def _retriever(config: Config, passages: dict[str, Passage]) -> Retriever:
    if config.search.index:
        return load_index(Path(config.search.index))
    return BM25(list(passages.values()))
