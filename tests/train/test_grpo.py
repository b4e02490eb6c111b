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
from tenfold.core.types import Reply, Trajectory
from tenfold.policies import tiny_policy
from tenfold.rewards import CorrectnessReward
from tenfold.train.grpo import RolloutGRPOTrainer, grpo
from tenfold.train.grpo_refusals import require_whole_groups
from tenfold.train.scoring import completion_text, without_variance
from tenfold.train.settings import LoraSettings, OptimizerSettings
from tenfold.train.trl_run import make_optimizer, quiet

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


def loss_by_hand(settings, trajectories, actor, old, reference):
    """The equation of one step, and what it logs: entropy, divergence and the fraction of clipped tokens.

    ``old`` and ``reference`` are models; the actor's gradients are left in place.
    """
    rewards = torch.tensor([reward_of(trajectory) for trajectory in trajectories]).view(-1, settings.num_generations)
    advantages = rewards - rewards.mean(1, keepdim=True)
    if settings.scale_rewards == "group":
        advantages = advantages / (rewards.std(1, keepdim=True) + 1e-4)
    if settings.scale_rewards == "batch":
        advantages = advantages / (rewards.std() + 1e-4)
    totals, lengths, sums = [], [], dict.fromkeys(("entropy", "kl", "clipped"), 0.0)
    for advantage, trajectory in zip(advantages.flatten(), trajectories, strict=True):
        counted = settings.mask_truncated and trajectory.stop_reason == "length"
        mask = torch.tensor(trajectory.loss_mask) & (not counted)
        chosen, entropies = log_probs_and_entropies(actor, trajectory, settings.temperature)
        with torch.no_grad():
            before, _ = log_probs_and_entropies(old, trajectory, settings.temperature)
            initial, _ = log_probs_and_entropies(reference, trajectory, settings.temperature)
        difference = chosen - before
        if settings.importance_sampling_level == "sequence":
            difference = ((difference * mask).sum() / mask.sum().clamp(min=1)).expand_as(difference)
        ratio, high = difference.exp(), settings.epsilon_high or settings.epsilon
        within = ratio.clamp(1 - settings.epsilon, 1 + high)
        divergence = (initial - chosen).exp() - (initial - chosen) - 1
        losses = -torch.min(ratio * advantage, within * advantage) + settings.beta * divergence
        totals.append((losses * mask).sum())
        lengths.append(int(mask.sum()))
        clipped = ratio < 1 - settings.epsilon if advantage < 0 else ratio > 1 + high
        clipped = clipped & (advantage != 0)
        for name, values in (("entropy", entropies), ("kl", divergence), ("clipped", clipped)):
            sums[name] = sums[name] + (values * mask).sum()
    totals, lengths = torch.stack(totals), torch.tensor(lengths)
    loss = {
        "grpo": (totals / lengths.clamp(min=1)).mean(),
        "bnpo": totals.sum() / lengths.sum(),
        "dapo": totals.sum() / lengths.sum(),
        "dr_grpo": totals.sum() / (len(trajectories) * settings.max_completion_length),
    }[settings.loss_type]
    (loss - settings.entropy_coefficient * sums["entropy"] / lengths.sum()).backward()
    return {name: float((value / lengths.sum()).detach()) for name, value in sums.items()}


def gradient_norm(model):
    return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()


def gradient_norm_by_hand(settings, trajectories):
    """Of the first step, where policy, old policy and reference are one."""
    actor = policy().model
    loss_by_hand(settings, trajectories, actor, actor, actor)
    return gradient_norm(actor)


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
    for trajectory in recorder.trajectories:
        with torch.no_grad():
            truth, _ = log_probs_and_entropies(policy().model, trajectory, settings.temperature)
        assert trajectory.log_probs == pytest.approx(truth.tolist(), abs=1e-5), "sampled at the temperature of the loss"


