"""MuonClip in transformers' Trainer: Muon for matrices, AdamW for the rest, and a clip on the attention's logits.

The model is a small random Llama on bytes of this file; put your model and data in its place. ``tau`` is the logit
above which a head is scaled down: 100 for Kimi K2, and 0.05 here, so that the clip acts on a model that has just begun.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from tenfold.optim import MuonClip, verify_layouts
from tenfold.train.qk_clip_callback import QKClipCallback


def main(steps: int = 8) -> list[dict[str, float]]:
    """Train, and return what was logged at each step."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=256, **sizes))
    verify_layouts(model)  # proves on this model that each head is scaled by exactly its factor
    text = Path(__file__).read_bytes()
    pieces = [torch.tensor(list(text[start : start + 64])) for start in range(0, len(text) - 64, 64)]
    rows = [{"input_ids": piece, "labels": piece} for piece in pieces]
    optimizer = MuonClip(model, lr=0.01, weight_decay=0.1, tau=0.05)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=8,
            logging_steps=1,
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
        )
        callbacks = [QKClipCallback()]
        trainer = Trainer(model, settings, train_dataset=rows, optimizers=(optimizer, None), callbacks=callbacks)
        trainer.train()
    return [logs for logs in trainer.state.log_history if "loss" in logs]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    for logs in main(parser.parse_args().steps):
        print(f"loss {logs['loss']:.3f}, largest logit {logs['qk_clip/max_logit']:.3f}, ", end="")
        print(f"heads clipped {logs['qk_clip/heads_clipped']:.0f}")
