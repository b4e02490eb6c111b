"""``tenfold index``: build, search, and one line for every mistake."""

import json

import pytest

ROWS = [
    {"id": 1, "title": "Rome", "text": "Rome is on the Tiber."},
    {"id": 2, "title": "", "text": "Paris is on the Seine."},
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


@pytest.mark.parametrize("engine", ["bm25", "tantivy"])
def test_build_then_search(tenfold, corpus, tmp_path, engine):
    status, output, _ = tenfold("index", "build", corpus, "--out", tmp_path / "index", "--engine", engine)
    assert (status, output) == (0, f"2 passages of {corpus} indexed in {tmp_path / 'index'}\n")
    status, output, _ = tenfold("index", "search", tmp_path / "index", "Rome: the Tiber or the Seine?", "--k", "1")
    assert status == 0 and output.endswith("  Rome (1)\n         Rome is on the Tiber.\n")
    status, output, _ = tenfold("index", "search", tmp_path / "index", "Seine", "--json")
    assert status == 0 and {**json.loads(output), "score": 0} == {**ROWS[1], "id": "2", "score": 0}
    assert tenfold("index", "search", tmp_path / "index", "Arno") == (0, "nothing was found\n", "")
    assert tenfold("index", "search", tmp_path / "index", "Arno", "--json") == (0, "", "")


def test_korean_is_found_by_the_documented_command_and_the_tokenizer_is_kept(tenfold, tmp_path):
    corpus, index = tmp_path / "corpus.jsonl", tmp_path / "index"
    rows = [
        {"id": 1, "title": "", "text": "한강이 서울을 가로지른다."},
        {"id": 2, "title": "", "text": "부산은 항구다."},
    ]
    corpus.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    assert tenfold("index", "build", corpus, "--out", index)[0] == 0
    status, output, _ = tenfold("index", "search", index, "한강")
    assert status == 0 and "한강이 서울을 가로지른다." in output and "부산" not in output
    assert tenfold("index", "build", corpus, "--out", index, "--tokenizer", "words")[0] == 0
    assert tenfold("index", "search", index, "한강") == (0, "nothing was found\n", "")
    status, _, error = tenfold("index", "build", corpus, "--out", index, "--engine", "tantivy", "--tokenizer", "words")
    assert status == 2 and "does nothing with the engine tantivy" in error


def test_a_corpus_that_changed_or_moved(tenfold, corpus, tmp_path):
    index = tmp_path / "index"
    tenfold("index", "build", corpus, "--out", index)
    moved = corpus.rename(tmp_path / "moved.jsonl")
    status, _, error = tenfold("index", "search", index, "Tiber")
    assert status == 2 and "is not there; name its new place with corpus (--corpus)" in error
    assert tenfold("index", "search", index, "Tiber", "--corpus", moved)[0] == 0
    moved.write_text(json.dumps(ROWS[0]))
    status, _, error = tenfold("index", "search", index, "Tiber", "--corpus", moved)
    assert status == 2 and error.count("\n") == 1 and "changed since index" in error


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "row 3: not JSON"),
        ("[]", "row 3: is of type list; allowed: a JSON object"),
        ('{"id": 3, "title": "x"}', "row 3: no column 'text'"),
        ('{"id": 1, "title": "x", "text": "y"}', "row 3: id '1' is that of row 1; allowed: each id once"),
        ('{"id": 1.5, "title": "x", "text": "y"}', "row 3: id = 1.5; allowed: text that is not empty, or a whole"),
        ('{"id": "", "title": "x", "text": "y"}', "row 3: id = ''"),
        ('{"id": true, "title": "x", "text": "y"}', "row 3: id = True"),
        ('{"id": 3, "title": null, "text": "y"}', "row 3: title = None; allowed: text, which may be empty"),
        ('{"id": 3, "title": "x", "text": " "}', "row 3: text = ' '; allowed: text that is not empty"),
    ],
)
def test_mistakes_in_a_corpus_are_named_with_their_row(tenfold, corpus, tmp_path, row, message):
    with corpus.open("a") as stream:
        stream.write(f"\n\n{row}")
    status, output, error = tenfold("index", "build", corpus, "--out", tmp_path / "index")
    assert status == 2 and message in error and error.count("\n") == 1 and not output
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("words", [[], ["bild"]])
def test_what_is_neither_build_nor_search(tenfold, words):
    status, _, error = tenfold("index", *words)
    assert status == 2 and 'tenfold index search DIR "query"' in error


def test_help(tenfold):
    assert "tenfold index build" in tenfold("index", "--help")[1]
    assert "--engine" in tenfold("index", "build", "--help")[1]
    assert "--corpus" in tenfold("index", "search", "--help")[1]


def test_no_index_and_no_corpus(tenfold, tmp_path):
    status, _, error = tenfold("index", "search", tmp_path, "Tiber")
    assert status == 2 and "holds no index; build one: tenfold index build CORPUS.jsonl" in error
    status, _, error = tenfold("index", "build", tmp_path / "none.jsonl", "--out", tmp_path / "index")
    assert status == 2 and "there is no such file" in error
