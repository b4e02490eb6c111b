"""Sorts a model's parameters into matrices for Muon and the rest for AdamW ("Muon is Scalable for LLM Training", 2.2).

AdamW takes embeddings, the head (once, where it is tied to them), tables of positions or tokens, all vectors, and
depthwise convolutions. Everything else is made of matrices: projections, stacks of experts, routers, and kernels as
``[out, rest]``. Weight decay is for all of them, the gains of norms included, which the paper found important for
stability.
"""

from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.optim.matrix_blocks import BlockSpec

# How queries, keys and values lie in a fused projection, by the class of its module.
ONE_AFTER_THE_OTHER = {"GPT2Attention", "ImageGPTAttention", "Phi3Attention", "Phi4MultimodalAttention"}
HEAD_BY_HEAD = {"BloomAttention", "GPTNeoXAttention", "PersimmonAttention"}
TABLES = ("embed", "token", "table")  # in the names of parameters that are rows to look up, but no nn.Embedding
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def muon_param_groups(
    model: nn.Module,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    *,
    exclude: Iterable[str] = (),
    block_specs: str = "auto",
    per_head: bool = False,
) -> list[dict[str, Any]]:
    """Parameter groups for :class:`tenfold.optim.Muon`.

    Args:
        model: any module; fused projections are recognised by the names that transformers gives them.
        lr: learning rate of all groups.
        weight_decay: of all groups.
        exclude: patterns (``*`` and ``?``) of names of matrices that AdamW shall take, such as ``"*.gate.weight"``
            for the routers.
        block_specs: ``"auto"`` treats each part of a fused projection (gate and up; queries, keys and values) as a
            matrix of its own, where the class of its module is known or is none of transformers'; ``"none"`` takes
            each weight as one matrix.
        per_head: treat each head's rows of ``q_proj``, ``k_proj`` and ``v_proj`` as a matrix of their own.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay``, ``algorithm`` and, for Muon, ``blocks``; each parameter
        that needs a gradient is in exactly one.

    Raises:
        UserError: for an unknown ``block_specs`` or a pattern that no parameter matches.

    Example:
        >>> groups = muon_param_groups(nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 3)))
        >>> [(group["algorithm"], [tuple(p.shape) for p in group["params"]]) for group in groups]
        [('adamw', [(8, 4), (3,)]), ('muon', [(3, 4)])]
    """
    if block_specs not in ("auto", "none"):
        raise UserError(f'block_specs = {block_specs!r}: must be "auto" or "none"')
    excluded = _excluded(model, list(exclude))
    not_matrices = _embeddings_and_heads(model)
    for_adamw: list[nn.Parameter] = []
    for_muon: dict[BlockSpec, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module = model.get_submodule(name.rpartition(".")[0])
        if name in excluded or id(parameter) in not_matrices or not _is_matrix(name, parameter, module):
            for_adamw.append(parameter)
        else:
            # A group has one way of cutting its parameters, so each way makes a group.
            for_muon[_blocks(model, name, module, parameter, block_specs, per_head)].append(parameter)
    shared = {"lr": lr, "weight_decay": weight_decay}
    groups: list[dict[str, Any]] = []
    if for_adamw:
        groups.append({"params": for_adamw, "algorithm": "adamw", **shared})
    for blocks, params in for_muon.items():
        groups.append({"params": params, "algorithm": "muon", "blocks": blocks, **shared})
    return groups


def _excluded(model: nn.Module, patterns: list[str]) -> set[str]:
    """The names that match a pattern; each pattern must match one."""
    excluded = set()
    unused = dict.fromkeys(patterns)
    for name, parameter in model.named_parameters():
        for pattern in patterns:
            if parameter.requires_grad and fnmatch(name, pattern):
                excluded.add(name)
                unused.pop(pattern, None)
    if unused:
        raise UserError(f"exclude = {list(unused)}: no parameter has such a name")
    return excluded


def _embeddings_and_heads(model: nn.Module) -> set[int]:
    modules = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = find_head()
    if head is not None:
        modules.append(head)
    return {id(module.weight) for module in modules}


def _is_matrix(name: str, parameter: Tensor, module: nn.Module) -> bool:
    """Whether a parameter is made of matrices, told by its name, its axes and the module that holds it."""
    kind = name.rpartition(".")[2]
    is_vector = parameter.ndim < 2 or kind.endswith("bias")  # the biases of a stack of experts are [E, out]
    is_table = any(word in kind for word in TABLES)
    return not (is_vector or is_table or _is_depthwise(module))


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, CONVOLUTIONS) and module.groups > 1 and module.groups == module.in_channels


