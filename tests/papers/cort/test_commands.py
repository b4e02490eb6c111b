"""The verbs: a review of places, a training on one's own problems from start to model, and rates."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort import commands, multiplication
from tenfold.papers.cort.proposers import Manual
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


def test_places_are_reviewed_one_by_one_and_the_review_goes_on(tmp_path, monkeypatch, capsys):
    traces, out = tmp_path / "drafts.jsonl", tmp_path / "places.jsonl"
    traces.write_text("".join(json.dumps({"key": key, "text": TEXT}) + "\n" for key in ("a", "b", "c")))
    answers = iter(["what?", "+4", "y", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    commands.hints(traces, out)
    (place,) = Manual.read(out).by_key["a"]
    assert TEXT[place.at :].startswith("me multiply") and place.decided_by == "manual: reviewed"
    answers = iter(["n", "y"])
    commands.hints(traces, out)
    assert set(Manual.read(out).by_key) == {"a", "c"}, "b is refused, and a is not asked again"
    assert "2 places, 1 of them new" in capsys.readouterr().out


def test_all_places_may_be_accepted(tmp_path):
    traces, out = tmp_path / "drafts.jsonl", tmp_path / "places.jsonl"
    traces.write_text(json.dumps({"key": "a", "text": TEXT}) + "\n")
    commands.hints(traces, out, accept=True)
    assert [place.decided_by for place in Manual.read(out).by_key["a"]] == ["heuristic"]


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
    monkeypatch.setattr("tenfold.papers.cort.method.is_right", lambda *given: True)
    out = tmp_path / "out"
    given = dict(stage="hint_engineering", grade="plain", steps=2, batch_size=2, max_completion_length=16)
    commands.train(model, rows, out, **given)
    assert (out / "hinted.jsonl").is_file() and (out / "model").is_dir()


def test_an_unknown_rate_is_refused(tmp_path):
    with pytest.raises(UserError, match="arms: 'sft'; allowed: prompt_hint"):
        commands.tune(tmp_path / "out", preset="smoke", arms=("sft",))
