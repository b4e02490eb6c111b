"""Windows: keyed by seed and step, cut by slots, clamped; training, validation and test are different bytes."""

from itertools import pairwise

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2.pretraining.config import DataConfig
from tenfold.papers.kimi_k2.pretraining.data import load_text


@pytest.fixture
def numbered(tmp_path):
    """A text in which every window of four bytes says where it is, as 16-bit numbers, high byte first."""
    path = tmp_path / "text.bin"
    path.write_bytes(b"".join(number.to_bytes(2, "big") for number in range(5000)))
    return DataConfig(source=str(path), held_out=0.2, vocab_size=256, context=8, validation_windows=20, test_windows=30)


def places(windows):
    """The numbers that stand whole in the windows."""
    found = set()
    for window in windows.tolist():
        for offset in (0, 1):  # a window may begin in the middle of a number
            numbers = [256 * high + low for high, low in zip(window[offset::2], window[offset + 1 :: 2], strict=False)]
            if all(later == earlier + 1 for earlier, later in pairwise(numbers)):
                found |= set(numbers)
    return found


def test_training_validation_and_test_share_no_byte(numbered):
    text = load_text(numbered)
    train = set().union(*(places(text.batch(64, seed=0, step=step, slots=range(64))) for step in range(1, 30)))
    validation, test = places(text.validation_NT), places(text.test_NT)
    assert train and max(train) < 4000 <= min(validation) and max(validation) < 4500 <= min(test)
    assert text.validation_NT.shape == (20, 8) and text.test_NT.shape == (30, 8)


def test_batches_depend_on_seed_and_step_alone_and_slots_cut_them(numbered):
    text = load_text(numbered)
    whole = text.batch(6, seed=3, step=5, slots=range(6))
    assert whole.shape == (6, 8) and whole.dtype == torch.int64
    halves = [text.batch(6, seed=3, step=5, slots=slots) for slots in (range(3), range(3, 6))]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(text.batch(6, seed=3, step=6, slots=range(6)), whole)
    assert not torch.equal(text.batch(6, seed=4, step=5, slots=range(6)), whole)


def test_bytes_that_are_too_large_become_the_largest_token(tmp_path):
    path = tmp_path / "text.bin"
    path.write_bytes(bytes(range(256)) * 8)
    config = DataConfig(source=str(path), held_out=0.5, context=256, validation_windows=1, test_windows=1)
    text = load_text(config)
    assert sorted(text.test_NT[0].tolist()) == [*range(128), *[127] * 128]
    assert text.batch(1, 0, 1, range(1)).max() == 127


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_windows": 63}, "test_windows = 63: only 62 of 16 bytes fit"),
        ({"validation_windows": 63}, "validation_windows = 63: only 62 of 16 bytes fit"),
        ({"held_out": 0.996}, "context = 16: .* has only 10 bytes to train on"),
    ],
)
def test_a_text_that_is_too_short_is_refused(changes, message, tmp_path):
    path = tmp_path / "text.bin"
    path.write_bytes(bytes(2500))
    given = {"source": str(path), "held_out": 0.8, "context": 16, "validation_windows": 62, "test_windows": 62}
    load_text(DataConfig(**given))
    with pytest.raises(UserError, match=message):
        load_text(DataConfig(**given | changes))
