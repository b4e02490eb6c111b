"""Losses by hand, the encoder that is trained first, and a predictor that begins to learn."""

import json

import numpy as np
import pytest
import torch

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.dino_world.encoder import DISCS, frozen, single_pictures, small_vision_model, train_vision_model
from tenfold.papers.dino_world.saving import WorldModel, load_world_model, save_world_model
from tenfold.papers.dino_world.settings import EncoderConfig, TrainingConfig
from tenfold.papers.dino_world.training import Clips, beta_at, forecasting_loss, make_optimizer, train_predictor

TINY = EncoderConfig(width=24, blocks=1, heads=2, steps=30, batch_size=32, log_every=10)


def test_smooth_l1_by_hand():
    error = torch.tensor([0.02, 0.1, 2.0])
    expected = (0.02**2 / 0.2 + (0.1 - 0.05) + (2.0 - 0.05)) / 3
    assert forecasting_loss(error, torch.zeros(3), 0.1).item() == pytest.approx(expected)


def test_the_first_beta_holds_for_its_share():
    config = TrainingConfig(steps=4, beta_last=0.1, first_share=0.5)
    assert [beta_at(step, config, 1.0) for step in (1, 2, 3, 4)] == [1.0, 1.0, 0.1, 0.1]


def test_weight_decay_acts_on_matrices_alone_and_gradients_are_clipped():
    model = torch.nn.Linear(3, 2)
    (optimizer,) = make_optimizer(model, 1e-3, TrainingConfig(weight_decay=0.3, clip=1.0))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {id(model.weight): 0.3, id(model.bias): 0.0}
    (model(torch.ones(1, 3)).sum() * 1000).backward()
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm.item() == pytest.approx(1.0, abs=1e-4)


def test_the_encoder_learns_to_fill_in_single_pictures(tmp_path):
    cell = Cell(arm="a", seed=0, directory=tmp_path, device="cpu")

    def pictures_of(step):
        return single_pictures(np.random.default_rng(step), 32, 16)

    train_vision_model(TINY, 16, 3e-3, cell, pictures_of, DISCS)
    losses = [value for _, value in cell.curves()["train/loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_pictures_hold_up_to_three_discs_and_sometimes_a_wall():
    pictures = single_pictures(np.random.default_rng(0), 200, 32)
    bare = (pictures == pictures[:, :, :1, :1]).all((1, 2, 3)).mean()
    assert 0.05 < bare < 0.3, "no disc in a quarter, no wall in six tenths of these"


def test_a_predictor_learns_and_comes_back_from_disk_with_its_own_encoder(tmp_path, make_model):
    encoder = frozen(small_vision_model(TINY, 16, 0), DISCS)
    still = torch.rand(8, 1, 2, 2, 24).expand(-1, 4, -1, -1, -1)
    times = torch.arange(4.0).expand(8, 4) / 10
    cell = Cell(arm="a", seed=0, directory=tmp_path / "cell", device="cpu")
    config = TrainingConfig(steps=40, batch_size=8, warmup=2, log_every=10, evaluate_every=0, checkpoint_every=0)
    model = train_predictor(make_model(dim=24), lambda step: Clips(still, times), config, 3e-3, cell)
    losses = [value for _, value in cell.curves()["train/loss"]]
    assert losses[-1] < 0.85 * losses[0]

    save_world_model(WorldModel(model, encoder, 16), tmp_path / "model")
    loaded = load_world_model(tmp_path / "model")
    frames = torch.randint(256, (1, 2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(loaded.features(frames), encoder(frames))
    with torch.no_grad():
        assert torch.equal(loaded.predictor(still, times), model(still, times))
    with pytest.raises(UserError, match="frames of 8x8 pixels: this model was trained with 16x16"):
        loaded.features(frames[..., :8, :8])


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def with_cut_weights(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])


def with_another_width(folder):
    facts = json.loads((folder / "config.json").read_text())
    facts["predictor"]["width"] *= 2
    (folder / "config.json").write_text(json.dumps(facts))


def with_cut_facts(folder):
    (folder / "config.json").write_text((folder / "config.json").read_text()[:40])


@pytest.mark.parametrize("spoil", [without_weights, with_cut_weights, with_another_width, with_cut_facts])
def test_a_world_model_that_is_not_whole_is_one_line(spoil, tmp_path, make_model):
    save_world_model(WorldModel(make_model(dim=24), frozen(small_vision_model(TINY, 16, 0), DISCS), 16), tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}.*(missing|damaged|shape)") as refused:
        load_world_model(tmp_path)
    assert "\n" not in str(refused.value)


def test_features_of_another_encoder_are_refused(tmp_path, make_model):
    save_world_model(WorldModel(make_model(dim=24), frozen(small_vision_model(TINY, 16, 0), DISCS), 16), tmp_path / "a")
    other = frozen(small_vision_model(TINY, 16, 1), DISCS)
    other.save_pretrained(tmp_path / "a" / "encoder")
    with pytest.raises(UserError, match=f"features of the encoder {other.identity()}: the predictor was made for"):
        load_world_model(tmp_path / "a")
    with pytest.raises(UserError, match=r"holds no world model: it has no config\.json"):
        load_world_model(tmp_path)
