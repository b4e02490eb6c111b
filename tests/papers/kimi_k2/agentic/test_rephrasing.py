"""Rephrased texts: chunks cover them, facts stay, and a run that was stopped goes on to the same rows."""

import random
from collections import Counter

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2.agentic.rephrasing import STYLES, Rephraser, chunks_of, facts_kept, passage_of, rephrase

TEXT = (
    "  The bridge over the Tiber was built in 1871 by George Eliot.\n\nIt is 120.5 m long, and the city of Rome paid "
    "3,000 coins for it.\tIn 1902 the painter Ada Lovelace drew it.  "
)
DOCUMENTS = {f"d{number}": f"{TEXT} Item {number} follows." for number in range(6)}


def identity(request, seed):
    return passage_of(request)


def shouted(request, seed):
    """Other words that keep numbers and names, and depend on the seed."""
    return f"{passage_of(request)} So it is ({'really ' * (seed % 3)}so)."


def rephraser(generator=identity, **settings):
    return Rephraser(generator, "test", STYLES, **{"chunk_words": 7, "excerpt_words": 20, **settings})


@pytest.mark.spec("kimi_k2/agentic", "R1")
def test_chunks_cover_a_document_exactly_once():
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(draw.choices(["a", "word", " ", "\n", "\t", "서울", ".", "  "], k=draw.randrange(60)))
        words = draw.randrange(1, 9)
        chunks = chunks_of(text, words)
        assert "".join(chunks) == text and all(len(chunk.split()) <= words for chunk in chunks)
    row = rephraser(shouted).rewritten(TEXT, "notes")
    begins, ends = [place[0] for place in row["chunks"]], [place[1] for place in row["chunks"]]
    assert begins == [0, *ends[:-1]] and ends[-1] == len(TEXT)
    assert [place[2] for place in row["chunks"]] == [0, *(place[3] for place in row["chunks"][:-1])]


@pytest.mark.spec("kimi_k2/agentic", "R2")
@pytest.mark.parametrize("words", [1, 3, 7, 1000])
def test_a_generator_that_changes_nothing_gives_the_document(words):
    for text in (TEXT, "", "   ", "x"):
        row = rephraser(chunk_words=words, excerpt_words=words).rewritten(text, "notes")
        assert row["text"] == text and row["accepted"] and row["attempts"] == 1


@pytest.mark.spec("kimi_k2/agentic", "R3")
@pytest.mark.parametrize("lost", ["1871", "120.5", "3,000", "George", "Tiber"])
def test_what_drops_a_number_or_a_name_is_rejected(lost):
    asked = []

    def dropping(request, seed):
        asked.append(seed)
        return passage_of(request).replace(lost, "some")

    row = rephraser(dropping, retries=2).rewritten(TEXT, "notes")
    assert not row["accepted"] and row["fidelity"] < 1 and row["attempts"] == 3
    assert len(set(asked)) == len(asked), "each try and each chunk has a seed of its own"


def test_a_rewrite_that_is_better_at_the_second_try_is_accepted():
    tries = Counter()

    def forgetful(request, seed):
        tries[passage_of(request)] += 1
        return passage_of(request) if tries[passage_of(request)] > 1 else "nothing"

    row = rephraser(forgetful).rewritten(TEXT, "notes")
    assert row["accepted"] and row["attempts"] == 2


def test_a_request_has_the_passage_its_surroundings_and_what_was_said():
    requests = []
    rephraser(lambda request, seed: requests.append(request) or passage_of(request).upper()).rewritten(TEXT, "lecture")
    assert all(STYLES["lecture"] in request for request in requests) and len(requests) > 3
    assert "<rewritten>  THE BRIDGE" in requests[1] and "<rewritten></rewritten>" in requests[0]
    excerpt = requests[2].partition("<excerpt>")[2].partition("</excerpt>")[0]
    assert excerpt in TEXT and passage_of(requests[2]) in excerpt and len(excerpt.split()) <= 20


@pytest.mark.spec("kimi_k2/agentic", "R4")
def test_a_stopped_run_and_another_order_give_the_same_rows(tmp_path):
    def by_key(rows):
        return {(row["document"], row["style"]): row for row in rows}

    whole = rephrase(DOCUMENTS, rephraser(shouted, rephrases=2), tmp_path / "whole.jsonl")
    assert len(whole) == 12 and len({row["text"] for row in whole}) > 6
    made = []

    def stopping(request, seed):
        if len(made) == 40:
            raise KeyboardInterrupt
        made.append(seed)
        return shouted(request, seed)

    backwards = dict(reversed(DOCUMENTS.items()))
    with pytest.raises(KeyboardInterrupt):
        rephrase(backwards, rephraser(stopping, rephrases=2), tmp_path / "parted.jsonl")
    begun = (tmp_path / "parted.jsonl").read_text().count("\n")
    assert 0 < begun < 12
    parted = rephrase(backwards, rephraser(shouted, rephrases=2), tmp_path / "parted.jsonl")
    assert by_key(parted) == by_key(whole)

    def never(request, seed):
        raise AssertionError

    assert rephrase(DOCUMENTS, rephraser(never, rephrases=2), tmp_path / "parted.jsonl") == parted
    with pytest.raises(UserError, match="was made by test with seed 0"):
        rephrase(DOCUMENTS, rephraser(seed=1), tmp_path / "whole.jsonl")


@pytest.mark.spec("kimi_k2/agentic", "R5")
def test_no_text_is_rephrased_more_than_twice(tmp_path):
    documents = {**DOCUMENTS, "copy": DOCUMENTS["d0"], "another": DOCUMENTS["d0"]}
    rows = rephrase(documents, rephraser(rephrases=2), tmp_path / "rows.jsonl")
    rows = rephrase(documents, rephraser(rephrases=2), tmp_path / "rows.jsonl")
    counts = Counter(documents[row["document"]] for row in rows)
    assert set(counts.values()) == {2} and len(counts) == 6
    with pytest.raises(UserError, match="rephrases = 3: allowed are 1 to 2"):
        rephraser(rephrases=3)


def test_fidelity_counts_numbers_and_names():
    assert facts_kept(TEXT, TEXT) == facts_kept("no facts", "") == 1
    assert facts_kept("2 and 2", "2") == 0.5 and facts_kept("on 2024-05-01", "on 2024-05-02") == 0


def test_bad_settings_and_files_are_named(tmp_path):
    for settings, message in (({"chunk_words": 0}, "chunk_words = 0"), ({"excerpt_words": 3}, "excerpt_words = 3")):
        with pytest.raises(UserError, match=message):
            rephraser(**settings)
    with pytest.raises(UserError, match="needed are at least 2"):
        Rephraser(identity, "test", {"one": "Rewrite."}, rephrases=2)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no file of rephrased texts"):
        rephrase(DOCUMENTS, rephraser(), tmp_path / "notes.txt")
