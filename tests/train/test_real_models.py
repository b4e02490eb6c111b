"""SmolLM2-135M from its package: a supervised step, a step of GRPO, rollouts in tags, and a run that moves a reward."""

import re
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from language_training import cell_of, weights_of

from tenfold.core.types import Message
from tenfold.policies import Sampling, load_policy, rollout
from tenfold.rewards import FormatReward, parse_tagged
from tenfold.train.grpo import grpo
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings
from tenfold.train.sft import sft

pytestmark = [pytest.mark.slow, pytest.mark.extra, pytest.mark.usefixtures("_smollm2_installed")]
PROMPT = "Question: What is {}+{}?\nAnswer:"
LORA = LoraSettings(rank=16, alpha=32.0)
GRPO = GRPOSettings(
    steps=1,
    prompts_per_step=2,
    num_generations=4,
    max_completion_length=6,
    optimizer=OptimizerSettings(learning_rate=5e-4),
    lora=LORA,
    log_every=1,
    checkpoint_every=0,
)


def smollm2(dtype=torch.float32):
    return load_policy("smollm2-135m", dtype=dtype)


def sums(pairs):
    return Dataset.from_dict({"prompt": [PROMPT.format(a, b) for a, b in pairs], "answer": [a + b for a, b in pairs]})


def fresh_log_probs(model, trajectory):
    """Of the completion's tokens, by one forward pass over all tokens."""
    tokens = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
    with torch.no_grad():
        logs = model(input_ids=tokens).logits[0, :-1].float().log_softmax(-1)
    return logs.gather(1, tokens[0, 1:, None])[len(trajectory.prompt_ids) - 1 :, 0]


def test_a_supervised_step_has_the_loss_of_the_model_itself(tmp_path):
    """Of two rows of unequal lengths: minus the mean log-probability of the completions' tokens and of their end."""
    policy, cell = smollm2(), cell_of("sft", tmp_path)
    rows = [("The capital of France is", " Paris."), ("2+2=", "4")]
    end, summed, count = policy.tokenizer.eos_token_id, 0.0, 0
    for prompt, completion in rows:
        prompt_ids, token_ids = policy.encode(prompt), [*policy.encode(completion), end]
        with torch.no_grad():
            logs = policy.model(torch.tensor([[*prompt_ids, *token_ids]])).logits[0, :-1].log_softmax(-1)
        summed += logs[len(prompt_ids) - 1 :].gather(1, torch.tensor(token_ids)[:, None]).sum().item()
        count += len(token_ids)
    before = weights_of(policy)
    settings = SFTSettings(steps=1, batch_size=2, log_every=1, lora=LORA)
    data = Dataset.from_dict({"prompt": [row[0] for row in rows], "completion": [row[1] for row in rows]})
    trained = sft(policy, data, settings, cell)
    assert cell.curves()["train/loss"] == [(1.0, pytest.approx(-summed / count, rel=1e-3))]
    kept = {name.replace("base_layer.", ""): p for name, p in trained.model.get_base_model().state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert any(bool(p.any()) for name, p in trained.model.named_parameters() if "lora_B" in name), "0 before the step"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)], ids=str)
def test_a_step_of_grpo_samples_from_the_model_itself(tmp_path, dtype, tolerance):
    policy, cell, seen = smollm2(dtype), cell_of("grpo", tmp_path), []

    def brevity(prompts, completions, trajectory, **columns):
        seen.extend(trajectory)
        return [1.0 / (1 + len(text)) for text in completions]

    trained = grpo(policy, sums([(1, 2), (13, 44)]), [brevity], replace(GRPO, beta=0.1), cell)
    assert len(seen) == 8 and len({trajectory.prompt_ids for trajectory in seen}) == 2
    with trained.model.disable_adapter():
        fresh = torch.cat([fresh_log_probs(trained.model, trajectory) for trajectory in seen])
    reported = torch.cat([torch.tensor(trajectory.log_probs) for trajectory in seen])
    assert (reported - fresh).abs().mean() < tolerance
    curves = {name: values[0][1] for name, values in cell.curves().items()}
    assert curves["train/kl"] == pytest.approx(0, abs=1e-6) and curves["train/grad_norm"] > 0
    assert 0 < curves["train/entropy"] < 11 and curves["groups/without_variance"] < 1
    assert any(bool(p.any()) for name, p in trained.model.named_parameters() if "lora_B" in name), "0 before the step"


def test_one_worked_example_brings_the_tags_and_a_rule_alone_does_not():
    """Greedy, of 12 sums: 10 well-formed and 4 of them right after an example, none after a rule in words."""
    policy, format_reward = smollm2(torch.bfloat16), FormatReward("ta")
    pairs = [(a, b) for a in (1, 4, 7, 10) for b in (2, 5, 8)]
    example = [Message("user", "What is 3+9?"), Message("assistant", "<think>3+9=12</think><answer>12</answer>")]
    rule = " Think between <think> and </think>, then give the number alone between <answer> and </answer>."

    def said(before, after):
        prompts = [policy.chat([*before, Message("user", f"What is {a}+{b}?{after}")]) for a, b in pairs]
        sampling = Sampling(max_new_tokens=30, temperature=0, stop=("</answer>",))
        texts = [policy.decode(trajectory.token_ids) for trajectory in rollout(policy, prompts, sampling)]
        return texts, sum(format_reward(prompts=prompts, completions=texts))

    shown, with_example = said(example, "")
    right = [parse_tagged(text, "ta").answer == str(a + b) for text, (a, b) in zip(shown, pairs, strict=True)]
    assert with_example >= 7 and sum(right) >= 2, shown
    told, with_rule = said([], rule)
    assert with_rule <= 2, told


def starts_with_a_number(prompts, completions, **columns):
    return [float(re.match(r"\s*\d+", text) is not None) for text in completions]


def right_number(prompts, completions, answer, **columns):
    numbers = [re.match(r"\s*(\d+)(?!\d)", text) for text in completions]
    return [float(found is not None and int(found[1]) == a) for found, a in zip(numbers, answer, strict=True)]


def nothing_but_the_number(prompts, completions, answer, **columns):
    return [float(text.strip() == str(a)) for text, a in zip(completions, answer, strict=True)]


def test_a_short_run_moves_the_reward(tmp_path):
    """Fourteen steps on sums of two digits: the form first, for the model learns to say a number and to stop."""
    policy, cell = smollm2(torch.bfloat16), cell_of("grpo", tmp_path)
    settings = replace(GRPO, steps=14, prompts_per_step=4, num_generations=8, reward_weights=(0.2, 0.5, 0.3))
    pairs = [(a, b) for a in range(1, 10) for b in range(1, 10)]
    grpo(policy, sums(pairs), [starts_with_a_number, right_number, nothing_but_the_number], settings, cell)
    reward = [value for _, value in cell.curves()["train/reward"]]
    form = [value for _, value in cell.curves()["rewards/starts_with_a_number/mean"]]
    early, late = slice(0, 2), slice(6, 14)
    assert mean(reward[late]) > mean(reward[early]) + 0.3, reward
    assert mean(form[late]) > mean(form[early]) + 0.1, form


def mean(values):
    return sum(values) / len(values)
