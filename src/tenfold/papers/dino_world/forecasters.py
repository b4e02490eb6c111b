"""What forecasts: trained predictors, with seconds or with frame numbers, and the bounds they are compared with.

Shapes: B clips, T context frames, Q asked times, K steps of a roll-out, H x W patches, D width of the features.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tenfold.papers.dino_world.dino_wm import DinoWMPredictor
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.surprise import copy_last


class Forecaster(Protocol):
    """Two ways to the future: one call, or step by step."""

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """Frames at asked times, [B, Q, H, W, D]."""
        ...

    def rolled(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor) -> Tensor:
        """Frames at rising times, each from those before it, [B, K, H, W, D]."""
        ...


@dataclass(frozen=True)
class CopyLast:
    """Nothing changes."""

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """The last frame."""
        return copy_last(x_BTHWD, tau_BT, tau_BQ)

    rolled = direct


@dataclass(frozen=True)
class MeanFeature:
    """The same at all times: the mean over frames, for each place. [H, W, D]."""

    mean_HWD: Tensor

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """The mean."""
        return self.mean_HWD.expand(*tau_BQ.shape, -1, -1, -1)

    rolled = direct


@dataclass(frozen=True)
class Seconds:
    """A predictor as it was trained."""

    model: Predictor

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """One call."""
        return self.model.predict(x_BTHWD, tau_BT, tau_BQ)

    def rolled(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor) -> Tensor:
        """Step by step."""
        return self.model.rollout(x_BTHWD, tau_BT, tau_BK)


@dataclass(frozen=True)
class FrameNumbers:
    """The same predictor, told the number of a frame in place of its second."""

    model: Predictor
    spacing: float

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """One call."""
        return self.model.predict(x_BTHWD, tau_BT / self.spacing, tau_BQ / self.spacing)

    def rolled(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor) -> Tensor:
        """Step by step."""
        return self.model.rollout(x_BTHWD, tau_BT / self.spacing, tau_BK / self.spacing)


@dataclass(frozen=True)
class FixedSpacing:
    """DINO-WM's predictor: as many steps of its own spacing as come nearest to an asked time, at least one."""

    model: DinoWMPredictor
    spacing: float

    def direct(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
        """Its roll-out, for it has no other way."""
        ahead = (tau_BQ - tau_BT[:, -1:]) / self.spacing
        steps_Q = ahead[0].round().clamp(min=1).long()
        future = tau_BT[:, -1:] + self.spacing * torch.arange(1, int(steps_Q.max()) + 1, device=tau_BT.device)
        return self.model.rollout(x_BTHWD, tau_BT, future)[:, steps_Q - 1]

    def rolled(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor) -> Tensor:
        """Step by step."""
        return self.model.rollout(x_BTHWD, tau_BT, tau_BK)
