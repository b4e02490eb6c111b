"""The seam for losses: the pure GRPO loss against trl's own to the last bit, and another loss in its place."""

import itertools
from dataclasses import replace

import pytest
import torch
from language_training import FAST, GRPO, cell_of, digits, policy, sums, train_grpo, weights_of
from trl import GRPOConfig

from tenfold.core.errors import UserError
from tenfold.train.grpo import RolloutGRPOTrainer
from tenfold.train.policy_loss import GRPOLoss, PolicyLoss, PolicyLossInputs, grpo_loss
from tenfold.train.settings import GRPOSettings, LoraSettings
from tenfold.train.trl_run import quiet

LENGTH = 6
"""Tokens of a completion, at most."""
PIECES, STEPS_OF_A_ROUND = 2, 3
LOSSES = [
    GRPOLoss(
        loss_type,
        epsilon=0.2,
        epsilon_high=0.3,
        importance_sampling_level=level,
        beta=beta,
        entropy_coefficient=entropy,
        max_completion_length=LENGTH if loss_type == "dr_grpo" else 0,
    )
    for loss_type, level, beta, entropy in itertools.product(
        ("grpo", "bnpo", "dr_grpo", "dapo"), ("token", "sequence"), (0.0, 0.1), (0.0, 0.05)
    )
]


def named(loss):
    return f"{loss.loss_type}-{loss.importance_sampling_level}-{loss.beta}-{loss.entropy_coefficient}"


def trainer_of(directory, loss, **options):
    arguments = GRPOConfig(
        output_dir=str(directory),
        loss_type=loss.loss_type,
        epsilon=loss.epsilon,
        epsilon_high=loss.epsilon_high or None,
        importance_sampling_level=loss.importance_sampling_level,
        beta=loss.beta,
        entropy_coef=loss.entropy_coefficient,
        use_bias_correction_kl=False,
        max_completion_length=LENGTH,
        num_generations=4,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=PIECES,
        steps_per_generation=PIECES * STEPS_OF_A_ROUND,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        dataloader_pin_memory=False,
        disable_tqdm=True,
        **options,
    )
    actor = policy()
    with quiet():
        trainer = RolloutGRPOTrainer(
            actor.model, [digits], arguments, processing_class=actor.tokenizer, train_dataset=sums()
        )
    trainer.current_gradient_accumulation_steps = PIECES
    trainer.model.train()
    return trainer


