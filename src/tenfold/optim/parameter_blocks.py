"""How a parameter is cut into matrices: by the kind of module that holds it, and by its name.

The parts of fused projections are matrices of their own: gate and up, one after the other or row by row; queries, keys
and values, one after the other or head by head. Where a fused projection does not say how long its parts are, it stays
whole, and that is said.
"""

from typing import Any

from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.optim.matrix_blocks import BlockSpec
from tenfold.optim.parameter_roles import CONVOLUTIONS, Holder

# How queries, keys and values lie in a fused projection, by the class of its module.
ONE_AFTER_THE_OTHER = {"GPT2Attention", "ImageGPTAttention", "Phi3Attention", "Phi4MultimodalAttention"}
HEAD_BY_HEAD = {"BloomAttention", "GPTNeoXAttention", "PersimmonAttention"}
FUSED_ATTENTION = ("qkv_proj", "c_attn", "query_key_value")
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head")
KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
HEAD_WIDTHS = ("qk_head_dim", "head_dim", "head_size")


def parameter_blocks(
    model: nn.Module, holder: Holder, parameter: Tensor, block_specs: str, per_head: bool
) -> tuple[BlockSpec, str]:
    """How a matrix parameter is cut, and what is not known about it (an empty text where all is).

    Raises:
        UserError: if heads shall be cut and their size is not known, naming the module.
    """
    layer, owner, plain = _layer(model, holder)
    if block_specs == "none" or parameter.ndim < 2:
        return plain, ""
    rows, columns = parameter.shape[-2:]
    if plain.transposed:
        rows, columns = columns, rows
    if layer == "gate_up_proj" and getattr(owner, "has_gate", True) and rows % 2 == 0:
        return _gate_and_up(owner, rows, plain), ""
    if layer in FUSED_ATTENTION:
        return _fused_attention(owner, rows, columns, plain)
    if per_head and layer in ("q_proj", "k_proj", "v_proj"):
        width = _head_width(f"{holder.path}.{holder.kind}", layer, owner, rows)
        return plain._replace(rows=(width,) * (rows // width)), ""
    return plain, ""


def _layer(model: nn.Module, holder: Holder) -> tuple[str, Any, BlockSpec]:
    """A parameter's layer by name, the module that knows the layer's form, and how its matrices lie if it is not cut.

    A stack of experts is a parameter of its own name in the module that knows it; other weights are called ``weight``,
    in a layer of a name.
    """
    flatten = isinstance(holder.module, CONVOLUTIONS)
    if holder.kind not in ("weight", "bias"):
        return holder.kind, holder.module, BlockSpec(transposed=_transposed_stack(holder.module), flatten=flatten)
    parent_path, _, layer = holder.path.rpartition(".")
    transposed = type(holder.module).__name__ == "Conv1D"  # of transformers: a linear layer with its axes exchanged
    return layer, model.get_submodule(parent_path), BlockSpec(transposed=transposed, flatten=flatten)


def _gate_and_up(owner: Any, rows: int, plain: BlockSpec) -> BlockSpec:
    """Two matrices, one after the other or row by row."""
    if getattr(owner, "is_concatenated", True):
        return plain._replace(rows=(rows // 2, rows // 2))
    return plain._replace(rows=(1, 1), repeats=rows // 2)


def _fused_attention(attention: Any, rows: int, columns: int, plain: BlockSpec) -> tuple[BlockSpec, str]:
    """Queries, keys and values as the class of the attention has them; whole where transformers' class is unknown."""
    classes = {kind.__name__ for kind in type(attention).__mro__}
    heads = _number(attention, HEADS)
    if classes & HEAD_BY_HEAD and heads and rows % (3 * heads) == 0:
        return plain._replace(rows=(rows // (3 * heads),) * 3, repeats=heads), ""
    if not classes & (HEAD_BY_HEAD | ONE_AFTER_THE_OTHER) and type(attention).__module__.startswith("transformers."):
        return plain, ""
    if getattr(attention, "is_cross_attention", False) and rows % 2 == 0:
        return plain._replace(rows=(rows // 2, rows // 2)), ""  # the queries are a projection of their own
    key_heads = _number(attention, KEY_HEADS) or heads
    if not classes & HEAD_BY_HEAD:
        if heads and key_heads and rows % (heads + 2 * key_heads) == 0:
            width = rows // (heads + 2 * key_heads)
            return plain._replace(rows=(heads * width, key_heads * width, key_heads * width)), ""
        if rows == 3 * columns:
            return plain._replace(rows=(columns,) * 3), ""
    return plain, f"whole: {type(attention).__name__} does not say how its queries, keys and values lie"


def _number(module: Any, names: tuple[str, ...]) -> int | None:
    """The first of some numbers that a module or its configuration has."""
    for source in (module, getattr(module, "config", None)):
        for name in names:
            value = getattr(source, name, None)
            if isinstance(value, int) and value > 0:
                return value
    return None


def _head_width(name: str, layer: str, attention: Any, rows: int) -> int:
    """Rows of a head in a projection to queries, keys or values."""
    width = _number(attention, HEAD_WIDTHS)
    if width is None:
        heads = _number(attention, HEADS)
        if layer != "q_proj":
            heads = _number(attention, KEY_HEADS) or heads
        width = rows // heads if heads else None
    if not width or rows % width:
        raise UserError(
            f"per_head = True: {name} has {rows} rows, and {type(attention).__name__} does not say how many a head has "
            "(head_dim, or num_heads)"
        )
    return width


def _transposed_stack(module: Any) -> bool:
    """Whether the output axis of a stack of experts is the last one; told by the shapes where the class does not."""
    gate_up, down = getattr(module, "gate_up_proj", None), getattr(module, "down_proj", None)
    by_shape = gate_up is not None and down is not None and gate_up.shape[-1] == 2 * down.shape[-2]
    return bool(getattr(module, "is_transposed", by_shape))
