"""A made-up corpus of any size with questions whose supporting passages are known, for measuring retrieval.

A document tells four things about one invented person and names another person, a teacher; documents of people with
the same given name or surname, of pupils, and of people with the same craft or river are in the way. Questions are
worded in another way than documents, and come in four kinds, a quarter of each: ``name``, ``spelling`` (two letters of
the surname have changed places), ``description`` (surname and river in place of the full name) and ``two hops``
(through a teacher whom the question does not name, so that no single search finds all that supports the answer).
"""

from collections.abc import Sequence

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.passages import Passage
from tenfold.data.questions import Question

ONSETS = ("b", "br", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "z")
RHYMES = ("a", "al", "an", "ar", "e", "el", "en", "er", "i", "in", "ir", "o", "ol", "on", "or", "u", "um", "un")
CRAFTS = ("weaver", "baker", "miner", "lawyer", "singer", "surgeon", "printer", "sailor", "painter", "farmer")

RELATIONS = {
    "town": ("was born in the town of {}", "grew up in {}, a market town"),
    "craft": ("worked as a {} for many years", "earned a living as a {}"),
    "guild": ("joined the guild of {}", "was a member of the guild of {}"),
    "river": ("kept a house beside the river {}", "came to love the banks of the {}"),
}
QUESTIONS = {
    "town": "In which town was {} born?",
    "craft": "What did {} do for work?",
    "guild": "Which guild did {} belong to?",
}
KINDS = ("name", "spelling", "description", "two hops")
REMARKS = ("The winters there were long.", "Letters from that time are lost.", "Little else is known.", "")


def fact_corpus(num_documents: int, num_questions: int, seed: int = 0) -> tuple[list[Question], list[Passage]]:
    """Documents about invented people, and questions about some of them.

    Args:
        num_documents: size of the corpus.
        num_questions: at most as many; no two are about the same person.
        seed: of everything.

    Raises:
        UserError: a number is out of range.

    Returns:
        Questions, of which the facts ``topic``, their kind, and ``supporting`` are told, and the passages.

    Example:
        >>> questions, passages = fact_corpus(200, 100)
        >>> len(questions), len(passages), sorted({question.facts["topic"] for question in questions})
        (100, 200, ['description', 'name', 'spelling', 'two hops'])
    """
    if num_documents < 2 or not 1 <= num_questions <= num_documents:
        raise UserError(
            f"num_documents = {num_documents}, num_questions = {num_questions}; "
            "allowed: at least 2 documents, and from 1 to as many questions"
        )
    generator = numpy_generator("fact corpus", seed)
    people = _people(generator, num_documents)
    places = _names(generator, 400, 2)
    facts = [_facts(generator, places) for _ in people]
    teachers = (np.arange(num_documents) + generator.integers(1, num_documents, num_documents)) % num_documents
    passages = [
        Passage(f"p{number}", person, _text(generator, person, facts[number], people[teachers[number]]))
        for number, person in enumerate(people)
    ]
    asked = generator.permutation(num_documents)[:num_questions].tolist()
    questions = [
        _question(generator, number, person, int(teachers[person]), people, facts)
        for number, person in enumerate(asked)
    ]
    return questions, passages


def _names(generator: np.random.Generator, count: int, syllables: int) -> list[str]:
    """Different names of two or three syllables."""
    names: dict[str, None] = {}
    while len(names) < count:
        parts = [str(generator.choice(kind)) for _ in range(syllables) for kind in (ONSETS, RHYMES)]
        names.setdefault("".join(parts).capitalize())
    return list(names)


def _people(generator: np.random.Generator, count: int) -> list[str]:
    """Different full names; given names and surnames are shared by many."""
    size = max(8, round(2 * count**0.5))
    given, surnames = _names(generator, size, 2), _names(generator, size, 3)
    pairs = generator.permutation(size * size)[:count]
    return [f"{given[pair // size]} {surnames[pair % size]}" for pair in pairs]


def _facts(generator: np.random.Generator, places: Sequence[str]) -> dict[str, str]:
    town, guild, river = generator.integers(len(places), size=3)
    craft = CRAFTS[generator.integers(len(CRAFTS))]
    return {"town": places[town], "craft": craft, "guild": places[guild], "river": places[river]}


def _text(generator: np.random.Generator, person: str, facts: dict[str, str], teacher: str) -> str:
    sentences = []
    for number, relation in enumerate(generator.permutation(list(RELATIONS))):
        wording = RELATIONS[relation][generator.integers(2)].format(facts[relation])
        subject = person if number == 0 else person.split()[int(generator.integers(2))]
        sentences.append(f"{subject} {wording}.")
    sentences.append(f"The lessons of {teacher} were an early influence.")
    sentences.append(REMARKS[generator.integers(len(REMARKS))])
    return " ".join(sentences).strip()


def _question(
    generator: np.random.Generator,
    number: int,
    person: int,
    teacher: int,
    people: Sequence[str],
    facts: Sequence[dict[str, str]],
) -> Question:
    kind = KINDS[number % len(KINDS)]
    relation = ("town", "craft", "guild")[generator.integers(3)]
    given, surname = people[person].split()
    subject = {
        "name": people[person],
        "spelling": f"{given} {_misspelt(generator, surname)}",
        "description": f"the {surname} who lived on the {facts[person]['river']}",
        "two hops": f"the teacher of {people[person]}",
    }[kind]
    last = teacher if kind == "two hops" else person
    supporting = (f"p{person}", f"p{teacher}") if kind == "two hops" else (f"p{person}",)
    return Question(
        prompt=QUESTIONS[relation].format(subject),
        answers=(facts[last][relation],),
        key=f"q{number}",
        source="fact corpus",
        facts={"expected": "search", "supporting": supporting, "topic": kind},
    )


def _misspelt(generator: np.random.Generator, name: str) -> str:
    """Two different neighbours of the letters change places; the first letter stays."""
    places = [i for i in range(1, len(name) - 1) if name[i] != name[i + 1]]
    place = places[generator.integers(len(places))]
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]