def piece(off_policy):
    """Four completions of unequal lengths, one of them left out and one with tokens of an environment."""
    generator = torch.Generator().manual_seed(7)
    shape = (4, LENGTH)
    lengths = torch.tensor([6, 3, 5, 4])
    tool_mask = torch.ones(shape, dtype=torch.long)
    tool_mask[2, 1:3] = 0
    tool_mask[3] = 0

    def near_uniform():
        return -2.6 + 0.5 * torch.randn(shape, generator=generator)

    inputs = {
        "prompt_ids": torch.randint(4, 14, (4, 3), generator=generator),
        "prompt_mask": torch.tensor([[1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
        "completion_ids": torch.randint(4, 14, shape, generator=generator),
        "completion_mask": (torch.arange(LENGTH) < lengths[:, None]).long(),
        "tool_mask": tool_mask,
        "advantages": torch.tensor([0.7, -1.2, 1.1, -0.6]),
        "num_items_in_batch": torch.tensor(61),
        "sampling_per_token_logps": near_uniform(),
        "ref_per_token_logps": near_uniform(),
    }
    return inputs | ({"old_per_token_logps": near_uniform()} if off_policy else {})


def capture(trainer):
    """Have the trainer leave what it computes of the policy, with the gradients that arrive there."""
    found, original = {}, trainer._get_per_token_logps_and_entropies

    def keep(*args, **options):
        log_probs_BT, entropies_BT, aux_loss = original(*args, **options)
        for name, values in (("log_probs_BT", log_probs_BT), ("entropies_BT", entropies_BT)):
            values.retain_grad()
            found[name] = values
        return log_probs_BT, entropies_BT, aux_loss

    trainer._get_per_token_logps_and_entropies = keep
    return found


def gradients_of(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def metrics_of(trainer):
    """What the last piece logged."""
    return {name: values[-1] for name, values in trainer._metrics["train"].items()}


@pytest.mark.parametrize("off_policy", [False, True], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("loss", LOSSES, ids=named)
def test_the_pure_loss_and_its_gradient_are_trl_s_to_the_last_bit(tmp_path, loss, off_policy):
    trainer, inputs = trainer_of(tmp_path, loss), piece(off_policy)
    found = capture(trainer)
    expected = trainer._compute_loss(trainer.model, inputs)
    expected.backward()
    gradients, logged = gradients_of(trainer.model), metrics_of(trainer)
    assert gradients and (not off_policy or logged["clip_ratio/region_mean"] > 0.1)

    log_probs_BT = found["log_probs_BT"].detach().requires_grad_()
    entropies_BT = found["entropies_BT"].detach().requires_grad_()
    given = PolicyLossInputs(
        log_probs_BT,
        sampler_log_probs_BT=inputs["sampling_per_token_logps"],
        advantages_B=inputs["advantages"],
        mask_BT=(inputs["completion_mask"] * inputs["tool_mask"]).bool(),
        num_items=torch.tensor(61 / STEPS_OF_A_ROUND),
        old_log_probs_BT=inputs.get("old_per_token_logps"),
        reference_log_probs_BT=inputs["ref_per_token_logps"],
        entropies_BT=entropies_BT,
        pieces=PIECES,
    )
    ours, _ = grpo_loss(given, loss)
    ours.backward()
    assert torch.equal(ours, expected)
    assert torch.equal(log_probs_BT.grad, found["log_probs_BT"].grad)
    assert (entropies_BT.grad is None) == (loss.entropy_coefficient == 0)
    if loss.entropy_coefficient:
        assert torch.equal(entropies_BT.grad, found["entropies_BT"].grad)

    trainer.policy_loss = loss.policy_loss
    trainer.model.zero_grad()
    through_the_trainer = trainer._compute_loss(trainer.model, inputs)
    through_the_trainer.backward()
    assert torch.equal(through_the_trainer, expected)
    again = gradients_of(trainer.model)
    assert again.keys() == gradients.keys() and all(torch.equal(again[name], gradients[name]) for name in gradients)
    names = ["entropy", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"]
    for name in [*names, "kl"] if loss.beta else names:
        assert metrics_of(trainer)[name] == logged[name]
        assert len(trainer._metrics["train"][name]) == 2


def test_in_evaluation_a_batch_is_one_piece(tmp_path):
    for loss in (GRPOLoss("dapo"), GRPOLoss("bnpo")):
        trainer, inputs = trainer_of(tmp_path, loss), piece(off_policy=True)
        trainer.model.eval()
        with torch.no_grad():
            expected = trainer._compute_loss(trainer.model, inputs)
            trainer.policy_loss = loss.policy_loss
            assert torch.equal(trainer._compute_loss(trainer.model, inputs), expected)


MIXED = replace(
    GRPO,
    steps=2,
    epsilon=0.01,
    epsilon_high=0.02,
    beta=0.1,
    entropy_coefficient=0.01,
    optimizer=replace(FAST, warmup_steps=0),
    log_every=1,
    evaluate_every=0,
    checkpoint_every=0,
)
OTHERS_LOSS = {
    name: getattr(GRPOSettings(), name)
    for name in ("loss_type", "epsilon", "epsilon_high", "importance_sampling_level", "beta", "entropy_coefficient")
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss_type": "dr_grpo", "lora": LoraSettings(rank=2)},
    ],
    ids=["dapo", "sequence", "lora"],
)
def test_two_steps_with_the_pure_loss_end_at_the_weights_of_trl_s(tmp_path, changes):
    """Two pieces a step, two steps from a round of generation, a reference: each reaches the loss."""
    settings = replace(MIXED, **changes)
    theirs, ours = cell_of("grpo", tmp_path / "theirs"), cell_of("grpo", tmp_path / "ours")
    expected = weights_of(train_grpo(theirs, settings, evaluate=None))
    loss = GRPOLoss.of(settings).policy_loss
    trained = weights_of(train_grpo(ours, replace(settings, **OTHERS_LOSS), policy_loss=loss, evaluate=None))
    assert all(torch.equal(trained[name], value) for name, value in expected.items())
    for name in ("train/loss", "train/grad_norm", "train/kl", "train/entropy", "clip_ratio/region_mean"):
        assert ours.curves()[name] == theirs.curves()[name]
    assert theirs.curves()["train/kl"][1][1] > 0, "the reference is the initial model"


def reinforce(inputs):
    """REINFORCE, each token weighted by how much more probable the policy makes it than the sampler did."""
    ratio_BT = (inputs.log_probs_BT.detach() - inputs.sampler_log_probs_BT).exp()
    gains_BT = ratio_BT * inputs.advantages_B[:, None] * inputs.log_probs_BT * inputs.mask_BT
    facts = {
        "ratio/mean": ratio_BT,
        "ratio/advantage": inputs.advantages_B,
        "ratio/has_old": torch.tensor(float(inputs.old_log_probs_BT is not None)),
        "ratio/has_reference": torch.tensor(float(inputs.reference_log_probs_BT is not None)),
    }
    return -gains_BT.sum() / inputs.num_items, facts


def test_another_loss_takes_the_place_of_trl_s_and_says_how_it_goes(tmp_path):
    settings = replace(MIXED, **OTHERS_LOSS)
    cell, plain = cell_of("grpo", tmp_path / "other"), cell_of("grpo", tmp_path / "grpo")
    trained = weights_of(train_grpo(cell, settings, policy_loss=PolicyLoss(reinforce), evaluate=None))
    usual = weights_of(train_grpo(plain, settings, evaluate=None))
    assert not all(torch.equal(trained[name], value) for name, value in weights_of(policy()).items())
    assert not all(torch.equal(trained[name], value) for name, value in usual.items())
    first, second = (value for _, value in cell.curves()["ratio/mean"])
    assert first == pytest.approx(1, abs=1e-5), "the sampler's log-probabilities are those of the policy that sampled"
    assert abs(second - 1) > 1e-5, "and stay theirs when the policy has moved"
    assert abs(cell.curves()["ratio/advantage"][0][1]) < 0.5
    assert [value for _, value in cell.curves()["ratio/has_old"]] == [1.0, 1.0]
    assert [value for _, value in cell.curves()["ratio/has_reference"]] == [0.0, 0.0]
    assert "train/kl" not in cell.curves() and "clip_ratio/region_mean" not in cell.curves()
    assert cell.curves()["train/entropy"][0] == plain.curves()["train/entropy"][0]


def test_a_reference_is_there_for_a_loss_that_needs_it_and_old_log_probabilities_where_they_differ(tmp_path):
    cell = cell_of("grpo", tmp_path)
    settings = replace(MIXED, updates_per_generation=1, **OTHERS_LOSS)
    train_grpo(cell, settings, policy_loss=PolicyLoss(reinforce, needs_reference=True), evaluate=None)
    assert [value for _, value in cell.curves()["ratio/has_reference"]] == [1.0, 1.0]
    assert [value for _, value in cell.curves()["ratio/has_old"]] == [0.0, 0.0]


def test_a_loss_by_hand():
    """Two completions of a token, each with a ratio of 2: the first is clipped, the other has left the reference."""
    log = torch.tensor([[0.25], [0.5]]).log()
    inputs = PolicyLossInputs(
        log,
        sampler_log_probs_BT=log,
        advantages_B=torch.tensor([1.0, -2.0]),
        mask_BT=torch.ones(2, 1, dtype=torch.bool),
        num_items=torch.tensor(2.0),
        old_log_probs_BT=torch.tensor([[0.125], [0.25]]).log(),
        reference_log_probs_BT=torch.tensor([[0.25], [1.0]]).log(),
        entropies_BT=torch.tensor([[1.0], [3.0]]),
    )
    loss, metrics = grpo_loss(inputs, GRPOLoss("dapo", beta=0.1, entropy_coefficient=0.01))
    clipped, unclipped, divergence = -1.2 * 1.0, -2.0 * -2.0, 2 - torch.tensor(2.0).log().item() - 1
    assert loss.item() == pytest.approx((clipped + unclipped + 0.1 * divergence) / 2 - 0.01 * 2)
    assert metrics["kl"].tolist() == [[0.0], [pytest.approx(divergence)]]
    assert metrics["clip_ratio/high_mean"].tolist() == [[1.0], [0.0]]
    assert not metrics["clip_ratio/low_mean"].any()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (GRPOLoss(beta=0.1), "beta = 0.1: needs reference_log_probs_BT, which is None; allowed: beta = 0"),
        (GRPOLoss(entropy_coefficient=0.1), "entropy_coefficient = 0.1: needs entropies_BT, which is None"),
    ],
)
def test_a_coefficient_without_what_it_multiplies_is_refused(loss, message):
    log = torch.zeros(1, 1)
    inputs = PolicyLossInputs(log, log, torch.ones(1), torch.ones(1, 1, dtype=torch.bool), torch.tensor(1.0))
    with pytest.raises(UserError, match=message):
        grpo_loss(inputs, loss)


def test_a_description_of_a_loss_says_what_it_cannot_be():
    with pytest.raises(UserError, match="max_completion_length = 0: must be at least 1 with dr_grpo"):
        GRPOLoss("dr_grpo")
    with pytest.raises(UserError, match="max_completion_length = 8: does not act here; set loss_type = dr_grpo"):
        GRPOLoss("dapo", max_completion_length=8)


@pytest.mark.parametrize(
    ("settings", "extra", "message"),
    [
        ({"loss_type": "dapo"}, {}, "loss_type = dapo: does not act here; set policy_loss"),
        ({"beta": 0.1}, {}, "beta = 0.1: does not act here; set policy_loss"),
        ({"entropy_coefficient": 0.1}, {}, "entropy_coefficient = 0.1: does not act here; set policy_loss"),
        ({"epsilon": 0.1}, {}, "epsilon = 0.1: does not act here; set policy_loss"),
        ({}, {"delta": 2.0}, "delta = 2.0: belongs to trl's loss, which policy_loss replaces"),
        ({}, {"top_entropy_quantile": 0.5}, "top_entropy_quantile = 0.5: belongs to trl's loss"),
        ({}, {"use_bias_correction_kl": True}, "use_bias_correction_kl = True: belongs to trl's loss"),
    ],
)
def test_what_describes_trl_s_loss_is_refused_beside_another(tmp_path, settings, extra, message):
    changed = replace(MIXED, **{**OTHERS_LOSS, **settings})
    with pytest.raises(UserError, match=message):
        train_grpo(cell_of("grpo", tmp_path), changed, policy_loss=PolicyLoss(reinforce), extra=extra)
