"""The house verbs that take a paper's own configuration: ``train`` on own data, ``tune`` the rates; and its studies."""

import json
from pathlib import Path

import pytest
import torch
import yaml

PAPERS = Path(__file__).parent / "papers"


@pytest.fixture
def smallest(tmp_path, monkeypatch):
    """A paper with two studies, and a file of numbers whose mean is 2."""
    monkeypatch.setenv("TENFOLD_PAPERS", str(PAPERS))
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    data = tmp_path / "numbers.txt"
    data.write_text("1 2 3")
    return data


def test_train_uses_the_papers_own_configuration(smallest, tenfold, tmp_path):
    out = tmp_path / "out"
    status, _, err = tenfold("train", "smallest", "--data", smallest, "--out", out, "--steps", "1", "--seed", "4")
    assert (status, err) == (0, "")
    assert (out / "value.txt").read_text() == "fast 4 0.600"  # 0.3 of the way to 2
    about = yaml.safe_load((out / "training.yaml").read_text())
    assert about["paper"] == "smallest" and about["arm"] == "fast" and about["steps"] == 1
    assert len(about["data_sha256"]) == 64


def test_train_goes_on_with_the_same_and_refuses_anything_else(smallest, tenfold, tmp_path, monkeypatch):
    out, moved = tmp_path / "out", tmp_path / "moved.txt"
    words = ("train", "smallest", "--out", out)
    assert tenfold(*words, "--data", smallest)[0] == 0
    moved.write_text(smallest.read_text())
    assert tenfold(*words, "--data", moved)[0] == 0, "the hash of the content counts, not the path"
    for change, field in ((("--seed", "1"), "seed"), (("--steps", "9"), "steps"), (("--arm", "slow"), "arm")):
        status, _, err = tenfold(*words, "--data", smallest, *change)
        assert status == 2 and f"tenfold: {field} is " in err and "give another --out" in err
    monkeypatch.chdir(tmp_path)
    assert tenfold(*words, "--data", smallest.name)[0] == 0, "a path is the same whether it is whole or not"
    smallest.write_text("7")
    status, _, err = tenfold(*words, "--data", smallest)
    assert status == 2 and "data_sha256 is" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "3"), "--target = 3.0: does nothing in tenfold train smallest; what acts: steps, file, rates"),
        (("--arm", "fats"), "--arm is 'fats'; did you mean fast?"),
        (("--rates.slow", "0.2"), "--rates.slow = 0.2: acts with --arm slow, not with fast"),
        (("--steps", "0"), "steps = 0: must be at least 1"),
    ],
)
def test_train_refuses_what_cannot_be_and_writes_nothing(smallest, tenfold, tmp_path, words, message):
    out = tmp_path / "out"
    status, _, err = tenfold("train", "smallest", "--data", smallest, "--out", out, *words)
    assert status == 2 and message in err
    assert not out.exists()


def test_a_field_of_an_arm_acts_in_that_arm(smallest, tenfold, tmp_path):
    out = tmp_path / "out"
    words = ("train", "smallest", "--data", smallest, "--out", out, "--steps", "1", "--arm", "slow")
    assert tenfold(*words, "--rates.slow", "0.2")[0] == 0
    assert (out / "value.txt").read_text() == "slow 0 0.400"


def test_train_asks_for_data_and_a_folder(smallest, tenfold, tmp_path):
    assert "--data is missing" in tenfold("train", "smallest", "--out", tmp_path / "out")[2]
    assert "--out is missing" in tenfold("train", "smallest", "--data", smallest)[2]
    absent = tenfold("train", "smallest", "--out", tmp_path / "out", "--data", tmp_path / "absent")
    assert absent[0] == 2 and "absent" in absent[2] and not (tmp_path / "out").exists()


def test_what_the_paper_refuses_leaves_no_folder(smallest, tenfold, tmp_path):
    smallest.write_text("")
    status, _, err = tenfold("train", "smallest", "--data", smallest, "--out", tmp_path / "out")
    assert status == 2 and "has no numbers" in err and not (tmp_path / "out").exists()


def test_train_shows_its_configuration_and_trains_nothing(smallest, tenfold, tmp_path):
    status, out, _ = tenfold("train", "smallest", "--data", smallest, "--dry-run", "--steps", "3")
    assert status == 0 and yaml.safe_load(out)["steps"] == 3


