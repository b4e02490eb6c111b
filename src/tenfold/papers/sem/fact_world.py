"""A world of made-up facts: half of them are taught to a tiny policy, all of them are in an index.

    home bakolu?    ->  amber        metal bakolu?  ->  flint        crest bakolu?  ->  raven iris

A name is three syllables, every one drawn from the same law. Whether it is *known*, so that the policy is taught its
facts, is a hash of seed and name alone: templates, names and answers of known and unknown facts have one law, and
nothing on the surface of a question tells which it is. Each name has two facts; the answer to ``crest`` has two words,
so that F1 takes values between 0 and 1.

The warm start teaches known facts and the grammar. Its thinking is some *drafts* of the answer and whether they are
all the same, ``amber,coral,amber differ``: of a known fact drafts are right, of an unknown one they are independent
guesses. So what the policy knows shows in its own words, and no label of it is taught.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, key_to_seed, numpy_generator
from tenfold.data.passages import Passage
from tenfold.data.questions import Question
from tenfold.papers.sem.grammar import TAGS

SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmn" for vowel in "aeiou")
RELATIONS = ("home", "metal", "rival", "crest")
TWO_WORDS = "crest"
ALL_NOUNS = """
amber birch cedar delta ember fjord grove heron ivory jade lotus maple north ochre pearl quartz raven slate tulip umber
vine willow xenon yarrow zinc aspen basalt coral elm flint garnet harbor iris juniper kelp larch moss nectar
opal plum reed thyme walnut wren yew topaz cobalt saffron
"""
NOUNS = tuple(ALL_NOUNS.split())
SAME, DIFFER = "same", "differ"
CONFIDENCES = ("0.1", "0.3", "0.5", "0.7", "0.9")
CONFIDENCE_TAGS = ("<confidence>", "</confidence>")
ALPHABET = " ?=,.\n"
NOTICE = "nothing"
SPECIAL = (*TAGS, *CONFIDENCE_TAGS, *CONFIDENCES, *SYLLABLES, *RELATIONS, *NOUNS, SAME, DIFFER, NOTICE)
"""Every word is one token of the tiny policy; what the environment may say is made of these, too."""
NUM_NAMES = len(SYLLABLES) ** 3
EXPECTED = {"known": "direct", "unknown": "search"}


@dataclass(frozen=True)
class FactWorld:
    """Questions by what they are for, and the corpus of all facts.

    Args:
        shown: known, and asked in the reinforcement.
        validation: known, for curves and for choosing rates.
        test: known, in neither.
        taught_unknown: unknown, of the warm start: the policy guesses.
        fresh: unknown, of the reinforcement, each asked once.
        unknown_validation: never asked in training.
        unknown_test: never asked in training.
    """

    shown: list[Question]
    validation: list[Question]
    test: list[Question]
    taught_unknown: list[Question]
    fresh: list[Question]
    unknown_validation: list[Question]
    unknown_test: list[Question]

    @property
    def known(self) -> list[Question]:
        """All that the warm start teaches."""
        return [*self.shown, *self.validation, *self.test]

    def corpus(self) -> list[Passage]:
        """One passage for each fact, known or not."""
        questions = [*self.known, *self.taught_unknown, *self.fresh, *self.unknown_validation, *self.unknown_test]
        return [Passage(one.key, "", f"{query_of(one)}={one.answers[0]}") for one in questions]


def fact_world(
    seed: int, *, num_known: int, num_test: int, num_validation: int, num_taught: int, num_fresh: int
) -> FactWorld:
    """The world of a seed.

    Args:
        seed: of names, answers and what is known.
        num_known: known names; what is left after test and validation is shown to the reinforcement.
        num_test: known names of the test, and as many unknown ones.
        num_validation: the same for validation.
        num_taught: unknown names of the warm start.
        num_fresh: unknown names of the reinforcement.

    Returns:
        Two questions for each name.

    Raises:
        UserError: if nothing is left to be shown, or there are not enough names.

    Example:
        >>> world = fact_world(0, num_known=8, num_test=2, num_validation=2, num_taught=3, num_fresh=3)
        >>> [len(part) for part in (world.shown, world.test, world.fresh, world.corpus())]
        [8, 4, 6, 36]
    """
    if min(num_known, num_test, num_validation, num_taught, num_fresh) < 1 or num_known <= num_test + num_validation:
        raise UserError(
            f"num_known = {num_known}: must be above num_test + num_validation = {num_test + num_validation}, "
            "and every number at least 1"
        )
    num_unknown = num_test + num_validation + num_taught + num_fresh
    known, unknown = _names(seed, num_known, num_unknown)
    held_out = num_test + num_validation
    ends = np.cumsum([num_test, num_validation, num_taught]).tolist()

    def about(names: Sequence[str], source: str) -> list[Question]:
        return [question for name in names for question in _questions(seed, name, source)]

    return FactWorld(
        shown=about(known[held_out:], "known"),
        validation=about(known[num_test:held_out], "known"),
        test=about(known[:num_test], "known"),
        taught_unknown=about(unknown[ends[1] : ends[2]], "unknown"),
        fresh=about(unknown[ends[2] :], "unknown"),
        unknown_validation=about(unknown[ends[0] : ends[1]], "unknown"),
        unknown_test=about(unknown[: ends[0]], "unknown"),
    )


def is_known(seed: int, name: str) -> bool:
    """Whether a name's facts are taught: a hash, which knows nothing but seed and name."""
    return key_to_seed(seed, "known", name) % 2 == 0


