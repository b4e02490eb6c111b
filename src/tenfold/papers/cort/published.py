"""The published stages as data: model, problems and supervised training of each. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedStage:
    """A stage: its model, data and supervised training."""

    model: str
    """Its name on the hub."""
    train_file: str
    """Its problems."""
    num_examples: int
    """Of fine-tuning."""
    num_hinted: int
    """Hinted by hand."""
    epochs: float
    """Of fine-tuning."""
    batch_size: int
    """Of fine-tuning."""
    rate: float
    """Of fine-tuning."""
    seconds: float = 30.0
    """Wall time of a program."""


_LARGE, _SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
STAGES = {
    "prompt-hint-sft-32b": PublishedStage(_LARGE, "still-3.jsonl", 800, 30, 17.0, 96, 1e-5),
    "hint-engineering-sft-32b": PublishedStage(_LARGE, "aime-before-2024.jsonl", 30, 29, 40.0, 96, 1e-5),
    "hint-engineering-rft-32b": PublishedStage(_LARGE, "still-3.jsonl", 830, 30, 17.0, 96, 1e-5),
    "sft-1.5b": PublishedStage(_SMALL, "aime-math-numina.jsonl", 10_000, 30, 6.0, 128, 7e-6),
    "rl-1.5b": PublishedStage(_SMALL, "numina-math-hard-1k.jsonl", 10_000, 30, 6.0, 128, 7e-6, seconds=5.0),
}
