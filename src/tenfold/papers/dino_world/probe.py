"""Where the ball is, read linearly from features: one linear score and one linear offset for each token.

The position is the mean of the patches' middles plus offsets, weighted by the softmax of the scores. The reader is
linear in the features and shared by all places, so it keeps its meaning on features that were predicted; a ridge over
all tokens at once reads present features well and blurred ones badly, because it leans on directions of noise.

Shapes: B frames, H x W patches, D width of the features; positions (across, down) in pixels.
"""

import torch
from torch import Tensor, nn


class PositionProbe(nn.Module):
    """[B, H, W, D] features to [B, 2] positions.

    Args:
        dim: D.
        grid: H and W.
        size: pixels of the frame's side.

    Example:
        >>> PositionProbe(8, (4, 4), 32)(torch.zeros(2, 4, 4, 8)).shape
        torch.Size([2, 2])
    """

    middles: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], size: int) -> None:
        super().__init__()
        self.score, self.offset = nn.Linear(dim, 1), nn.Linear(dim, 2)
        down, across = ((torch.arange(count) + 0.5) * size / count for count in grid)
        middles = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        self.register_buffer("middles", middles.flatten(0, 1))

    def forward(self, x_BHWD: Tensor) -> Tensor:
        """Positions in pixels."""
        tokens = x_BHWD.flatten(1, 2)
        weights = self.score(tokens).softmax(1)
        return (weights * (self.middles + self.offset(tokens))).sum(1)


def distances(probe: PositionProbe, x_BHWD: Tensor, positions_B2: Tensor) -> Tensor:
    """How far from the truth the probe reads, in pixels, [B]."""
    return (probe(x_BHWD) - positions_B2).norm(dim=-1)


def train_probe(
    probe: PositionProbe, x_BHWD: Tensor, positions_B2: Tensor, updates: int, generator: torch.Generator
) -> PositionProbe:
    """Fit it to present features by Adam with a falling rate, mean distance as loss.

    Args:
        probe: fresh.
        x_BHWD: features.
        positions_B2: the truth in pixels.
        updates: steps of 256 frames each.
        generator: of the frames of each step.
    """
    optimizer = torch.optim.Adam(probe.parameters(), lr=1e-2)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - update / updates)
        chosen = torch.randint(len(x_BHWD), (256,), generator=generator).to(x_BHWD.device)
        optimizer.zero_grad()
        distances(probe, x_BHWD[chosen], positions_B2[chosen]).mean().backward()
        optimizer.step()
    return probe.requires_grad_(False)
