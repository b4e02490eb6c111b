"""The rewards in a script of trl's own, and the recipe's rewards through our GRPO on a chat."""

import re
from pathlib import Path

import pytest

from tenfold.core.cell import Cell
from tenfold.papers.rlcr import recipe
from tenfold.papers.rlcr.config import smoke, training_of

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


@pytest.mark.parametrize("arm", recipe.ARMS)
def test_every_arm_logs_all_three_parts_and_weighs_its_own(arm):
    config = smoke()
    weighted = recipe.rewards_of(config, arm)
    assert [function.__name__ for function in weighted.functions] == ["format", "correctness", "calibration"]
    expected = {"rlvr": [0.5, 0.5, 0], "brier_only": [0.5, 0, 0.5]}.get(arm, [0.5, 0.5, 0.5])
    assert weighted.weights == expected
    settings = training_of(config, arm, tuple(weighted.weights))
    assert settings.reward_weights == tuple(expected) and settings.scale_rewards == "none" and settings.beta == 0


def test_the_log_score_is_asked_for_by_its_arm_alone():
    rules = {arm: recipe.rewards_of(smoke(), arm).functions[2].rule.__name__ for arm in recipe.ARMS}
    assert rules == {"rlvr": "brier_rule", "rlcr": "brier_rule", "brier_only": "brier_rule", "log_score": "log_rule"}


def test_the_warm_start_is_the_same_for_all_arms_and_differs_between_seeds(tmp_path):
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        cell = Cell(arm=f"arm-{number}", seed=seed, directory=tmp_path / str(number), device="cpu")
        policy = recipe.warm_start(smoke(), seed, cell)
        weights.append(sum(float(p.detach().double().abs().sum()) for p in policy.model.parameters()))
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.spec("rlcr", "3")
def test_the_claim_about_the_log_score_is_computed():
    found = recipe.bandit_metrics()
    assert found["bandit/log_score_is_unsafe"] == 1.0
    assert found["bandit/accuracy_brier"] == pytest.approx(0.340, abs=1e-3)
    assert found["bandit/accuracy_log_score"] < 1e-3
