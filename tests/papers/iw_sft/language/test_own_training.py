"""``tenfold train iw_sft`` on made-up rows: what it trains and prints, and what it refuses before claiming a folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.arms import tell_exponent
from tenfold.papers.iw_sft.config import ExtractionConfig, IWSFTConfig
from tenfold.papers.iw_sft.language import arithmetic, own_training, recipe
from tenfold.papers.iw_sft.language.config import own
from tenfold.policies import load_policy, tiny_policy
from tenfold.study.language import PolicyConfig
from tenfold.study.own_training import refuse_unread, train_in

GOOD = {"prompt": "1+2=", "completion": "3"}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def model(tmp_path):
    tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2).save(tmp_path / "start")
    return str(tmp_path / "start")


def configured(data, model, *, steps=1, weighting=None, **fine_tuning):
    preset = own(str(data))
    return replace(
        preset,
        policy=PolicyConfig(model=model),
        fine_tuning=replace(preset.fine_tuning, steps=steps, batch_size=2, **fine_tuning),
        weighting=weighting or preset.weighting,
    )


def train(config, arm, out):
    cell = Cell(arm=arm, seed=0, directory=out, device="cpu")
    train_in("iw_sft/language", own_training, config, Path(config.task.train_file), cell)


def test_training_on_own_rows_goes_on_and_refuses_other_settings(tmp_path, model, capsys):
    data = write(tmp_path / "rows.jsonl", *[GOOD | {"quality": 1 + k} for k in range(4)])
    config = configured(data, model, steps=4, weighting=IWSFTConfig(log_ratio="mean"))
    config = replace(config, rates=replace(config.rates, iw_sft_quality=1e-2))
    train(config, "iw_sft_quality", tmp_path / "run")
    printed = capsys.readouterr().out
    assert "effective exponent on q / reference: 0.5 (completions of 2 tokens on average)" in printed
    trained = load_policy(str(tmp_path / "run" / "model"))
    assert any(
        (a != b).any() for a, b in zip(trained.model.parameters(), load_policy(model).model.parameters(), strict=True)
    )
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 4 and "weights/clip_fraction" in logged[-1]
    train(config, "iw_sft_quality", tmp_path / "run")  # finished: nothing left to do
    with pytest.raises(UserError, match=r"temperature is 3\.0, but"):
        train(
            replace(config, weighting=IWSFTConfig(log_ratio="mean", temperature=3.0)),
            "iw_sft_quality",
            tmp_path / "run",
        )


def test_rows_without_quality_above_0_are_learned_from_where_everything_is(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", *[GOOD | {"quality": k} for k in range(3)])
    numbers = {}
    for arm in own_training.ARMS:
        chosen = IWSFTConfig(log_ratio="sum") if arm in ("iw_sft", "iw_sft_quality") else None
        numbers[arm] = len(own_training.read(configured(data, model, weighting=chosen), arm).rows)
    assert numbers == {name: 3 if arm.learns_from == "all" else 2 for name, arm in recipe.ARMS.items()}
    assert set(own_training.ARMS) == set(recipe.ARMS)


@pytest.mark.parametrize(
    ("arm", "changes", "message"),
    [
        (
            "iw_sft_quality",
            {"weighting": IWSFTConfig(log_ratio="sum")},
            "quality_column = quality: the data have",
        ),
        ("awr", {}, "quality_column = quality: the data have"),
        ("iw_sft", {"weighting": IWSFTConfig(weight_fn="rwr")}, "quality_column = quality: the data have"),
        (
            "iw_sft",
            {"weighting": IWSFTConfig(log_ratio="sum", ref="column")},
            "ref = column: no column 'ref_log_probs'; the data have prompt, completion",
        ),
        (
            "sft",
            {"weighting": IWSFTConfig(temperature=2.0)},
            "--weighting.temperature = 2.0: does nothing with --arm s",
        ),
        ("iw_sft_mean", {"weighting": IWSFTConfig(log_ratio="sum")}, "--weighting.log_ratio = sum: does nothing with"),
        (
            "iw_sft",
            {"weighting": IWSFTConfig(log_ratio="sum", quality="weight")},
            "--weighting.quality = weight: does nothing with --ar",
        ),
        (
            "iw_sft",
            {"baselines": ExtractionConfig(0.5)},
            "--baselines.awr_temperature = 0.5: does nothing with --arm i",
        ),
    ],
)
def test_a_column_that_is_missing_and_a_value_that_does_nothing_are_named(tmp_path, model, arm, changes, message):
    config = replace(configured(write(tmp_path / "rows.jsonl", GOOD, GOOD), model), **changes)
    with pytest.raises(UserError, match=message):
        train(config, arm, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a mistake claims no folder"


def test_measuring_on_the_way_is_refused_where_there_is_nothing_to_measure_on(tmp_path, model):
    config = configured(write(tmp_path / "rows.jsonl", GOOD), model, evaluate_every=5)
    with pytest.raises(
        UserError, match=r"fine_tuning\.evaluate_every = 5: does not act here; set fine_tuning\.log_every"
    ):
        train(config, "iw_sft", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_rate_of_another_arm_does_nothing(tmp_path, model):
    config = configured(write(tmp_path / "rows.jsonl", GOOD), model)
    config = replace(config, rates=replace(config.rates, sft=1e-3))
    with pytest.raises(UserError, match=r"--rates\.sft = 0\.001: does nothing with --arm iw_sft"):
        own_training.read(config, "iw_sft")
    own_training.read(config, "sft")


def test_dft_needs_each_of_the_values_that_name_it(tmp_path, model):
    """Without normalize = none it would be refused, so that field counts as acting."""
    dft = IWSFTConfig(weight_fn="dft", normalize="none")
    config = configured(write(tmp_path / "rows.jsonl", GOOD), model, weighting=dft)
    assert own_training.read(config, "iw_sft").weights == dft


def test_stage_1_and_the_test_are_no_part_of_it():
    preset = own("rows.jsonl")
    with pytest.raises(UserError, match=r"--task.test_file = t.jsonl: does nothing in tenfold train iw_sft"):
        changed = replace(preset, task=replace(preset.task, test_file="t.jsonl"))
        refuse_unread(own_training, preset, changed, "iw_sft")


def test_rows_that_are_all_too_long_are_refused(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", GOOD, GOOD)
    with pytest.raises(UserError, match="2 of 2 rows have no supervised token within max_length = 3"):
        train(configured(data, model, max_length=3), "sft", tmp_path / "run")


def test_a_stored_reference_of_another_length_is_refused_with_its_row(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", GOOD | {"ref_log_probs": [-1, -1]}, GOOD | {"ref_log_probs": [-1]})
    with pytest.raises(UserError, match="row 2: ref_log_probs has 1 numbers for 2 supervised tokens"):
        train(configured(data, model, weighting=IWSFTConfig(log_ratio="sum", ref="column")), "iw_sft", tmp_path / "run")


@pytest.mark.parametrize(
    ("weights", "note"),
    [
        (
            IWSFTConfig(log_ratio="mean"),
            "exponent of 0.002 makes .* plain SFT; a temperature of 500, or log_ratio = sum",
        ),
        (IWSFTConfig(log_ratio="mean", temperature=49.0), "log_ratio = mean: an effective exponent of 0.098"),
        (IWSFTConfig(log_ratio="sum", temperature=0.01), "0.01 makes .* plain SFT; a temperature of 1 is the theory's"),
        (IWSFTConfig(level="step", temperature=0.01), "0.01 makes .* plain SFT; a temperature of 1 is the theory's"),
    ],
)
def test_a_weak_exponent_is_warned_of(weights, note, capsys):
    with pytest.warns(UserWarning, match=note):
        tell_exponent(weights, 500.0)
    assert capsys.readouterr().out.startswith("effective exponent on q / reference: ")


def test_an_exponent_of_a_tenth_and_weights_without_one_raise_no_warning(capsys):
    for weights in (IWSFTConfig(log_ratio="mean", temperature=50.0), IWSFTConfig(log_ratio="sum")):
        tell_exponent(weights, 500.0)  # a warning would be an error
    tell_exponent(IWSFTConfig(weight_fn="none"), 500.0)
    assert capsys.readouterr().out.count("effective exponent") == 2


@pytest.mark.parametrize("arm", own_training.ARMS)
def test_arms_whose_exponent_is_open_ask_for_it_before_a_folder_is_claimed(tmp_path, model, arm):
    data = write(tmp_path / "rows.jsonl", GOOD | {"quality": 1})
    config = configured(data, model)
    if arm in ("iw_sft", "iw_sft_quality"):
        with pytest.raises(UserError, match=r"log_ratio = None: iw-SFT needs a choice; allowed: sum, .* or mean, .*"):
            train(config, arm, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:
        own_training.read(config, arm)


def test_other_rows_under_the_same_command_are_refused(tmp_path, model):
    data = write(tmp_path / "rows.jsonl", GOOD, GOOD)
    config = configured(data, model, weighting=IWSFTConfig(log_ratio="sum"))
    train(config, "iw_sft", tmp_path / "run")
    write(data, GOOD, GOOD | {"completion": "4"})
    with pytest.raises(UserError, match=r"data_sha256 is \w+, but .* was begun with \w+; give another --out"):
        train(config, "iw_sft", tmp_path / "run")
