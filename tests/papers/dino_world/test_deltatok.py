"""Weights of the published re-implementation: every one of ours is filled, and the arithmetic is theirs.

``reference`` is their block written from its description, for one head at a time; the original class is not copied.
"""

import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, linear

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.deltatok import from_deltatok
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.settings import PredictorConfig

WIDTH, HEADS, BLOCKS, SIDE, FRAMES = 128, 2, 2, 3, 3


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    shapes = {"q_embed.weight": (1, WIDTH), "predictor.norm.weight": (WIDTH,), "predictor.norm.bias": (WIDTH,)}
    shapes |= {"predictor.head.weight": (WIDTH, WIDTH), "predictor.head.bias": (WIDTH,)}
    for block in range(BLOCKS):
        layers = {"attention.q_proj": (WIDTH, WIDTH), "attention.kv_proj": (2 * WIDTH, WIDTH)}
        layers |= {"attention.out_proj": (WIDTH, WIDTH), "mlp.up_proj": (4 * WIDTH, WIDTH)}
        layers |= {"mlp.down_proj": (WIDTH, 4 * WIDTH), "norm1": (WIDTH,), "norm2": (WIDTH,)}
        for name, shape in layers.items():
            shapes[f"predictor.blocks.{block}.{name}.weight"] = shape
            shapes[f"predictor.blocks.{block}.{name}.bias"] = shape[:1]
        for number in (1, 2):
            shapes[f"predictor.blocks.{block}.layer_scale{number}.lambda1"] = (WIDTH,)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def turned(x, position, dim=WIDTH // HEADS):
    """One head of one token, [64], at (time, across, down): 20 + 20 + 20 numbers turn, 4 do not."""
    part, out = dim // 6, []
    for axis in range(3):
        first, second = x[2 * part * axis : 2 * part * axis + part], x[2 * part * axis + part : 2 * part * (axis + 1)]
        angle = 2 * math.pi * position[axis] / 10 ** torch.linspace(-2, 2, part)
        out += [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()]
    return torch.cat([*out, x[6 * part :]])


def reference(state, context, positions, asked):
    """The answer for one token at ``asked`` from tokens [S, D] at ``positions``."""
    q = state["q_embed.weight"][0]
    for block in range(BLOCKS):
        s = {n.removeprefix(f"predictor.blocks.{block}."): v for n, v in state.items() if f"blocks.{block}." in n}

        def norm(x, name, s=s):
            return layer_norm(x, (WIDTH,), s[f"{name}.weight"], s[f"{name}.bias"])

        def layer(x, name, s=s):
            return linear(x, s[f"{name}.weight"], s[f"{name}.bias"])

        query = layer(norm(q, "norm1"), "attention.q_proj").view(HEADS, -1)
        keys, values = layer(context, "attention.kv_proj").chunk(2, -1)
        mixed = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            turned_keys = torch.stack([turned(k[part], p) for k, p in zip(keys, positions, strict=True)])
            scores = turned_keys @ turned(query[head], asked) / math.sqrt(WIDTH // HEADS)
            mixed.append(scores.softmax(0) @ values[:, part])
        q = q + s["layer_scale1.lambda1"] * layer(torch.cat(mixed), "attention.out_proj")
        q = q + s["layer_scale2.lambda1"] * layer(gelu(layer(norm(q, "norm2"), "mlp.up_proj")), "mlp.down_proj")
    q = layer_norm(q, (WIDTH,), state["predictor.norm.weight"], state["predictor.norm.bias"])
    return linear(q, state["predictor.head.weight"], state["predictor.head.bias"])


def test_converted_weights_give_the_answers_of_the_description(state):
    model = Predictor(PredictorConfig(blocks=BLOCKS, width=WIDTH, heads=HEADS), dim=WIDTH)
    model.load_state_dict(from_deltatok(state | {"encoder.anything": torch.zeros(1)}))
    x = torch.randn(1, FRAMES, SIDE, SIDE, WIDTH, generator=torch.Generator().manual_seed(1))
    tau = torch.tensor([[0.0, 0.1, 0.3]])
    with torch.no_grad():
        ours = model.predict(x, tau, torch.tensor([[0.5]]))[0, 0]
        grid = torch.linspace(-1, 1, SIDE).tolist()
        positions = [(time, across, down) for time in tau[0].tolist() for down in grid for across in grid]
        for row in range(SIDE):
            for column in range(SIDE):
                theirs = reference(state, x.view(-1, WIDTH), positions, (0.5, grid[column], grid[row]))
                assert torch.allclose(ours[row, column], theirs, atol=2e-5)


def test_another_state_is_refused():
    with pytest.raises(UserError, match="allowed: one with q_embed"):
        from_deltatok({"weight": torch.zeros(1)})
