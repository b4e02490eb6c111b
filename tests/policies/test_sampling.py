"""Noise is SplitMix64 at (trajectory, position), and draws follow the distribution that the settings say."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from tenfold.core.errors import UserError
from tenfold.policies.sampling import Sampling, draw, trajectory_seed, uniforms


def test_the_noise_is_the_published_stream_of_splitmix64():
    """The first numbers from seed 1234567, as implementations of the generator in several languages give them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    ours = uniforms(np.full(4, 1234567, dtype=np.uint64), np.arange(4, dtype=np.uint64))
    assert ours.tolist() == [(number >> 24) * 2.0**-40 for number in published]


def test_noise_is_uniform_over_positions_and_over_trajectories():
    seeds = np.array([trajectory_seed(0, i, 0) for i in range(4000)], dtype=np.uint64)
    along = uniforms(np.full(4000, seeds[0]), np.arange(4000, dtype=np.uint64))
    across = uniforms(seeds, np.full(4000, 7, dtype=np.uint64))
    for noise in (along, across):
        assert noise.min() >= 0 and noise.max() < 1
        assert kstest(noise, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(along[:-1], along[1:])[0, 1]) < 0.05


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.7)])
def test_draws_follow_the_softmax(temperature, top_p):
    logits_V = torch.linspace(-2, 2, 12)[torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    probs_V = (logits_V.double() / temperature).softmax(-1)
    kept = probs_V.clone()
    if top_p < 1:  # the smallest set of most likely tokens that reaches top_p, by hand
        order = probs_V.argsort(descending=True)
        number = next(n for n in range(1, 13) if probs_V[order[:n]].sum() >= top_p)
        kept[order[number:]] = 0
    kept = kept / kept.sum()
    noise = uniforms(np.full(20000, 5, dtype=np.uint64), np.arange(20000, dtype=np.uint64))
    tokens, log_probs = draw(logits_V.expand(20000, -1), torch.from_numpy(noise), temperature, top_p)
    counts = torch.bincount(tokens, minlength=12)
    assert (counts[kept == 0] == 0).all() and (top_p < 1) == bool((kept == 0).any())
    assert chisquare(counts[kept > 0], 20000 * kept[kept > 0]).pvalue > 1e-3
    torch.testing.assert_close(log_probs.double(), probs_V.log()[tokens], atol=1e-5, rtol=0)


def test_temperature_zero_is_the_largest_logit_with_the_log_probability_of_temperature_one():
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 4.0, 0.0]])
    tokens, log_probs = draw(logits, torch.tensor([0.99, 0.99], dtype=torch.float64), temperature=0)
    assert tokens.tolist() == [1, 0]
    torch.testing.assert_close(log_probs, logits.log_softmax(-1)[[0, 1], [1, 0]])


def test_a_token_without_probability_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(4, -1)
    tokens, _ = draw(logits, torch.tensor([0.0, 0.5 - 2**-40, 0.5, 1 - 2**-40], dtype=torch.float64))
    assert tokens.tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"stop": "</answer>"}, "must be a tuple"),
        ({"stop": ("",)}, "non-empty"),
    ],
)
def test_values_out_of_range_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        Sampling(**{"max_new_tokens": 1, **settings})
