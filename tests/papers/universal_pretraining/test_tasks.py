"""The synthetic tasks: each is what its line in the table says, and each entropy rate is computed a second way."""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.eval.markov import in_context_baselines, trained_baselines
from tenfold.papers.universal_pretraining.tasks import (
    AUTOMATON_NEXT,
    AUTOMATON_PROBABILITIES,
    ENTROPY_RATES,
    TASKS,
    lower_bound,
    sample_task,
    task_stream,
)

STREAMS = [name for name in TASKS if not name.startswith("rep-")]

TRAINED = {  # published bits per byte of trained Markov models, orders 0 to 5
    "dyck": (1.374, 1.134, 1.134, 0.937, 0.937, 0.890),
    "ndfa": (3.457, 0.666, 0.294, 0.294, 0.294, 0.294),
    "bits": (1.173, 1.169, 1.167, 1.165, 1.163, 1.138),
    "champ": (4.020, 4.182, 4.476, 4.310, 4.104, 4.091),
    "bitsrep": (1.000, 1.000, 1.000, 0.648, 0.624, 0.622),
    "bitsflip": (1.000, 0.995, 0.995, 0.986, 0.986, 0.971),
}


def words(name, length=100_000):
    """The complete words of a stream."""
    return task_stream(name, length, "words").tobytes().decode().split("|")[:-1]


def entropy(probabilities):
    probabilities = np.asarray(probabilities)
    return float(-(probabilities * np.log2(probabilities)).sum())


@cache
def baselines(name, vocab_size=256):
    """Trained on one stream of 100,000 characters, measured on another, over the second half of 500."""
    train, test = task_stream(name, 100_000, "train"), task_stream(name, 150_000, "test")
    if vocab_size < 256:
        alphabet = np.unique(train)
        assert len(alphabet) == vocab_size
        train, test = np.searchsorted(alphabet, train), np.searchsorted(alphabet, test)
    return trained_baselines(train, test.reshape(-1, 500), "second_half", vocab_size=vocab_size)


@pytest.mark.parametrize("block", [1, 3, 10])
def test_repetition(block):
    rows = sample_task(f"rep-{block}", 300, 64, 0)
    assert (rows.shape, rows.dtype) == ((300, 64), np.uint8)
    np.testing.assert_array_equal(rows[:, block:], rows[:, :-block])
    assert len(np.unique(rows[:, :block])) > (1 - math.exp(-300 * block / 256)) * 256 - 15
    assert sample_task(f"rep-{block}", 2, block - 1 or 1, 0).shape == (2, block - 1 or 1)


