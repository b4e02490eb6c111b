"""MuonClip as the optimizer of a loop of one's own, of transformers' Trainer and of trl's SFTTrainer."""

import copy

import pytest
import torch
from tiny_models import tiny, tokens
from transformers import Trainer, TrainingArguments

from tenfold.core.errors import UserError
from tenfold.optim import Muon, MuonClip, QKClip, muon_param_groups

TAU = 0.2
STEPS = 4


def make(model, **options):
    return MuonClip(model, lr=0.02, tau=TAU, muon_options={"ns_dtype": "float32"}, **options)


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def batches(per_step=1, batch=2):
    rows = tokens(STEPS * per_step * batch, 12, seed=3)
    return [step.split(batch) for step in rows.split(per_step * batch)]


def train(model, optimizer, per_step=1):
    """A plain loop; the loss of each step is the mean over all its tokens."""
    losses = []
    for parts in batches(per_step):
        loss = 0.0
        for part in parts:
            output = model(input_ids=part, labels=part, num_items_in_batch=per_step * part[:, 1:].numel())
            output.loss.backward()
            loss += output.loss.item()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    return losses


def test_is_muon_followed_by_the_clip():
    together, apart = tiny("deepseek_v3"), tiny("deepseek_v3")
    optimizer = make(together)
    losses = train(together, optimizer)
    separate = Muon(muon_param_groups(apart, 0.02, 0.1), ns_dtype="float32")
    clip = QKClip(apart, tau=TAU).attach(separate)
    assert losses == train(apart, separate)
    assert all(map(torch.equal, weights(together), weights(apart)))
    assert optimizer.metrics == clip.metrics
    assert any(number for _, _, number in optimizer.qk_clip.history)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_the_loss_falls(name):
    model = tiny(name)
    optimizer = make(model)
    batch = tokens()
    losses = []
    for _ in range(20):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_without_heads_above_the_threshold_the_clip_is_inert():
    clipped, plain = tiny("llama"), tiny("llama")
    optimizer = MuonClip(clipped, lr=0.02, tau=1e4)
    train(clipped, optimizer)
    train(plain, Muon(muon_param_groups(plain, 0.02, 0.1)))
    assert all(map(torch.equal, weights(clipped), weights(plain)))
    assert optimizer.metrics["qk_clip/last_clip_step"] == -1


def test_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path):
    model = tiny("llama")
    optimizer = make(model)
    train(model, optimizer)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    twin = tiny("llama", seed=1)
    twin.load_state_dict(model.state_dict())
    restored = MuonClip(twin, lr=1.0, tau=99.0)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert train(model, optimizer) == train(twin, restored)
    assert all(map(torch.equal, weights(model), weights(twin)))
    assert restored.qk_clip.tau == TAU and restored.qk_clip.history == optimizer.qk_clip.history


def rows_for_a_trainer(per_step):
    flat = [row for parts in batches(per_step) for part in parts for row in part]
    return [{"input_ids": row, "labels": row} for row in flat]


def arguments(kind, directory, per_step, **options):
    return kind(
        output_dir=str(directory),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=per_step,
        max_steps=STEPS,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        **options,
    )


def logged_losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.spec("kimi_k2", "B9")
@pytest.mark.parametrize("factory", [False, True])
def test_a_trainer_gives_the_losses_and_weights_of_the_plain_loop(factory, tmp_path):
    by_hand, trained = tiny("llama"), tiny("llama")
    hand_optimizer = make(by_hand)
    expected = train(by_hand, hand_optimizer, per_step=3)
    if factory:
        settings = dict(model=trained, lr=0.02, tau=TAU, muon_options={"ns_dtype": "float32"})
        chosen = {"optimizer_cls_and_kwargs": (MuonClip, settings)}
    else:
        chosen = {"optimizers": (make(trained), None)}
    trainer = Trainer(trained, arguments(TrainingArguments, tmp_path, 3), train_dataset=rows_for_a_trainer(3), **chosen)
    trainer.train()
    optimizer = trainer.optimizer.optimizer
    assert optimizer.qk_clip.steps == STEPS  # 12 small batches, 4 synchronising steps
    assert optimizer.qk_clip.history == hand_optimizer.qk_clip.history
    assert any(number for _, _, number in optimizer.qk_clip.history)
    assert logged_losses(trainer) == pytest.approx(expected, rel=1e-6)
    for one, other in zip(weights(by_hand), weights(trained), strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-6)


def test_a_supervised_trainer_of_trl_gives_the_losses_of_the_plain_loop(tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    by_hand, trained = tiny("llama"), tiny("llama")
    expected = train(by_hand, make(by_hand), per_step=2)
    rows = [{"input_ids": row["input_ids"].tolist()} for row in rows_for_a_trainer(2)]
    optimizer = make(trained)
    trainer = trl.SFTTrainer(
        trained,
        arguments(trl.SFTConfig, tmp_path, 2, bf16=False, activation_checkpointing=False, max_length=None),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=word_tokenizer(),
        optimizers=(optimizer, None),
    )
    trainer.train()
    assert logged_losses(trainer) == pytest.approx(expected, rel=1e-5)
    assert optimizer.qk_clip.steps == STEPS and any(number for _, _, number in optimizer.qk_clip.history)


def word_tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{number}": number for number in range(64)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", eos_token="w1", unk_token="w0")


@pytest.mark.parametrize(
    "what",
    [
        lambda model: model.parameters(),
        lambda model: list(model.parameters()),
        lambda model: model.named_parameters(),
        lambda model: [{"params": list(model.parameters())}],
        lambda model: muon_param_groups(model),
    ],
)
def test_says_that_it_takes_the_model_and_not_its_parameters(what):
    with pytest.raises(UserError, match=r"model = (generator|list): MuonClip takes the model itself, MuonClip\(model"):
        MuonClip(what(tiny("llama")))


def test_rules_reach_the_groups():
    model = tiny("deepseek_v3")
    optimizer = MuonClip(model, rules={"*.gate.weight": "adamw"})
    router = model.get_parameter("model.layers.1.mlp.gate.weight")
    (group,) = [group for group in optimizer.param_groups if any(router is p for p in group["params"])]
    assert group["algorithm"] == "adamw"


def test_a_copy_is_refused_for_it_would_clip_nothing():
    with pytest.raises(UserError, match="cannot be copied"):
        copy.deepcopy(make(tiny("llama")))


def test_a_copy_of_the_state_is_a_copy():
    model = tiny("llama")
    optimizer = make(model)
    train(model, optimizer)
    state = copy.deepcopy(optimizer.state_dict())
    history = list(state["qk_clip"]["log"]["history"])
    train(model, optimizer)
    assert state["qk_clip"]["log"]["history"] == history
