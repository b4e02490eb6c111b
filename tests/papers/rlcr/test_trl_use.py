"""The rewards in a script of trl's own, and the recipe's rewards through our GRPO on a chat."""

import re
from pathlib import Path

import pytest

from tenfold.core.cell import Cell
from tenfold.papers.rlcr import recipe
from tenfold.papers.rlcr.arms import ARMS, rewards_of, training_of
from tenfold.papers.rlcr.config import smoke
from tenfold.rewards import Safety

README = Path(recipe.__file__).with_name("README.md")


def test_ten_lines_with_trls_own_trainer(tmp_path, monkeypatch, capsys):
    """The program of the README logs each reward by its name."""
    monkeypatch.chdir(tmp_path)
    program = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)[0]
    trained = program.replace("GRPOTrainer(policy", "trainer = GRPOTrainer(policy").replace(
        ".train()", "\ntrainer.train()"
    )
    names: dict = {}
    exec(compile(trained, str(README), "exec"), names)
    logged = names["trainer"].state.log_history[0]
    assert {"rewards/format/mean", "rewards/correctness/mean", "rewards/calibration/mean"} <= set(logged)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_logs_all_three_parts_and_weighs_its_own(arm):
    config = smoke()
    weighted = rewards_of(config, ARMS[arm])
    assert [function.__name__ for function in weighted.functions] == ["format", "correctness", "calibration"]
    expected = {"rlvr": [0.5, 0.5, 0], "brier_only": [0.5, 0, 0.5]}.get(arm, [0.5, 0.5, 0.5])
    assert weighted.weights == expected
    settings = training_of(config, ARMS[arm])
    assert settings.reward_weights == tuple(expected) and settings.scale_rewards == "none" and settings.beta == 0


def test_the_log_score_is_asked_for_by_its_arm_alone():
    rules = {name: rewards_of(smoke(), arm).functions[2].rule.__name__ for name, arm in ARMS.items()}
    assert rules == {"rlvr": "brier_rule", "rlcr": "brier_rule", "brier_only": "brier_rule", "log_score": "log_rule"}


def test_the_warm_start_is_made_once_for_all_arms_of_a_seed_and_differs_between_seeds(tmp_path, monkeypatch):
    trained, weights = [], []
    sft = recipe.sft

    def counted(policy, rows, settings, stage):
        trained.append(stage.stage)
        return sft(policy, rows, settings, stage)

    monkeypatch.setattr(recipe, "sft", counted)
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / f"cell-{number}"
        cell = Cell(arm="rlcr", seed=seed, directory=folder, shared_directory=tmp_path / f"shared-{seed}", device="cpu")
        policy = recipe.warm_start(smoke(), cell)
        assert cell.curves() == {}  # they are the stage's
        weights.append(sum(float(p.detach().double().abs().sum()) for p in policy.model.parameters()))
    assert weights[0] == weights[1] != weights[2]
    assert trained == ["warm-start", "warm-start"]


@pytest.mark.spec("rlcr", "3")
def test_the_claim_about_the_log_score_is_computed():
    found = recipe.bandit_metrics()
    assert found["bandit/log_score_is_unsafe"] == 1.0
    assert found["bandit/accuracy_brier"] == pytest.approx(0.340, abs=1e-3)
    assert found["bandit/accuracy_log_score"] < 1e-3


@pytest.mark.parametrize("unsafe", ["log_rule", "brier_rule", "both"])
def test_a_check_that_finds_otherwise_makes_the_claim_fail_and_no_error(unsafe, monkeypatch):
    """What the check finds is a tuple with a truth value, of which no number can be made."""

    def found(rule):
        is_unsafe = unsafe in (rule.__name__, "both")
        return Safety(proper=True, rising=not is_unsafe, worse_than_giving_up_below=0.0)

    monkeypatch.setattr(recipe, "is_safe", found)
    assert recipe.bandit_metrics()["bandit/log_score_is_unsafe"] == float(unsafe == "log_rule")
