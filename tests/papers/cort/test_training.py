"""What is learned from trajectories with outputs in them: gradients by hand, and the whole on the toy task."""

from dataclasses import replace

import pytest
import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.cort import answering, recipe, stages
from tenfold.papers.cort import config as presets
from tenfold.papers.cort.environment import CodeEnvironment
from tenfold.papers.cort.method import cort_rewards
from tenfold.papers.cort.questions import load_questions
from tenfold.papers.cort.traces import Trace
from tenfold.policies import Sampling, ScriptedPolicy, rollout, tiny_policy
from tenfold.train.grpo import grpo
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings
from tenfold.train.sft import WeightedSFTTrainer, sft

SAID = (
    "```python\nprint(6*7)\n```\nSo.</think>\\boxed{42}",
    "```python\nprint(6*8)\n```\nSo.</think>\\boxed{48}",
)
SETTINGS = GRPOSettings(
    steps=1,
    prompts_per_step=1,
    num_generations=2,
    max_completion_length=200,
    log_every=1,
    checkpoint_every=0,
    reward_weights=(1.0, 0.1),
    optimizer=OptimizerSettings(learning_rate=1e-3, max_grad_norm=100.0),
)


@pytest.fixture
def policy(tokenizer):
    return tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2, context=256)


@pytest.fixture
def trajectories(tokenizer, sandbox):
    script = ScriptedPolicy(tokenizer, lambda prompt, sample: SAID[sample])
    environment = CodeEnvironment(sandbox, tokenizer)
    return rollout(script, [script.encode("6*7")], Sampling(200), num_samples=2, environment=environment)


def gradient_norm(policy, trajectories, masks):
    """Of - A log p over the masked tokens of both trajectories, whose advantages are 1/2 and - 1/2."""
    total, count = torch.zeros(()), 0
    for advantage, trajectory, mask in zip((0.5, -0.5), trajectories, masks, strict=True):
        tokens = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
        logs = policy.model(input_ids=tokens).logits[0, len(trajectory.prompt_ids) - 1 : -1].log_softmax(-1)
        chosen = logs.gather(1, torch.tensor(trajectory.token_ids)[:, None])[:, 0]
        total = total - advantage * (chosen * torch.tensor(mask)).sum()
        count += sum(mask)
    policy.model.zero_grad()
    (total / count).backward()
    norm = torch.stack([p.grad.norm() for p in policy.model.parameters() if p.grad is not None]).norm().item()
    policy.model.zero_grad()
    return norm


@pytest.mark.spec("cort", "4")
@pytest.mark.parametrize("masked", [True, False])
def test_outputs_get_a_gradient_only_without_the_mask(tmp_path, policy, trajectories, monkeypatch, masked):
    assert [call["output"] for one in trajectories for call in one.tool_calls] == ["42", "48"]
    monkeypatch.setattr("tenfold.train.grpo.rollout", lambda *given, **options: trajectories)
    sampled = [one.loss_mask for one in trajectories]
    everything = [[True] * len(one.token_ids) for one in trajectories]
    expected = gradient_norm(policy, trajectories, sampled if masked else everything)
    other = gradient_norm(policy, trajectories, everything if masked else sampled)
    rewards, _ = cort_rewards()
    cell = Cell(arm="rl", seed=0, directory=tmp_path, device="cpu")
    rows = Dataset.from_list([{"prompt": "6*7", "answer": "42"}])
    grpo(policy, rows, rewards, SETTINGS, cell, environment=lambda rows: None, mask_replies=masked)
    ((_, measured),) = cell.curves()["train/grad_norm"]
    assert measured == pytest.approx(expected, rel=1e-4) and measured != pytest.approx(other, rel=1e-2)
    assert cell.curves()["rewards/accuracy/mean"] == [(1.0, 0.5)]


@pytest.mark.spec("cort", "4")
@pytest.mark.parametrize("seed", range(3))
def test_targets_at_outputs_change_nothing_and_others_do(tmp_path, play, random_text, tokenizer, monkeypatch, seed):
    """One step of supervised training on a random trace, with other targets wherever the loss has some."""
    trajectory, _ = play(random_text(seed))
    row, start = Trace(trajectory).training_row(), len(trajectory.prompt_ids)
    at = {flag: [start + i for i, said in enumerate(trajectory.loss_mask) if said == flag] for flag in (True, False)}
    assert at[False] and [i for i, trains in enumerate(row["completion_mask"]) if trains] == at[True]
    computed = WeightedSFTTrainer.compute_loss

    def trained(name, changed):
        def with_other_targets(trainer, model, inputs, *rest, **options):
            labels = inputs["labels"].clone()
            for i in changed:
                labels[0, i] = labels[0, i] if labels[0, i] == -100 else (labels[0, i] + 1) % 100
            return computed(trainer, model, inputs | {"labels": labels}, *rest, **options)

        monkeypatch.setattr(WeightedSFTTrainer, "compute_loss", with_other_targets)
        policy = tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2, context=1024)
        settings = SFTSettings(steps=1, batch_size=1, max_length=0, log_every=1, checkpoint_every=0)
        cell = Cell(arm="rft", seed=0, directory=tmp_path / name, device="cpu")
        sft(policy, Dataset.from_list([row]), settings, cell)
        return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])

    plain = trained("plain", [])
    assert torch.equal(trained("outputs", at[False]), plain)
    assert not torch.equal(trained("said", at[True][:1]), plain), "a single target that the policy said counts"


@pytest.mark.slow
@pytest.mark.spec("cort", "10")
def test_reinforcement_with_the_tool_goes_above_the_ceiling_without_it(tmp_path):
    """From the base, which gets more than half of the products right with the tool, and hardly any without."""
    config = presets.laptop()
    config = replace(
        config,
        grpo=replace(config.grpo, steps=24, evaluate_every=0),
        rates=replace(config.rates, no_tool_rl=3e-4, rl=3e-4, rl_from_base_unmasked=3e-4),
    )
    accuracy, rewards = {}, {}
    with recipe.open_sandbox(config.loop) as sandbox:
        for name in ("rl", "rl_from_base_unmasked", "no_tool"):
            arm, folder, shared = recipe.ARMS[name], tmp_path / "cells" / name, tmp_path / "shared"
            cell = Cell(arm=name, seed=3, directory=folder, shared_directory=shared, device="cpu")
            study = answering.Study(config, cell, sandbox)
            trained = recipe.trained(study, replace(arm, start=stages.base, examples=None))
            questions = load_questions(config.task, 1, 3).validation
            traces = answering.sample(study, trained, questions, with_tool=arm.with_tool)
            samples = answering.measured(study, trained, traces, questions)
            accuracy[name] = sum(sample.right for sample in samples) / len(samples)
            rewards[name] = [value for _, value in cell.curves()["reinforcement/train/reward"]]
    assert rewards["rl"][-1] > rewards["rl"][0] + 0.15, "the reward rises"
    assert accuracy["no_tool"] < 0.1, "the products are out of its reach"
    assert accuracy["rl"] > accuracy["no_tool"] + 0.5
    assert len(rewards["rl_from_base_unmasked"]) == len(rewards["rl"]), "the ablation runs from the same configuration"


@pytest.mark.parametrize("name", ["programs", "thinking"])
def test_epochs_of_a_base_are_refused_for_its_steps_say_whether_it_is_trained(name):
    base = replace(presets.paper().base, **{name: SFTSettings(steps=0, epochs=2)})
    with pytest.raises(UserError, match=rf"base\.{name}\.epochs = 2: does not act here; set base\.{name}\.steps"):
        replace(presets.paper(), base=base)
