"""GRPO on trl against gradients written out by hand, what it samples and leaves out, and refusals."""

import inspect
import os
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import trl
from datasets import Dataset
from language_training import FAST, GRPO, Echo, cell_of, digits, policy, short, sums, train_grpo, weights_of
from trl import GRPOConfig, GRPOTrainer

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.train.grpo import RolloutGRPOTrainer, _require_whole_groups, completion_text, grpo, without_variance
from tenfold.train.settings import LoraSettings, OptimizerSettings
from tenfold.train.trl_run import quiet

ONE = replace(
    GRPO,
    steps=1,
    gradient_accumulation=1,
    updates_per_generation=1,
    checkpoint_every=0,
    log_every=1,
    optimizer=OptimizerSettings(learning_rate=1e-3, max_grad_norm=100.0),
)


class Recorder:
    """A reward that keeps what it was given: a function of the first token's number."""

    __name__ = "recorder"

    def __init__(self):
        self.calls = []

    def __call__(self, prompts, completions, trajectory, **columns):
        self.calls.append((prompts, completions, trajectory, columns))
        return [reward_of(one) for one in trajectory]

    @property
    def trajectories(self):
        return [trajectory for call in self.calls for trajectory in call[2]]


def reward_of(trajectory):
    return float(trajectory.token_ids[0] % 3)


def log_probs_and_entropies(model, trajectory, temperature):
    tokens = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
    logs = (model(input_ids=tokens).logits[0, :-1] / temperature).log_softmax(-1)[len(trajectory.prompt_ids) - 1 :]
    chosen = logs.gather(1, torch.tensor(trajectory.token_ids)[:, None])[:, 0]
    return chosen, -(logs.exp() * logs).sum(1)


def gradient_norm_by_hand(settings, trajectories):
    """Of the first, on-policy step: ratio 1 and no clipping, so the gradient is that of -A log p."""
    actor, group = policy(), settings.num_generations
    rewards = torch.tensor([reward_of(trajectory) for trajectory in trajectories]).view(-1, group)
    advantages = rewards - rewards.mean(1, keepdim=True)
    if settings.scale_rewards == "group":
        advantages = advantages / (rewards.std(1, keepdim=True) + 1e-4)
    if settings.scale_rewards == "batch":
        advantages = advantages / (rewards.std() + 1e-4)
    totals, lengths, entropy = [], [], 0.0
    for advantage, trajectory in zip(advantages.flatten(), trajectories, strict=True):
        counted = settings.mask_truncated and trajectory.stop_reason == "length"
        mask = torch.tensor(trajectory.loss_mask) & (not counted)
        chosen, entropies = log_probs_and_entropies(actor.model, trajectory, settings.temperature)
        totals.append((-advantage * chosen * mask).sum())
        lengths.append(int(mask.sum()))
        entropy = entropy + (entropies * mask).sum()
    totals, lengths = torch.stack(totals), torch.tensor(lengths)
    loss = {
        "grpo": (totals / lengths.clamp(min=1)).mean(),
        "bnpo": totals.sum() / lengths.sum(),
        "dapo": totals.sum() / lengths.sum(),
        "dr_grpo": totals.sum() / (len(trajectories) * settings.max_completion_length),
    }[settings.loss_type]
    loss = loss - settings.entropy_coefficient * entropy / lengths.sum()
    loss.backward()
    return torch.stack([p.grad.norm() for p in actor.model.parameters() if p.grad is not None]).norm().item()


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "bnpo"},
        {"loss_type": "grpo", "scale_rewards": "group"},
        {"loss_type": "dapo", "scale_rewards": "batch", "gradient_accumulation": 2},
        {"loss_type": "dr_grpo", "temperature": 0.7},
        {"loss_type": "bnpo", "entropy_coefficient": 0.5},
        {"loss_type": "dapo", "mask_truncated": True, "stop": ("3", "7", "?")},
    ],
    ids=lambda changes: ",".join(map(str, changes.values())),
)
def test_the_first_gradient_is_that_of_the_equation(tmp_path, changes):
    settings, recorder, cell = replace(ONE, **changes), Recorder(), cell_of("grpo", tmp_path)
    train_grpo(cell, settings, rewards=(recorder,), evaluate=None)
    assert len({trajectory.stop_reason for trajectory in recorder.trajectories}) == 2 or not settings.stop
    ((_, measured),) = cell.curves()["train/grad_norm"]
    assert measured == pytest.approx(gradient_norm_by_hand(settings, recorder.trajectories), rel=1e-4)


