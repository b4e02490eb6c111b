"""Two processes on the CPU compute what one does: QK-Clip and the routers' biases agree over the whole batch."""

import json
import os
import subprocess
import sys

import pytest

LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "tenfold"),
)
COMMAND = ("run", "kimi_k2", "--preset", "smoke", "--arms", "muonclip", "--device", "cpu")
LEFT_OUT = (
    *("--dense.warmup-steps", "0", "--dense.decay-steps", "0", "--calm.warmup-steps", "0", "--calm.stable-steps", "0"),
    "--expert-model.no-control",
)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """The scores of arm muonclip from one process and from two."""
    folder = tmp_path_factory.mktemp("processes")
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    kept = []
    for name, program in (("one", ("-m", "tenfold")), ("two", LAUNCH)):
        command = [sys.executable, *program, *COMMAND, *LEFT_OUT, "--out", str(folder / name)]
        done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        kept.append(json.loads((folder / name / "cells/muonclip/seed-0/scores.json").read_text()))
    assert {path.name for path in (folder / "two").rglob("rank-*.pt")} == {"rank-0.pt", "rank-1.pt"}
    return kept


def same(name, value):
    """Within 1e-5; exploding logits and their clip within 1e-3: Newton-Schulz enlarges rounding in small directions."""
    if value is None:  # not a number: of a part that was left out
        return None
    return pytest.approx(value, abs=1e-5, rel=1e-3 if "logit" in name or "gamma" in name else 0)


def test_two_processes_have_the_losses_and_logits_of_one(scores):
    one, two = (kept["curves"] for kept in scores)
    assert list(one) == list(two) and {name.split("/")[0] for name in one} == {"experts", "stress"}
    for name, points in one.items():
        assert two[name] == [same(name, point) for point in points], name
    assert max(value for _, value in one["stress/qk_clip/fraction_clipped"]) > 0, (
        "a clip that never acts proves nothing"
    )


def test_two_processes_have_the_results_of_one(scores):
    one, two = ({k: v for k, v in kept["metrics"].items() if k != "cost/seconds"} for kept in scores)
    assert two == {name: same(name, value) for name, value in one.items()}
    assert scores[0]["samples"]["loads"] == scores[1]["samples"]["loads"]