@pytest.mark.spec("universal_pretraining", "6")
def test_champ_decodes_to_consecutive_integers():
    starts = []
    for word in words("champ", 500_000):
        start = int(word[: -(-len(word) // 256)], 16)  # most integers of a word have as many digits as the longest
        if "".join(f"{start + i:x}" for i in range(256)) != word:
            start = int(word[: len(word) // 256], 16)
        assert "".join(f"{start + i:x}" for i in range(256)) == word
        starts.append(start)
    assert len(starts) > 300
    assert 0 <= min(starts) < 2**20  # uniform: a sixteenth is shorter than six digits
    assert 2**24 * 0.98 < max(starts) <= 2**24 - 257
    assert np.mean(starts) == pytest.approx(2**23, rel=0.15)


@pytest.mark.spec("universal_pretraining", "6")
def test_dyck_words_are_balanced_and_cannot_be_cut():
    for word in words("dyck"):
        depths = np.cumsum([{"(": 1, ")": -1}[character] for character in word])
        assert depths[-1] == 0
        assert (depths[:-1] > 0).all()


def test_dyck_opens_with_probability_seven_sixteenths():
    free = "".join(word[1:] for word in words("dyck"))
    assert free.count("(") / len(free) == pytest.approx(7 / 16, abs=0.007)


@pytest.mark.spec("universal_pretraining", "6")
def test_bits_the_last_twenty_are_a_function_of_the_first_ten():
    drawn = words("bits")
    for word in drawn:
        assert len(word) == 30
        a, b, xor, conjunction, disjunction, equal = (word[i : i + 5] for i in range(0, 30, 5))
        for i in range(5):
            assert (xor[i] == "1") == (a[i] != b[i])
            assert (conjunction[i] == "1") == (a[i] == b[i] == "1")
            assert (disjunction[i] == "1") == ("1" in a[i] + b[i])
            assert (equal[i] == "1") == (a[i] == b[i])
    assert len({word[:10] for word in drawn}) > 900  # of 1024, in 3225 words
    assert len(set(drawn)) == len({word[:10] for word in drawn})


def test_bitsrep_and_bitsflip():
    triples = task_stream("bitsrep", 90_000, 0).reshape(-1, 9)
    np.testing.assert_array_equal(triples[:, 3:], triples[:, :-3])
    assert len(np.unique(triples, axis=0)) == 8
    mirrored = task_stream("bitsflip", 120_000, 0).reshape(-1, 12)
    np.testing.assert_array_equal(mirrored, mirrored[:, ::-1])
    assert len(np.unique(mirrored, axis=0)) == 64
    assert set(np.unique(triples)) == set(np.unique(mirrored)) == set(b"01")


def test_ndfa_repeats_one_of_three_words():
    repeats = []
    for word in words("ndfa"):
        body = word[1:-1]
        assert (word[0], word[-1]) == ("s", "s")
        assert body == body[:4] * (len(body) // 4)
        assert body[:4] in ("", "abc!", "uvw!", "klm!")
        repeats.append(len(body) // 4)
    shares = np.bincount(repeats)[:4] / len(repeats)
    np.testing.assert_allclose(shares, [0.25 * 0.75**n for n in range(4)], atol=0.02)


def test_the_automaton_walks_its_table():
    np.testing.assert_allclose(AUTOMATON_PROBABILITIES.sum(axis=1), 1)
    step = automaton_matrices().sum(axis=0)
    assert (np.linalg.matrix_power(step, 20) > 0).all()  # one class, no period
    stream = task_stream("aut", 100_000, 0) - ord("a")
    forward = np.full(5, 0.2)
    for symbol in stream[:50].tolist():
        forward = forward @ automaton_matrices()[symbol]
        assert forward.sum() > 0
        forward /= forward.sum()
    assert forward.max() > 0.999  # the symbols reveal the state
    state, seen = int(forward.argmax()), np.zeros((5, 3))
    for symbol in stream[50:].tolist():
        seen[state, symbol] += 1
        state = AUTOMATON_NEXT[state, symbol]
    np.testing.assert_allclose(seen / seen.sum(axis=1, keepdims=True), AUTOMATON_PROBABILITIES, atol=0.02)


def automaton_matrices():
    """[symbol, state, next state]: the probability of emitting the symbol and going there."""
    matrices = np.zeros((3, 5, 5))
    for state, symbol in product(range(5), range(3)):
        matrices[symbol, state, AUTOMATON_NEXT[state, symbol]] += AUTOMATON_PROBABILITIES[state, symbol]
    return matrices


def test_rate_of_dyck_from_the_catalan_numbers():
    m = np.arange(1, 20_000)
    log_catalan = np.array([math.lgamma(2 * k - 1) - math.lgamma(k) - math.lgamma(k + 1) for k in m.tolist()])
    log_word = (m - 1) * math.log(7 / 16) + m * math.log(9 / 16)
    share = np.exp(log_catalan + log_word)
    assert share.sum() == pytest.approx(1)
    assert ENTROPY_RATES["dyck"] == pytest.approx((share * -log_word / math.log(2)).sum() / (share @ (2 * m) + 1))


def test_rate_of_ndfa_from_its_words():
    word = [(1 / 4, 2)] + [(1 / 4 * (3 / 4) ** n / 3, 2 + 4 * n) for n in range(1, 400) for _ in range(3)]
    shares, lengths = np.array(word).T
    assert ENTROPY_RATES["ndfa"] == pytest.approx(entropy(shares) / (shares @ lengths + 1))


def test_rate_of_champ_from_all_its_starts():
    digits = np.full(2**24 - 1, 1, dtype=np.int8)
    for power in range(1, 6):
        digits[16**power :] += 1
    total = np.concatenate([np.zeros(1, dtype=np.int32), digits.cumsum(dtype=np.int32)])
    lengths = total[256:] - total[:-256]
    assert len(lengths) == 2**24 - 256
    assert ENTROPY_RATES["champ"] == pytest.approx(math.log2(len(lengths)) / (lengths.mean() + 1))


def test_rates_of_codes_with_equally_likely_words():
    assert ENTROPY_RATES["bits"] == pytest.approx(math.log2(32 * 32) / (30 + 1))
    assert ENTROPY_RATES["bitsrep"] == pytest.approx(math.log2(8) / 9)
    assert ENTROPY_RATES["bitsflip"] == pytest.approx(math.log2(64) / 12)


def test_rate_of_the_automaton_lies_between_its_block_entropies():
    """H(X_n | X_1..n-1, first state) <= rate <= H(X_n | X_1..n-1), for every n; counted over all strings."""
    matrices = automaton_matrices()
    values, vectors = np.linalg.eig(matrices.sum(axis=0).T)
    stationary = vectors[:, values.real.argmax()].real
    forward = np.diag(stationary / stationary.sum())[None]  # [strings, first state, state]
    blocks = []
    for _ in range(10):
        forward = np.concatenate([forward @ matrix for matrix in matrices])
        joint = forward.sum(axis=2)
        blocks.append((entropy(joint.sum(axis=1)), entropy(joint[joint > 0])))
    upper, lower = (blocks[-1][i] - blocks[-2][i] for i in (0, 1))
    assert lower - 1e-9 <= ENTROPY_RATES["aut"] <= upper + 1e-9
    assert upper - lower < 0.03


@pytest.mark.parametrize("name", STREAMS)
def test_no_markov_model_beats_the_rate(name):
    best = min(baselines(name), key=lambda score: score.bits)
    assert best.bits > ENTROPY_RATES[name] - 3 * best.standard_error


@pytest.mark.spec("universal_pretraining", "5")
def test_trained_markov_models_on_dyck():
    assert [score.bits for score in baselines("dyck")[:3]] == pytest.approx([1.37, 1.13, 1.13], abs=0.03)


@pytest.mark.parametrize("name", ["dyck", "ndfa", "bits", "bitsrep", "bitsflip"])
def test_trained_markov_models_need_the_published_bits(name):
    assert [score.bits for score in baselines(name)] == pytest.approx(TRAINED[name], abs=0.025)


def test_on_champ_the_published_models_know_the_alphabet():
    known = baselines("champ", vocab_size=17)
    assert [score.bits for score in known] == pytest.approx(TRAINED["champ"], abs=0.08)
    assert baselines("champ")[5].bits > 7.5  # over all bytes, a context never met costs 8 bits


def test_windows_are_cut_from_the_stream_at_random_places():
    rows = sample_task("aut", 300, 64, 5, "x", stream_length=20_000)
    stream = task_stream("aut", 20_000, 5, "x").tobytes()
    places = np.array([stream.find(row.tobytes()) for row in rows])
    assert places.min() >= 0
    assert places.mean() == pytest.approx(10_000, rel=0.15)
    assert len(np.unique(places)) > 290
    assert rows.dtype == np.uint8
    rows = sample_task("bitsrep", 100, 10, 0, stream_length=11)
    assert len(np.unique(rows, axis=0)) == 2  # both places where ten of eleven fit


@pytest.mark.parametrize("name", TASKS)
def test_equal_keys_give_equal_windows(name):
    rows = sample_task(name, 20, 128, 0, "a", stream_length=5000)
    np.testing.assert_array_equal(rows, sample_task(name, 20, 128, 0, "a", stream_length=5000))
    assert (rows != sample_task(name, 20, 128, 0, "b", stream_length=5000)).any()
    assert rows.shape == (20, 128)


@pytest.mark.parametrize("name", STREAMS)
def test_a_longer_stream_begins_with_the_shorter(name):
    long = task_stream(name, 30_000, 1)
    assert long.shape == (30_000,)
    for length in (100, 777):
        np.testing.assert_array_equal(long[:length], task_stream(name, length, 1))


def test_lower_bounds_by_position():
    assert lower_bound("dyck", 128, "last") == ENTROPY_RATES["dyck"]
    assert lower_bound("rep-10", 128) == pytest.approx(8 * 9 / 127)
    assert lower_bound("rep-1", 128) == lower_bound("rep-10", 128, "second_half") == 0
    assert lower_bound("rep-10", 16, "second_half") == pytest.approx(8 * 2 / 8)  # tokens 8 and 9 of 8..15 are new
    assert lower_bound("rep-10", 8) == lower_bound("rep-10", 8, "last") == 8


@pytest.mark.parametrize("name", ["rep-3", "rep-10"])
def test_in_context_models_respect_the_bound_of_repetition(name):
    rows = sample_task(name, 200, 128, 0)
    best = min(score.bits for score in in_context_baselines(rows))
    assert lower_bound(name, 128) < best < lower_bound(name, 128) + 0.5


def test_wrong_input_is_named():
    with pytest.raises(UserError, match="task is 'dick', but it must be one of rep-1, rep-3, rep-10, champ, dyck"):
        sample_task("dick", 1, 8)
    with pytest.raises(UserError, match="task 'rep-3' draws each window by itself, so it has no stream"):
        task_stream("rep-3", 100)
    with pytest.raises(UserError, match=r"length is 65, but windows of these data have 1\.\.64 bytes"):
        sample_task("dyck", 1, 65, stream_length=64)