def test_tokens_of_the_environment_are_answered_to_but_not_learned_from(tmp_path):
    settings, recorder, cell = replace(ONE, max_completion_length=12), Recorder(), cell_of("grpo", tmp_path)
    train_grpo(cell, settings, rewards=(recorder,), evaluate=None, environment=Echo)
    answered = [trajectory for trajectory in recorder.trajectories if not all(trajectory.loss_mask)]
    assert answered
    answers = dict(zip(sums()["prompt"], sums()["answer"], strict=True))
    for trajectory in answered:
        prompt = policy().decode(trajectory.prompt_ids)
        place = trajectory.loss_mask.index(False)
        assert policy().decode(trajectory.token_ids[place:]).startswith(answers[prompt]), "its own prompt's answer"
    ((_, measured),) = cell.curves()["train/grad_norm"]
    assert measured == pytest.approx(gradient_norm_by_hand(settings, recorder.trajectories), rel=1e-4)
    calls = [len(trajectory.tool_calls) for trajectory in recorder.trajectories]
    assert cell.curves()["completions/tool_calls"] == [(1.0, pytest.approx(sum(calls) / len(calls)))]
    asked = [trajectory.reward_parts["asked"] for trajectory in answered]
    assert cell.curves()["environment/asked"] == [(1.0, pytest.approx(sum(asked) / len(asked)))]


def sampled(directory, settings=ONE, **options):
    recorder = Recorder()
    train_grpo(cell_of("grpo", directory), settings, rewards=(recorder,), evaluate=None, **options)
    return [(trajectory.prompt_ids, tuple(trajectory.token_ids)) for trajectory in recorder.trajectories]


def test_samples_depend_on_seed_round_prompt_and_number_alone(tmp_path):
    frozen = replace(ONE, steps=2, optimizer=OptimizerSettings(learning_rate=0.0))
    torch.manual_seed(7)
    first = sampled(tmp_path / "a", frozen)
    torch.manual_seed(8)
    again = sampled(tmp_path / "b", replace(frozen, gradient_accumulation=2, rollout_batch_size=3))
    assert first == again and len(first) == 32
    assert len({tokens for _, tokens in first}) > 16
    prompts = [prompt for prompt, _ in first]
    assert all(prompts[i : i + 4] == [prompts[i]] * 4 for i in range(0, 32, 4))
    assert [tokens for _, tokens in first[:16]] != [tokens for _, tokens in first[16:]]


def test_rewards_read_what_was_sampled_and_the_columns_of_the_data(tmp_path):
    recorder = Recorder()
    train_grpo(cell_of("grpo", tmp_path), ONE, rewards=(recorder,), evaluate=None)
    ((prompts, completions, trajectories, columns),) = recorder.calls
    actor, answers = policy(), dict(zip(sums()["prompt"], sums()["answer"], strict=True))
    for prompt, text, trajectory, answer in zip(prompts, completions, trajectories, columns["answer"], strict=True):
        assert answers[prompt] == answer and actor.decode(trajectory.prompt_ids) == prompt
        assert actor.decode(trajectory.token_ids).removesuffix(actor.tokenizer.eos_token) == text


def test_conversations_get_conversations(tmp_path):
    recorder = Recorder()
    data = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"{i}+1="}] for i in range(4)]})
    with quiet():
        trainer = trainer_of(tmp_path, [recorder], data, max_steps=1, num_generations=2)
        trainer.train()
    completions, trajectories = recorder.calls[0][1:3]
    assert [list(message) for message, *rest in completions] == [["role", "content"]] * len(completions)
    assert completions[0][0]["role"] == "assistant"
    assert "<|user|>" in policy().decode(trajectories[0].prompt_ids)
    assert policy().decode(trajectories[0].prompt_ids).endswith("<|assistant|>")


def trainer_of(directory, rewards, data, **options):
    arguments = GRPOConfig(
        output_dir=str(directory),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        dataloader_pin_memory=False,
        max_completion_length=4,
        per_device_train_batch_size=4,
        disable_tqdm=True,
        **options,
    )
    actor = policy()
    return RolloutGRPOTrainer(
        actor.model, rewards, arguments, processing_class=actor.tokenizer, train_dataset=data, eval_dataset=data
    )


