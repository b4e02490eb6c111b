"""Corpora are read whole, mistakes are named with their row, and the hash knows every change. See tests/cli too."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage, corpus_hash, read_passages


def test_a_corpus_of_any_script_with_other_columns_and_blank_lines(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": "ä", "title": "", "text": "東京", "url": 3}, {"text": "b\nb", "title": "B", "id": 0}]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    assert read_passages(path) == [Passage("ä", "", "東京"), Passage("0", "B", "b\nb")]


def test_an_id_is_compared_as_text(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": 1, "title": "", "text": "a"}\n{"id": "1", "title": "", "text": "b"}')
    with pytest.raises(UserError, match="row 2: id '1' is that of row 1"):
        read_passages(path)


def test_the_hash_knows_where_one_value_ends():
    corpora = [
        [Passage("a", "b", "c")],
        [Passage("a", "bc", "")],
        [Passage("ab", "", "c")],
        [Passage("a", "b", "c"), Passage("d", "", "e")],
        [Passage("d", "", "e"), Passage("a", "b", "c")],
        [Passage("a", 'b","c', "c")],
        [],
    ]
    assert len({corpus_hash(corpus) for corpus in corpora}) == len(corpora)
    assert corpus_hash([Passage("a", "b", "c", 0.5)]) == corpus_hash(corpora[0]), "a score is not the corpus's"
    assert len(corpus_hash([])) == 32
