"""One segment of the recursive reasoner: sizes, numbers, and the path that the gradient takes."""

import math

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.models.stablemax import stablemax_cross_entropy
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.method import (
    Block,
    Latents,
    RecursiveReasoner,
    num_parameters,
)

ALL_KINDS = ("hrm", "trm", "urm", "plain")


def on_paper(config):
    """A model that has shapes and no memory."""
    with torch.device("meta"):
        return RecursiveReasoner(config)


# ---------------------------------------------------------------------------------------------- sizes and shapes


@pytest.mark.spec("hrm", "1")
@pytest.mark.parametrize(
    ("task", "count"),
    [("sudoku-extreme", 27_275_266), ("arc-1", 27_276_290), ("arc-2", 27_276_290), ("maze-hard", 27_270_146)],
)
def test_published_hrm_has_exactly_the_published_number_of_parameters(task, count):
    assert num_parameters(on_paper(presets.paper(task).arms.hrm)) == count


@pytest.mark.spec("hrm", "1")
@pytest.mark.parametrize(
    ("mixer", "positions", "count"), [("attention", "rope", 6_828_034), ("mlp", "none", 5_028_866)]
)
def test_published_trm_has_exactly_the_published_number_of_parameters(mixer, positions, count):
    config = ReasonerConfig(
        kind="trm",
        mixer=mixer,
        positions=positions,
        layers=2,
        H_cycles=3,
        L_cycles=6,
        gradient="last_cycle",
        prefix_tokens=16,
        q_continue=False,
    )
    assert (config.vocab_size, config.sequence_length) == (11, 81)
    assert num_parameters(on_paper(config)) == count
    if mixer == "mlp":
        assert presets.paper("sudoku-extreme").arms.trm == config


@pytest.mark.parametrize("preset", ["smoke", "laptop", "gpu", "paper"])
def test_feed_forward_arm_has_the_size_of_hrm_and_trm_about_half(preset):
    arms = getattr(presets, preset)().arms
    hrm, plain, trm = (num_parameters(on_paper(model)) for model in (arms.hrm, arms.plain, arms.trm))
    assert plain == hrm
    assert trm < 0.6 * hrm


