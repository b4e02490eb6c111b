"""How often the supporting passage is among the first five: pinned on a made-up corpus, and on MuSiQue."""

import pytest

from tenfold.data.fact_corpus import KINDS, fact_corpus
from tenfold.data.question_answering import read_musique
from tenfold.envs.search import BM25, Dense, Tantivy, hashed_ngrams
from tenfold.eval.retrieval import hit_rate, recall


def measure(retriever, questions, k=5):
    found = [[passage.id for passage in each] for each in retriever.search([q.prompt for q in questions], k)]
    supporting = [question.facts["supporting"] for question in questions]
    return recall(found, supporting), hit_rate(found, supporting)


@pytest.mark.spec("sem", "6")
def test_bm25_finds_the_supporting_paragraph_of_a_stated_share_of_questions():
    """Measured, then pinned: 120 questions over 1,000 documents; a misspelt surname is what BM25 cannot find."""
    questions, passages = fact_corpus(1000, 120)
    retriever = BM25(passages)
    share_of_passages, share_of_questions = measure(retriever, questions)
    assert (share_of_passages, share_of_questions) == pytest.approx((0.679, 0.8), abs=0.01)
    by_kind = {kind: measure(retriever, [q for q in questions if q.facts["topic"] == kind])[1] for kind in KINDS}
    assert by_kind == {"name": 1.0, "spelling": pytest.approx(0.2, abs=0.04), "description": 1.0, "two hops": 1.0}


def test_what_each_engine_is_good_at():
    """Parts of words find misspelt names, which words alone cannot; rare words find descriptions, which parts miss."""
    questions, passages = fact_corpus(1000, 120)
    kinds = {kind: [q for q in questions if q.facts["topic"] == kind] for kind in KINDS}
    words, parts = BM25(passages), Dense(passages, hashed_ngrams())
    assert measure(parts, kinds["spelling"])[1] > measure(words, kinds["spelling"])[1] + 0.3
    assert measure(words, kinds["description"])[1] > measure(parts, kinds["description"])[1] + 0.3


@pytest.mark.slow
@pytest.mark.spec("sem", "6")
@pytest.mark.parametrize(("engine", "shares"), [(BM25, (0.502, 0.893)), (Tantivy, (0.480, 0.886))])
def test_the_recall_on_musique(published, engine, shares):
    """140 questions over the 2,343 paragraphs of all of them; two to four paragraphs support an answer."""
    questions, passages = read_musique(published("musique-sample") / "musique_ans_140.jsonl")
    assert (len(questions), len(passages)) == (140, 2343)
    assert measure(engine(passages), questions) == pytest.approx(shares, abs=0.01)
