"""The predictor: who sees whom, what time does, how large it is."""

import dataclasses

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.attention import angles, rotation
from tenfold.papers.dino_world.method import Predictor, direct, num_parameters
from tenfold.papers.dino_world.settings import SIZES, PredictorConfig, predictor_of_size

SMALL = PredictorConfig(blocks=2, width=48, heads=2, layer_scale=0.0)

PUBLISHED_MILLIONS = {"base": 86, "large": 304}


def largest(difference):
    return float(difference.detach().abs().max())


# ------------------------------------------------------------------------------------------------------ causality


@pytest.mark.spec("dino_world", "A1")
def test_a_frame_changes_later_predictions_and_no_earlier_one(make_model, clip):
    model, (x, tau) = make_model(), clip
    before = model(x, tau)
    for frame in range(x.shape[1]):
        changed = x.clone()
        changed[:, frame] += 1
        after = model(changed, tau)
        assert torch.equal(after[:, :frame], before[:, :frame])
        assert all(largest(after[:, later] - before[:, later]) > 1e-3 for later in range(frame, x.shape[1] - 1))


@pytest.mark.spec("dino_world", "A1")
def test_a_question_sees_the_frames_before_its_time_alone(make_model, clip):
    model, (x, tau) = make_model(), clip
    asked = tau[:, 2:3] + 0.01  # between the third and the fourth frame
    changed = x.clone()
    changed[:, 3:] += 1
    assert torch.equal(model.predict(x, tau, asked), model.predict(changed, tau, asked))
    changed[:, 2] += 1
    assert largest(model.predict(x, tau, asked) - model.predict(changed, tau, asked)) > 1e-3
    with pytest.raises(UserError, match="must lie after a frame"):
        model.predict(x, tau, tau[:, :1])


@pytest.mark.spec("dino_world", "A2")
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("action_dim", [0, 2])
def test_one_masked_pass_equals_one_call_per_prefix(make_model, clip, residual, action_dim):
    model = make_model(dataclasses.replace(SMALL, residual_output=residual), action_dim=action_dim)
    x, tau = clip
    actions = torch.randn(3, 4, action_dim) if action_dim else None
    together = model(x, tau, actions)
    for frame in range(1, x.shape[1]):
        action = None if actions is None else actions[:, frame - 1 : frame]
        alone = model.predict(x[:, :frame], tau[:, :frame], tau[:, frame : frame + 1], action)
        assert largest(together[:, frame - 1] - alone[:, 0]) < 1e-5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flexattention_gives_what_the_boolean_mask_gives(make_model, clip):
    x, tau = clip
    fused, flexible = (make_model(dataclasses.replace(SMALL, attention=name)) for name in ("sdpa", "flex"))
    with torch.no_grad():  # on the CPU, FlexAttention has no backward pass
        assert largest(fused(x, tau) - flexible(x, tau)) < 1e-5


def test_several_questions_are_answered_as_if_each_were_alone(make_model, clip):
    model, (x, tau) = make_model(), clip
    asked = torch.stack([tau[:, 1] + 0.01, tau[:, 4] + 0.3], dim=1)
    both = model.predict(x, tau, asked)
    for question in range(2):
        alone = model.predict(x, tau, asked[:, question : question + 1])
        assert largest(both[:, question : question + 1] - alone) < 1e-5


# ----------------------------------------------------------------------------------------------------------- time


@pytest.mark.spec("dino_world", "A3")
def test_only_differences_of_time_matter_and_their_size_does(make_model, clip):
    model, (x, tau) = make_model(), clip
    assert largest(model(x, tau + 37.5) - model(x, tau)) < 1e-4
    assert largest(model(x, tau * 2) - model(x, tau)) > 1e-2


@pytest.mark.spec("dino_world", "A3")
def test_grids_of_two_resolutions_share_their_corners():
    coarse, fine = (rotation(torch.zeros(1, 1), size, size, 24).cos.view(size, size, 3, 4) for size in (4, 16))
    for row in (0, -1):
        for column in (0, -1):
            assert torch.equal(coarse[row, column], fine[row, column])


def test_angles_are_those_of_the_definition():
    found = angles(torch.tensor([0.3], dtype=torch.float64), 3)[0]
    periods = torch.tensor([1e-2, 1.0, 1e2], dtype=torch.float64)
    assert torch.allclose(found, 2 * torch.pi * 0.3 / periods)


def test_the_rest_of_a_head_does_not_turn():
    """A head of 64 turns 20 numbers for each axis, and leaves 4."""
    assert rotation(torch.zeros(1, 2), 3, 3, 64).cos.shape == (1, 18, 3, 10)


