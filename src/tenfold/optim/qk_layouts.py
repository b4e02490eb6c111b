"""Where the query and key heads lie in the weights of an attention module, and what scales each head's logits.

A layout lists tensors, each with one factor per entry of one axis (an output row of a projection with its bias, or a
gain of a norm). Rotary embedding is linear, so that for a fixed input of the layer the logits of head h are multiplied
by exactly its factor γ_h:

    multi-head        W_q^h by γ^α, W_k^h by γ^(1-α)
    grouped queries   see :func:`head_factors`; the key head is shared by several query heads
    latent (MLA)      content rows of q by γ^α, of k by γ^(1-α); rotary rows of q by γ, for the rotary key is shared
    normed q and k    the gains instead of the weights, on whose scale a norm does not depend; gains that all heads
                      share can only take the smallest γ

Classes are listed by name, each proven by ``verify_layouts`` in the tests; :func:`register_layout` adds one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from tenfold.core.errors import UserError

GQA_MODES = ("compensated", "q_only", "group")


@dataclass(frozen=True)
class HeadFactors:
    """Factors of the heads of one module.

    Args:
        logits: ``[H]``, what each head's logits are multiplied by.
        query: ``[H]``, on each query head.
        key: ``[K]``, on each key head; the product of the two is ``logits``.
    """

    logits: Tensor
    query: Tensor
    key: Tensor


@dataclass(frozen=True)
class Scaled:
    """A parameter whose entries along ``axis`` are multiplied by ``factors(heads)``, seen from ``centre``.

    With centre 1 it is 1 + w that is multiplied (gains that are stored as their distance from one).
    """

    parameter: nn.Parameter
    axis: int
    factors: Callable[[HeadFactors], Tensor]
    centre: float = 0.0


@dataclass(frozen=True)
class Layout:
    """The heads of an attention module and all that scales their logits.

    Args:
        heads: number of query heads.
        key_heads: number of key heads.
        scaled: the parameters.
        one_factor: all heads take the smallest factor, because they share a gain.
    """

    heads: int
    key_heads: int
    scaled: tuple[Scaled, ...]
    one_factor: bool = False


Attention = Any  # an attention module of transformers; which attributes it has depends on its class
LayoutBuilder = Callable[[Attention], Layout]


def head_factors(gamma: Tensor, layout: Layout, alpha: float = 0.5, gqa: str = "compensated") -> HeadFactors:
    """Split each head's wanted factor over queries and keys.

    Let γ_g be the smallest γ_h of the query heads that share the key head g.

    - ``"compensated"``: key γ_g^(1-α), query γ_h / γ_g^(1-α); every head gets exactly γ_h.
    - ``"q_only"``: query γ_h, key untouched.
    - ``"group"``: query γ_g^α, key γ_g^(1-α); quiet heads of the group shrink too.

    Args:
        gamma: wanted factors ``[H]``, positive.
        layout: of the module.
        alpha: share of the queries, in [0, 1].
        gqa: one of the three modes.

    Example:
        >>> factors = head_factors(torch.tensor([0.25, 1.0]), Layout(heads=2, key_heads=1, scaled=()))
        >>> factors.query.tolist(), factors.key.tolist()
        ([0.5, 2.0], [0.5])
    """
    if layout.one_factor:
        gamma = gamma.amin().expand(layout.heads)
    sharers = layout.heads // layout.key_heads
    smallest = gamma.view(layout.key_heads, sharers).amin(dim=1)
    if gqa == "q_only":
        return HeadFactors(gamma, gamma, torch.ones_like(smallest))
    key = smallest ** (1 - alpha)
    if gqa == "group":
        return HeadFactors(smallest.repeat_interleave(sharers), (smallest**alpha).repeat_interleave(sharers), key)
    return HeadFactors(gamma, gamma / key.repeat_interleave(sharers), key)


@torch.no_grad()
def scale_heads(layout: Layout, factors: HeadFactors, copies: Callable[[nn.Parameter], Tensor | None]) -> None:
    """Multiply all that the layout lists, sharded parameters in their own shards.

    Args:
        layout: of the module.
        factors: of its heads.
        copies: gives a parameter's copy of higher precision, or None; both are scaled.
    """
    for scaled in layout.scaled:
        wanted = scaled.factors(factors).float()
        if bool((wanted == 1).all()):
            continue
        for tensor in (scaled.parameter, copies(scaled.parameter)):
            if tensor is not None:
                _scale(tensor, scaled.axis, wanted, scaled.centre)


def _scale(tensor: Tensor, axis: int, factors: Tensor, centre: float) -> None:
    factors = factors.to(tensor.device).view([-1 if number == axis else 1 for number in range(tensor.ndim)])
    if isinstance(tensor, DTensor):
        placements = [place if place.is_shard(axis) else Replicate() for place in tensor.placements]
        factors = distribute_tensor(factors, tensor.device_mesh, placements, src_data_rank=None).to_local()
        tensor = tensor.to_local()
    if centre:
        tensor.add_((tensor + centre) * (factors - 1))
    else:
        tensor.mul_(factors)


def layout_of(module: nn.Module) -> Layout:
    """The layout of an attention module.

    Raises:
        UserError: for an unknown class, an adapter or a quantised weight, naming it.
    """
    for child_name, child in module.named_modules():
        if any(kind.__module__.split(".")[0] in ("peft", "bitsandbytes") for kind in type(child).__mro__):
            raise UserError(
                f"{child_name or 'module'} of {type(module).__name__} is a {type(child).__name__}: QK-Clip scales "
                "plain weights only; merge adapters, and train unquantised weights"
            )
    if getattr(getattr(module, "config", None), "clip_qkv", None) is not None:
        raise UserError("clip_qkv: queries and keys that are clamped do not scale with their weights")
    for kind in type(module).__mro__:
        if kind.__name__ in _LAYOUTS:
            layout = _LAYOUTS[kind.__name__](module)
            _check_lengths(module, layout)
            return layout
    raise UserError(
        f"{type(module).__name__}: QK-Clip does not know where its heads lie; "
        f"register_layout({type(module).__name__!r}, builder) tells it, and verify_layouts(model) proves it"
    )


def _check_lengths(module: nn.Module, layout: Layout) -> None:
    heads = HeadFactors(torch.ones(layout.heads), torch.ones(layout.heads), torch.ones(layout.key_heads))
    for scaled in layout.scaled:
        wanted, length = scaled.factors(heads).numel(), scaled.parameter.shape[scaled.axis]
        if wanted != length:
            raise UserError(
                f"{type(module).__name__}: QK-Clip expects {wanted} entries along axis {scaled.axis} of a weight that "
                f"has {length}; this form of the module is not known"
            )


def register_layout(class_name: str, builder: LayoutBuilder) -> None:
    """Make a class of attention modules known, such as ``register_layout("MyAttention", separate_projections)``.

    Args:
        class_name: name of the class or of a base class.
        builder: from a module to its :class:`Layout`.
    """
    _LAYOUTS[class_name] = builder


def known_layouts() -> list[str]:
    """Names of the classes of attention modules whose layout is known."""
    return sorted(_LAYOUTS)


def _projection(module: Attention, name: str, factors: Callable[[HeadFactors], Tensor]) -> tuple[Scaled, ...]:
    """Weight and bias of a linear layer, or of GPT-2's transposed one."""
    layer = getattr(module, name)
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    transposed = type(layer).__name__ == "Conv1D"
    foreign = [kind for kind in type(layer).__mro__ if kind.__module__.split(".")[0] not in ("torch", "builtins")]
    plain = isinstance(weight, nn.Parameter) and type(weight) in (nn.Parameter, DTensor) and weight.is_floating_point()
    if not (plain and (transposed or (isinstance(layer, nn.Linear) and not foreign))):
        raise UserError(
            f"{name} of {type(module).__name__} is a {type(layer).__name__} with {type(weight).__name__} weights: "
            "QK-Clip scales plain floating-point nn.Linear and Conv1D weights only"
        )
    assert isinstance(weight, nn.Parameter)
    scaled = (Scaled(weight, 1 if transposed else 0, factors),)
    return scaled if bias is None else (*scaled, Scaled(bias, 0, factors))


