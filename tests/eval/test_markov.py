"""Markov baselines: against counting by hand, token by token, and against sources whose entropy is known."""

import math
from collections import Counter

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.eval.bits_per_byte import bits_per_byte
from tenfold.eval.markov import (
    ORDERS,
    SMOOTHINGS,
    MarkovModel,
    in_context_baselines,
    in_context_markov_bits,
    trained_baselines,
)


def counted_in_context(window, order, vocab_size, smoothing):
    """One window, one token at a time, with dictionaries."""
    runs, contexts, bits = Counter(), Counter(), []
    for place, token in enumerate(window):
        context = tuple(window[place - order : place]) if place >= order else None
        seen, together = contexts[context], runs[context, token]
        bits.append(-math.log2((together + smoothing) / (seen + smoothing * vocab_size)))
        if context is not None:
            contexts[context] += 1
            runs[context, token] += 1
    return bits[1:]


def counted_after_training(text, window, order, vocab_size, smoothing):
    bits = []
    for place in range(1, len(window)):
        k = min(order, place)
        context = tuple(window[place - k : place])
        after = [text[i + k] for i in range(len(text) - k) if tuple(text[i : i + k]) == context]
        bits.append(-math.log2((after.count(window[place]) + smoothing) / (len(after) + smoothing * vocab_size)))
    return bits


def sample(*shape, vocab_size=3):
    return numpy_generator("markov", *shape).integers(vocab_size, size=shape)


@pytest.mark.parametrize("order", [*ORDERS, 9, 40])
@pytest.mark.parametrize("smoothing", [1.0, 0.01])
def test_in_context_equals_counting_token_by_token(order, smoothing):
    windows = sample(5, 40).tolist()
    expected = [counted_in_context(window, order, 4, smoothing) for window in windows]
    np.testing.assert_allclose(in_context_markov_bits(np.array(windows), order, 4, smoothing), expected, rtol=1e-12)


