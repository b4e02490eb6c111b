"""Noise, independent draws, automata and transformers: each against the law that it is said to have."""

import math

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining.method import NUM_SYMBOLS, noise_rows
from tenfold.papers.universal_pretraining.other_sources import (
    Automata,
    PointwiseDirichlet,
    RandomAutomaton,
    RandomTransformer,
    Uniform,
)

SOURCES = {
    "uniform": Uniform(),
    "pointwise": PointwiseDirichlet(),
    "automaton": RandomAutomaton(),
    "automaton, geometric": RandomAutomaton(go_on=0.9),
    "transformer": RandomTransformer(width=16, layers=1, heads=2),
    "transformer, warm": RandomTransformer(width=16, layers=1, heads=2, temperature=1.0),
}


def sample(source, rows=8, length=40, key=0):
    cond = noise_rows(rows, length, 256, torch_generator("condition"))
    return source.sample(cond[:, :8], cond, length, torch_generator("source", key))


@pytest.mark.spec("universal_pretraining", "1")
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_equal_generators_equal_rows_of_symbols(source):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    rows = sample(source)
    assert rows.shape == (8, 40) and rows.dtype == torch.int64
    assert rows.min() >= 0 and rows.max() < NUM_SYMBOLS
    assert torch.equal(rows, sample(source)) and not torch.equal(rows, sample(source, key=1))
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"


def test_uniform_noise_has_no_structure():
    counts = sample(Uniform(), rows=64, length=512).flatten().bincount(minlength=256).double()
    expected = 64 * 512 / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 4 * math.sqrt(2 * 255)


# ---------------------------------------------------------------------------------------------------------- pointwise


def test_rows_use_from_least_to_most_symbols_each_a_random_subset():
    source = PointwiseDirichlet(active=(3, 6), concentration=(50.0, 50.0))  # nearly uniform: all active ones occur
    used = [set(row.tolist()) for row in sample(source, rows=200, length=256)]
    assert {len(symbols) for symbols in used} == {3, 4, 5, 6}
    assert len(set.union(*used)) > 200


@pytest.mark.parametrize("concentration", [0.05, 1.0, 4.0])
def test_probabilities_have_the_moments_of_the_dirichlet(concentration):
    """Mean 1 / A and variance (A - 1) / (A² (A c + 1)) for A symbols of concentration c."""
    A, rows = 5, 4000
    source = PointwiseDirichlet(active=(A, A), concentration=(concentration, concentration))
    probability = source.draw(rows, torch_generator(0))
    assert probability.sum(dim=1) == pytest.approx(1)
    variance = (A - 1) / (A**2 * (A * concentration + 1))
    assert probability.mean(dim=0) == pytest.approx(1 / A, abs=5 * (variance / rows) ** 0.5)
    assert probability.var(dim=0) == pytest.approx(variance, rel=0.15)


def test_tokens_follow_the_probabilities_of_their_row():
    source = PointwiseDirichlet(active=(4, 4), concentration=(1.0, 1.0))
    length = 20_000
    probability = source.draw(3, torch_generator("source", 0))  # the first draw of the same generator
    for row, expected in zip(sample(source, rows=3, length=length), probability, strict=True):
        shares = row.bincount(minlength=256).double().sort(descending=True).values[:4] / length
        assert shares == pytest.approx(expected.sort(descending=True).values, abs=0.02)


def test_concentration_is_log_uniform():
    """At a high concentration c of two symbols the variance is 1 / (4 (2c + 1)): its median tells that of c."""
    source = PointwiseDirichlet(active=(2, 2), concentration=(0.01, 100.0))
    largest = source.draw(4000, torch_generator(0)).max(dim=1).values
    assert 0.2 < (largest > 0.99).double().mean() < 0.5, "small concentrations are as common as large ones"
    assert 0.15 < (largest < 0.6).double().mean() < 0.5


# ---------------------------------------------------------------------------------------------------------- automata


def test_a_walk_by_hand():
    """0 -a-> 1, 0 -b-> 0; 1 has the one edge back: uniform numbers below one half take the first edge of state 0."""
    edges = torch.tensor([[[True, True], [True, False]]])
    symbols = torch.tensor([[[98, 97], [99, 0]]])
    uniform = torch.tensor([0.6, 0.9, 0.1, 0.6, 0.0, 0.49])[:, None]
    assert bytes(Automata(edges, symbols).walk(uniform)[0].tolist()) == b"acbacb"


def test_each_row_walks_its_own_automaton():
    automata = RandomAutomaton().draw(20, torch_generator(0))
    uniform = torch.rand(50, 20, generator=torch_generator(1))
    together = automata.walk(uniform)
    for row in range(20):
        alone = Automata(automata.edges[row : row + 1], automata.symbols[row : row + 1])
        assert torch.equal(alone.walk(uniform[:, row : row + 1])[0], together[row])


def test_walks_follow_edges_and_choose_among_them_evenly():
    automata = RandomAutomaton(states=(4, 4), symbols=(24, 24)).draw(30, torch_generator(2))
    uniform = torch.rand(400, 30, generator=torch_generator(3))
    rows = automata.walk(uniform)
    for edges, symbols, row in zip(automata.edges, automata.symbols, rows, strict=True):
        possible = {0}
        for symbol in row.tolist():
            moves = edges & (symbols == symbol)
            possible = {j for i in possible for j in moves[i].nonzero().flatten().tolist()}
            assert possible, "no edge says this symbol"
    full = Automata(torch.ones(1, 1, 1, dtype=torch.bool).expand(1, 3, 3), torch.tensor([[[5, 6, 7]] * 3]))
    counts = full.walk(torch.rand(9000, 1, generator=torch_generator(4)))[0].bincount(minlength=8)[5:]
    assert counts == pytest.approx([3000] * 3, abs=4 * (9000 * 2 / 9) ** 0.5)