LARGE = OptimizerSettings(learning_rate=1e-2, max_grad_norm=100.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 2.0, "temperature": 0.7},
        {"num_iterations": 2, "epsilon": 0.02, "temperature": 0.7},
        {"num_iterations": 2, "epsilon": 0.1, "epsilon_high": 0.01, "beta": 0.5, "entropy_coefficient": 0.3},
        {"num_iterations": 2, "epsilon": 0.02, "importance_sampling_level": "sequence", "loss_type": "grpo"},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_the_second_gradient_is_that_of_the_equation(tmp_path, changes):
    """After one step the policy differs from the old one and from the reference: clipping and divergence act."""
    settings = replace(ONE, steps=2, evaluate_every=1, max_completion_length=12, optimizer=LARGE, **changes)
    recorder, cell, after = Recorder(), cell_of("grpo", tmp_path), {}

    def keep(model, step):
        after[step] = {name: value.clone() for name, value in model.state_dict().items()}
        return {}

    train_grpo(cell, settings, rewards=(recorder,), evaluate=keep, environment=Echo)
    assert any(not all(trajectory.loss_mask) for trajectory in recorder.trajectories)
    initial, actor = policy().model, policy().model
    actor.load_state_dict(after[1])
    again = settings.num_iterations > 1
    trajectories = recorder.trajectories if again else recorder.trajectories[16:]
    assert len(trajectories) == 16
    truth = loss_by_hand(settings, trajectories, actor, initial if again else actor, initial)
    curves = {name: values[1][1] for name, values in cell.curves().items() if len(values) > 1}
    assert curves["train/grad_norm"] == pytest.approx(gradient_norm(actor), rel=1e-4)
    assert curves["train/entropy"] == pytest.approx(truth["entropy"], rel=1e-5)
    if settings.beta:
        assert truth["kl"] > 1e-3 and curves["train/kl"] == pytest.approx(truth["kl"], rel=1e-3)
    if settings.importance_sampling_level == "token":
        assert (truth["clipped"] > 0.05) == again
        assert curves["clip_ratio/region_mean"] == pytest.approx(truth["clipped"], abs=1e-6)


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


def test_a_prompt_that_comes_again_is_answered_anew(tmp_path):
    """Within a round, and in the next round at the same place."""
    recorder, one_prompt = Recorder(), sums().select([0])
    frozen = replace(ONE, steps=2, optimizer=OptimizerSettings(learning_rate=0.0))
    grpo(policy(), one_prompt, [recorder], frozen, cell_of("grpo", tmp_path))
    said = [tuple(trajectory.token_ids) for trajectory in recorder.trajectories]
    groups = [tuple(said[i : i + 4]) for i in range(0, 32, 4)]
    assert len(groups) == len(set(groups)) == 8


def test_settings_of_sampling_reach_the_rollout(tmp_path):
    settings = replace(ONE, top_p=1e-6, max_prompt_length=3)
    said = sampled(tmp_path, settings)
    whole = {tuple(policy().encode(text)) for text in sums()["prompt"]}
    assert {len(prompt) for prompt, _ in said} == {3} and min(map(len, whole)) > 3
    assert all(any(one[-3:] == prompt for one in whole) for prompt, _ in said), "prompts lose their beginning"
    assert all(len({tokens for _, tokens in said[i : i + 4]}) == 1 for i in range(0, 16, 4)), "the likeliest alone"


def test_the_optimizer_is_that_of_the_settings(tmp_path):
    optimizer = OptimizerSettings(
        learning_rate=2e-3, schedule="linear", warmup_fraction=0.3, weight_decay=0.2, beta1=0.8, beta2=0.7, epsilon=1e-3
    )
    settings = replace(ONE, steps=5, optimizer=optimizer)
    cell = cell_of("grpo", tmp_path)
    train_grpo(cell, settings, evaluate=None)
    rates = [value for _, value in cell.curves()["train/learning_rate"]]
    assert rates == pytest.approx([0.0, 1e-3, 2e-3, 2e-3 * 2 / 3, 2e-3 / 3]), "two steps of warm-up, then to 0"
    state = torch.load(tmp_path / "checkpoints" / "step-00000005" / "optimizer.pt", weights_only=True)
    groups = [(group["betas"], group["eps"], group["weight_decay"]) for group in state["param_groups"]]
    assert set(groups) == {((0.8, 0.7), 1e-3, 0.2), ((0.8, 0.7), 1e-3, 0.0)}


def test_rewards_read_what_was_sampled_and_the_columns_of_the_data(tmp_path):
    recorder = Recorder()
    train_grpo(cell_of("grpo", tmp_path), ONE, rewards=(recorder,), evaluate=None)
    ((prompts, completions, trajectories, columns),) = recorder.calls
    actor, answers = policy(), dict(zip(sums()["prompt"], sums()["answer"], strict=True))
    for prompt, text, trajectory, answer in zip(prompts, completions, trajectories, columns["answer"], strict=True):
        assert answers[prompt] == answer and actor.decode(trajectory.prompt_ids) == prompt
        assert actor.decode(trajectory.token_ids).removesuffix(actor.tokenizer.eos_token) == text
    assert columns["said"] == completions, "nobody else wrote into them"


class Claiming(Echo):
    """Answers each question mark with the right answer in tags."""

    def open(self, prompt, sample):
        session, claim = (
            super().open(prompt, sample),
            Reply(f"<answer>{self.rows[prompt]['answer']}</answer>", end=True),
        )
        session.respond = lambda turn: None if turn.stop is None else claim
        return session


