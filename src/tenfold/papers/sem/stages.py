"""What the arms of a seed have in common: questions and corpus, the policy, its warm start, what it knows by then.

The warm start is trained once for each seed, by whichever arm comes first, in ``shared/`` of the run directory, where
the other arms find its checkpoint. It is the same whoever trains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.passages import Passage
from tenfold.data.question_answering import DataMix, Question, read_mmlu, read_musique
from tenfold.envs import BM25, Notices, Retriever, ToolNotices, load_index
from tenfold.envs.search.tool import numbered
from tenfold.papers.sem import fact_world
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.environment import FRAME, NOTICES, SearchEnvironment
from tenfold.papers.sem.fact_world import FactWorld, lessons
from tenfold.papers.sem.grammar import RESULT_CLOSING, RESULT_OPENING
from tenfold.papers.sem.prompts import CLOSED_BOOK, CONFIDENCE, SEM
from tenfold.papers.sem.questions import as_dataset, closed_book_accuracy
from tenfold.policies import Policy, Sampling, load_policy, tiny_policy
from tenfold.train.sft import sft

_SMALL_FRAME = ToolNotices(RESULT_OPENING, RESULT_CLOSING, "", fact_world.NOTICE, fact_world.NOTICE, "")
_SMALL_NOTICES = Notices(fact_world.NOTICE, fact_world.NOTICE, fact_world.NOTICE, fact_world.NOTICE, "", "")

Form = Literal["search", "closed book", "confidence"]


@dataclass(frozen=True)
class Material:
    """The questions of a seed, and what is searched.

    Args:
        train: of the reinforcement, in rows for GRPO.
        shown: some of the known questions of the reinforcement, to see whether what is asked there is remembered.
        validation: for curves and for choosing rates.
        test: asked in no training.
        retriever: over all passages.
        world: of the made-up facts; ``None`` for questions from files.
    """

    train: Dataset
    shown: list[Question]
    validation: list[Question]
    test: list[Question]
    retriever: Retriever
    world: FactWorld | None = None


def load_material(config: Config, seed: int) -> Material:
    """Questions and corpus of a seed.

    Raises:
        UserError: a file is missing or has a row that cannot be used, or numbers don't fit.
    """
    return _facts(config, seed) if config.task.kind == "facts" else _files(config, seed)


def _facts(config: Config, seed: int) -> Material:
    t, asked = config.task, config.training.steps * config.training.prompts_per_step
    num_fresh = asked // 2
    world = fact_world.fact_world(
        seed,
        num_known=t.num_known,
        num_test=t.num_test,
        num_validation=t.num_validation,
        num_taught=t.num_taught,
        num_fresh=-(-num_fresh // 2),
    )
    known = [world.shown[i % len(world.shown)] for i in range(asked - num_fresh)]
    shown = numpy_generator(seed, "shown").permutation(len(world.shown))[: 2 * t.num_validation].tolist()
    return Material(
        train=as_dataset([*known, *world.fresh[:num_fresh]], instructions=""),
        shown=[world.shown[i] for i in shown],
        validation=[*world.validation, *world.unknown_validation],
        test=[*world.test, *world.unknown_test],
        retriever=BM25(world.corpus()),
        world=world,
    )


def _files(config: Config, seed: int) -> Material:
    t, parts = config.task, []
    passages: dict[str, Passage] = {}
    for musique_file, mmlu_file in ((t.musique_train, t.mmlu_train), (t.musique_test, t.mmlu_test)):
        musique, found = read_musique(Path(musique_file))
        passages |= {passage.id: passage for passage in found}
        parts.append({"musique": musique, "mmlu": read_mmlu(Path(mmlu_file))})
    train, test = ({name: _shuffled(rows, seed, name) for name, rows in part.items()} for part in parts)
    held_out = {name: rows[: t.num_validation] for name, rows in train.items()}
    left = {name: rows[t.num_validation :] for name, rows in train.items()}
    rows = DataMix({"musique": t.musique_share, "mmlu": 1 - t.musique_share}, seed=seed).rows(left)
    mixed = [Question(**{name: _tuple(value) for name, value in row.items()}) for row in rows]
    return Material(
        train=as_dataset(mixed[: t.num_train or None], instructions=SEM),
        shown=[],
        validation=[question for part in held_out.values() for question in part],
        test=[question for part in test.values() for question in part[: t.num_test]],
        retriever=load_index(Path(config.search.index)) if config.search.index else BM25(list(passages.values())),
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shuffled(questions: Sequence[Question], seed: int, name: str) -> list[Question]:
    return [questions[i] for i in numpy_generator(seed, "order", name).permutation(len(questions)).tolist()]


def instructions_of(config: Config, form: Form = "search") -> str:
    """The system's words, by what is offered: a search, none, or one that a stated confidence opens.

    The tiny policy needs none.
    """
    if config.task.kind == "facts":
        return ""
    return {"search": SEM, "closed book": CLOSED_BOOK, "confidence": CONFIDENCE}[form]


def environment_of(config: Config, policy: Policy, retriever: Retriever) -> SearchEnvironment:
    """What answers searches, in the tiny policy's words where there are few."""
    s, small = config.search, config.task.kind == "facts"
    return SearchEnvironment(
        retriever,
        policy.tokenizer,
        k=s.passages,
        max_searches=s.max_searches,
        max_result_tokens=s.max_result_tokens,
        end_over_budget=True,
        show=fact_world.show if small else numbered,
        frame=_SMALL_FRAME if small else FRAME,
        notices=_SMALL_NOTICES if small else NOTICES,
    )


