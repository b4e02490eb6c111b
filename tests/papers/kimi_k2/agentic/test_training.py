"""What the study's trainings are given: rows, rewards, budgets, and the supervised loss beside K2's objective."""

from pathlib import Path

import pytest
import torch

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.papers.kimi_k2.agentic.arms import ARMS, as_many_as_passed, everything, passed
from tenfold.papers.kimi_k2.agentic.config import Config, ObjectiveConfig, laptop, smoke
from tenfold.papers.kimi_k2.agentic.playing import examples, play
from tenfold.papers.kimi_k2.agentic.training import (
    NO_LOSS,
    Study,
    as_rows,
    build,
    loss_of,
    rubric_reward,
    settings_of,
    supervised_loss,
)
from tenfold.train.policy_loss import PolicyLossInputs
from tenfold.train.settings import GRPOSettings


def study_of(arm, folder="run"):
    return Study(smoke(), ARMS[arm], Cell(arm=arm, seed=0, directory=Path(folder), device="cpu"))


@pytest.fixture(scope="module")
def dialogues():
    return study_of("kept").dialogues(200, "supervised")


@pytest.fixture(scope="module")
def policy():
    return build(smoke(), seed=0)


def test_selections_keep_what_passed_or_as_many(dialogues):
    kept = passed(dialogues, 0.9)
    assert 0 < len(kept) < len(dialogues) and all(dialogue.verdict.score >= 0.9 for dialogue in kept)
    fewer = as_many_as_passed(dialogues, 0.9)
    assert fewer == everything(dialogues, 0.9)[: len(kept)]
    assert any(not dialogue.verdict.success for dialogue in fewer)


def test_the_loss_is_on_what_the_agent_says_alone(dialogues, policy):
    rows = as_rows(dialogues[:20], policy)
    for dialogue, row in zip(dialogues, rows, strict=False):
        learned = [token for token in row["labels"] if token != NO_LOSS]
        assert policy.decode(learned) == "".join(text for text, is_said in dialogue.parts if is_said)
        assert policy.decode(row["input_ids"]) == dialogue.task.prompt + "".join(text for text, _ in dialogue.parts)


def test_the_supervised_loss_is_the_mean_over_the_agents_tokens(dialogues, policy):
    rows = as_rows(dialogues[:3], policy).to_dict()
    total, number = 0.0, 0
    for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True):
        logs = policy.model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0]
        for place, label in enumerate(labels):
            if label != NO_LOSS:
                total, number = total - logs[place - 1, label].item(), number + 1
    assert supervised_loss(policy.model, rows).item() == pytest.approx(total / number, rel=1e-4)


def said(number, score):
    return Trajectory((1,), [5] * number, [True] * number, [0.0] * number, "environment", reward_parts={"score": score})


def test_beyond_its_budget_a_dialogue_earns_the_penalty_and_within_it_its_score():
    config, budgeted, free = smoke(), ARMS["k2_budget"].objective, ARMS["k2"].objective
    budget = config.objective.budget
    trajectories = [said(budget, 0.8), said(budget + 1, 0.8)]
    assert rubric_reward(config, budgeted)([], [], trajectories) == [0.8, config.objective.penalty]
    assert rubric_reward(config, free)([], [], trajectories) == [0.8, 0.8]
    assert settings_of(config, budgeted).max_completion_length == budget + 1, "what goes beyond is cut"


def test_a_dialogue_without_a_report_earns_nothing():
    cut = Trajectory((1,), [5], [True], [0.0], "length")
    assert rubric_reward(smoke(), ARMS["k2"].objective)([], [], [cut]) == [0.0]


def test_the_settings_of_grpos_loss_do_not_act_in_k2s():
    config = laptop()
    assert settings_of(config, ARMS["grpo"].objective).scale_rewards == "group"
    assert settings_of(config, ARMS["k2"].objective).scale_rewards == GRPOSettings().scale_rewards == "none"


def inputs_at(step):
    logs = torch.zeros(2, 3)
    return PolicyLossInputs(
        logs, logs, torch.zeros(2), torch.ones(2, 3, dtype=torch.bool), torch.tensor(6.0), pieces=2, step=step
    )


def test_ptx_adds_the_supervised_loss_on_kept_dialogues_drawn_by_the_step(policy):
    study = study_of("k2_ptx")
    alone = loss_of(study_of("k2"), policy, ARMS["k2"].objective).function(inputs_at(0))[0]
    function = loss_of(study, policy, ARMS["k2_ptx"].objective).function
    loss, metrics = function(inputs_at(0))
    added = smoke().objective.ptx_weight * metrics["ptx/loss"] / 2  # two pieces make a step
    assert (loss - alone).item() == pytest.approx(added.item(), rel=1e-5)
    assert function(inputs_at(0))[0] == loss != function(inputs_at(1))[0]
    policy.model.zero_grad()
    loss.backward()
    assert policy.model.model.layers[0].previous.weight.grad.abs().sum() > 0


def test_examples_tell_the_state_and_the_rubric_of_what_was_played(policy):
    study = study_of("kept")
    played = play(policy, study.tasks(6, "test", held_out=True), study.config, seed=0)
    for example, trajectory in zip(examples(played, policy), played.trajectories, strict=False):
        assert example["score"] == trajectory.reward_parts.get("score", 0.0)
        assert example["success"] == bool(trajectory.reward_parts.get("success", 0.0))
        assert sum(kind == "world" for kind, _ in example["pieces"]) == len(trajectory.tool_calls)


def test_a_budget_that_nothing_can_exceed_is_refused():
    with pytest.raises(UserError, match=r"objective\.budget = 64: must be below"):
        Config(objective=ObjectiveConfig(budget=64), reinforcement=GRPOSettings(max_completion_length=64))