def _names(seed: int, num_known: int, num_unknown: int) -> tuple[list[str], list[str]]:
    order = numpy_generator(seed, "names").permutation(NUM_NAMES)
    size = len(SYLLABLES)
    known: list[str] = []
    unknown: list[str] = []
    for number in order.tolist():
        name = SYLLABLES[number // size**2] + SYLLABLES[number // size % size] + SYLLABLES[number % size]
        chosen, limit = unknown, num_unknown
        if is_known(seed, name):
            chosen, limit = known, num_known
        if len(chosen) < limit:
            chosen.append(name)
        if len(known) == num_known and len(unknown) == num_unknown:
            return known, unknown
    raise UserError(
        f"{num_known} known and {num_unknown} unknown names are needed: there are {NUM_NAMES} in all, half of each kind"
    )


def _questions(seed: int, name: str, source: str) -> list[Question]:
    generator = numpy_generator(seed, "facts", name)
    relations = sorted(generator.choice(len(RELATIONS), 2, replace=False).tolist())
    return [_question(name, RELATIONS[i], guess(RELATIONS[i], generator), source) for i in relations]


def _question(name: str, relation: str, answer: str, source: str) -> Question:
    query = f"{relation} {name}"
    facts = {"expected": EXPECTED[source]}
    return Question(f"{query}?", (answer,), key=query, source=source, facts=facts)


def guess(relation: str, generator: np.random.Generator) -> str:
    """An answer drawn from the law of all answers, known and unknown."""
    num_words = 1 + (relation == TWO_WORDS)
    return " ".join(NOUNS[int(generator.integers(len(NOUNS)))] for _ in range(num_words))


def query_of(question: Question) -> str:
    """What to search for.

    Example:
        >>> query_of(Question("home bakolu?", ("amber",), key="home bakolu"))
        'home bakolu'
    """
    return question.key


def show(rank: int, passage: Passage) -> str:
    """A passage as the policy reads it."""
    return passage.text


@dataclass(frozen=True)
class Lesson:
    """One example of the warm start.

    Args:
        question: what is asked.
        said: thinking and first answer, and a confidence where one is taught.
        query: what is searched for; empty for no search.
        final: the answer after the result.
    """

    question: Question
    said: str
    query: str = ""
    final: str = ""


def lessons(
    world: FactWorld,
    num: int,
    *key: Key,
    known_share: float = 0.5,
    num_drafts: int = 3,
    search_same: float = 0.3,
    search_differ: float = 0.6,
    confidences: bool = False,
) -> list[Lesson]:
    """Examples that teach known facts and the grammar, with a decision to search that is a weak one.

    Whether an example searches is drawn with a probability that goes by what its own thinking says, not by what is
    known: both probabilities are moderate, so that a first policy searches both too much and too little.

    Args:
        world: whose facts.
        num: how many.
        *key: of the draws.
        known_share: share of known facts.
        num_drafts: answers in the thinking; the last one is the first answer.
        search_same: probability of a search where the drafts are the same.
        search_differ: and where they are not.
        confidences: state a confidence after the first answer, which leans as little on the thinking.

    Example:
        >>> world = fact_world(0, num_known=8, num_test=2, num_validation=2, num_taught=3, num_fresh=3)
        >>> lessons(world, 1, 0, known_share=1.0)[0].said
        '<think>juniper,juniper,juniper same</think><answer>juniper</answer>'
    """
    generator = numpy_generator(*key, "lessons")
    found = []
    for _ in range(num):
        part = world.taught_unknown
        if generator.random() < known_share:
            part = world.known
        question = part[int(generator.integers(len(part)))]
        relation, right = question.key.split()[0], question.answers[0]
        known = question.source == "known"
        drafts = [right if known else guess(relation, generator) for _ in range(num_drafts)]
        same = len(set(drafts)) == 1
        verdict, search_share = (SAME, search_same) if same else (DIFFER, search_differ)
        said = f"<think>{','.join(drafts)} {verdict}</think><answer>{drafts[-1]}</answer>"
        if confidences:
            said += f"<confidence>{_confidence(same, generator)}</confidence>"
        lesson = Lesson(question, said)
        if generator.random() < search_share:
            lesson = replace(lesson, query=query_of(question), final=right)
        found.append(lesson)
    return found


def _confidence(same: bool, generator: np.random.Generator) -> str:
    """High ones a little more often where drafts are the same."""
    weights = np.array([0.15, 0.15, 0.2, 0.25, 0.25])
    if not same:
        weights = weights[::-1]
    return str(generator.choice(CONFIDENCES, p=weights))