def _key_heads(module: Attention) -> int:
    return getattr(module.config, "num_key_value_heads", None) or module.config.num_attention_heads


def _refuse_norms(module: Attention) -> None:
    for name, child in module.named_children():
        if "norm" in name and not isinstance(child, nn.Identity):
            raise UserError(f"{name} of {type(module).__name__}: QK-Clip does not know what it does to queries or keys")


def separate_projections(module: Attention) -> Layout:
    """``q_proj`` and ``k_proj`` with a head's rows together (Llama, Mistral, Qwen2, OPT, …)."""
    _refuse_norms(module)
    width = module.head_dim
    heads, key_heads = module.q_proj.weight.shape[0] // width, module.k_proj.weight.shape[0] // width
    return Layout(
        heads,
        key_heads,
        _projection(module, "q_proj", lambda heads: heads.query.repeat_interleave(width))
        + _projection(module, "k_proj", lambda heads: heads.key.repeat_interleave(width)),
    )


def normed_heads(module: Attention, centre: float = 0.0) -> Layout:
    """``q_norm`` and ``k_norm`` with one gain per entry of a head, shared by all heads (Qwen3, Gemma 3, …)."""
    width = module.head_dim
    return Layout(
        module.config.num_attention_heads,
        _key_heads(module),
        (
            Scaled(module.q_norm.weight, 0, lambda heads: heads.query[:1].expand(width), centre),
            Scaled(module.k_norm.weight, 0, lambda heads: heads.key[:1].expand(width), centre),
        ),
        one_factor=True,
    )