def test_evaluation_samples_the_same_completions_each_time(tmp_path):
    recorder = Recorder()
    with quiet():
        trainer = trainer_of(tmp_path, [recorder], sums().select(range(4)), num_generations=2, num_generations_eval=1)
        measured = [trainer.evaluate() for _ in range(2)]
    half = len(recorder.trajectories) // 2
    assert recorder.trajectories[:half] == recorder.trajectories[half:]
    assert measured[0]["eval_reward"] == measured[1]["eval_reward"]


def test_a_stop_string_is_an_end_and_not_a_truncation(tmp_path):
    recorder, cell = Recorder(), cell_of("grpo", tmp_path)
    train_grpo(cell, replace(ONE, stop=("3", "7", "?")), rewards=(recorder,), evaluate=None)
    curves, trajectories = cell.curves(), recorder.trajectories
    cut = [trajectory.stop_reason == "length" for trajectory in trajectories]
    ended = [len(t.token_ids) for t in trajectories if t.stop_reason == "stop"]
    assert any(t.token_ids[-1] != policy().tokenizer.eos_token_id for t in trajectories if t.stop_reason == "stop")
    assert curves["completions/clipped_ratio"] == [(1.0, pytest.approx(sum(cut) / len(cut)))]
    assert curves["completions/mean_terminated_length"] == [(1.0, pytest.approx(sum(ended) / len(ended)))]


def test_groups_in_which_all_rewards_are_equal_are_counted():
    rewards = torch.tensor([[1.0, 0.5], [0.5, 1.0], [0.0, 0.0], [0.0, float("nan")], [1.0, 0.0], [0.0, 0.5]])
    assert without_variance(rewards, torch.tensor([1.0, 1.0]), 2) == pytest.approx(2 / 3)
    assert without_variance(rewards, torch.tensor([1.0, 2.0]), 2) == pytest.approx(2 / 3)
    assert without_variance(torch.full((2, 1), torch.nan), torch.ones(1), 2) == 1


def test_the_divergence_is_from_the_initial_policy(tmp_path):
    cell = cell_of("grpo", tmp_path)
    settings = replace(ONE, steps=3, beta=0.5, optimizer=replace(FAST, learning_rate=1e-2, warmup_steps=0))
    train_grpo(cell, settings, evaluate=None)
    first, second, third = (value for _, value in cell.curves()["train/kl"])
    assert first == pytest.approx(0, abs=1e-9) and second > 1e-4 and third > 1e-4


def test_adapters_alone_are_trained_and_measured_against_the_model_without_them(tmp_path):
    cell = cell_of("grpo", tmp_path)
    rate = replace(FAST, learning_rate=5e-2, warmup_steps=0)
    trained = train_grpo(
        cell, replace(ONE, steps=3, beta=0.5, lora=LoraSettings(rank=2), optimizer=rate), evaluate=None
    )
    first, second, _ = (value for _, value in cell.curves()["train/kl"])
    assert first == pytest.approx(0, abs=1e-9) and second > 1e-5
    unchanged = weights_of(policy())
    kept = {name.replace("base_layer.", ""): p for name, p in trained.model.get_base_model().state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in unchanged.items())


def test_a_reward_for_short_answers_makes_them_short(tmp_path):
    cell = cell_of("grpo", tmp_path)
    settings = replace(ONE, steps=20, prompts_per_step=8, num_generations=8, log_every=5, max_completion_length=8)
    settings = replace(settings, optimizer=OptimizerSettings(learning_rate=1e-2))
    train_grpo(cell, settings, rewards=(short,), evaluate=None)
    lengths = [value for _, value in cell.curves()["completions/mean_length"]]
    assert lengths[-1] < 0.6 * lengths[0]


def test_muon_clip_trains_and_says_what_it_clipped(tmp_path):
    cell = cell_of("grpo", tmp_path)
    optimizer = OptimizerSettings(name="muon_clip", learning_rate=1e-3, tau=1e-4)
    trained = train_grpo(cell, replace(ONE, optimizer=optimizer), evaluate=None)
    assert cell.curves()["qk_clip/heads_clipped"] == [(1.0, 4.0)]
    assert trained.model.config._attn_implementation == policy().model.config._attn_implementation


