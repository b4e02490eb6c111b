"""QK-Clip's values reach the logs of transformers' Trainer and of trl's, and the trackers behind them."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from tenfold.core.errors import UserError
from tenfold.optim import MuonClip, QKClip
from tenfold.train.qk_clip_callback import QKClipCallback

STEPS = 3


class Tracker(TrainerCallback):
    """Keeps what it is told, as wandb's and tensorboard's callbacks do."""

    def __init__(self):
        self.told = []

    def on_log(self, args, state, control, **given):
        self.told.append(dict(given["logs"]))


def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def trainer_of(trained, directory, optimizer, callbacks):
    rows = [{"input_ids": torch.arange(8) + start, "labels": torch.arange(8) + start} for start in range(2 * STEPS)]
    args = TrainingArguments(
        output_dir=str(directory), per_device_train_batch_size=2, max_steps=STEPS, logging_steps=1, save_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    return Trainer(trained, args, train_dataset=rows, optimizers=(optimizer, None), callbacks=callbacks)


def test_each_training_log_has_the_values_of_its_step(tmp_path):
    trained = model()
    optimizer = MuonClip(trained, lr=0.02, tau=1e-3)
    trainer = trainer_of(trained, tmp_path, optimizer, [QKClipCallback()])
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["qk_clip/max_logit"] for entry in logged] == [entry[1] for entry in optimizer.qk_clip.history]
    assert [entry["qk_clip/heads_clipped"] for entry in logged] == [entry[2] for entry in optimizer.qk_clip.history]
    assert "qk_clip/max_logit" not in trainer.state.log_history[-1]  # the summary at the end


@pytest.mark.parametrize("first", [False, True])
def test_trackers_are_told_when_the_callback_comes_before_them(first, tmp_path):
    trained = model()
    tracker = Tracker()
    trainer = trainer_of(trained, tmp_path, MuonClip(trained, lr=0.02), [tracker])
    if first:
        QKClipCallback().put_first(trainer)
    else:
        trainer.add_callback(QKClipCallback())
    trainer.train()
    assert ["qk_clip/max_logit" in told for told in tracker.told] == [first] * STEPS + [False]


def test_a_clip_behind_another_optimizer_is_given(tmp_path):
    trained = model()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)
    clip = QKClip(trained, tau=1e-3).attach(optimizer)
    trainer = trainer_of(trained, tmp_path, optimizer, [QKClipCallback(clip)])
    trainer.train()
    assert trainer.state.log_history[0]["qk_clip/max_logit"] == clip.history[0][1]
    alone = trainer_of(trained, tmp_path, torch.optim.AdamW(trained.parameters()), [QKClipCallback()])
    with pytest.raises(UserError, match="clip = None with a AdamW: it has no QK-Clip"):
        alone.train()


def test_a_supervised_trainer_of_trl_logs_them_too(tmp_path):
    import datasets
    import trl
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(64)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1", unk_token="w0")
    trained = model()
    optimizer = MuonClip(trained, lr=0.02, tau=1e-3)
    args = trl.SFTConfig(
        str(tmp_path), per_device_train_batch_size=2, max_steps=STEPS, logging_steps=1, save_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True, bf16=False, activation_checkpointing=False, max_length=None,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        trained,
        args,
        train_dataset=datasets.Dataset.from_list([{"input_ids": list(range(8))}] * 2 * STEPS),
        processing_class=tokenizer,
        optimizers=(optimizer, None),
        callbacks=[QKClipCallback()],
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["qk_clip/max_logit"] for entry in logged] == [entry[1] for entry in optimizer.qk_clip.history]
