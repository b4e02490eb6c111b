"""The verb ``hints``: a review of places, draft by draft."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort import commands
from tenfold.papers.cort.proposers import Manual

TEXT = "Two factors. Let me multiply by hand. 6*7=42. 42+1=43.</think>\\boxed{43}"


@pytest.fixture
def drafts(tmp_path):
    file = tmp_path / "drafts.jsonl"
    file.write_text("".join(json.dumps({"key": key, "text": TEXT}) + "\n" for key in ("a", "b", "c")))
    return file


def answering(monkeypatch, *answers):
    """The keyboard: these answers, then the end of the input; an exception among them is raised."""
    left = iter(answers)

    def say(prompt):
        said = next(left, EOFError)
        if isinstance(said, str):
            return said
        raise said

    monkeypatch.setattr("builtins.input", say)


def test_places_are_reviewed_one_by_one_and_the_review_goes_on(tmp_path, drafts, monkeypatch, capsys):
    out = tmp_path / "places.jsonl"
    answering(monkeypatch, "what?", "+4", "y", "q")
    commands.hints(drafts, out)
    place = Manual.read(out).by_key["a"]
    assert TEXT[place.at :].startswith("me multiply") and place.decided_by == "manual: reviewed"
    assert place.quote == TEXT[place.at :][:40]
    answering(monkeypatch, "n", "y")
    commands.hints(drafts, out)
    found = Manual.read(out).by_key
    assert found["b"] is None and found["c"].at == TEXT.index("Let me")
    assert "2 places in 3 drafts, 2 of them reviewed now" in capsys.readouterr().out
    answering(monkeypatch)
    commands.hints(drafts, out)
    assert "2 places in 3 drafts, 0 of them" in capsys.readouterr().out, "what was refused is not asked again"


@pytest.mark.parametrize("end", ["q", EOFError, KeyboardInterrupt])
def test_what_was_said_before_the_review_ends_is_kept(tmp_path, drafts, monkeypatch, end):
    out = tmp_path / "places.jsonl"
    answering(monkeypatch, "n", end)
    commands.hints(drafts, out)
    assert Manual.read(out).by_key == {"a": None}


def test_a_review_without_an_answer_leaves_no_file(tmp_path, drafts, monkeypatch, capsys):
    answering(monkeypatch)
    commands.hints(drafts, tmp_path / "places.jsonl")
    assert not (tmp_path / "places.jsonl").exists() and "0 places in 0 drafts" in capsys.readouterr().out


def test_all_places_may_be_accepted(tmp_path, drafts):
    out = tmp_path / "places.jsonl"
    commands.hints(drafts, out, accept=True)
    assert [place.decided_by for place in Manual.read(out).by_key.values()] == ["heuristic"] * 3


def test_a_place_within_an_output_is_not_kept(tmp_path, monkeypatch, capsys):
    text = "```python\nprint(42)\n```\n```output\n42\n```\nWait. 6*7=42. 42+1=43."
    file, out = tmp_path / "drafts.jsonl", tmp_path / "places.jsonl"
    file.write_text(json.dumps({"key": "a", "text": text}) + "\n")
    answering(monkeypatch, "-6", "y", "+6", "y")
    commands.hints(file, out)
    assert "within an output" in capsys.readouterr().out
    assert Manual.read(out).by_key["a"].at == text.index("Wait")


def test_a_review_refuses_what_it_cannot_use(tmp_path, drafts):
    out = tmp_path / "places.jsonl"
    with pytest.raises(UserError, match="context = -5: must be at least 1"):
        commands.hints(drafts, out, context=-5)
    with pytest.raises(UserError, match="num_steps = 0: must be at least 1"):
        commands.hints(drafts, out, num_steps=0)
    commands.hints(drafts, out, accept=True)
    drafts.write_text(json.dumps({"key": "a", "text": "Another."}) + "\n")
    with pytest.raises(UserError, match=r"places\.jsonl, row 1: its place is in another draft 'a'; give another --out"):
        commands.hints(drafts, out)
    drafts.write_text((json.dumps({"key": "a", "text": TEXT}) + "\n") * 2)
    with pytest.raises(UserError, match="row 2: key is 'a' again"):
        commands.hints(drafts, tmp_path / "new.jsonl")
    drafts.write_text(json.dumps({"key": "a", "text": 4}) + "\n")
    with pytest.raises(UserError, match="row 1: text is 4; allowed: the text of a trace"):
        commands.hints(drafts, tmp_path / "new.jsonl")
