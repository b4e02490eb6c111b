"""Small predictors with weights large enough that every part matters, and clips for them."""

import pytest
import torch

from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.settings import PredictorConfig

SMALL = PredictorConfig(blocks=2, width=48, heads=2, layer_scale=0.0)


def awake(model, seed=0):
    """Weights of deviation 0.2 everywhere, zero starts included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def make_model():
    def make(config=SMALL, dim=12, action_dim=0):
        torch.manual_seed(0)
        return awake(Predictor(config, dim, action_dim))

    return make


@pytest.fixture
def clip():
    """Three clips of five frames of 3 x 4 patches, at uneven times."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 5, 3, 4, 12, generator=generator)
    tau = torch.rand(3, 5, generator=generator, dtype=torch.float64).mul(0.3).add(0.04).cumsum(1)
    return x, tau
