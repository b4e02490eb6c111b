"""Training a predictor on clips of features: teacher forcing, smooth-L1 on every patch of every predicted frame.

Section "Training" of arXiv 2507.19468. Smooth-L1 with a small beta is nearly the absolute error; its best answer to an
uncertain future is the median: the background, with the moving thing erased. So beta may start large, where the best
answer is the mean, and become small later; the two betas and the step between them are settings.

Shapes: B clips, T frames, h x w pixels, H x W patches, D width of the features, A numbers of an action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from tenfold.core.cell import Cell
from tenfold.optim import warmup_cosine
from tenfold.papers.dino_world.settings import TrainingConfig
from tenfold.train.loop import LoopConfig, train


@dataclass(frozen=True)
class Clips:
    """Clips as a predictor learns from them.

    Args:
        features: [B, T, H, W, D].
        times: [B, T] seconds, rising.
        actions: [B, T-1, A], or none.
    """

    features: Tensor
    times: Tensor
    actions: Tensor | None = None

    def part(self, slots: range, device: torch.device) -> "Clips":
        """Some of the clips, where they are computed with."""
        mine = slice(slots.start, slots.stop)
        actions = None if self.actions is None else self.actions[mine].to(device)
        return Clips(self.features[mine].to(device), self.times[mine].to(device), actions)


ClipsOf = Callable[[int], Clips]
"""The clips of an optimizer step, from 1 on: fresh ones, or a part of a data set."""


def beta_at(step: int, config: TrainingConfig, first_beta: float) -> float:
    """The first beta for a share of the steps, then the last one.

    Example:
        >>> config = TrainingConfig(steps=10, beta_last=0.1, first_share=0.6)
        >>> beta_at(6, config, first_beta=1.0), beta_at(7, config, first_beta=1.0)
        (1.0, 0.1)
    """
    return first_beta if step <= config.first_share * config.steps else config.beta_last


def forecasting_loss(predicted: Tensor, truth: Tensor, beta: float) -> Tensor:
    """Smooth-L1 over all patches and features: |e| - beta/2, or e² / (2 beta) where |e| < beta.

    Example:
        >>> round(forecasting_loss(torch.tensor([0.0]), torch.tensor([1.1]), beta=0.1).item(), 3)
        1.05
    """
    return smooth_l1_loss(predicted, truth, beta=beta)


def train_predictor(
    model: nn.Module,
    clips_of: ClipsOf,
    config: TrainingConfig,
    rate: float,
    cell: Cell,
    *,
    first_beta: float | None = None,
    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
) -> Any:
    """Train what takes part, from the newest checkpoint on; the model stays where it was trained, ready to be used.

    Args:
        model: a predictor of ``method`` or ``dino_wm``; frozen parameters stay.
        clips_of: the clips of each step.
        config: steps, batch, loss and schedule.
        rate: of AdamW, after the warm-up.
        cell: where to log and save.
        first_beta: in place of ``config.beta_first``.
        evaluate: measured every ``config.evaluate_every`` steps.
    """

    beta = config.beta_first if first_beta is None else first_beta

    def step_function(
        wrapped: nn.Module, carry: None, step: int, slots: range
    ) -> tuple[Tensor, None, dict[str, Tensor]]:
        clips = clips_of(step).part(slots, next(wrapped.parameters()).device)
        predicted = wrapped(clips.features, clips.times, clips.actions)
        return forecasting_loss(predicted, clips.features[:, 1:], beta_at(step, config, beta)), None, {}

    trained = train(
        model,
        partial(make_optimizer, rate=rate, config=config),
        step_function,
        LoopConfig(
            config.steps,
            config.batch_size,
            gradient_accumulation=config.gradient_accumulation,
            mixed_precision="bf16" if cell.dtype == "bfloat16" else "no",
            log_every=config.log_every,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
        ),
        cell,
        schedule=partial(warmup_cosine, total_steps=config.steps, warmup_steps=config.warmup, floor=config.rate_floor),
        evaluate=evaluate,
    )
    return trained.model.eval()


def make_optimizer(model: nn.Module, rate: float, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW with a clipped gradient; weight decay acts on matrices alone."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim == 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim != 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    if config.clip:  # gradients are complete just before the optimizer steps
        optimizer.register_step_pre_hook(lambda *_: _clip(trained, config.clip))
    return [optimizer]


def _clip(parameters: list[nn.Parameter], largest: float) -> None:
    nn.utils.clip_grad_norm_(parameters, largest)
