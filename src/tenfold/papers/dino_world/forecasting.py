"""Dense forecasting: a linear head that was trained on present features reads predicted ones, between two bounds.

The benchmark of arXiv 2507.19468 and of deltatok's code: BatchNorm and a 1x1 convolution give class logits, or 256
depth bins whose weights relu(logits) + 0.1 are normalised to an expected depth. A head is trained on features of the
present frame and applied unchanged. A number is never shown alone: the features of the last frame are the bound from
below, those of the target frame the bound from above, and the mean feature stands beside them.

Shapes: B frames, H x W patches, D width of the features, C classes or bins, h x w pixels of the labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

IGNORED = 255
"""The label of pixels that count for nothing."""
DEPTH_BINS = 256


class LinearHead(nn.Module):
    """BatchNorm over channels and a 1x1 convolution: [B, H, W, D] features to [B, C, h, w] logits.

    Example:
        >>> LinearHead(8, classes=3)(torch.zeros(2, 4, 4, 8), size=(16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.conv = nn.Conv2d(dim, classes, 1)

    def forward(self, x_BHWD: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits, enlarged to the labels' size between neighbours."""
        logits = self.conv(self.norm(x_BHWD.permute(0, 3, 1, 2)))
        return interpolate(logits, size=size, mode="bilinear", align_corners=False)


def expected_depth(logits_BChw: Tensor, least: float, most: float) -> Tensor:
    """Σ weight · depth of bin, weight = (relu(logit) + 0.1) / Σ: [B, C, h, w] to [B, h, w].

    Example:
        >>> round(expected_depth(torch.zeros(1, 3, 1, 1), 0.0, 10.0).item(), 3)
        5.0
    """
    weights = logits_BChw.relu() + 0.1
    depths = torch.linspace(least, most, logits_BChw.shape[1], device=logits_BChw.device)
    return torch.einsum("bchw,c->bhw", weights / weights.sum(1, keepdim=True), depths)


def train_head(head: LinearHead, batches: Sequence[tuple[Tensor, Tensor]], rate: float, loss: Callable) -> LinearHead:
    """Fit a head to present features.

    Args:
        head: fresh.
        batches: pairs of features [B, H, W, D] and labels [B, h, w], one step each.
        rate: of AdamW.
        loss: ``(logits [B, C, h, w], labels) -> scalar``.

    Returns:
        The head in evaluation mode.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    head.train()
    for features, labels in batches:
        optimizer.zero_grad()
        loss(head(features, labels.shape[-2:]), labels).backward()
        optimizer.step()
    return head.eval()


def segmentation_loss(logits_BChw: Tensor, labels_Bhw: Tensor) -> Tensor:
    """Cross-entropy over the pixels that have a label."""
    return cross_entropy(logits_BChw, labels_Bhw, ignore_index=IGNORED)


def mean_iou(logits_BChw: Tensor, labels_Bhw: Tensor) -> float:
    """Intersection over union, mean over the classes that occur in labels or predictions.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, 1]]])
        >>> logits = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
        >>> mean_iou(logits, labels)
        1.0
    """
    classes, counts = logits_BChw.shape[1], labels_Bhw != IGNORED
    predicted, labels = logits_BChw.argmax(1)[counts], labels_Bhw[counts]
    confusion = torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes).double()
    together = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - together
    return float((together / either)[either > 0].mean())


def depth_rmse(depth_Bhw: Tensor, truth_Bhw: Tensor) -> float:
    """Root mean square error over the pixels whose depth is known (above 0)."""
    known = truth_Bhw > 0
    return float((depth_Bhw - truth_Bhw)[known].square().mean().sqrt())


@dataclass(frozen=True)
class Futures:
    """Features of frames to be read: what was predicted, and what it is compared with, each [B, H, W, D]."""

    predicted: Tensor
    last: Tensor
    mean: Tensor
    present: Tensor

    def rows(self) -> dict[str, Tensor]:
        """By the names of the table."""
        return {"copy_last": self.last, "mean": self.mean, "prediction": self.predicted, "present": self.present}


@torch.no_grad()
def between_bounds(measure: Callable[[Tensor], float], futures: Futures) -> Mapping[str, float]:
    """A measure of predicted features with its bounds: copy-last below, the present above, the mean feature beside.

    Args:
        measure: of features [B, H, W, D] against the labels of the target frames; such as a head and
            :func:`mean_iou`, or the loss against the present features.
        futures: the features.
    """
    return {name: measure(features) for name, features in futures.rows().items()}
