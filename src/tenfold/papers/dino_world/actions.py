"""A video model learns to act: action blocks that start at zero, and three ways of training them.

Section "Action conditioning" of arXiv 2507.19468. ``finetune`` trains everything from the video model on,
``action_only`` the action blocks alone, ``scratch`` everything from random weights. The block itself is
``method.ActionBlock``.
"""

from collections.abc import Iterator
from typing import Literal

from torch import nn

from tenfold.papers.dino_world.method import Predictor

Mode = Literal["scratch", "action_only", "finetune"]


def with_actions(video_model: Predictor, action_dim: int) -> Predictor:
    """The same model with action blocks, which leave every prediction as it was until they are trained.

    Args:
        video_model: has none yet.
        action_dim: A, numbers of an action; several merged simulator steps are concatenated.

    Example:
        >>> from tenfold.papers.dino_world.settings import PredictorConfig
        >>> with_actions(Predictor(PredictorConfig(blocks=1, width=24, heads=2), dim=8), action_dim=2).action_dim
        2
    """
    model = Predictor(video_model.config, video_model.dim, action_dim)
    missing, unexpected = model.load_state_dict(video_model.state_dict(), strict=False)
    assert not unexpected and all(".action." in name for name in missing)
    return model


def start_of(mode: Mode, video_model: Predictor, action_dim: int) -> Predictor:
    """The model that a mode of training starts from, with exactly that frozen which the mode leaves alone.

    Args:
        mode: see the module.
        video_model: trained on video without actions; ``scratch`` takes its size alone.
        action_dim: A.
    """
    if mode == "scratch":
        return Predictor(video_model.config, video_model.dim, action_dim)
    model = with_actions(video_model, action_dim)
    if mode == "action_only":
        model.requires_grad_(False)
        for block in action_blocks(model):
            block.requires_grad_(True)
    return model


def action_blocks(model: Predictor) -> Iterator[nn.Module]:
    """The action block of each block, in order."""
    for block in model.blocks:
        assert isinstance(block.action, nn.Module)
        yield block.action
