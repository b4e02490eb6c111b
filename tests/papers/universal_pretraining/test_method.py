"""Random LSTM sources: the law of their weights, and generation against ``torch.nn.LSTM`` itself."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from tenfold.core.errors import UserError
from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining import stepping
from tenfold.papers.universal_pretraining.method import RandomLSTM, constant_rows, noise_rows
from tenfold.papers.universal_pretraining.stepping import Stepper, StepWeights, choose

SMALL = RandomLSTM(hidden=24, layers=3, gain=(2.0, 2.0))


def inputs(rows, length, key=0, num_symbols=256):
    generator = torch_generator("inputs", key)
    return noise_rows(rows, 8, num_symbols, generator), noise_rows(rows, length, num_symbols, generator)


def per_token_loop(source, seed_NS, cond_NL, length):
    """What one would write: one call of ``nn.LSTM`` for every token, with its state."""
    rows, state = list(seed_NS.unbind(1)), None
    for t in range(length - 1):
        logits_NV, state = lstm_step(source, state, rows[t], cond_NL[:, t])
        if t + 1 >= seed_NS.shape[1]:
            rows.append(logits_NV.argmax(dim=1))
    return torch.stack(rows, dim=1)


@pytest.fixture(params=["oneDNN", "plain"])
def _products(request, monkeypatch):
    """Generation with and without weights packed by oneDNN."""
    if request.param == "oneDNN" and not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(stepping, "_packs", lambda weight: request.param == "oneDNN" and weight.dtype == torch.float32)


# ------------------------------------------------------------------------------------------------ the same function


@pytest.mark.spec("universal_pretraining", "4")
@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("embed_scale", [1.0, 1e-8])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_passing_states_equals_recomputing_the_whole_text(layers, embed_scale):
    for key in range(2):
        law = replace(SMALL, hidden=64, layers=layers, embed_scale=embed_scale)
        source = law.draw(torch_generator(key))
        seed, cond = inputs(5, 72, key)
        rows = source.generate(seed, cond, 72, torch_generator(0))
        for t in range(8, 72):
            assert torch.equal(source(rows[:, :t], cond[:, :t])[:, -1].argmax(1), rows[:, t]), f"token {t}"
        assert torch.equal(rows[:, :8], seed)


@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize(("gain", "embed_scale"), [(0.8, 1.0), (1.5, 1.0), (2.5, 1.0), (3.5, 1.0), (3.5, 1e-8)])
def test_the_default_sizes_say_the_same_tokens_as_one_lstm_call_per_token(gain, embed_scale):
    """The same but for ties: the two best symbols closer than float32 can tell, about once in half a million tokens."""
    for key in range(3):
        source = RandomLSTM(gain=(gain, gain), embed_scale=embed_scale).draw(torch_generator("source", key))
        seed, cond = inputs(32, 128, key)
        rows, expected = source.generate(seed, cond, 128, torch_generator(0)), per_token_loop(source, seed, cond, 128)
        for ours, theirs, row_cond in zip(rows, expected, cond, strict=True):
            if not torch.equal(ours, theirs):
                t = int((ours != theirs).nonzero()[0])
                best = source(theirs[None, :t], row_cond[None, :t])[0, -1].topk(2)
                assert ours[t] in best.indices and best.values.diff().abs() < 1e-7, f"token {t} is no tie"


@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("gain", [3.5, 6.0, 10.0])
def test_in_chaos_every_step_from_the_same_states_gives_the_same_logits(gain):
    """Free-running, rounding grows from step to step; so each step starts from the states of ``nn.LSTM``."""
    source = RandomLSTM(gain=(gain, gain)).draw(torch_generator("source", str(gain)))
    assert step_error(source, source) < 1e-5


@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("gain", [16.0, 39.0, 150.0])
def test_in_utter_chaos_it_is_the_same_function_and_rounds_no_worse(gain):
    """Four such layers magnify rounding beyond 1e-5 within one step: the same in float64, and as good in float32."""
    source = RandomLSTM(gain=(gain, gain)).draw(torch_generator("source", str(gain)))
    exact = copy.deepcopy(source).double()
    assert step_error(exact, exact) < 1e-10
    assert step_error(source, exact) < 4 * step_error(source, exact, plain=True)


def step_error(source, reference, plain=False):
    """Largest relative error of the logits of ``source`` after a step from states of ``reference``'s ``nn.LSTM``.

    The step is that of ``nn.LSTM`` itself when ``plain``.
    """
    tokens, cond = inputs(16, 48)[1], inputs(16, 48, key=1)[1]
    dtype, stepper, error = source.head.weight.dtype, stepper_of(source, 16), 0.0
    state = tuple(torch.zeros(4, 16, 128, dtype=reference.head.weight.dtype) for _ in range(2))
    for t in range(48):
        pair = tokens[:, t], cond[:, t]
        if plain:
            ours, _ = lstm_step(source, tuple(part.to(dtype) for part in state), *pair)
        else:
            for k, (hidden, cell) in enumerate(zip(*state, strict=True)):
                stepper.hidden[k].copy_(hidden)
                stepper.doubled_cells[k].copy_(2 * cell)
            stepper.advance(*pair)
            ours = stepper.read_out()
        expected, state = lstm_step(reference, state, *pair)
        error = max(error, ((ours - expected).norm(dim=1) / expected.norm(dim=1)).max().item())
    return error


def lstm_step(source, state, token_N, cond_N):
    """Logits and states after one token, by ``nn.LSTM``."""
    x = torch.cat((source.embedding(token_N), source.embedding(cond_N)), dim=1)
    output, state = source.lstm(x[:, None], state)
    return source.head(output[:, 0]), state


def stepper_of(source, num_rows):
    return Stepper(StepWeights.of(source.embedding.weight, source.lstm, source.head), num_rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile warns itself, and takes an error for its own failure
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_compiled_step_says_the_same_tokens(temperature):
    law, (seed, cond) = replace(SMALL, temperature=temperature), inputs(4, 64)
    plain, compiled = (replace(law, compiled=c).sample(seed, cond, 64, torch_generator(0)) for c in (False, True))
    assert torch.equal(plain, compiled)


def test_rows_do_not_influence_each_other():
    source, (seed, cond) = SMALL.draw(torch_generator(0)), inputs(6, 40)
    whole = source.generate(seed, cond, 40, torch_generator(0))
    assert torch.equal(whole[2:4], source.generate(seed[2:4], cond[2:4], 40, torch_generator(0)))


def test_output_depends_on_the_condition_at_earlier_positions_only():
    source, (seed, cond) = SMALL.draw(torch_generator(0)), inputs(64, 40)
    changed = cond.clone()
    changed[:, 20] = (changed[:, 20] + 128) % 256
    one, other = (source.generate(seed, c, 40, torch_generator(0)) for c in (cond, changed))
    assert torch.equal(one[:, :21], other[:, :21])
    assert not torch.equal(one[:, 21:], other[:, 21:])


def test_training_may_use_the_rows():
    rows = SMALL.sample(*inputs(2, 16), 16, torch_generator(0))
    nn.Embedding(256, 4)(rows).sum().backward()


# ------------------------------------------------------------------------------------------------ the law of weights


@pytest.mark.spec("universal_pretraining", "1")
def test_equal_seeds_equal_rows_whatever_the_global_generator():
    law, (seed, cond) = replace(SMALL, temperature=0.7), inputs(3, 32)
    one = law.sample(seed, cond, 32, torch_generator(5))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(one, law.sample(seed, cond, 32, torch_generator(5)))
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"
    assert not torch.equal(one, law.sample(seed, cond, 32, torch_generator(6)))


def test_weights_follow_the_default_initialisation_of_torch():
    """Same largest values and spread as fresh modules, apart from the gain on the LSTM and the embedding's scale."""
    source = RandomLSTM(hidden=96, gain=(3.0, 3.0), embed_scale=1e-3).draw(torch_generator(0))
    torch.manual_seed(0)
    fresh = {"embedding": nn.Embedding(256, 96), "lstm": nn.LSTM(192, 96, 4), "head": nn.Linear(96, 256)}
    scales = {"embedding": 1e-3, "lstm": 3.0, "head": 1.0}
    for part, module in fresh.items():
        for name, weight in module.named_parameters():
            ours = getattr(source, part).get_parameter(name) / scales[part]
            assert ours.shape == weight.shape
            assert ours.std().item() == pytest.approx(weight.std().item(), rel=0.15), (part, name)
            if part != "embedding":
                assert ours.abs().max().item() == pytest.approx(96**-0.5, rel=0.05), (part, name)
                assert ours.abs().max().item() <= 96**-0.5 * (1 + 1e-6)


