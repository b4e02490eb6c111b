"""A Llama whose first layer adds to each token what stands before it, so that small models look things up early.

    x_t <- x_t + W x_{t-1}

Attention then finds "the word behind this one" in one layer: the keys of a word know their neighbour. In an ordinary
small transformer that takes two layers, which find each other late or not at all. W begins as the identity, and the
keys of all layers begin as their queries, so that a word looks for itself, and for what follows it, from the first step
on. The layer keeps its inputs in the cache as one head of keys, in which a token at position p is in column p.

Not covered: padding on the left in mid-training (the first token would see the embedding of padding).

Shapes: B rows, Q new tokens, C columns of the cache, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


class NeighbourLlamaConfig(LlamaConfig):
    """As for Llama; one of its ``num_hidden_layers`` is the neighbour's."""

    model_type = "tenfold_neighbour_llama"


class NeighbourLayer(nn.Module):
    """Adds a linear map of the token before.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.previous = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden_states: Tensor, position_ids: Tensor | None = None, past_key_values: Any = None, **_: Any
    ) -> Tensor:
        """Map [B, Q, D] to [B, Q, D]; without a cache the tokens are the whole sequence."""
        if past_key_values is None:
            before_BQD = nn.functional.pad(hidden_states, (0, 0, 1, 0))[:, :-1]
        else:
            assert position_ids is not None
            kept, _ = past_key_values.update(hidden_states[:, None], hidden_states[:, None, :, :1], 0)
            positions_BQ = position_ids.expand(hidden_states.shape[:2])
            places_BQD = (positions_BQ - 1).clamp(min=0)[..., None].expand_as(hidden_states)
            before_BQD = kept[:, 0].gather(1, places_BQD) * (positions_BQ > 0)[..., None]
        return hidden_states + self.previous(before_BQD)


class NeighbourLlamaForCausalLM(LlamaForCausalLM):
    """The model; saved and loaded like any other of transformers once this module is imported.

    Example:
        >>> config = NeighbourLlamaConfig(
        ...     vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
        ... )
        >>> model = NeighbourLlamaForCausalLM(config)
        >>> model(torch.zeros(1, 3, dtype=torch.int64)).logits.shape
        torch.Size([1, 3, 9])
    """

    config_class = NeighbourLlamaConfig

    def __init__(self, config: NeighbourLlamaConfig) -> None:
        super().__init__(config)
        self.model.layers[0] = NeighbourLayer(config.hidden_size)
        nn.init.eye_(self.model.layers[0].previous.weight)
        with torch.no_grad():
            for layer in list(self.model.layers)[1:]:
                if layer.self_attn.k_proj.weight.shape == layer.self_attn.q_proj.weight.shape:
                    layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)


AutoConfig.register(NeighbourLlamaConfig.model_type, NeighbourLlamaConfig)
AutoModelForCausalLM.register(NeighbourLlamaConfig, NeighbourLlamaForCausalLM)