def test_rewards_are_told_what_of_a_completion_the_policy_said(tmp_path):
    """The environment claims the right answer in every reply; no reward of tags is paid for it."""
    recorder, cell = Recorder(), cell_of("grpo", tmp_path)
    actor = tiny_policy(special=("<answer>", "</answer>"), width=16, layers=1, heads=2)
    settings = replace(ONE, max_completion_length=64)
    grpo(actor, sums(), (recorder, CorrectnessReward("a")), settings, cell, environment=Claiming)
    ((_, completions, trajectories, columns),) = recorder.calls
    answered = [not all(trajectory.loss_mask) for trajectory in trajectories]
    assert any(answered) and cell.curves()["rewards/correctness/mean"] == [(1.0, 0.0)]
    for text, said, claimed, answer in zip(completions, columns["said"], answered, columns["answer"], strict=True):
        assert text == (f"{said}<answer>{answer}</answer>" if claimed else said)


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


def halves(prompts, completions, **columns):
    """Applies to every second completion."""
    return [None if i % 2 else float(len(text)) for i, text in enumerate(completions)]


def test_what_tells_how_training_goes_is_always_logged(tmp_path):
    recorder, cell = Recorder(), cell_of("grpo", tmp_path)
    settings = replace(ONE, stop=("3", "7", "?"), reward_weights=(1.0, 0.5))
    train_grpo(cell, settings, rewards=(recorder, halves), evaluate=None)
    curves = {name: values[0][1] for name, values in cell.curves().items()}
    trajectories, texts = recorder.trajectories, recorder.calls[0][1]
    lengths = [len(trajectory.token_ids) for trajectory in trajectories]
    first = [reward_of(trajectory) for trajectory in trajectories]
    second = halves(None, texts)
    total = [one + 0.5 * (other or 0.0) for one, other in zip(first, second, strict=True)]
    groups = [total[i : i + 4] for i in range(0, 16, 4)]
    _, entropies = zip(*(log_probs_and_entropies(policy().model, one, 1.0) for one in trajectories), strict=True)
    truth = {
        "groups/without_variance": sum(max(group) == min(group) for group in groups) / 4,
        "rewards/recorder/mean": sum(first) / 16,
        "rewards/halves/mean": sum(second[::2]) / 8,
        "train/reward": sum(total) / 16,
        "train/entropy": torch.cat(entropies).mean().item(),
        "clip_ratio/region_mean": 0.0,
        "completions/mean_length": sum(lengths) / 16,
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": sum(one.stop_reason == "length" for one in trajectories) / 16,
        "train/learning_rate": 1e-3,
    }
    assert {name: curves[name] for name in truth} == pytest.approx(truth, rel=1e-5)
    assert "train/kl" not in curves and "train/loss" in curves and "train/grad_norm" in curves


def test_a_reward_without_weight_brings_no_variance(tmp_path):
    cell = cell_of("grpo", tmp_path)
    train_grpo(cell, replace(ONE, reward_weights=(0.0,)), rewards=(Recorder(),), evaluate=None)
    assert cell.curves()["groups/without_variance"] == [(1.0, 1.0)]
    assert cell.curves()["rewards/recorder/std"][0][1] > 0


@pytest.mark.parametrize(("max_grad_norm", "moves"), [(1e-6, False), (100.0, True)])
def test_gradients_are_scaled_down_to_the_norm_of_the_settings(tmp_path, max_grad_norm, moves):
    """AdamW's first step is rate * g / (|g| + epsilon): visible when epsilon is large."""
    optimizer = OptimizerSettings(learning_rate=1e-2, epsilon=1e-3, max_grad_norm=max_grad_norm)
    cell = cell_of("grpo", tmp_path)
    trained = weights_of(train_grpo(cell, replace(ONE, optimizer=optimizer), rewards=(Recorder(),), evaluate=None))
    assert cell.curves()["train/grad_norm"][0][1] > 1e-2, "of the gradient as it was"
    change = max((trained[name] - value).abs().max().item() for name, value in weights_of(policy()).items())
    assert change > 1e-3 if moves else change <= 1.1e-5


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
    assert completion_text(trajectory, actor.tokenizer, actor.end_ids) == f"12{actor.tokenizer.eos_token}3"
    assert completion_text(Trajectory((1,), [end], [True], [0.0], "stop"), actor.tokenizer, actor.end_ids) == ""


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


def no_number(prompts, completions, **columns):
    return [1.0] * (len(completions) - 1) + [float("nan")]


async def no_number_later(prompts, completions, **columns):
    return no_number(prompts, completions)


def texts(prompts, completions, **columns):
    return ["1"] * len(completions)


