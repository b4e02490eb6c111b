"""The scripts and the notebook in ``examples`` run as they stand, with few steps, and show what they say."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import tenfold
from tenfold.papers.rlcr.method import rlcr_rewards

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
SETTINGS = "ignore:.*gradient_checkpointing.*:FutureWarning"  # trl asks transformers by old names

pytestmark = pytest.mark.filterwarnings(SETTINGS)
needs_isolation = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap"
)


def example(name):
    """The module of a script, which runs nothing when it is imported."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_is_read_in_a_minute(script):
    assert len(script.read_text().splitlines()) < 60
    assert f"def test_{script.stem}(" in Path(__file__).read_text(), "each example runs in a test of its name"


def test_rlcr_reward(capsys):
    logs = example("rlcr_reward").main(steps=1)
    right, wrong = (float(line.rpartition("-> ")[2]) for line in capsys.readouterr().out.splitlines()[:2])
    weights = rlcr_rewards("ac")[1]
    assert right == pytest.approx(sum(weights) - 0.5 * 0.01) and wrong == pytest.approx(0.5 + 0.5 * (1 - 0.81))
    assert logs["step"] == 1 and {"rewards/correctness/mean", "rewards/calibration/mean"} <= set(logs)


def test_iw_sft_trainer(capsys):
    logs = example("iw_sft_trainer").main(steps=2)
    assert logs["weights/effective_exponent"] == 1.0 and logs["weights/raw_mean"] > 1.0


def test_muonclip_trainer(capsys):
    logs = example("muonclip_trainer").main(steps=8)
    assert logs[-1]["loss"] < logs[0]["loss"]
    assert max(one["qk_clip/heads_clipped"] for one in logs) > 0
    assert logs[-1]["qk_clip/max_logit"] < 0.05 * 1.25


@needs_isolation
def test_tools_in_a_rollout(capsys):
    said = example("tools_in_a_rollout").main()
    assert [call["tool"] for call in said.tool_calls] == ["search", "search", "python"]
    assert said.tool_calls[-1]["observation"] == "17"
    assert 0 < sum(said.loss_mask) < len(said.token_ids)


def test_world_model_planner():
    point = example("world_model_planner")
    assert point.main() < 0.1 * (point.START - point.GOAL).norm()


@needs_isolation
def test_program_posterior(capsys):
    without, with_remark = example("program_posterior").main(n=1000).values()
    assert with_remark["bo was lazy"].mean() == pytest.approx(1) and 0.2 < without["bo was lazy"].mean() < 0.8
    assert with_remark["strength of ann"].mean() < without["strength of ann"].mean()


def test_visual_reward(capsys):
    logs = example("visual_reward").main(steps=1)
    assert {"rewards/vision/mean", "rewards/format/mean", "rewards/tool/mean"} <= set(logs)


def test_quickstart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 6 and all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    names = {}
    shown = []
    for code in cells[:2]:
        exec(code, names)
    for code in cells[2:]:
        shown.append(eval(code, names))
    claims, metrics, figures, papers = shown
    assert {claim["verdict"] for claim in claims} == {"undecided"} and len(metrics) == 5 and figures
    assert papers == tenfold.list_papers()
    assert "iw_sft · smoke" in names["report"]._repr_html_()
