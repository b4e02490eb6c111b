"""How large a model is, and what training it takes of a device, without loading its weights.

What is counted: weights, gradients and AdamW's two moments, a frozen reference, and the keys and values of the rows
that are sampled at the same time. What is not: activations, which ``gradient_checkpointing`` and
``gradient_accumulation`` bound, and what the libraries take. So a number is the least that is needed.
"""

from dataclasses import dataclass
from math import nan
from pathlib import Path

from tenfold.policies.adapters import CONFIG, base_of

BYTES_PER_PARAMETER = 16.0
"""Of fine-tuning with AdamW in float32: the weight, its gradient and two moments."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on.

    Args:
        parameters: trained numbers, shared ones counted once.
        layers: of attention.
        key_heads: of a layer.
        head_size: numbers of a key, and of a value.
        width: of the residual stream.
    """

    parameters: float
    layers: int
    key_heads: int
    head_size: int
    width: int

    def cache_bytes(self, number_bytes: float) -> float:
        """Keys and values of a token.

        Example:
            >>> ModelShape(7.6e9, layers=28, key_heads=4, head_size=128, width=3584).cache_bytes(2)
            57344
        """
        return 2 * self.layers * self.key_heads * self.head_size * number_bytes


PUBLISHED = {
    "smollm2-135m": ModelShape(134.5e6, 30, 3, 64, 576),
    "Qwen/Qwen2.5-1.5B-Instruct": ModelShape(1.54e9, 28, 2, 128, 1536),
    "Qwen/Qwen2.5-7B": ModelShape(7.62e9, 28, 4, 128, 3584),
    "Qwen/Qwen2.5-14B": ModelShape(14.8e9, 48, 8, 128, 5120),
    "Qwen/Qwen2.5-32B-Instruct": ModelShape(32.8e9, 64, 8, 128, 5120),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": ModelShape(1.78e9, 28, 2, 128, 1536),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": ModelShape(32.8e9, 64, 8, 128, 5120),
}
"""Shapes of the models that presets name, from their published configurations: none is asked for on the hub."""


def estimate_of_model(
    model: str,
    *,
    dtype: str = "float32",
    rows: int = 0,
    tokens: int = 0,
    cache_dtype: str = "",
    adapters: bool = False,
    reference: bool = False,
) -> dict[str, float]:
    """Size and memory of a model that ``from_pretrained`` loads and a trainer trains, for the estimates of recipes.

    Args:
        model: a folder with a ``config.json``, or one of :data:`PUBLISHED`. Of anything else nothing is known.
        dtype: of the weights; gradients and moments have it too.
        rows: sampled at the same time.
        tokens: of the longest of them.
        cache_dtype: of keys and values; ``dtype`` by default.
        adapters: they alone are trained, and take next to nothing.
        reference: a frozen copy is kept.

    Returns:
        ``parameters``, ``memory_bytes`` on each device, and ``seconds``, which nobody knows; NaN where unknown.

    Example:
        >>> estimate_of_model("someone/on-the-hub")["parameters"]
        nan
        >>> round(estimate_of_model("Qwen/Qwen2.5-7B")["memory_bytes"] / 1e9)  # all weights, AdamW in float32
        122
        >>> round(estimate_of_model("Qwen/Qwen2.5-7B", dtype="bfloat16", rows=64, tokens=4096)["memory_bytes"] / 1e9)
        76
    """
    shape = shape_of(model)
    if shape is None:
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    number_bytes = BYTES_OF[dtype]
    copies = 1.0 if adapters else BYTES_PER_PARAMETER / BYTES_OF["float32"] + reference
    cache = rows * tokens * shape.cache_bytes(BYTES_OF[cache_dtype or dtype])
    return {
        "parameters": shape.parameters,
        "memory_bytes": shape.parameters * number_bytes * copies + cache,
        "seconds": nan,
    }


BYTES_OF = {"float32": 4, "bfloat16": 2}


def shape_of(model: str) -> ModelShape | None:
    """The shape of a published model or of one on disk; nothing is known of another."""
    if model in PUBLISHED:
        return PUBLISHED[model]
    seen: tuple[str, ...] = ()
    while (Path(model) / CONFIG).is_file():  # adapters are next to nothing: the size is that of what they belong to
        model, seen = base_of(model, seen), (*seen, model)
    if not (Path(model) / "config.json").is_file():
        return None
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = AutoConfig.from_pretrained(model)
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(whole).parameters())
    config = whole.get_text_config(decoder=True)
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    return ModelShape(float(parameters), config.num_hidden_layers, key_heads, head_size, config.hidden_size)
