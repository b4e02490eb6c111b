"""RLCR's own verbs, called as a user calls them."""

import json

import pytest
import torch

from tenfold.cli.main import main
from tenfold.core.cell import Cell, read_stages
from tenfold.core.errors import UserError
from tenfold.eval.calibration import calibration_report
from tenfold.papers.rlcr.commands import read_predictions
from tenfold.policies import load_policy

ROWS = [(0.9, True), (0.8, 1), (0.3, False), (0.3, 0), (0.0, 0), (1, 1.0)]


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(json.dumps({"confidence": q, "correct": c, "id": k}) for k, (q, c) in enumerate(ROWS)))
    return path


def test_calibrate_prints_the_report_of_a_file(predictions, capsys):
    assert main(["calibrate", str(predictions)]) == 0
    printed = capsys.readouterr().out
    expected = calibration_report([q for q, _ in ROWS], [float(c) for _, c in ROWS])
    for name in ("accuracy", "brier", "ece", "auroc"):
        assert f"{name:22}{expected[name]:.4f}" in printed
    assert "distinct confidences  5" in printed and "6 predictions" in printed
    assert "0.30 to 0.40" in printed and "0.50 to" not in printed
    assert "best temperature      0.01" in printed and f"{expected['brier']:.4f}  [0." in printed


def test_calibrate_bins_as_it_is_asked_to(predictions, capsys):
    assert main(["calibrate", str(predictions), "--edges", "linspace"]) == 0
    assert "0.20 to 0.30" in capsys.readouterr().out, "exact 0.3 lies one bin lower"
    assert main(["calibrate", str(predictions), "--edges", "adaptive", "--bins", "2"]) == 0
    assert "0.00 to 0.30" in capsys.readouterr().out


def test_calibrate_takes_other_names_and_bins(tmp_path, capsys):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"p": 0.2, "ok": true}\n{"p": 0.4, "ok": true}')
    assert main(["calibrate", str(path), "--confidence", "p", "--correct", "ok", "--bins", "2"]) == 0
    printed = capsys.readouterr().out
    assert "0.00 to 0.50" in printed and "all of these are alike" in printed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"confidence": 1.2, "correct": 1}', "row 2: confidence is 1.2; allowed: a number from 0 to 1"),
        ('{"confidence": NaN, "correct": 1}', "row 2: confidence is nan"),
        ('{"confidence": "0.5", "correct": 1}', "row 2: confidence is '0.5'"),
        ('{"confidence": true, "correct": 1}', "row 2: confidence is True"),
        ('{"confidence": 1' + "0" * 400 + ', "correct": 1}', "row 2: confidence is 10"),
        ('{"confidence": 0.5, "correct": 0.5}', "row 2: correct is 0.5; allowed: true, false, 1, 0"),
        ('{"confidence": 0.5, "correct": "yes"}', "row 2: correct is 'yes'"),
        ('{"confidence": 0.5, "correct": [1]}', r"row 2: correct is \[1\]"),
        ('{"confidence": 0.5}', "row 2: no column 'correct'"),
    ],
)
def test_calibrate_names_the_row_that_cannot_be_used(row, message, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"confidence": 0.5, "correct": false}\n' + row)
    with pytest.raises(UserError, match=message):
        read_predictions(path)


def test_calibrate_on_a_missing_file_is_one_line(tmp_path, capsys):
    assert main(["calibrate", str(tmp_path / "absent.jsonl")]) == 2
    error = capsys.readouterr().err
    assert "there is no such file" in error and error.count("\n") == 1