def normed_projections(module: Attention) -> Layout:
    """``q_norm`` and ``k_norm`` over all heads with a gain for each entry of each head (OLMo 2)."""
    width = module.head_dim
    return Layout(
        module.config.num_attention_heads,
        _key_heads(module),
        (
            Scaled(module.q_norm.weight, 0, lambda heads: heads.query.repeat_interleave(width)),
            Scaled(module.k_norm.weight, 0, lambda heads: heads.key.repeat_interleave(width)),
        ),
    )


def fused_projection(module: Attention, name: str = "qkv_proj") -> Layout:
    """One projection with all queries, then all keys, then all values (Phi-3; GPT-2's ``c_attn`` by columns)."""
    _refuse_norms(module)
    width, key_heads = module.head_dim, _key_heads(module)

    def factors(heads: HeadFactors) -> Tensor:
        values = heads.key.new_ones(key_heads * width)
        return torch.cat([heads.query.repeat_interleave(width), heads.key.repeat_interleave(width), values])

    return Layout(module.config.num_attention_heads, key_heads, _projection(module, name, factors))


def alternating_projection(module: Attention, name: str = "query_key_value") -> Layout:
    """One projection with query, key and value of the first head, then of the second, … (GPT-NeoX)."""
    _refuse_norms(module)
    heads = module.config.num_attention_heads
    width = getattr(module, name).weight.shape[0] // (3 * heads)

    def factors(heads: HeadFactors) -> Tensor:
        parts = torch.stack([heads.query, heads.key, torch.ones_like(heads.key)], dim=1)
        return parts.flatten().repeat_interleave(width)

    return Layout(heads, heads, _projection(module, name, factors))


def latent_attention(module: Attention) -> Layout:
    """MLA (DeepSeek-V3, Kimi K2): content and rotary rows of each query head, content rows of each key head."""
    heads = module.config.num_attention_heads
    content, rotary, value = module.qk_nope_head_dim, module.qk_rope_head_dim, module.v_head_dim

    def rows(per_head: Tensor, first: int, rest: Tensor, second: int) -> Tensor:
        return torch.cat([per_head[:, None].expand(-1, first), rest[:, None].expand(-1, second)], dim=1).flatten()

    query = _projection(
        module,
        "q_proj" if module.q_lora_rank is None else "q_b_proj",
        lambda heads: rows(heads.query, content, heads.logits, rotary),
    )
    key = _projection(module, "kv_b_proj", lambda heads: rows(heads.key, content, torch.ones_like(heads.key), value))
    return Layout(heads, heads, query + key)


_SEPARATE = [
    "Arcee",
    "Cohere",
    "Cohere2",
    "Ernie4_5",
    "Ernie4_5_Moe",
    "Gemma",
    "Gemma2",
    "Glm",
    "Glm4",
    "Glm4Moe",
    "GptOss",
    "Granite",
    "GraniteMoe",
    "Helium",
    "Llama",
    "Ministral",
    "Ministral3",
    "Mistral",
    "Mixtral",
    "Nemotron",
    "OPT",
    "Olmo",
    "Phi",
    "Phimoe",
    "Qwen2",
    "Qwen2Moe",
    "SeedOss",
    "SmolLM3",
    "StableLm",
    "Starcoder2",
]

_LAYOUTS: dict[str, LayoutBuilder] = {
    **{f"{name}Attention": separate_projections for name in _SEPARATE},
    **{f"{name}Attention": normed_heads for name in ("Apertus", "Exaone4", "Qwen3", "Qwen3Moe")},
    **{f"{name}Attention": partial(normed_heads, centre=1.0) for name in ("Gemma3", "Qwen3Next")},
    **{f"{name}Attention": normed_projections for name in ("FlexOlmo", "MiniMaxM2", "Olmo2", "Olmo3", "Olmoe")},
    **{
        f"{name}Attention": latent_attention
        for name in ("DeepseekV2", "DeepseekV3", "Glm4MoeLite", "MiniCPM3", "Youtu")
    },
    "GPT2Attention": partial(fused_projection, name="c_attn"),
    "GPTNeoXAttention": alternating_projection,
    "Phi3Attention": fused_projection,
}