@pytest.mark.spec("dino_world", "A4")
def test_the_order_of_the_context_does_not_matter(make_model, clip):
    model, (x, tau) = make_model(dataclasses.replace(SMALL, residual_output=True)), clip
    order = torch.tensor([3, 0, 4, 1, 2])
    asked = tau[:, -1:] + 0.2
    assert largest(model.predict(x, tau, asked) - model.predict(x[:, order], tau[:, order], asked)) < 1e-5


# ------------------------------------------------------------------------------------------- roll-out and planning


@pytest.mark.parametrize("residual", [False, True])
def test_a_roll_out_takes_each_prediction_for_observed(make_model, clip, residual):
    model, (x, tau) = make_model(dataclasses.replace(SMALL, residual_output=residual)), clip
    future = tau[:, -1:] + torch.tensor([[0.1, 0.25]], dtype=torch.float64)
    rolled = model.rollout(x, tau, future)
    first = model.predict(x, tau, future[:, :1])
    longer = torch.cat([x, first], 1), torch.cat([tau, future[:, :1]], 1)
    assert largest(rolled[:, 0] - first[:, 0]) < 1e-5
    assert largest(rolled[:, 1] - model.predict(*longer, future[:, 1:])[:, 0]) < 1e-5
    assert largest(direct(model, x, tau, future[:, 0]) - first[:, 0]) == 0
    with pytest.raises(UserError, match="must rise"):
        model.rollout(x, tau, tau[:, -1:])


def test_candidates_share_what_was_read(make_model, clip):
    model, (x, tau) = make_model(action_dim=2), clip
    future, actions = tau[:, -1:] + torch.tensor([[0.1, 0.2]], dtype=torch.float64), torch.randn(3, 4, 2, 2)
    shared = model.imagine(model.read(x, tau).repeated(4), future.repeat_interleave(4, 0), actions.flatten(0, 1))
    for candidate in range(4):
        alone = model.imagine(model.read(x, tau), future, actions[:, candidate])
        assert largest(shared.unflatten(0, (3, 4))[:, candidate] - alone) < 1e-5


# ----------------------------------------------------------------------------------------------------------- size


@pytest.mark.spec("dino_world", "A8")
def test_base_and_large_have_the_published_number_of_parameters():
    for size, millions in PUBLISHED_MILLIONS.items():
        assert abs(count(size) / (millions * 1e6) - 1) < 0.03, size


@pytest.mark.spec("dino_world", "A8")
def test_giant_is_within_3_percent_of_what_is_printed_as_1_1_billion():
    """Two printed digits stand for 1.05 to 1.15; the stated depth and width alone come to 1.13."""
    assert 0.97 * 1.05e9 < count("giant") < 1.03 * 1.15e9
    assert round(count("giant") / 1e9, 1) == 1.1


def count(size):
    with torch.device("meta"):
        return num_parameters(Predictor(predictor_of_size(size), dim=768))


def test_without_the_projection_every_block_reads_the_features_themselves():
    with torch.device("meta"):
        raw = Predictor(PredictorConfig(blocks=2, width=48, heads=2, context_proj=False), dim=12)
    assert raw.blocks[0].attention.kv_proj.in_features == 12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 5}, "heads = 5: allowed: divisors of width = 768"),
        ({"width": 20, "heads": 4}, "heads of at least 6 numbers"),
        ({"blocks": 0}, "blocks = 0: allowed: finite numbers from 1 on"),
        ({"layer_scale": -1.0}, "layer_scale = -1"),
    ],
)
def test_sizes_that_no_predictor_has_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        PredictorConfig(**wrong)


def test_unknown_sizes_name_the_known_ones():
    with pytest.raises(UserError, match=f"size = huge: allowed: {', '.join(SIZES)}"):
        predictor_of_size("huge")


@pytest.mark.parametrize("method", ["predict", "rollout"])
def test_features_and_actions_of_another_width_are_refused(make_model, clip, method):
    x, tau = clip
    asked = tau[:, -1:] + 0.1
    with pytest.raises(UserError, match="features of width 7: this model was made for 12"):
        getattr(make_model(), method)(x[..., :7], tau, asked)
    with pytest.raises(UserError, match="actions for a model with action_dim = 0"):
        getattr(make_model(), method)(x, tau, asked, torch.zeros(3, 1, 2))
    acting = getattr(make_model(action_dim=2), method)
    with pytest.raises(UserError, match="no actions for a model with action_dim = 2"):
        acting(x, tau, asked)
    with pytest.raises(UserError, match="actions of shape"):
        acting(x, tau, asked, torch.zeros(3, 1, 3))
    with pytest.raises(UserError, match="not finite"):
        acting(x, tau, asked, torch.full((3, 1, 2), torch.nan))
    with pytest.raises(UserError, match="the features have"):
        acting(x, tau[:, 1:], asked, torch.zeros(3, 1, 2))