def test_the_largest_uniform_number_chooses_an_edge_that_exists():
    for states in range(1, 90):
        edges = torch.ones(1, states, states, dtype=torch.bool)
        said = Automata(edges, torch.arange(states).expand(1, states, states)).walk(torch.full((2, 1), 1 - 2**-24))
        assert said.tolist() == [[states - 1] * 2]


def test_edges_are_there_with_a_probability_of_each_automaton_and_ends_say_the_first_symbol():
    automata = RandomAutomaton(states=(10, 10)).draw(500, torch_generator(0))
    density = automata.edges.double().mean(dim=(1, 2))
    assert density.mean() == pytest.approx(0.5, abs=0.07)
    assert density.std() == pytest.approx(12**-0.5, rel=0.15), "uniform, not one half for all"
    assert automata.edges.any(dim=2).all(), "nowhere is an end"
    sparse = automata.edges[density < 0.15]
    only_first = (sparse.sum(dim=2) == 1) & sparse[:, :, 0]
    assert only_first.double().mean() > 0.3, "ends go back to the first state"


def test_states_that_a_smaller_automaton_lacks_are_never_reached():
    automata = RandomAutomaton(states=(2, 12), symbols=(2, 2)).draw(300, torch_generator(5))
    reached = torch.zeros(300, 12, dtype=torch.bool)
    reached[:, 0] = True
    for _ in range(12):
        reached |= (automata.edges & reached[:, :, None]).any(dim=1)
    sizes = reached.sum(dim=1).bincount(minlength=13)
    assert sizes[12] < 100 and sizes[2:12].min() > 0
    assert all(row.unique().numel() <= 2 for row in automata.walk(torch.rand(99, 300, generator=torch_generator(6))))


def test_geometric_counts_go_on_with_the_given_chance():
    automata = RandomAutomaton(go_on=0.9).draw(2000, torch_generator(0))
    linked = automata.edges.any(dim=1) | automata.edges.any(dim=2)
    source = RandomAutomaton(go_on=0.9)
    counts = source._count((2, 12), 4000, torch_generator(1)).double()
    assert counts.min() == 1
    assert counts.mean() == pytest.approx(10, abs=4 * 90**0.5 / 4000**0.5)
    assert (counts > 1).double().mean() == pytest.approx(0.9, abs=0.03)
    assert linked.shape[1] > 40, "some are large"
    assert (RandomAutomaton(go_on=0.0)._count((2, 12), 9, torch_generator(1)) == 1).all()


# ------------------------------------------------------------------------------------------------------- transformer


def test_the_transformer_is_causal_and_reads_the_condition():
    source = RandomTransformer(width=32, layers=2, heads=4).draw(32, torch_generator(0))
    tokens = noise_rows(4, 32, 256, torch_generator(1))
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 256
    one, other = source(tokens), source(changed)
    torch.testing.assert_close(one[:, :20], other[:, :20])
    assert (one[:, 20:] - other[:, 20:]).abs().amax(dim=2).min() > 0, "every later position sees the change"


def test_gain_scales_the_matrices_of_the_blocks():
    def spread(gain):
        source = RandomTransformer(width=64, layers=1, heads=4, gain=(gain, gain)).draw(8, torch_generator(0))
        block = source.blocks[0]
        matrices = block.self_attn.in_proj_weight, block.linear1.weight, block.linear2.weight
        return [weight.std().item() * weight.shape[1] ** 0.5 for weight in matrices], source.embedding.weight.std()

    assert spread(1.0)[0] == pytest.approx([1.0] * 3, rel=0.05)
    assert spread(3.0)[0] == pytest.approx([3.0] * 3, rel=0.05)
    assert spread(1.0)[1] == spread(3.0)[1] == pytest.approx(1, rel=0.05)


def test_tokens_are_kept_where_the_mask_is_not_positive():
    law = RandomTransformer(width=32, layers=2, heads=4)
    cond = noise_rows(16, 64, 256, torch_generator(1))
    rows = law.sample(cond[:, :8], cond, 64, torch_generator(0))
    logits = law.draw(64, torch_generator(0))(cond)
    masked = logits[..., 0] > 0
    assert 0 < masked.double().mean() < 1
    assert torch.equal(rows[~masked], cond[~masked])
    assert torch.equal(rows[masked], logits[masked][:, 1:].argmax(dim=1))


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointwiseDirichlet(active=(0, 4)), "active = 0, 4: must be two numbers from 1 to 256"),
        (lambda: PointwiseDirichlet(active=(5, 4)), "the smaller first"),
        (lambda: PointwiseDirichlet(active=(2, 300)), "active = 2, 300"),
        (lambda: PointwiseDirichlet(concentration=(0.0, 1.0)), "concentration = 0.0, 1.0"),
        (lambda: RandomAutomaton(states=(0, 1)), "states = 0, 1"),
        (lambda: RandomAutomaton(symbols=(2, 257)), "symbols = 2, 257"),
        (lambda: RandomAutomaton(go_on=1.0), "go_on = 1.0: must be at least 0 and less than 1"),
        (lambda: RandomTransformer(width=10, heads=4), "heads = 4: must divide width = 10"),
        (lambda: RandomTransformer(gain=(2.0, 1.0)), "gain = 2.0, 1.0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
