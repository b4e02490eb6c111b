"""Weights of the published re-implementation of DINO-world's predictor (amazon-far/deltatok) by our names.

Its class differs in names alone: keys and values are one linear layer, keys first; heads split into time, across, down
and a rest; rotated pairs are first and second half of each axis; no norm on keys.
"""

from collections.abc import Mapping

from torch import Tensor

from tenfold.core.errors import UserError

_PARTS = {
    "layer_scale1.lambda1": "scale1",
    "layer_scale2.lambda1": "scale2",
    "mlp.up_proj.weight": "up_proj.weight",
    "mlp.up_proj.bias": "up_proj.bias",
    "mlp.down_proj.weight": "down_proj.weight",
    "mlp.down_proj.bias": "down_proj.bias",
}
_OUTER = ("predictor.norm.weight", "predictor.norm.bias", "predictor.head.weight", "predictor.head.bias")


def from_deltatok(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of its predictor as a state of :class:`tenfold.papers.dino_world.method.Predictor`.

    Args:
        state: with ``q_embed.weight`` and ``predictor.*``; other names (the encoder's) are left out.

    Returns:
        For ``load_state_dict`` of a predictor of the same size with ``layer_scale`` and without ``context_proj``.

    Raises:
        UserError: there is no query, or no block.

    Example:
        >>> import torch
        >>> state = {"q_embed.weight": torch.ones(1, 8), "predictor.blocks.0.norm1.weight": torch.ones(8)}
        >>> from_deltatok(state)["query"].shape
        torch.Size([1, 1, 8])
    """
    blocks = {name: value for name, value in state.items() if name.startswith("predictor.blocks.")}
    if "q_embed.weight" not in state or not blocks:
        raise UserError(f"state with {sorted(state)[:3]}: allowed: one with q_embed.weight and predictor.blocks")
    ours = {"query": state["q_embed.weight"][None]}
    for name, value in blocks.items():
        _, _, number, part = name.split(".", 3)
        ours[f"blocks.{number}.{_PARTS.get(part, part)}"] = value
    return ours | {name.removeprefix("predictor."): state[name] for name in _OUTER if name in state}