def _blocks(
    model: nn.Module, name: str, module: nn.Module, parameter: Tensor, block_specs: str, per_head: bool
) -> BlockSpec:
    """How a matrix parameter is cut: by what kind of module holds it, and by its name."""
    layer, owner, plain = _layer(model, name, module)
    output_axis = -1 if plain.transposed else -2
    rows = parameter.shape[output_axis]
    if block_specs == "none":
        return plain
    if layer == "gate_up_proj" and getattr(owner, "has_gate", True):
        return _gate_and_up(owner, rows, plain)
    if layer in ("qkv_proj", "c_attn", "query_key_value"):
        return _fused_attention(owner, rows, plain)
    if per_head and layer in ("q_proj", "k_proj", "v_proj"):
        width = getattr(owner, "qk_head_dim", None) or owner.head_dim
        return plain._replace(rows=(width,) * (rows // width))
    return plain


def _layer(model: nn.Module, name: str, module: nn.Module) -> tuple[str, Any, BlockSpec]:
    """A parameter's layer by name, the module that knows the layer's form, and how its matrices lie if it is not cut.

    A stack of experts is a parameter of its own name in the module that knows it; other weights are called ``weight``,
    in a layer of a name.
    """
    owner_name, _, kind = name.rpartition(".")
    flatten = isinstance(module, CONVOLUTIONS)
    if kind not in ("weight", "bias"):
        return kind, module, BlockSpec(transposed=_is_transposed_stack(module), flatten=flatten)
    parent_name, _, layer = owner_name.rpartition(".")
    transposed = type(module).__name__ == "Conv1D"  # of transformers: a linear layer with its axes exchanged
    return layer, model.get_submodule(parent_name), BlockSpec(transposed=transposed, flatten=flatten)


def _gate_and_up(owner: Any, rows: int, plain: BlockSpec) -> BlockSpec:
    """Two matrices, one after the other or row by row."""
    if getattr(owner, "is_concatenated", True):
        return plain._replace(rows=(rows // 2, rows // 2))
    return plain._replace(rows=(1, 1), repeats=rows // 2)


def _fused_attention(attention: Any, rows: int, plain: BlockSpec) -> BlockSpec:
    """Queries, keys and values as the class of the attention has them; whole where transformers' class is unknown."""
    classes = {kind.__name__ for kind in type(attention).__mro__}
    if classes & HEAD_BY_HEAD:
        heads = getattr(attention, "num_heads", None) or attention.config.num_attention_heads
        return plain._replace(rows=(rows // (3 * heads),) * 3, repeats=heads)
    if classes & ONE_AFTER_THE_OTHER or not type(attention).__module__.startswith("transformers."):
        return plain._replace(rows=_queries_keys_values(attention, rows))
    return plain


def _is_transposed_stack(module: Any) -> bool:
    """Whether the output axis of a stack of experts is the last one; told by the shapes where the class does not."""
    gate_up, down = getattr(module, "gate_up_proj", None), getattr(module, "down_proj", None)
    by_shape = gate_up is not None and down is not None and gate_up.shape[-1] == 2 * down.shape[-2]
    return bool(getattr(module, "is_transposed", by_shape))


def _queries_keys_values(attention: Any, rows: int) -> tuple[int, ...]:
    """Rows of queries, keys and values; equal ones where no configuration says otherwise."""
    if getattr(attention, "is_cross_attention", False):
        return (rows // 2, rows // 2)  # keys and values; the queries are a projection of their own
    config = getattr(attention, "config", None)
    heads = getattr(config, "num_attention_heads", 1)
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    width = rows // (heads + 2 * key_heads)
    return (heads * width, key_heads * width, key_heads * width)
