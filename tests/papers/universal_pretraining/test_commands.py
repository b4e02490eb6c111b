"""The paper's verbs on models that have hardly been trained."""

import json
import re
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config

from tenfold.cli.main import main
from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.models.byte_transformer import byte_transformer_config
from tenfold.models.causal_lm import causal_lm, save_causal_lm
from tenfold.papers.universal_pretraining import commands, recipe, timing
from tenfold.papers.universal_pretraining import config as presets
from tenfold.papers.universal_pretraining.optimization import build_model


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


SMOKE = presets.smoke()


def tiny():
    config = SMOKE
    return replace(
        config,
        model=replace(config.model, width=16, layers=1, context=32),
        pretraining=replace(config.pretraining, steps=2, evaluate_every=0),
        finetuning=replace(config.finetuning, limit=20_000, steps=2, evaluate_every=1),
        evaluation=replace(config.evaluation, tasks=("dyck", "bits"), corpora=(), windows=2, curve_windows=2),
    )


def test_evaluate_prints_bits_of_model_and_rivals(tmp_path, capsys):
    build_model(tiny().model, seed=0).save_pretrained(tmp_path / "model")
    (tmp_path / "own.txt").write_text("words, words, words, and no more. " * 20)
    tasks = ["--tasks", "rep-3", str(tmp_path / "own.txt")]
    sizes = ["--windows", "4", "--context", "32", "--markov-order", "1"]
    main(["evaluate", "universal_pretraining", str(tmp_path / "model"), *tasks, *sizes])
    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if "model" in line and "task" in line)
    assert heading.split() == ["task", "model", "±", "half", "2", "M0", "M1", "least"]
    rows = {name: next(line for line in printed.splitlines() if name in line) for name in ("rep-3", "own.txt")}
    numbers = {name: [float(number) for number in re.findall(r"\d+\.\d\d", row)] for name, row in rows.items()}
    assert len(numbers["rep-3"]) == 6 and len(numbers["own.txt"]) == 5, "no least number of bits is known of a text"
    for row in numbers.values():
        assert row[0] == pytest.approx(8, abs=0.05)


def test_the_table_fits_eighty_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    build_model(tiny().model, seed=0).save_pretrained(tmp_path)
    commands.evaluate(tmp_path, ("bitsflip", "dyck"), windows=2, context=32)
    printed = capsys.readouterr().out
    assert "bitsflip" in printed and "M5" in printed and "least" in printed and "…" not in printed


