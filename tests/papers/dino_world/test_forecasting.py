"""Heads and surprise: the bounds are met exactly where predictions are perfect or copied."""

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.forecasting import (
    IGNORED,
    Futures,
    LinearHead,
    between_bounds,
    depth_rmse,
    expected_depth,
    mean_iou,
    segmentation_loss,
    train_head,
)
from tenfold.papers.dino_world.surprise import copy_last, expectation_of, relative_accuracy, surprise


@pytest.fixture
def scene():
    """Features whose first channels tell the class of a patch; labels twice as fine."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (8, 4, 4), generator=generator)
    features = torch.cat(
        [torch.nn.functional.one_hot(classes, 3).float(), torch.randn(8, 4, 4, 5, generator=generator)], -1
    )
    labels = classes.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return features, labels


@pytest.mark.spec("dino_world", "A9")
@pytest.mark.parametrize("task", ["segmentation", "depth"])
def test_perfect_predictions_meet_the_upper_bound_and_copies_the_lower(scene, task):
    features, labels = scene
    torch.manual_seed(0)
    if task == "segmentation":
        head = train_head(LinearHead(8, 3), [(features, labels)] * 40, 0.05, segmentation_loss)

        def measure(x):
            return mean_iou(head(x, (8, 8)), labels)
    else:
        depth = labels.float() * 3 + 1

        def depth_loss(logits, truth):
            return (expected_depth(logits, 0.0, 10.0) - truth).square().mean()

        head = train_head(LinearHead(8, 16), [(features, depth)] * 40, 0.05, depth_loss)

        def measure(x):
            return depth_rmse(expected_depth(head(x, (8, 8)), 0.0, 10.0), depth)

    last, mean = features.roll(1, 0), features.mean(0, keepdim=True).expand_as(features)
    perfect = between_bounds(measure, Futures(features, last, mean, features))
    copied = between_bounds(measure, Futures(last, last, mean, features))
    assert perfect["prediction"] == perfect["present"] == copied["present"]
    assert copied["prediction"] == copied["copy_last"] == perfect["copy_last"]
    better = max if task == "segmentation" else min
    assert better(perfect["present"], perfect["copy_last"], perfect["mean"]) == perfect["present"]
    assert perfect["present"] != perfect["copy_last"]


def test_mean_iou_by_hand():
    """Class 0: one pixel of two; class 1: one of two; the ignored pixel counts for nothing."""
    labels = torch.tensor([[[0, 0, 1, IGNORED]]])
    predicted = torch.tensor([[[0, 1, 1, 0]]])
    logits = torch.nn.functional.one_hot(predicted, 3).permute(0, 3, 1, 2).float()
    assert mean_iou(logits, labels) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_expected_depth_weighs_bins_and_rmse_skips_unknown_pixels():
    logits = torch.tensor([0.9, -1.0, 0.0]).view(1, 3, 1, 1)
    weights = torch.tensor([1.0, 0.1, 0.1])
    assert expected_depth(logits, 0.0, 2.0).item() == pytest.approx(float(weights @ torch.arange(3.0) / weights.sum()))
    assert depth_rmse(torch.tensor([[[3.0, 9.0]]]), torch.tensor([[[1.0, 0.0]]])) == 2.0


# ------------------------------------------------------------------------------------------------------- surprise


def test_copy_last_is_surprised_by_exactly_what_moved():
    x = torch.zeros(1, 4, 1, 2, 1)
    x[0, 2:, 0, 0] = 1.0
    assert surprise(copy_last, x, torch.arange(4.0)[None], context=2).tolist() == [[0.0, 0.5, 0.0]]


def test_the_context_slides(make_model, clip):
    model, (x, tau) = make_model(), clip
    short = surprise(expectation_of(model), x, tau, context=2)
    changed = x.clone()
    changed[:, 0] += 1
    after = surprise(expectation_of(model), changed, tau, context=2)
    assert torch.equal(short[:, 2:], after[:, 2:]) and not torch.equal(short[:, :2], after[:, :2])
    whole = surprise(expectation_of(model), x, tau, context=9)
    taught = (model(x, tau) - x[:, 1:]).abs().mean((2, 3, 4))
    assert torch.allclose(whole, taught, atol=1e-5)


def test_a_tie_counts_half_and_one_frame_cannot_surprise():
    assert relative_accuracy(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])) == 0.5
    with pytest.raises(UserError, match="a video of 1 frame"):
        surprise(copy_last, torch.zeros(1, 1, 2, 2, 3), torch.zeros(1, 1), context=2)
