"""Which matrices a parameter consists of: expert stacks, fused projections, convolution kernels.

A parameter is seen as ``[stack, repeats, rows, columns]`` for each of its blocks; a block's matrix has repeats x rows
rows. A plain weight is one block with one repeat, a stack of experts ``[E, out, in]`` has E matrices, a fused
gate-and-up projection two blocks of half the rows, and queries, keys and values that alternate head by head three
blocks that repeat for each head.
"""

from typing import NamedTuple

from torch import Tensor

from tenfold.core.errors import UserError


class BlockSpec(NamedTuple):
    """How to cut a parameter into matrices; plain numbers, so that it can stand in an optimizer's state.

    Args:
        rows: rows of each block along the output axis; empty for one block with all rows.
        repeats: how often the blocks follow each other along that axis.
        transposed: the output axis is the last one (``[..., in, out]``) instead of the last but one.
        flatten: all axes but the first are one input axis (kernels of a convolution).
    """

    rows: tuple[int, ...] = ()
    repeats: int = 1
    transposed: bool = False
    flatten: bool = False


def matrix_views(tensor: Tensor, spec: BlockSpec) -> list[Tensor]:
    """Views ``[stack, repeats, rows, columns]`` of each block, on the tensor's own memory where it is contiguous.

    Raises:
        UserError: if the tensor is a vector or its rows are not those of the spec.

    Example:
        >>> import torch
        >>> [tuple(view.shape) for view in matrix_views(torch.zeros(8, 10, 4), BlockSpec(rows=(3, 2), repeats=2))]
        [(8, 2, 3, 4), (8, 2, 2, 4)]
    """
    if tensor.ndim < 2:
        raise UserError(
            f"a parameter of shape {tuple(tensor.shape)}: Muon needs matrices; vectors go to a group with "
            'algorithm="adamw"'
        )
    if spec.flatten or tensor.ndim > 3:
        tensor = tensor.flatten(start_dim=1)
    if spec.transposed:
        tensor = tensor.mT
    stack = tensor if tensor.ndim == 3 else tensor[None]
    rows = spec.rows or (stack.shape[1],)
    if sum(rows) * spec.repeats != stack.shape[1]:
        raise UserError(f"rows = {rows} x {spec.repeats}: must add up to the parameter's {stack.shape[1]} rows")
    return list(stack.unflatten(1, (spec.repeats, sum(rows))).split(rows, dim=2))
