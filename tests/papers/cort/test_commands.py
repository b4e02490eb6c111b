"""The verbs: a review of places, a training on one's own problems from start to model, and rates."""

import json
from pathlib import Path

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort import commands, multiplication
from tenfold.papers.cort.method import GENERAL
from tenfold.papers.cort.proposers import Manual, ManualPlace
from tenfold.papers.cort.traces import read_traces
from tenfold.policies import load_policy, tiny_policy

TEXT = "Two factors. Let me multiply by hand. 6*7=42. 42+1=43.</think>\\boxed{43}"


@pytest.fixture
def model(tmp_path):
    """A saved tiny policy whose tokenizer has a chat template."""
    policy = tiny_policy(multiplication.ALPHABET, multiplication.SPECIAL, width=16, layers=1, heads=2, context=512)
    policy.save(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"{i}*7", "answer": i * 7}) + "\n" for i in range(4)))
    return file


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


def test_reinforcement_on_own_problems_trains_saves_and_goes_on(tmp_path, model, rows, capsys):
    given = dict(stage="rl", grade="plain", steps=2, batch_size=2, num_generations=2, max_completion_length=24)
    out = tmp_path / "out"
    commands.train(model, rows, out, **given, learning_rate=1e-3)
    first = capsys.readouterr().out
    assert "rewards/accuracy/mean" in first and "rewards/code/mean" in first
    assert load_policy(out / "model").num_parameters > 0
    commands.train(model, rows, out, **given, learning_rate=1e-3)
    assert capsys.readouterr().out == first, "the same again goes on from the end"
    with pytest.raises(UserError, match=r"learning_rate is 0\.002, but"):
        commands.train(model, rows, out, **given, learning_rate=2e-3)


def test_fine_tuning_needs_a_right_trace(tmp_path, model, rows):
    with pytest.raises(UserError, match="no trace is right"):
        commands.train(model, rows, tmp_path / "out", stage="prompt_hint", grade="plain", max_completion_length=16)
    assert (tmp_path / "out" / "drafts.jsonl").is_file(), "the drafts are there to be reviewed"


def test_fine_tuning_on_hinted_traces(tmp_path, model, rows, monkeypatch):
    monkeypatch.setattr("tenfold.papers.cort.own_training.is_right", lambda *given: True)
    out = tmp_path / "out"
    given = dict(stage="hint_engineering", grade="plain", steps=2, batch_size=2, max_completion_length=16)
    commands.train(model, rows, out, **given)
    assert (out / "hinted.jsonl").is_file() and (out / "model").is_dir()
    assert "learning_rate: 1.0e-05" in (out / "training.yaml").read_text(), "fine-tuning's own rate"


def test_reviewed_places_go_into_the_drafts_that_were_reviewed(tmp_path, model, rows, monkeypatch, capsys):
    monkeypatch.setattr("tenfold.papers.cort.own_training.is_right", lambda *given: True)
    given = dict(grade="plain", steps=2, batch_size=2, max_completion_length=16)
    commands.train(model, rows, tmp_path / "drafts", stage="drafts", **given)
    file, places = tmp_path / "drafts/drafts.jsonl", tmp_path / "places.jsonl"
    assert f"4 drafts: {file}" in capsys.readouterr().out and not (tmp_path / "drafts/model").exists()
    drafts = read_traces(file)
    text = json.loads(file.read_text().splitlines()[0])["text"]
    at = len(GENERAL.text)
    Manual({drafts[0].key: ManualPlace(at, "trust", text[at : at + 9], "manual: reviewed")}).write(places)
    tuning = given | dict(stage="hint_engineering", drafts=file, places=places)
    commands.train(model, rows, tmp_path / "out", **tuning)
    hinted = read_traces(tmp_path / "out/hinted.jsonl")
    assert [[hint.decided_by for hint in trace.hints] for trace in hinted] == [["start", "manual: reviewed"]] + 3 * [
        ["start"]
    ]
    Manual({drafts[0].key: ManualPlace(at, "trust", "other words")}).write(places)
    with pytest.raises(UserError, match=r"places\.jsonl, row 1: quote is 'other words', but the draft has"):
        commands.train(model, rows, tmp_path / "stale", **tuning)
    rows.write_text("".join(json.dumps({"prompt": f"{i}*8", "answer": i * 8}) + "\n" for i in range(4)))
    with pytest.raises(
        UserError, match=r"drafts\.jsonl, row 1: key '1\.0' has another prompt; allowed: drafts of this"
    ):
        commands.train(model, rows, tmp_path / "stale", **tuning)
    assert not (tmp_path / "stale").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_examples": 0}, "num_examples = 0: must be at least 1"),
        ({"samples": 0}, "samples = 0: must be at least 1"),
        ({"code_weight": float("nan")}, "code_weight = nan: must be a finite number"),
        ({"stage": "rl", "places": Path("p.jsonl")}, "places = p.jsonl: stage rl places no hints"),
        ({"stage": "rl", "drafts": Path("d.jsonl")}, "drafts = d.jsonl: stage rl reads none"),
        ({"stage": "hint_engineering", "places": Path("p.jsonl")}, "give the reviewed file, too"),
        ({"max_tool_calls": -1}, "max_tool_calls = -1"),
        ({"seconds": -1.0}, "seconds is -1.0; allowed"),
        ({"data": Path("none.jsonl")}, "there is no such file"),
        ({"state": "replay", "model_without_stop": True}, "must have one token for"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path, model, rows, given, message):
    given = dict(grade="plain") | given
    if given.pop("model_without_stop", False):
        tiny_policy(width=16, layers=1, heads=2, context=64).save(tmp_path / "plain")
        model = str(tmp_path / "plain")
    with pytest.raises(UserError, match=message):
        commands.train(model, given.pop("data", rows), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_an_unknown_rate_is_refused(tmp_path):
    with pytest.raises(UserError, match="arms: 'sft'; allowed: prompt_hint"):
        commands.tune(tmp_path / "out", preset="smoke", arms=("sft",))
