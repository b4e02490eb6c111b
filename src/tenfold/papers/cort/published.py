"""The published stages as data: model, problems and supervised training of each. Imports no torch."""

from dataclasses import dataclass
from math import ceil

from tenfold.train.settings import GRPOSettings, SFTSettings


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


def published_tuning(stage: PublishedStage) -> SFTSettings:
    """Fine-tuning of a stage; its rate stands in ``rates``."""
    return SFTSettings(
        steps=ceil(stage.epochs * stage.num_examples / stage.batch_size),
        epochs=stage.epochs,
        batch_size=stage.batch_size,
        gradient_accumulation=stage.batch_size // 8,
        max_length=0,
        mixed_precision="bf16",
        gradient_checkpointing=True,
    )


def published_reinforcement() -> GRPOSettings:
    """GRPO of the 1.5B stage, in steps of 64 prompts; its rate stands in ``rates``."""
    return GRPOSettings(
        steps=468,
        prompts_per_step=64,
        num_generations=8,
        gradient_accumulation=64,
        updates_per_generation=2,
        max_prompt_length=1024,
        max_completion_length=16_000,
        temperature=0.6,
        top_p=0.95,
        rollout_batch_size=32,
        loss_type="dapo",
        scale_rewards="group",
        beta=0.001,
        entropy_coefficient=0.001,
        mixed_precision="bf16",
        gradient_checkpointing=True,
        log_every=2,
        checkpoint_every=40,
    )