@pytest.mark.parametrize("verb", ["train", "tune"])
def test_an_estimate_above_the_device_is_told_before_anything_is_trained(
    smallest, tenfold, tmp_path, monkeypatch, verb
):
    given = {"train": ("--data", smallest, "--steps", "1"), "tune": ("--preset", "smoke", "--rates", "0.1")}[verb]
    monkeypatch.setattr("tenfold.train.distributed.memory_of", lambda device: 1.0)
    status, _, err = tenfold(verb, "smallest", "--out", tmp_path / "out", *given)
    assert status == 0 and "on each device, which has about 0 MB" in err


def test_a_study_that_does_not_train_on_own_data_says_who_does(smallest, tenfold):
    status, _, err = tenfold("train", "smallest/second", "--data", smallest)
    assert status == 2 and "does not train on data of your own" in err and "smallest" in err


def test_tune_gives_every_rate_its_grid_and_stores_each_row(smallest, tenfold, tmp_path):
    out = tmp_path / "tuning"
    status, shown, _ = tenfold("tune", "smallest", "--out", out, "--preset", "smoke")
    rows = json.loads((out / "tuning.json").read_text())
    assert status == 0
    assert [(row["field"], row["learning_rate"]) for row in rows] == [
        ("rates.slow", 0.1),
        ("rates.slow", 0.2),
        ("rates.fast", 0.3),
        ("rates.fast", 0.6),
    ]
    gap = 100.0 - 1.0  # the seed is 1000, so the start is 100
    assert rows[0]["validation/gap"] == pytest.approx(gap * 0.9**4)
    assert len([line for line in shown.splitlines() if "gap" in line]) == 4
    assert (out / "shared" / "start" / "made.json").read_text().strip() == "100.0", "made once for all trials"


def test_tune_takes_other_rates_and_some_fields_and_goes_on(smallest, tenfold, tmp_path):
    out = tmp_path / "tuning"
    words = ("tune", "smallest", "--out", out, "--preset", "smoke", "--fields", "fast")
    assert tenfold(*words, "--rates", "0.5")[0] == 0
    assert tenfold(*words, "--rates", "0.5", "0.7")[0] == 0
    assert [row["learning_rate"] for row in json.loads((out / "tuning.json").read_text())] == [0.5, 0.7]
    status, _, err = tenfold(*words, "--seed", "1")
    assert status == 2 and "seed is 1, but" in err
    status, _, err = tenfold("tune", "smallest", "--out", out, "--preset", "smoke", "--fields", "fsat")
    assert status == 2 and "did you mean fast?" in err


def test_studies_are_run_shown_and_listed_by_both_names(smallest, tenfold, tmp_path):
    status, out, _ = tenfold("list")
    assert "smallest/second" in out and "smallest/first" not in out, "the default study goes by its paper's name"
    for target, name in (
        ("smallest/second", "smallest/second"),
        ("smallest/first", "smallest"),
        ("smallest", "smallest"),
    ):
        status, out, _ = tenfold("show", target)
        assert status == 0 and "studies: smallest, smallest/second" in out
        folder = tmp_path / target.replace("/", "-")
        assert tenfold("run", target, "--preset", "smoke", "--out", folder)[0] == 0
        facts, report = (json.loads((folder / f"{file}.json").read_text()) for file in ("run", "report"))
        assert facts["paper"] == name
        assert [claim["id"] for claim in report["claims"]] == ["again" if name.endswith("second") else "near"]
        seconds = [row["cost/shared_seconds"] for row in report["arms"].values()]
        assert seconds[0] == seconds[1], "what arms share costs all of them the same"
    status, _, err = tenfold("run", "smallest/third")
    assert status == 2 and "unknown study 'smallest/third'; smallest has smallest, smallest/second" in err


def test_a_preset_that_a_study_lacks_is_refused_by_name(smallest, tenfold):
    status, _, err = tenfold("run", "smallest", "--preset", "gpu")
    assert status == 2 and "smallest has no preset gpu; it has smoke, laptop" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_device_is_refused_before_anything_is_written(smallest, tenfold, tmp_path):
    out = tmp_path / "out"
    for words in (("train", "smallest", "--data", smallest), ("tune", "smallest")):
        status, _, err = tenfold(*words, "--out", out, "--device", "cuda")
        assert status == 2 and "device = cuda: this PyTorch sees no CUDA device" in err
        assert not out.exists()