def test_the_text_of_a_completion_loses_its_final_end_alone():
    actor = policy()
    end = actor.tokenizer.eos_token_id
    token_ids = [*actor.encode("12"), end, *actor.encode("3"), end]
    trajectory = Trajectory((1,), token_ids, [True] * 5, [0.0] * 5, "stop")
    assert completion_text(trajectory, actor.tokenizer) == f"12{actor.tokenizer.eos_token}3"
    assert completion_text(Trajectory((1,), [end], [True], [0.0], "stop"), actor.tokenizer) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_every": 3}, r"checkpoint_every = 3: must be a multiple of updates_per_generation \* num_iter"),
        ({"num_iterations": 2, "checkpoint_every": 6}, "num_iterations = 4"),
        ({"steps": 7}, "steps = 7: must be a multiple of"),
        ({"prompts_per_step": 3, "num_generations": 5}, "15 sequences of a step: must be a multiple of"),
        ({"reward_weights": (1.0,)}, r"reward_weights = \[1.0\]: must be 2, one for each of digits, short"),
        ({"optimizer": replace(FAST, name="muon_clip"), "lora": LoraSettings(rank=2)}, "QK-Clip needs all weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train_grpo(cell_of("grpo", tmp_path), replace(GRPO, **changes))


def infinite(prompts, completions, **columns):
    return [float("inf")] * len(completions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": (digits, digits)}, "rewards: digits, digits; each needs a name of its own"),
        ({"rewards": ()}, "rewards: none given"),
        ({"rewards": (infinite,)}, "reward 'infinite': gave an infinite number"),
        ({"extra": {"beta": 1.0}}, "extra: beta = 1.0 is decided by the settings"),
        ({"extra": {"entropy_coefficient": 1.0}}, "is no field of GRPOConfig"),
    ],
)
def test_rewards_and_extras_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train_grpo(cell_of("grpo", tmp_path), ONE, **options)


@pytest.mark.parametrize(("data", "message"), [({"prompt": []}, "0 rows"), ({"text": ["1"]}, "columns text; needed")])
def test_data_without_prompts_is_refused(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        grpo(policy(), Dataset.from_dict(data), [digits], ONE, cell_of("grpo", tmp_path))


def test_a_process_with_parts_of_groups_is_refused():
    """trl allows it when the processes together have whole groups."""
    per_process = SimpleNamespace(per_device_train_batch_size=6, steps_per_generation=2, num_generations=8)
    with pytest.raises(UserError, match="= 12: must be a multiple of num_generations = 8"):
        _require_whole_groups(per_process)


def test_what_the_adapter_relies_on_is_still_so_in_trl(tmp_path):
    """``rollout_func`` is experimental: called as (prompts, trainer), three keys asked for, env_mask and others."""
    assert trl.__version__.startswith("1.16."), "read the release notes of trl on rollout_func, then change this"
    assert "rollout_func" in inspect.signature(GRPOTrainer.__init__).parameters
    actor, seen = policy(), {}

    def sample(prompts, trainer):
        seen.update(prompts=prompts, trainer=trainer)
        n = len(prompts)
        return {
            "prompt_ids": [[5]] * n,
            "completion_ids": [[6, 7, 2]] * n,
            "logprobs": [[0.0] * 3] * n,
            "env_mask": [[1, 0, 1]] * n,
            "note": list(range(n)),
        }

    def noted(prompts, completions, note, **columns):
        seen["note"] = note
        return [float(i) for i in note]

    arguments = dict(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", num_generations=2)
    arguments |= dict(per_device_train_batch_size=4, activation_checkpointing=False, dataloader_pin_memory=False)
    with quiet(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = GRPOTrainer(
            actor.model,
            noted,
            GRPOConfig(**arguments),
            train_dataset=sums(),
            processing_class=actor.tokenizer,
            rollout_func=sample,
        )
    assert any(str(one.message).startswith("You are using 'rollout_func'") for one in caught), "silenced by this text"
    trainer.model.train()
    with quiet():
        batch = trainer._generate_and_score_completions([dict(sums()[i // 2]) for i in range(4)])
    assert seen["trainer"] is trainer and seen["prompts"] == [sums()[i // 2]["prompt"] for i in range(4)]
    assert seen["note"] == [0, 1, 2, 3] and batch["tool_mask"].tolist() == [[1, 0, 1]] * 4
    assert batch["num_items_in_batch"] == 8, "tokens of the environment are not counted"


def test_no_setting_of_the_process_is_changed_to_silence_trl(tmp_path):
    before = dict(os.environ), list(warnings.filters)
    train_grpo(cell_of("grpo", tmp_path), ONE, evaluate=None)
    assert (dict(os.environ), list(warnings.filters)) == before