@pytest.mark.parametrize("order", [*ORDERS, 9])
def test_trained_equals_counting_token_by_token(order):
    text, windows = sample(300).tolist(), sample(4, 20, vocab_size=4).tolist()
    expected = [counted_after_training(text, window, order, 4, 0.1) for window in windows]
    found = MarkovModel(np.array(text), order, 4).bits(np.array(windows), 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_all_orders_come_from_one_model():
    text, windows = sample(300), sample(4, 20)
    together = list(MarkovModel(text, 4, 3).counts(windows))  # collected first: no order may write into another's
    for order, counts in enumerate(together):
        np.testing.assert_array_equal(counts.bits(0.1), MarkovModel(text, order, 3).bits(windows, 0.1))


def test_windows_shorter_than_the_order_fall_back():
    text = sample(300)
    short = MarkovModel(text, 5, 3).bits(text[None, :3])
    np.testing.assert_array_equal(short, MarkovModel(text, 2, 3).bits(text[None, :3]))


def test_the_future_and_the_other_windows_change_nothing():
    windows = sample(6, 50)
    bits = in_context_markov_bits(windows, 2, 3)
    changed = windows.copy()
    changed[:, 30:] = 0
    np.testing.assert_array_equal(in_context_markov_bits(changed, 2, 3)[:, :29], bits[:, :29])
    np.testing.assert_array_equal(in_context_markov_bits(windows[3:4], 2, 3), bits[3:4])


def test_probabilities_sum_to_one():
    window, text = sample(20), sample(300)
    ends = np.array([[*window, last] for last in range(3)])
    for order in ORDERS:
        for bits in (in_context_markov_bits(ends, order, 3), MarkovModel(text, order, 3).bits(ends)):
            assert np.exp2(-bits[:, -1]).sum() == pytest.approx(1, rel=1e-12)


def test_bytes_and_integers_are_the_same():
    windows = sample(3, 60, vocab_size=256)
    for dtype in (np.uint8, np.int32):
        same = in_context_markov_bits(windows.astype(dtype), 5)
        np.testing.assert_array_equal(same, in_context_markov_bits(windows, 5))
        text = windows.astype(dtype).ravel()
        np.testing.assert_array_equal(
            MarkovModel(text, 5).bits(windows.astype(dtype)), MarkovModel(windows.ravel(), 5).bits(windows)
        )


@pytest.mark.spec("universal_pretraining", "5")
def test_uniform_noise_cannot_be_compressed():
    noise = sample(50, 512, vocab_size=256)
    best = in_context_baselines(noise)
    assert best[0].bits >= 7.9
    assert min(score.bits for score in best) >= 7.9


@pytest.mark.spec("universal_pretraining", "5")
def test_a_block_of_three_is_learned_by_orders_one_and_two():
    rep_3 = np.tile(sample(200, 3, vocab_size=256), 43)[:, :128]
    scores = in_context_baselines(rep_3, "second_half")
    assert scores[0].bits == pytest.approx(math.log2(3), abs=0.1)
    assert max(scores[1].bits, scores[2].bits) <= 0.15


def test_a_markov_source_is_learned_down_to_its_entropy_rate():
    stay = (
        0.9  # a chain that keeps its symbol with this probability: entropy rate h(0.9) for order 1, 1 bit for order 0
    )
    switches = numpy_generator("chain").random(120_000) >= stay
    chain = np.cumsum(switches) % 2
    rate = -stay * math.log2(stay) - (1 - stay) * math.log2(1 - stay)
    windows = chain[100_000:].reshape(-1, 100)
    zero, one, two = trained_baselines(chain[:100_000], windows, max_order=2, vocab_size=2)
    assert zero.bits == pytest.approx(1, abs=0.01)
    assert one.bits == pytest.approx(rate, abs=4 * one.standard_error)
    assert two.bits == pytest.approx(one.bits, abs=0.005)
    in_context = in_context_baselines(windows, "last", max_order=1, vocab_size=2)[1]
    assert rate - 0.05 < in_context.bits < rate + 0.2


def test_the_best_smoothing_is_the_best():
    windows = sample(20, 64, vocab_size=5)
    for positions in ("all", "last"):
        for score in in_context_baselines(windows, positions, max_order=2):
            tried = {
                each: bits_per_byte(in_context_markov_bits(windows, score.order, smoothing=each), positions)
                for each in SMOOTHINGS
            }
            assert (score.bits, score.standard_error) == min(tried.values())
            assert tried[score.smoothing][0] == score.bits
    text = sample(500, vocab_size=5)
    assert [score.order for score in trained_baselines(text, windows)] == list(ORDERS)
    best = trained_baselines(text, windows)[3]
    assert best.bits == min(bits_per_byte(MarkovModel(text, 3).bits(windows, each))[0] for each in SMOOTHINGS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: in_context_markov_bits(np.full((1, 4), 256), 0), r"tokens reach from 256 to 256, but .* 0\.\.255"),
        (lambda: in_context_markov_bits(np.full((1, 4), -1), 0), "tokens reach from -1 to -1"),
        (lambda: in_context_markov_bits(sample(1, 4), -1), "order is -1, but it must not be negative"),
        (lambda: in_context_markov_bits(sample(1, 4), 1, smoothing=0), "smoothing is 0, but it must be positive"),
        (lambda: in_context_markov_bits(sample(4), 1), r"tokens have the shape \(4,\)"),
        (lambda: in_context_markov_bits(sample(4, 1), 1), r"tokens have the shape \(4, 1\)"),
        (lambda: MarkovModel(sample(400), 7), r"order is 7, but .* 256 \*\* \(order \+ 1\) must be below 2 \*\* 63"),
        (lambda: MarkovModel(sample(4), 4), "data have 4 tokens, but a Markov model of order 4 needs more than 4"),
        (lambda: MarkovModel(sample(4), 1, 2), "tokens reach from 0 to 2"),
        (lambda: MarkovModel(sample(4), 1).bits(np.full((1, 4), 300)), "tokens reach from 300 to 300"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(UserError, match=message):
        call()