@pytest.mark.spec("hrm", "2")
@pytest.mark.parametrize("mixer", ["attention", "mlp"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_shapes_and_dtypes(kind, mixer, make_model, make_rows):
    model = make_model(kind, mixer=mixer, prefix_tokens=3)
    B, L, V, S, D = 2, 16, 6, 19, 16
    inputs, _, puzzles = make_rows(model, B)
    output = model(model.initial_latents(B), inputs, puzzles)
    assert output.logits.shape == (B, L, V)
    assert output.q_halt.shape == output.q_continue.shape == (B,)
    assert output.latents.z_H.shape == output.latents.z_L.shape == (B, S, D)
    assert output.q_halt.dtype == output.q_continue.dtype == torch.float32


@pytest.mark.spec("hrm", "2")
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_bfloat16_forward_stays_near_float32_and_trains_float32_weights(kind, make_model, make_rows):
    wide, half = make_model(kind), make_model(kind, dtype=torch.bfloat16)
    inputs, labels, puzzles = make_rows(wide, 3)
    expected = wide(wide.initial_latents(3), inputs, puzzles)
    output = half(half.initial_latents(3), inputs, puzzles)
    assert output.logits.dtype == output.latents.z_H.dtype == output.latents.z_L.dtype == torch.bfloat16
    assert output.q_halt.dtype == output.q_continue.dtype == torch.float32
    torch.testing.assert_close(output.logits.float(), expected.logits, atol=0.2, rtol=0.05)
    (stablemax_cross_entropy(output.logits, labels).sum() + output.q_halt.sum()).backward()
    gradients = [parameter.grad for parameter in half.parameters()]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


# ----------------------------------------------------------------------------------------------- start and norms


@pytest.mark.spec("hrm", "5")
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_fresh_q_values_are_exactly_minus_five_for_any_input(kind, make_model, make_rows, random_latents):
    model = make_model(kind, fresh=True)
    inputs, _, puzzles = make_rows(model, 4)
    for latents in (model.initial_latents(4), random_latents(model, 4, scale=10)):
        output = model(latents, inputs, puzzles)
        assert output.q_halt.tolist() == output.q_continue.tolist() == [-5.0] * 4


def test_initial_states_are_two_fixed_vectors_that_no_optimizer_sees(make_model):
    model = make_model("hrm", fresh=True, hidden_size=512, puzzle_embedding_size=512)
    z_H, z_L = model.initial_latents(3)
    assert (z_H == z_H[0, 0]).all() and (z_L == z_L[0, 0]).all() and not torch.equal(z_H, z_L)
    assert z_H[0, 0].std().item() == pytest.approx(1, abs=0.1)
    names = dict(model.named_parameters())
    assert "initial_z_H" not in names and "initial_z_L" not in names
    assert {"initial_z_H", "initial_z_L"} <= set(model.state_dict())
    assert not model.puzzle_embedding.weight.any()


@pytest.mark.spec("hrm", "6")
@pytest.mark.parametrize("mixer", ["attention", "mlp"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_every_output_has_unit_root_mean_square_per_token(mixer, scale, make_model, make_rows, random_latents):
    model = make_model("hrm", mixer=mixer, layers=2)
    seen = []
    for module in (model.f_H, model.f_L, *model.f_H.blocks, *model.f_L.blocks):
        module.register_forward_hook(lambda module, arguments, output: seen.append(output))
    inputs, _, puzzles = make_rows(model, 3)
    model(random_latents(model, 3, scale), inputs, puzzles)
    assert len(seen) == 3 * (2 + 4), "f_H twice and f_L four times, each with two blocks"
    for output in seen:
        deviation = (output.square().mean(-1).sqrt() - 1).abs().max().item()
        assert deviation < 1e-3


# -------------------------------------------------------------------------------------------- the numbers by hand


def rms(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def swiglu(layer, x):
    gate, up = (x @ layer.gate_up.weight.T).chunk(2, -1)
    return (gate * torch.sigmoid(gate) * up) @ layer.down.weight.T


def test_block_is_post_norm_with_attention(make_config):
    torch.manual_seed(0)
    block = Block(make_config("hrm", positions="none"), None).double()
    x = torch.randn(2, 17, 16, dtype=torch.float64)
    hidden = rms(x + block.mixer(x))
    torch.testing.assert_close(block(x), rms(hidden + swiglu(block.feed_forward, hidden)))


def test_block_with_mlp_mixes_positions_and_normalises_over_them(make_config):
    torch.manual_seed(0)
    block = Block(make_config("hrm", mixer="mlp"), None).double()
    x = torch.randn(2, 17, 16, dtype=torch.float64)
    across = x.transpose(1, 2)
    hidden = rms(across + swiglu(block.mixer, across)).transpose(1, 2)
    torch.testing.assert_close(block(x), rms(hidden + swiglu(block.feed_forward, hidden)))


def test_embedding_is_the_padded_puzzle_row_then_tokens_times_the_root_of_the_width(make_model, make_rows):
    model = make_model("hrm", prefix_tokens=3, puzzle_embedding_size=20)
    inputs, _, puzzles = make_rows(model, 2)
    row = torch.zeros(2, 48)
    row[:, :20] = model.puzzle_embedding.weight[puzzles]
    expected = math.sqrt(16) * torch.cat((row.view(2, 3, 16), model.token_embedding.weight[inputs]), dim=1)
    torch.testing.assert_close(model.embed(inputs, puzzles), expected)


def test_learned_positions_are_added_at_equal_variance_and_replace_rotation(make_model, make_rows):
    model = make_model("hrm", positions="learned")
    plain = make_model("hrm", positions="none")
    plain.load_state_dict(model.state_dict(), strict=False)
    inputs, _, puzzles = make_rows(model, 2)
    expected = (plain.embed(inputs, puzzles) + 4 * model.position_embedding) / math.sqrt(2)
    torch.testing.assert_close(model.embed(inputs, puzzles), expected)
    assert model.f_H.blocks[0].mixer.rotary is None
    assert make_model("hrm", positions="rope").f_H.blocks[0].mixer.rotary is not None


def test_embedded_tokens_start_with_unit_variance(make_model):
    model = make_model("hrm", fresh=True, hidden_size=256, vocab_size=200, puzzle_embedding_size=256)
    e = model.embed(torch.arange(192).view(12, 16), torch.zeros(12, dtype=torch.long))
    assert e[:, 1:].std().item() == pytest.approx(1, rel=0.02)
    assert not e[:, 0].any(), "the puzzle table starts at zero"


def test_segment_of_hrm_is_the_published_order_of_updates(make_model, make_rows, random_latents):
    model = make_model("hrm", H_cycles=2, L_cycles=2)
    inputs, _, puzzles = make_rows(model, 3)
    e, (z_H, z_L) = model.embed(inputs, puzzles), random_latents(model, 3)
    for _ in range(2):
        for _ in range(2):
            z_L = model.f_L(z_L, z_H + e)
        z_H = model.f_H(z_H, z_L)
    output = model(random_latents(model, 3), inputs, puzzles)
    torch.testing.assert_close(output.latents, Latents(z_H, z_L))
    torch.testing.assert_close(output.logits, z_H[:, 1:] @ model.answer_head.weight.T)
    q = z_H[:, 0] @ model.q_head.weight.T + model.q_head.bias
    torch.testing.assert_close(torch.stack((output.q_halt, output.q_continue), -1), q)


def test_segment_of_trm_uses_one_network_for_both_states(make_model, make_rows, random_latents):
    model = make_model("trm", H_cycles=2, L_cycles=3)
    inputs, _, puzzles = make_rows(model, 3)
    e, (z_H, z_L) = model.embed(inputs, puzzles), random_latents(model, 3)
    for _ in range(2):
        for _ in range(3):
            z_L = model.f_H(z_L, z_H + e)
        z_H = model.f_H(z_H, z_L)
    assert not hasattr(model, "f_L")
    torch.testing.assert_close(model(random_latents(model, 3), inputs, puzzles).latents, Latents(z_H, z_L))


def test_segment_of_urm_repeats_one_network_on_one_state(make_model, make_rows, random_latents):
    model = make_model("urm", H_cycles=2, L_cycles=3)
    inputs, _, puzzles = make_rows(model, 3)
    e, (z_H, z_L) = model.embed(inputs, puzzles), random_latents(model, 3)
    for _ in range(6):
        z_H = model.f_H(z_H, e)
    assert model.f_H.blocks[0].feed_forward.convolution is not None
    torch.testing.assert_close(model(random_latents(model, 3), inputs, puzzles).latents, Latents(z_H, z_L))


def test_plain_passes_both_networks_once_and_ignores_the_states(make_model, make_rows, random_latents):
    model = make_model("plain")
    inputs, _, puzzles = make_rows(model, 3)
    logits = [model(random_latents(model, 3, seed=seed), inputs, puzzles).logits for seed in (1, 2)]
    assert torch.equal(*logits)
    x = model.embed(inputs, puzzles)
    for block in (*model.f_L.blocks, *model.f_H.blocks):
        x = block(x)
    torch.testing.assert_close(logits[0], x[:, 1:] @ model.answer_head.weight.T)


def test_reasoning_module_adds_the_injection_once_before_its_blocks(make_model, random_latents):
    model = make_model("hrm", layers=2)
    state, injection = random_latents(model, 2)
    first, second = model.f_H.blocks
    torch.testing.assert_close(model.f_H(state, injection), second(first(state + injection)))


@pytest.mark.spec("hrm", "17")
@pytest.mark.parametrize("mixer", ["attention", "mlp"])
def test_rows_of_a_batch_do_not_see_each_other(mixer, make_model, make_rows, random_latents):
    model = make_model("hrm", mixer=mixer)
    inputs, _, puzzles = make_rows(model, 4)
    latents, order = random_latents(model, 4), torch.tensor([2, 0, 3, 1])
    output = model(latents, inputs, puzzles)
    permuted = model(Latents(*(z[order] for z in latents)), inputs[order], puzzles[order])
    torch.testing.assert_close(permuted.logits, output.logits[order])
    torch.testing.assert_close(permuted.latents.z_L, output.latents.z_L[order])
    torch.testing.assert_close(permuted.q_halt, output.q_halt[order])
    latents.z_H[1] = torch.nan  # a broken neighbour
    spoilt = model(latents, inputs, puzzles)
    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(spoilt.logits[others], output.logits[others])
    assert spoilt.logits[1].isnan().all()


# --------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"halt_max_steps": 0}, "halt_max_steps = 0"),
        ({"H_cycles": 0}, "H_cycles = 0"),
        ({"L_cycles": -1}, "L_cycles = -1"),
        ({"layers": 0}, "layers = 0"),
        ({"halt_exploration": 1.5}, "halt_exploration = 1.5"),
        ({"puzzle_embedding_size": 17}, "puzzle_embedding_size = 17.*= 16"),
        ({"num_heads": 3}, "num_heads = 3: must divide hidden_size = 16"),
    ],
)
def test_impossible_models_are_refused_by_name(changes, message, make_config):
    with pytest.raises(UserError, match=message):
        make_config("hrm", **changes)


def test_an_unknown_task_is_refused_by_name():
    with pytest.raises(UserError, match=r"task = 'chess'.*sudoku-extreme"):
        presets.paper("chess")