def build(config: Config, seed: int) -> Policy:
    """The policy before any training; equal seeds give equal weights."""
    p = config.policy
    if p.model:
        return load_policy(p.model)
    return tiny_policy(
        fact_world.ALPHABET,
        fact_world.SPECIAL,
        width=p.width,
        layers=p.layers,
        heads=p.heads,
        context=p.context,
        seed=key_to_seed(seed, "policy"),
    )


def warm_start(config: Config, material: Material, seed: int, cell: Cell, *, confidences: bool = False) -> Policy:
    """The policy that arms go on from: trained in ``cell``, or loaded if that is done.

    Args:
        config: of the run.
        material: of the seed.
        seed: of weights and lessons.
        cell: the training.
        confidences: whether it is taught to state a confidence after its first answer.
    """
    policy, w = build(config, seed), config.warm_start
    if material.world is None or not w.training.steps:
        return policy
    found = lessons(
        material.world,
        min(w.num_examples, w.training.steps * w.training.batch_size),
        seed,
        "confidence" if confidences else "warm start",
        known_share=w.known_share,
        num_drafts=w.num_drafts,
        search_same=w.search_same,
        search_differ=w.search_differ,
        confidences=confidences,
    )
    rows = as_rows(found, policy, environment_of(config, policy, material.retriever))
    return sft(policy, rows, w.training, cell)


def as_rows(found: Sequence[fact_world.Lesson], policy: Policy, environment: SearchEnvironment) -> Dataset:
    """Examples in tokens: prompt and results without loss, results as the environment gives them."""
    results: dict[str, list[int]] = {}
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for lesson in found:
        prompt = policy.encode(lesson.question.question, start=True)
        parts = [(prompt, False), (policy.encode(lesson.said), True)]
        if lesson.query:
            if lesson.query not in results:
                results[lesson.query] = result_ids(lesson.query, policy, environment)
            parts += [
                (policy.encode(f"<search>{lesson.query}</search>"), True),
                (results[lesson.query], False),
                (policy.encode(f"<answer>{lesson.final}</answer>"), True),
            ]
        parts.append(([policy.tokenizer.eos_token_id], True))
        rows["input_ids"].append([token for ids, _ in parts for token in ids])
        rows["labels"].append([token if learn else -100 for ids, learn in parts for token in ids])
    return Dataset.from_dict(rows)


def result_ids(query: str, policy: Policy, environment: SearchEnvironment) -> list[int]:
    """The tokens that the environment inserts after a query."""
    from tenfold.core.types import Turn

    session = environment.open(0, 0)
    reply = session.respond(Turn(f"<search>{query}</search>", environment.stop[0], (), [], []))
    session.close()
    assert reply is not None and reply.token_ids is not None
    return list(reply.token_ids)


def knowledge(config: Config, policy: Policy, questions: Sequence[Question], seed: int) -> list[float]:
    """Closed-book accuracy of each question, before any reinforcement: what all arms are judged against."""
    e = config.evaluation
    return closed_book_accuracy(
        policy,
        questions,
        Sampling(e.max_new_tokens, e.temperature, stop=("</answer>",)),
        num_samples=e.closed_book_samples,
        seed=key_to_seed(seed, "closed book"),
        instructions=instructions_of(config, "closed book"),
        batch_size=e.batch_size,
    )
