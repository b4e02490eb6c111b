"""The gain decides what random LSTMs write: the order of the published table, and the measures themselves."""

import math

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining import gain_sweep as module
from tenfold.papers.universal_pretraining.gain_sweep import gain_sweep
from tenfold.papers.universal_pretraining.method import RandomLSTM

GAINS = (0.5, 1.1, 2.0, 3.5, 6.0)


@pytest.mark.spec("universal_pretraining", "3")
def test_output_becomes_less_compressible_with_the_gain():
    """Four layers of width 128, unit embeddings: from constants to nearly noise."""
    table = gain_sweep(GAINS, rows=24, sources=3)
    assert [row.gain for row in table] == list(GAINS)
    ratios = [row.gzip_ratio for row in table]
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.15 and ratios[-1] > 0.6
    assert table[0].constant_share == 1 and table[0].entropy == 0
    assert table[-1].constant_share == 0 and table[-1].entropy > 3


def test_with_tiny_embeddings_the_passage_from_constant_to_structured_is_sharp():
    low, high = gain_sweep((2.0, 6.0), law=RandomLSTM(embed_scale=1e-8), sources=2, rows=12)
    assert low.constant_share == 1 and low.entropy == 0
    assert high.constant_share == 0 and high.entropy > 2 and high.gzip_ratio < 0.25, "rows follow one orbit"


def test_the_authors_exponent_makes_the_difference_between_constants_and_chaos():
    """m = 2 is constant when it is applied once; applied once per layer it is a gain of 16."""
    once, per_layer = (
        gain_sweep((2.0,), law=RandomLSTM(embed_scale=1e-8, gain_power=power), sources=2, rows=12)[0]
        for power in (1, 4)
    )
    assert once.constant_share == 1
    assert per_layer.constant_share == 0 and per_layer.gzip_ratio > 0.5


def test_one_layer_with_unit_embeddings_passes_noise_through():
    (row,) = gain_sweep((0.5,), law=RandomLSTM(layers=1), sources=2, rows=24)
    assert row.gzip_ratio > 0.6 and row.entropy > 4


def test_the_measures_on_rows_that_are_known():
    def described(tail_LN):
        rows = torch.cat((torch.randint(256, (len(tail_LN), 64)), tail_LN), dim=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_rows_of", lambda *_: rows)
            return gain_sweep((1.0,), sources=1)[0]

    torch.manual_seed(0)
    constant, two = torch.full((1, 64), 9), torch.arange(64)[None] % 2
    assert described(constant).constant_share == 1 and described(constant).entropy == 0
    assert described(torch.cat((constant, two))).constant_share == 0.5
    assert described(torch.cat((constant, two))).entropy == pytest.approx(0.5)
    assert described(torch.arange(64)[None]).entropy == pytest.approx(6)
    assert described(torch.randint(256, (500, 64))).gzip_ratio == pytest.approx(1, abs=0.01)
    assert math.isfinite(described(constant).gzip_ratio)


def test_the_same_seed_gives_the_same_table():
    law = RandomLSTM(hidden=16)
    one, again, other = (gain_sweep((6.0,), law=law, rows=4, sources=2, seed=seed) for seed in (0, 0, 1))
    assert one == again != other


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sources": 0}, "sources = 0"), ({"rows": 0}, "rows = 0"), ({"length": 71}, "length = 71: must be at least 72")],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        gain_sweep(**changes)