def test_gain_power_multiplies_that_often():
    """The same draw with m = 1.5 and power 4 is that with m = 1.5 ** 4 and power 1."""
    fourth, once = (
        replace(SMALL, gain=(m, m), gain_power=power).draw(torch_generator(1)) for m, power in ((1.5, 4), (1.5**4, 1))
    )
    assert fourth.gain == pytest.approx(1.5**4)
    for one, other in zip(fourth.parameters(), once.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_gains_are_uniform_in_their_range_and_new_for_every_source():
    law = RandomLSTM(hidden=2, layers=1, gain=(1.0, 3.0))
    gains = torch.tensor([law.draw(torch_generator(key)).gain for key in range(400)])
    assert 1 <= gains.min() < 1.1 and 2.9 < gains.max() <= 3
    assert gains.mean().item() == pytest.approx(2, abs=0.12)  # four standard errors
    assert gains.unique().numel() == 400


def test_head_gain_scales_the_output_layer():
    law = replace(SMALL, head_gain=(0.0, 0.0))
    source = law.draw(torch_generator(0))
    assert source.head.weight.abs().max() == 0 and source.head.bias.abs().max() == 0
    assert source.lstm.weight_hh_l0.abs().max() > 0


@pytest.mark.spec("universal_pretraining", "3")
def test_without_gain_the_output_is_the_largest_output_bias_from_the_first_token_on():
    law = RandomLSTM(hidden=64, gain=(1e-6, 1e-6))
    seed = constant_rows(6, 8, 256, torch_generator(0))
    cond = constant_rows(6, 64, 256, torch_generator(1))
    source = law.draw(torch_generator(2))
    written = source.generate(seed, cond, 64, torch_generator(0))[:, 8:]
    assert (written == source.head.bias.argmax()).all()


# ------------------------------------------------------------------------------------------------------- temperature


def test_symbols_are_chosen_by_the_inverse_of_the_distribution_function():
    probability = torch.tensor([0.1, 0.0, 0.6, 0.3])
    uniform = (torch.arange(1000) + 0.5) / 1000
    chosen = choose(probability.log().expand(1000, 4), uniform)
    assert chosen.bincount(minlength=4).tolist() == [100, 0, 600, 300]
    assert chosen.diff().min() >= 0


def test_a_uniform_number_next_to_one_chooses_a_symbol_that_exists():
    uniform = torch.tensor([0.0, 1 - 2**-24])
    chosen = choose(torch.randn(2, 256, generator=torch_generator(0)), uniform)
    assert chosen[0] == 0 and chosen[1] == 255


def test_a_symbol_without_probability_is_never_chosen():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(2, 3)
    assert choose(logits, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 1]


def test_temperature_goes_from_the_most_probable_symbol_to_noise():
    seed, cond = inputs(8, 64)
    source = replace(SMALL, gain=(1.0, 1.0)).draw(torch_generator(3))
    frozen = source.generate(seed, cond, 64, torch_generator(0))
    written = {}
    for temperature in (1e-4, 1e4):
        source.law = replace(source.law, temperature=temperature)
        written[temperature] = source.generate(seed, cond, 64, torch_generator(0))[:, 8:]
    assert (written[1e-4] == frozen[:, 8:]).double().mean() > 0.9
    assert written[1e4].unique().numel() > 200


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 0}, "hidden = 0: must be at least 1"),
        ({"layers": 0}, "layers = 0"),
        ({"gain": (2.0, 1.0)}, "gain = 2.0, 1.0: must be two finite numbers of 0 or more, the smaller first"),
        ({"gain": (-1.0, 1.0)}, "gain = -1.0"),
        ({"head_gain": (0.0, float("inf"))}, "head_gain"),
        ({"temperature": -1.0}, "temperature = -1.0"),
    ],
)
def test_impossible_laws_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        RandomLSTM(**changes)


@pytest.mark.parametrize(("seed", "cond", "length"), [((2, 0), (2, 9), 9), ((2, 4), (2, 9), 3), ((2, 4), (3, 9), 9)])
def test_seeds_and_conditions_that_do_not_fit_are_refused(seed, cond, length):
    source = SMALL.draw(torch_generator(0))
    with pytest.raises(UserError, match="as many seeds as conditions"):
        source.generate(torch.zeros(seed).long(), torch.zeros(cond).long(), length, torch_generator(0))
