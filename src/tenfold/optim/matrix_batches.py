"""The matrices of many parameters, gathered into batches of one shape.

A product of small matrices costs little more than the call that asks for it. So matrices of one shape are stacked,
whatever parameters they belong to, and a stack grows to the size that a cache or a memory holds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from tenfold.optim.matrix_blocks import BlockSpec, matrix_views

Item = TypeVar("Item")


class Matrices(NamedTuple):
    """Matrices of one parameter and one shape: views ``[stack, repeats, rows, columns]`` of repeats x rows rows.

    Args:
        terms: of what is orthogonalised: (G, M) stands for G + μ M, a single one for itself.
        target: what the update is added to.
    """

    terms: tuple[Tensor, ...]
    target: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a matrix."""
        _, repeats, rows, columns = self.target.shape
        return repeats * rows, columns


def matrices_of(spec: BlockSpec, terms: tuple[Tensor, ...], target: Tensor) -> list[Matrices]:
    """The blocks of a parameter.

    Args:
        spec: how the parameter is cut.
        terms: of the parameter's shape, as in :class:`Matrices`.
        target: of that shape too, and contiguous where the spec flattens it, since the views must share its memory.

    Example:
        >>> weight, gradient = torch.zeros(6, 4), torch.ones(6, 4)
        >>> [block.shape for block in matrices_of(BlockSpec(rows=(4, 2)), (gradient,), weight)]
        [(4, 4), (2, 4)]
    """
    blocks_of_terms = [matrix_views(term, spec) for term in terms]
    blocks = []
    for target_block, *term_blocks in zip(matrix_views(target, spec), *blocks_of_terms, strict=True):
        blocks.append(Matrices(tuple(term_blocks), target_block))
    return blocks


def of_one_shape(matrices: Iterable[Matrices]) -> list[list[Matrices]]:
    """The matrices in groups that can be stacked: of one shape, type and device.

    Example:
        >>> flat, tall = (Matrices((), torch.zeros(1, 1, *shape)) for shape in ((2, 4), (4, 2)))
        >>> [len(group) for group in of_one_shape([flat, tall, flat])]
        [2, 1]
    """
    groups = defaultdict(list)
    for some in matrices:
        groups[some.shape, some.target.dtype, some.target.device].append(some)
    return list(groups.values())


def batches(matrices: Iterable[Matrices], size: int) -> Iterator[list[Matrices]]:
    """Matrices of one shape in batches of at most ``size``; a longer stack is cut.

    Example:
        >>> stack = Matrices((), torch.zeros(5, 1, 2, 4))
        >>> [[len(some.target) for some in batch] for batch in batches([stack, stack], 4)]
        [[4], [1], [4], [1]]
    """
    pieces: list[Matrices] = []
    for stack in matrices:
        if len(stack.target) <= size:
            pieces.append(stack)
        else:
            pieces += _cut(stack, size)
    return limited(pieces, lambda piece: len(piece.target), size)


def limited(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """The items in order, in lists whose sizes add up to at most ``limit`` (a larger item comes alone).

    Example:
        >>> list(limited(["aa", "b", "cccc"], len, 3))
        [['aa', 'b'], ['cccc']]
    """
    some: list[Item] = []
    total = 0
    for item in items:
        if some and total + size(item) > limit:
            yield some
            some, total = [], 0
        some.append(item)
        total += size(item)
    if some:
        yield some


def stacked(batch: list[Matrices], momentum: float, dtype: torch.dtype) -> tuple[Tensor, list[int]]:
    """What is orthogonalised of a batch, ``[count, rows, columns]`` in new memory, and how many matrices are whose.

    Example:
        >>> zeros, ones = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> together, counts = stacked([Matrices((ones, ones), zeros), Matrices((ones,), zeros)], 0.5, torch.float32)
        >>> together[:, 0, 0], counts
        (tensor([1.5000, 1.0000]), [1, 1])
    """
    counts = [len(matrices.target) for matrices in batch]
    together = torch.empty(sum(counts), *batch[0].shape, dtype=dtype, device=batch[0].target.device)
    for matrices, place in zip(batch, together.split(counts), strict=True):
        slot = place.view(matrices.target.shape)
        # The sum is written where it is needed: no copy of it in the parameter's own precision comes to be.
        if len(matrices.terms) == 1:
            slot.copy_(matrices.terms[0])
        else:
            gradient, momentum_buffer = matrices.terms
            torch.add(gradient, momentum_buffer, alpha=momentum, out=slot)
    return together, counts


def _cut(stack: Matrices, size: int) -> Iterator[Matrices]:
    pieces_of_terms = [term.split(size) for term in stack.terms]
    for target, *terms in zip(stack.target.split(size), *pieces_of_terms, strict=True):
        yield Matrices(tuple(terms), target)
