"""Action blocks: nothing changes at the start, everything can after a step, and a frozen trunk stays."""

import pytest
import torch

from tenfold.papers.dino_world.actions import action_blocks, start_of, with_actions
from tenfold.papers.dino_world.method import ActionBlock
from tenfold.papers.dino_world.settings import PredictorConfig


def one_step(model, x, tau, actions):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    (model(x, tau, actions) - x[:, 1:]).square().mean().backward()
    optimizer.step()


@pytest.mark.spec("dino_world", "A5")
@pytest.mark.parametrize("norm", ["joint", "query"])
def test_new_action_blocks_change_no_prediction_until_a_step_is_taken(make_model, clip, norm):
    x, tau = clip
    video_model = make_model(PredictorConfig(blocks=2, width=48, heads=2, layer_scale=0.0, action_norm=norm))
    acting = with_actions(video_model, action_dim=2)
    still, moved = torch.zeros(3, 4, 2), torch.randn(3, 4, 2) * 5
    for actions in (still, moved):
        assert torch.equal(acting(x, tau, actions), video_model(x, tau))
    one_step(acting, x, tau, moved)
    assert (acting(x, tau, moved) - acting(x, tau, still)).abs().max() > 1e-4


@pytest.mark.spec("dino_world", "A5")
def test_action_only_leaves_the_trunk_as_it_is_to_the_bit(make_model, clip):
    x, tau = clip
    video_model, actions = make_model(), torch.randn(3, 4, 2)
    acting = start_of("action_only", video_model, action_dim=2)
    for _ in range(3):
        one_step(acting, x, tau, actions)
    state = acting.state_dict()
    assert all(torch.equal(state[name], value) for name, value in video_model.state_dict().items())
    assert all(block.down_proj.weight.abs().max() > 0 for block in action_blocks(acting))


def test_what_is_normalised_decides_whether_large_queries_drown_an_action():
    torch.manual_seed(0)
    q, action = 50 * torch.randn(1, 4, 32), torch.randn(1, 4, 2)
    effect = {}
    for joint in (True, False):
        block = ActionBlock(32, 2, joint)
        effect[joint] = (block(q, action) - block(q, -action)).abs().mean()
    assert effect[False] > 10 * effect[True]


def test_modes_differ_in_start_and_in_what_is_trained(make_model):
    video_model = make_model()
    scratch, only, full = (start_of(mode, video_model, 2) for mode in ("scratch", "action_only", "finetune"))
    assert not torch.equal(scratch.head.weight, video_model.head.weight)
    assert torch.equal(full.head.weight, video_model.head.weight)
    assert all(parameter.requires_grad for parameter in full.parameters())
    trained = {name for name, parameter in only.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in only.named_parameters() if ".action." in name}