def lists(prompts, completions, **columns):
    return [[1.0]] * len(completions)


def one_number(prompts, completions, **columns):
    return 1.0


def one_too_few(prompts, completions, **columns):
    return [1.0] * (len(completions) - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": (digits, digits)}, "rewards: digits, digits; each needs a name of its own"),
        ({"rewards": ()}, "rewards: none given"),
        ({"rewards": (infinite,)}, r"reward 'infinite': gave inf for '.*'; allowed: finite numbers, None"),
        ({"rewards": (digits, no_number)}, r"reward 'no_number': gave nan for '.*'; allowed: finite numbers, None"),
        ({"rewards": (no_number_later,)}, "reward 'no_number_later': gave nan"),
        ({"rewards": (texts,)}, r"reward 'texts': gave '1' for '.*'; allowed: finite numbers, None"),
        ({"rewards": (lists,)}, r"reward 'lists': gave \[1.0\] for '.*'; allowed: finite numbers, None"),
        ({"rewards": (one_number,)}, "reward 'one_number': gave 1.0; allowed: a list with a number for each"),
        ({"rewards": (one_too_few,)}, "reward 'one_too_few': gave 15 values for 16 completions"),
        ({"extra": {"top_k": 5}}, "top_k = 5: rollouts do not serve it; allowed: 0"),
        ({"extra": {"chat_template_kwargs": {"a": 1}}}, "chat_template_kwargs = .*: rollouts do not serve it"),
        ({"extra": {"sync_ref_model": True}}, "sync_ref_model = True"),
        ({"extra": {"save_only_model": True}}, "save_only_model = True is decided by the settings"),
        ({"extra": {"generation_batch_size": 4}}, "GRPOConfig refuses the settings with it"),
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
        require_whole_groups(per_process)


def test_users_of_the_trainer_are_refused_checkpoints_off_the_cycle_and_parts_of_groups(tmp_path):
    data = sums().select(range(4))
    with pytest.raises(UserError, match=r"save_steps = 500: .* must be a multiple of .* = 3"):
        trainer_of(tmp_path, [digits], data, num_generations=4, num_iterations=3)
    with pytest.raises(UserError, match="save_strategy = 'epoch'"):
        trainer_of(tmp_path, [digits], data, num_generations=4, save_strategy="epoch")
    with quiet():
        trainer = trainer_of(
            tmp_path, [digits], data, num_generations=2, num_generations_eval=3, per_device_eval_batch_size=4
        )
        with pytest.raises(UserError, match=r"per_device_eval_batch_size = 4: must be a multiple of .* = 3"):
            trainer.evaluate()


def test_tools_come_in_by_the_environment_alone(tmp_path):
    actor, arguments = policy(), GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False)
    with pytest.raises(UserError, match="tools: tools and environments come in by environment"):
        RolloutGRPOTrainer(actor.model, [digits], arguments, processing_class=actor.tokenizer, tools=[print])


def test_an_async_reward_is_awaited_and_named(tmp_path):
    async def later(prompts, completions, **columns):
        return short(prompts, completions)

    cell = cell_of("grpo", tmp_path)
    train_grpo(cell, ONE, rewards=(later, short), evaluate=None)
    assert cell.curves()["rewards/later/mean"] == cell.curves()["rewards/short/mean"]


def test_every_end_token_of_the_model_is_an_end_for_rewards():
    """Models such as Llama 3 have several, of which the tokenizer names one."""
    actor = policy()
    other = actor.encode("9")[0]
    actor.model.generation_config.eos_token_id = [actor.tokenizer.eos_token_id, other]
    said = Trajectory((1,), [*actor.encode("12"), other], [True] * 3, [0.0] * 3, "stop")
    assert completion_text(said, actor.tokenizer, actor.end_ids) == "12"


def test_muon_clip_takes_the_settings_of_its_adamw():
    optimizer = OptimizerSettings(name="muon_clip", beta1=0.8, beta2=0.7, epsilon=1e-3, momentum=0.6)
    made = make_optimizer(policy().model, optimizer, LoraSettings())
    assert {(group["betas"], group["eps"], group["momentum"]) for group in made.param_groups} == {
        ((0.8, 0.7), 1e-3, 0.6)
    }
    made.qk_clip.detach()


@pytest.mark.parametrize("changes", [{}, {"lora": LoraSettings(rank=2)}], ids=["all weights", "lora"])
def test_activations_computed_again_change_nothing(tmp_path, changes):
    settings = replace(ONE, steps=2, **changes)
    first, second = (
        weights_of(train_grpo(cell_of("grpo", tmp_path / str(again)), replace(settings, gradient_checkpointing=again)))
        for again in (False, True)
    )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)


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