@pytest.fixture
def own(tmp_path, tiny):
    """A short training of a tiny model on four sums; further words win over these."""
    tiny.save(tmp_path / "start")
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(json.dumps({"prompt": f"{a}+1=", "answer": a + 1}) for a in range(4)))
    words = ["train", "rlcr", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    words += ["--policy.model", str(tmp_path / "start"), "--task.system-prompt", "none", "--reward.blocks", "ac"]
    words += ["--training.max-completion-length", "8", "--training.prompts-per-step", "2"]
    return [*words, "--training.num-generations", "2", "--training.steps", "2", "--rates.rlcr", "1e-3"]


def test_train_makes_a_model_that_loads_and_goes_on_with_the_same_only(own, tmp_path, capsys):
    assert main(own) == 0
    printed = capsys.readouterr().out
    assert "rewards/calibration/mean" in printed and "rewards/format/mean" in printed
    trained = load_policy(tmp_path / "run" / "model")
    assert trained.decode(trained.encode("1+1=<answer>")) == "1+1=<answer>"
    assert main(own) == 0  # finished: nothing is left to do
    assert main([*own, "--training.steps", "4"]) == 2
    assert "was begun with 2" in capsys.readouterr().err


def test_train_refuses_other_rows_under_the_same_command(own, tmp_path, capsys):
    assert main(own) == 0
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write("\n" + json.dumps({"prompt": "5+1=", "answer": 6}))
    assert main(own) == 2
    assert "data_sha256 is" in (said := capsys.readouterr().err) and "give another --out" in said


def test_train_with_a_template_that_takes_no_system_message_says_how_to_go_without(own, tmp_path, tiny, capsys):
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    tiny.tokenizer.chat_template = refusing + "{{ messages[0].content }}"
    tiny.save(tmp_path / "start")
    assert main([*own, "--task.system-prompt", "blocks"]) == 2
    said = capsys.readouterr().err
    assert "row 1: tokenizer.chat_template: refuses the conversation (System role not supported)" in said
    assert "without instructions: task.system_prompt = none" in said
    assert not (tmp_path / "run").exists()
    assert main(own) == 0


def test_train_refuses_an_unsafe_weight_and_a_bad_row(own, tmp_path, capsys):
    assert main([*own, "--reward.calibration-weight", "0.6"]) == 2
    assert "pays more for a surely wrong answer" in capsys.readouterr().err
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1="}')
    assert main(own) == 2
    assert "row 1: no column 'answer'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_train_refuses_instructions_for_other_blocks_and_takes_those_of_its_own(own, tmp_path, capsys):
    assert main([*own, "--task.system-prompt", "tabc_long"]) == 2
    assert "tabc_long: asks for other blocks than ac; allowed: none, blocks, ac" in capsys.readouterr().err
    # The default is the instructions of the blocks, which the tiny model cannot spell.
    assert main([*own, "--task.system-prompt", "blocks"]) == 2
    assert "<|system|>Solve the problem" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ablation-steps", "7"], "ablation_steps = 7: acts with --arm brier_only or log_score, not with rlcr"),
        (["--rates.rlvr", "1e-4"], "rates.rlvr = 0.0001: acts with --arm rlvr, not with rlcr"),
        (["--evaluation.votes", "3"], "--evaluation.votes = 3: does nothing in tenfold train rlcr"),
        (
            ["--arm", "log_score"],
            "training.steps = 2: acts with --arm rlcr or rlvr, not with log_score; what acts with log_score, ",
        ),
    ],
)
def test_train_refuses_what_acts_elsewhere(own, words, message, capsys):
    assert main([*own, *words]) == 2
    assert message in capsys.readouterr().err


def test_train_takes_other_arms_and_one_answer_in_a_row_and_several_in_another(own, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1=", "answer": 2}\n{"prompt": "1+2=", "answer": ["3", "4"]}')
    words = [*own[:-2], "--arm", "rlvr", "--rates.rlvr", "1e-3", "--reward.rlvr-blocks", "ta"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "rewards/correctness/mean" in printed and "rewards/calibration/mean" not in printed


def test_train_that_was_stopped_goes_on_to_the_same_weights(own, tmp_path, monkeypatch):
    whole = [str(tmp_path / "whole") if word == str(tmp_path / "run") else word for word in own]
    words = ["--training.steps", "6", "--training.checkpoint-every", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "stop_requested", lambda cell: any(cell.directory.glob("checkpoints/step-*/COMPLETE")))
        assert main([*own, *words]) == 130
    assert not (tmp_path / "run" / "model").exists()
    assert main([*own, *words]) == 0 and main([*whole, *words]) == 0
    resumed, unbroken = (load_policy(tmp_path / name / "model").model.state_dict() for name in ("run", "whole"))
    assert all(torch.equal(resumed[name], value) for name, value in unbroken.items())


def test_ablate_prints_mean_and_range_of_every_variant(monkeypatch, capsys):
    from tenfold.papers.rlcr import small_policy

    report = dict.fromkeys(("accuracy", "brier", "ece"), 0.5)
    monkeypatch.setattr(
        small_policy, "compare", lambda seed, variants: {name: report | {"auroc": seed / 10} for name in variants}
    )
    assert main(["ablate", "rlcr", "--seeds", "2", "6"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("0.400 (0.200-0.600)") == len(small_policy.VARIANTS) and "rlcr, no bonus, scaled" in printed
    assert main(["ablate", "rlcr", "--seeds"]) == 2


def test_tune_scores_an_arm_at_every_rate_from_one_warm_start(tmp_path, capsys):
    words = ["tune", "rlcr", "--out", str(tmp_path / "t"), "--preset", "smoke", "--fields", "brier_only"]
    assert main([*words, "--rates", "1e-4", "1e-3", "--device", "cpu"]) == 0
    rows = json.loads((tmp_path / "t" / "tuning.json").read_text())
    assert [(row["field"], row["learning_rate"]) for row in rows] == [
        ("rates.brier_only", 1e-4),
        ("rates.brier_only", 1e-3),
    ]
    assert all(list(row)[2] == "train/reward" and 0 <= row["validation/brier"] <= 1 for row in rows)
    assert capsys.readouterr().out.count("brier_only") == 2
    assert list(read_stages(tmp_path / "t" / "shared")) == ["warm-start"]
