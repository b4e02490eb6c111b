"""DINO-WM's predictor keeps the promises of the interface: causal, equal in training and roll-out, bounded history."""

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.dino_wm import DinoWMPredictor
from tenfold.papers.dino_world.settings import DinoWMConfig

CONFIG = DinoWMConfig(depth=2, heads=2, head_dim=8, mlp_width=32, history=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DinoWMPredictor(CONFIG, dim=12, patches=12, action_dim=2).eval()


def test_a_frame_changes_what_follows_within_the_history_alone(model, clip):
    x, tau = clip
    actions = torch.randn(3, 4, 2)
    before = model(x, tau, actions)
    for frame in range(5):
        changed = x.clone()
        changed[:, frame] += 1
        differs = (model(changed, tau, actions) - before).abs().amax((0, 2, 3, 4)) > 1e-5
        assert differs.tolist() == [frame <= later < frame + CONFIG.history for later in range(4)]


def test_training_and_roll_out_agree(model, clip):
    x, tau = clip
    actions = torch.randn(3, 4, 2)
    taught = model(x, tau, actions)
    for frame in range(1, 5):
        rolled = model.rollout(x[:, :frame], tau[:, :frame], tau[:, frame : frame + 1], actions[:, :frame])
        assert (rolled[:, 0] - taught[:, frame - 1]).abs().max() < 1e-5


def test_the_action_after_a_frame_decides_the_next_one(model, clip):
    x, tau = clip
    actions = torch.randn(3, 6, 2)
    other = actions.clone()
    other[:, -1] += 1
    future = tau[:, -1:] + torch.tensor([[0.1, 0.2]])
    one, two = (model.rollout(x, tau, future, acted) for acted in (actions, other))
    assert torch.equal(one[:, 0], two[:, 0])
    assert (one[:, 1] - two[:, 1]).abs().max() > 1e-5


def test_candidates_share_frames(model, clip):
    x, tau = clip
    actions, future = torch.randn(3, 4, 2, 2), tau[:, -1:] + torch.tensor([[0.1, 0.2]])
    together = model.imagine(model.read(x, tau).repeated(4), future.repeat_interleave(4, 0), actions.flatten(0, 1))
    alone = model.imagine(model.read(x, tau), future, actions[:, 1])
    assert torch.allclose(together.unflatten(0, (3, 4))[:, 1], alone, atol=1e-5)


def test_what_it_was_not_made_for_is_refused(model, clip):
    x, tau = clip
    with pytest.raises(UserError, match="features of width 7"):
        model(x[..., :7], tau, torch.zeros(3, 4, 2))
    with pytest.raises(UserError, match="no actions for a model with action_dim = 2"):
        model(x, tau)
    with pytest.raises(UserError, match="history = 0"):
        DinoWMConfig(history=0)