def test_evaluate_refuses_no_windows_and_longer_ones_than_the_model_reads(tmp_path):
    build_model(tiny().model, seed=0).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="windows = 0: must be at least 1"):
        commands.evaluate(tmp_path, windows=0, context=32)
    with pytest.raises(UserError, match=r"context = 33: .* was made for at most 32"):
        commands.evaluate(tmp_path, context=33)


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def with_cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def with_fewer_weights(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(sorted(weights)[-1])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_another_width(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": config["intermediate_size"] * 2}))


def of_an_encoder(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", "hidden_size": 32}))


def of_no_known_kind(folder):
    (folder / "config.json").write_text("{}")


def with_broken_json(folder):
    (folder / "config.json").write_text('{"model_type": ')


SPOILT = (
    without_weights,
    with_cut_weights,
    with_fewer_weights,
    with_another_width,
    of_an_encoder,
    of_no_known_kind,
    with_broken_json,
)


@pytest.mark.filterwarnings("ignore")  # transformers' own about the weights it would make up
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_evaluate_of_a_folder_without_the_model_is_one_line_and_no_table(spoil, tmp_path, capsys):
    folder = tmp_path / "model"
    save_causal_lm(causal_lm(byte_transformer_config(width=16, layers=1, heads=2), seed=0), folder)
    spoil(folder)
    capsys.readouterr()
    assert (
        main(
            [
                "evaluate",
                "universal_pretraining",
                str(folder),
                "--tasks",
                "bitsflip",
                "--windows",
                "2",
                "--context",
                "32",
            ]
        )
        == 2
    )
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.splitlines()[-1].startswith(f"tenfold: {folder}"), captured.err


def test_evaluate_refuses_what_is_no_byte_model(tmp_path):
    with pytest.raises(UserError, match="holds no config"):
        commands.evaluate(tmp_path)
    small = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=100, n_embd=8, n_layer=1, n_head=1))
    small.save_pretrained(tmp_path / "small")
    with pytest.raises(UserError, match="vocabulary of 100"):
        commands.evaluate(tmp_path / "small")


def test_fine_tuning_is_tried_from_one_pre_training_of_each_arm(tmp_path, monkeypatch, capsys):
    """Made at the rate that stands in the preset, so another rate there is another start, in another folder."""
    monkeypatch.setattr(presets, "smoke", tiny)
    first, second = tmp_path / "tuning", tmp_path / "another"
    rows = tuned(first, fields=("pretraining", "lstm", "scratch"), rates=("1e-3", "1e-2"))
    assert [(row["field"], row["learning_rate"]) for row in rows] == [
        (f"rates.{field}", rate) for field in ("pretraining", "lstm", "scratch") for rate in (1e-3, 1e-2)
    ]
    assert len({row["validation/bits"] for row in rows}) == 6
    assert [path.name for path in (first / "shared").iterdir()] == ["pretraining-lstm-0.003"]
    monkeypatch.setattr(presets, "smoke", lambda: replace(tiny(), rates=presets.RatesConfig(pretraining=1e-2)))
    assert main(tune_words(first, fields=("lstm",), rates=("1e-3",))) == 2
    assert "rates.pretraining is 0.01" in " ".join(capsys.readouterr().err.split())
    [again] = tuned(second, fields=("lstm",), rates=("1e-3",))
    assert again["validation/bits"] != rows[2]["validation/bits"]
    assert [path.name for path in (second / "shared").iterdir()] == ["pretraining-lstm-0.01"]


def tune_words(directory, fields, rates):
    where = ["--out", str(directory), "--preset", "smoke", "--device", "cpu"]
    return ["tune", "universal_pretraining", *where, "--fields", *fields, "--rates", *rates]


def tuned(directory, fields, rates):
    assert main(tune_words(directory, fields, rates)) == 0
    return json.loads((directory / "tuning.json").read_text())


def test_a_pre_training_that_is_found_is_the_one_that_was_made(tmp_path):
    scores = []
    for trial in ("first", "second"):
        folders = dict(directory=tmp_path / trial, shared_directory=tmp_path / "shared")
        cell = Cell(arm="rates.mixture", seed=0, device="cpu", **folders)
        scores.append(recipe.validation_score(tiny(), "rates.mixture", cell))
    assert scores[0] == scores[1]


def test_tuning_does_not_look_at_the_held_out_part(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(recipe, "finetuned", lambda model, study, cell: seen.append(study.corpus))
    monkeypatch.setattr(recipe.Cell, "curves", lambda self: {"held_out/bits": [(0.0, 8.0)]})
    for field in list(recipe.GRID)[1:]:
        cell = Cell(arm=field, seed=1000, directory=tmp_path / field, device="cpu")
        assert recipe.validation_score(tiny(), field, cell) == {"validation/bits": 8.0}
    whole = recipe.load_corpus("python", limit=20_000)
    assert len(seen) == 4
    for corpus in seen:
        assert corpus.train.tobytes() + corpus.held_out.tobytes() == whole.train.tobytes()


def test_throughput_prints_the_share_of_the_generator(monkeypatch, capsys):
    monkeypatch.setattr(presets, "smoke", tiny)
    commands.throughput("smoke", steps=1, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["lstm", "mixture", "noniterated"]
    assert all("generator's share" in line and "tokens/s" in line for line in lines)


def test_throughput_needs_a_step():
    with pytest.raises(UserError, match="steps = 0: must be at least 1"):
        commands.throughput("smoke", steps=0)


def test_a_step_is_timed_after_two_that_are_not(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing, "_now", lambda place: float(next(clock)))
    times = timing.time_of_a_step(tiny(), steps=3, device="cpu")
    assert times == {arm: (1.0, 1.0, 8 * 32) for arm in ("lstm", "mixture", "noniterated")}


def test_gain_sweep_prints_a_column_for_each_gain(capsys):
    commands.gain_sweep(gains=(0.5, 6.0), layers=(2,), embed_scales=(1.0,), hidden=16, sources=1)
    printed = capsys.readouterr().out
    assert "gain 0.5" in printed and "gain 6" in printed
    low, high = (float(ratio) for ratio in re.findall(r"(0\.\d{3}) ·", printed))
    assert low < high
