"""The paper's own verbs on made-up files: what they train and print, and what they refuse, with the row."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft import arithmetic, commands
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.own_data import read_questions, read_supervised
from tenfold.policies import load_policy, tiny_policy

GOOD = {"prompt": "1+2=", "completion": "3"}


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_rows_with_and_without_optional_columns(tmp_path):
    plain = read_supervised(write(tmp_path / "a.jsonl", GOOD, "", GOOD | {"comment": 1}))
    assert plain.column_names == ["prompt", "completion"] and len(plain) == 2
    full = GOOD | {"quality": 1, "ref_log_probs": [-0.5, -1]}
    assert set(read_supervised(write(tmp_path / "b.jsonl", full)).column_names) == set(full)
    assert read_questions(write(tmp_path / "c.jsonl", {"prompt": "q", "answer": "7"})) == [("q", "7")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([GOOD, "{"], "row 2: not JSON"),
        ([GOOD, "[1]"], "row 2: list; allowed: a JSON object"),
        ([GOOD, {"prompt": "x"}], "row 2: no column 'completion'; it has prompt"),
        ([GOOD, {"prompt": "x", "completion": None}], "row 2: completion is None"),
        ([GOOD | {"quality": 10**400}], "row 1: quality is 1000"),
        ([{"prompt": "", "completion": "x"}], "row 1: prompt is ''"),
        ([GOOD | {"quality": 1}, GOOD], "row 2: no quality"),
        ([GOOD | {"quality": -1}], "row 1: quality is -1"),
        ([GOOD | {"quality": True}], "row 1: quality is True"),
        (['{"prompt": "x", "completion": "y", "quality": NaN}'], "row 1: quality is nan"),
        ([GOOD, GOOD | {"ref_log_probs": [-1]}], "row 1: no ref_log_probs; allowed: ref_log_probs in every row or"),
        ([GOOD | {"ref_log_probs": [-1, 0.5]}], "row 1: ref_log_probs has 0.5 at place 2; allowed: finite numbers up"),
        ([GOOD | {"ref_log_probs": []}], r"row 1: ref_log_probs is []; allowed: a list"),
    ],
)
def test_a_mistake_is_named_with_its_row(tmp_path, rows, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        read_supervised(write(tmp_path / "rows.jsonl", *rows))


def test_texts_may_have_any_character_and_the_file_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\ufeff".encode() + json.dumps(GOOD | {"completion": "a\u2028b"}, ensure_ascii=False).encode())
    assert read_supervised(path)["completion"][:] == ["a\u2028b"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.jsonl: there is no such file"):
        read_supervised(tmp_path / "nowhere.jsonl")


@pytest.fixture
def model(tmp_path):
    tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2).save(tmp_path / "start")
    return str(tmp_path / "start")


def test_train_on_own_rows_goes_on_and_refuses_other_settings(tmp_path, model, capsys):
    data = write(tmp_path / "rows.jsonl", *[GOOD | {"quality": 1 + k} for k in range(4)])
    options = {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "device": "cpu"}
    commands.train(model, data, tmp_path / "run", use_quality="sample", **options)
    printed = capsys.readouterr().out
    assert "effective exponent on q / reference: 0.5 (completions of 2 tokens on average)" in printed
    trained = load_policy(str(tmp_path / "run" / "model"))
    assert any(
        (a != b).any() for a, b in zip(trained.model.parameters(), load_policy(model).model.parameters(), strict=True)
    )
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 4 and "weights/clip_fraction" in logged[-1]
    commands.train(model, data, tmp_path / "run", use_quality="sample", **options)  # finished: nothing left to do
    with pytest.raises(UserError, match=r"temperature is 3\.0, but"):
        commands.train(model, data, tmp_path / "run", use_quality="sample", temperature=3.0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_quality": "sample"}, "quality_column = quality: the data have"),
        ({"weight": "rwr"}, "quality_column"),
        ({"reference": "column"}, "ref = column: no column 'ref_log_probs'; the data have prompt, completion"),
        ({"weight": "rwr", "use_quality": "sample"}, "--use-quality has no effect with --weight rwr"),
        ({"weight": "dft", "temperature": 2.0}, "--temperature has no effect with --weight dft"),
        ({"weight": "none", "log_ratio": "sum"}, "--log-ratio has no effect with --weight none"),
        ({"weight": "dft", "reference": "column"}, "--reference has no effect with --weight dft"),
        ({"steps": 0}, "steps = 0: allowed: at least 1"),
        ({"batch_size": 0}, "batch_size = 0: allowed: finite numbers from 1 on"),
        ({"max_length": -1}, "max_length = -1: allowed"),
        ({"lora_rank": -1}, "rank = -1: allowed"),
    ],
)
def test_train_names_a_missing_column_and_options_that_cannot_be(tmp_path, model, options, message):
    data = write(tmp_path / "rows.jsonl", GOOD)
    with pytest.raises(UserError, match=message):
        commands.train(model, data, tmp_path / "run", **({"steps": 1, "device": "cpu"} | options))
    assert not (tmp_path / "run").exists(), "a mistake claims no folder"


def test_rows_that_are_all_too_long_are_refused(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", GOOD, GOOD)
    with pytest.raises(UserError, match="2 of 2 rows have no supervised token within max_length = 3"):
        commands.train(model, data, tmp_path / "run", steps=1, max_length=3, device="cpu")


def test_a_stored_reference_of_another_length_is_refused_with_its_row(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", GOOD | {"ref_log_probs": [-1, -1]}, GOOD | {"ref_log_probs": [-1]})
    with pytest.raises(UserError, match="row 2: ref_log_probs has 1 numbers for 2 supervised tokens"):
        commands.train(model, data, tmp_path / "run", reference="column", steps=1, device="cpu")


def test_dft_of_the_verb_is_that_of_the_formula():
    iw = commands.own_weights("dft", "mean", 1.0, "initial", "sample")
    assert (iw.normalize, iw.q_ema, iw.quality_column, iw.quality) == ("none", 0.0, "quality", "sample")
    assert commands.own_weights("iw", "sum", 2.0, "column", "weight") == IWSFTConfig(
        log_ratio="sum", temperature=2.0, ref="column", quality_column="quality", quality="weight"
    )


def test_a_weak_exponent_is_said(capsys):
    assert "plain SFT" in commands.exponent_note(IWSFTConfig(), 500.0)
    assert "plain SFT" not in commands.exponent_note(IWSFTConfig(temperature=500.0), 500.0)
    assert "plain SFT" not in commands.exponent_note(IWSFTConfig(log_ratio="sum"), 500.0)


def test_tune_goes_through_the_grid_and_refuses_a_folder_of_something_else(tmp_path, capsys):
    out = tmp_path / "tuning"
    commands.tune(out, preset="smoke", rates=(1e-3, 1e-2), arms=("sft", "iql"), device="cpu")
    table = json.loads((out / "tuning.json").read_text())
    assert [(row["arm"], row["learning_rate"]) for row in table] == [
        ("sft", 1e-3), ("sft", 1e-2), ("iql", 1e-3), ("iql", 1e-2),
    ]  # fmt: skip
    assert all(0 <= row["score"] <= 1 for row in table)
    with pytest.raises(UserError, match="seed is 5"):
        commands.tune(out, preset="smoke", arms=("sft",), seed=5)
    with pytest.raises(UserError, match="'sfd'; allowed: sft"):
        commands.tune(tmp_path / "other", arms=("sfd",))
