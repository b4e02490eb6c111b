"""Encoders stay as they are, see frames one by one, and are cached on disk; a cut file is made again."""

import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tenfold.core.errors import UserError
from tenfold.models.feature_cache import FeatureCache
from tenfold.models.frame_encoder import FrameEncoder, assert_causal

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
KINDS = {
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL)),
    "registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3)),
    "dinov3": lambda: DINOv3ViTModel(DINOv3ViTConfig(**SMALL, intermediate_size=32, num_register_tokens=2)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SMALL, intermediate_size=32)),
}


@pytest.fixture(params=KINDS)
def encoder(request):
    torch.manual_seed(0)
    return FrameEncoder(KINDS[request.param]())


@pytest.fixture
def frames():
    return torch.randint(256, (2, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_features_are_the_patch_tokens_of_the_last_layer(encoder, frames):
    features = encoder(frames)
    assert features.shape == (2, 3, 4, 4, 16)
    pixels = (frames[1, 2].float() / 255 - encoder.image_mean) / encoder.image_std
    with torch.no_grad():
        tokens = encoder.vision_model(pixel_values=pixels[None]).last_hidden_state[0]
    assert torch.allclose(features[1, 2].flatten(0, 1), tokens[-16:], atol=1e-5)
    assert torch.allclose(encoder(frames.float() / 255), features, atol=1e-6)


def test_another_resolution_has_another_grid(encoder):
    assert encoder(torch.zeros(1, 1, 3, 16, 24)).shape == (1, 1, 4, 6, 16)
    with pytest.raises(UserError, match="multiples of the encoder's patches of 4 pixels"):
        encoder(torch.zeros(1, 1, 3, 16, 18))


@pytest.mark.spec("dino_world", "A6")
def test_training_with_it_changes_nothing_in_it(encoder, frames):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    reader = torch.nn.Linear(16, 2)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    optimizer = torch.optim.AdamW([*encoder.parameters(), *reader.parameters()], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        features = encoder(frames)
        assert not features.requires_grad
        reader(features).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    after = encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_frames_are_seen_one_by_one(encoder, frames):
    assert_causal(lambda video: encoder(video).mean((2, 3)), frames, tolerance=1e-5)
    assert_causal(lambda video: encoder(video).mean((2, 3)), frames.flip(1), tolerance=1e-5)


def test_a_leak_of_the_future_is_found(frames):
    with pytest.raises(AssertionError, match="the output for frame 0 depends on frame 1"):
        assert_causal(lambda video: video.float() + video.float().mean(1, keepdim=True), frames)


def test_standardised_features_have_mean_0_and_deviation_1(encoder, frames):
    features = encoder.standardise(frames)(frames).flatten(0, 3)
    assert torch.allclose(features.mean(0), torch.zeros(16), atol=1e-4)
    assert torch.allclose(features.std(0), torch.ones(16), atol=1e-3)


def test_models_are_loaded_from_a_folder(tmp_path, frames):
    torch.manual_seed(0)
    model = KINDS["registers"]()
    model.save_pretrained(tmp_path)
    encoder = FrameEncoder.from_pretrained(str(tmp_path))
    assert torch.allclose(encoder(frames), FrameEncoder(model)(frames), atol=1e-6)
    assert encoder.identity() == FrameEncoder(model).identity()
    with pytest.raises(UserError, match=r"encoder = .*absent: cannot be loaded"):
        FrameEncoder.from_pretrained(str(tmp_path / "absent"))


# --------------------------------------------------------------------------------------------------------- cache


@pytest.fixture
def counted(frames):
    """A decoder that remembers what it was asked for."""
    asked = []

    def decode(numbers):
        asked.append(list(numbers))
        return frames.flatten(0, 1)[list(numbers)]

    return asked, decode


def test_a_frame_is_encoded_once(tmp_path, encoder, frames, counted):
    asked, decode = counted
    cache = FeatureCache(tmp_path)
    first = cache.features(encoder, "film", [4, 1, 4], (16, 16), decode)
    again = FeatureCache(tmp_path).features(encoder, "film", [1, 5], (16, 16), decode)
    assert asked == [[1, 4], [5]]
    assert torch.equal(first[0], first[2]) and torch.equal(first[1], again[0])
    assert torch.allclose(first, encoder(frames.flatten(0, 1)[[4, 1, 4]][None])[0], atol=1e-5)


def test_another_video_encoder_or_resolution_is_another_entry(tmp_path, encoder, counted):
    asked, decode = counted
    cache = FeatureCache(tmp_path)
    cache.features(encoder, "film", [0], (16, 16), decode)
    cache.features(encoder, "other film", [0], (16, 16), decode)
    cache.features(encoder, "film", [0], (8, 8), lambda numbers: decode(numbers)[..., :8, :8])
    torch.manual_seed(1)
    cache.features(FrameEncoder(KINDS["dinov2"]()), "film", [0], (16, 16), decode)
    assert len(asked) == 4


def test_a_cut_file_is_made_again(tmp_path, encoder, counted):
    asked, decode = counted
    cache = FeatureCache(tmp_path)
    before = cache.features(encoder, "film", [2], (16, 16), decode)
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(cache.features(encoder, "film", [2], (16, 16), decode), before)
    assert asked == [[2], [2]]


def test_what_was_not_used_for_longest_goes_first(tmp_path, encoder, counted):
    _, decode = counted
    one_file = 4 * 4 * 16 * 4 + 128
    cache = FeatureCache(tmp_path, most_bytes=4 * one_file)
    for number in (0, 1, 2, 0, 3, 4):
        cache.features(encoder, "film", [number], (16, 16), decode)
    assert cache.size() <= 4 * one_file
    assert {int(path.stem) for path in tmp_path.rglob("*.npy")} == {0, 3, 4}
