"""The made-up corpus: what supports an answer contains it, and questions are of the kinds that they say."""

from collections import Counter

import pytest

from tenfold.core.errors import UserError
from tenfold.data.fact_corpus import KINDS, fact_corpus

QUESTIONS, PASSAGES = fact_corpus(500, 200)
CORPUS = {passage.id: passage for passage in PASSAGES}


def test_sizes_kinds_and_names():
    assert len(QUESTIONS) == 200 and len(CORPUS) == 500 and len({passage.title for passage in PASSAGES}) == 500
    assert Counter(question.facts["topic"] for question in QUESTIONS) == dict.fromkeys(KINDS, 50)
    assert len({question.facts["supporting"][0] for question in QUESTIONS}) == 200


def test_the_last_supporting_passage_has_the_answer():
    for question in QUESTIONS:
        assert question.answers[0] in CORPUS[question.facts["supporting"][-1]].text


def test_questions_name_people_as_their_kind_says():
    for question in QUESTIONS:
        first, last = (CORPUS[question.facts["supporting"][place]] for place in (0, -1))
        given, surname = first.title.split()
        if question.facts["topic"] in ("name", "two hops"):
            assert first.title in question.prompt
        if question.facts["topic"] == "two hops":
            assert last.title in first.text and last.title not in question.prompt
        if question.facts["topic"] == "spelling":
            (written,) = (word for word in question.prompt.split() if sorted(word) == sorted(surname))
            assert given in question.prompt and written != surname
        if question.facts["topic"] == "description":
            assert surname in question.prompt and given not in question.prompt.split()


def test_people_share_their_names():
    given = Counter(passage.title.split()[0] for passage in PASSAGES)
    assert given.most_common(1)[0][1] >= 5


def test_the_seed_is_all_that_matters():
    assert fact_corpus(50, 20, seed=1) == fact_corpus(50, 20, seed=1) != fact_corpus(50, 20, seed=2)


@pytest.mark.parametrize("sizes", [(1, 1), (10, 0), (10, 11)])
def test_sizes_out_of_range(sizes):
    with pytest.raises(UserError, match="allowed: at least 2 documents"):
        fact_corpus(*sizes)
