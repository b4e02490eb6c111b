"""The verb: a training on one's own questions and index, from start to model."""

import json

import pytest
from accelerate.state import AcceleratorState, GradientState

from tenfold.core.errors import UserError
from tenfold.envs import build_index
from tenfold.papers.sem import commands
from tenfold.papers.sem.grammar import TAGS
from tenfold.policies import load_policy, tiny_policy


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def given(tmp_path):
    """A saved tiny policy, four questions and an index."""
    tiny_policy(special=TAGS, width=16, layers=1, heads=2, context=256).save(tmp_path / "start")
    rows = [{"question": f"Which river is town {i} on?", "answers": ["Tiber", "Tevere"]} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 7, "title": "Rome", "text": "Rome is on the Tiber."}))
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    return {
        "model": str(tmp_path / "start"),
        "data": tmp_path / "rows.jsonl",
        "index": tmp_path / "index",
        "out": tmp_path / "out",
        "instructions": "none",
        "steps": 2,
        "prompts_per_step": 2,
        "num_generations": 2,
        "max_completion_length": 24,
    }


def test_training_saves_a_model_and_goes_on(given, capsys):
    commands.train(**given, learning_rate=1e-3)
    first = capsys.readouterr().out
    for name in ("sem", "valid", "searched", "one_pair", "well_searched", "first_f1", "final_f1"):
        assert f"rewards/{name}/mean" in first
    assert load_policy(given["out"] / "model").num_parameters > 0
    commands.train(**given, learning_rate=1e-3)
    assert capsys.readouterr().out == first, "the same again goes on from the end"
    with pytest.raises(UserError, match=r"learning_rate is 0\.002, but"):
        commands.train(**given, learning_rate=2e-3)


def test_known_and_unknown_questions_in_equal_parts_by_a_rival(given, monkeypatch, capsys):
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append(options["num_samples"])
        return [1.0, 0.0, 0.75, 0.25]

    monkeypatch.setattr("tenfold.papers.sem.questions.closed_book_accuracy", accuracies)
    commands.train(**given, rule="search_r1", closed_book_samples=4)
    assert "rewards/search_r1/mean" in capsys.readouterr().out
    assert json.loads((given["out"] / "closed_book.json").read_text()) == [1.0, 0.0, 0.75, 0.25]
    commands.train(**given, rule="search_r1", closed_book_samples=4)
    assert asked == [4], "asked once"


def test_a_model_that_knows_nothing_cannot_be_balanced(given):
    with pytest.raises(UserError, match="0 known and 4 unknown questions; allowed: at least one of each"):
        commands.train(**given, closed_book_samples=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau = 0.0"),
        ({"rule": "research", "a2_discount": 0.5}, "a2_discount = 0.5: an option of rule sem, not of research"),
        ({"max_searches": 0}, "max_searches = 0: must be at least 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(given, options, message):
    with pytest.raises(UserError, match=message):
        commands.train(**given | options)


def test_a_missing_index_or_row_is_named(given, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        commands.train(**given | {"index": tmp_path / "nowhere"})
    given["data"].write_text('{"question": "Which river?"}')
    with pytest.raises(UserError, match="row 1: no column 'answers'"):
        commands.train(**given)
