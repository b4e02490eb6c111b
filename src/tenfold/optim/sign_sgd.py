"""Sign descent on the rows of a sparse embedding that a batch touched (as in HRM's code).

w <- w · (1 - lr · wd) - lr · sign(g), for the rows in the batch only; the gradients of a row that occurs several times,
in the batch, in accumulated batches or on other processes, are summed before the sign is taken.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor

from tenfold.optim.closure import loss_of


class RowTable(Protocol):
    """What the optimizer needs of an embedding: :class:`tenfold.models.SparseEmbedding` is one."""

    weight: Tensor
    pending: list[tuple[Tensor, Tensor]]


class SparseSignSGD(torch.optim.Optimizer):
    """Steps the rows that ``embedding.pending`` holds; rows outside the batch stay bit-identical.

    Args:
        embedding: a table ``weight`` ``[num_rows, size]`` and a list ``pending`` of ``(row numbers [B], leaf rows
            [B, size])``, such as :class:`tenfold.models.SparseEmbedding`. Move it to its device first.
        lr: size of each step.
        weight_decay: decoupled, multiplied by the learning rate, on touched rows only.

    Raises:
        ValueError: if the rate or the decay is negative or not a number.

    Example:
        >>> from tenfold.models import SparseEmbedding
        >>> table = SparseEmbedding(num_rows=3, size=2)
        >>> optimizer = SparseSignSGD(table, lr=0.1)
        >>> table(torch.tensor([1, 1])).sum().backward()
        >>> optimizer.step()
        >>> table.weight[:, 0].tolist()
        [0.0, -0.10000000149011612, 0.0]
    """

    def __init__(self, embedding: RowTable, lr: float, weight_decay: float = 0.1) -> None:
        if not lr >= 0:
            raise ValueError(f"lr = {lr}: must not be negative")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay = {weight_decay}: must not be negative")
        super().__init__([embedding.weight], dict(lr=lr, weight_decay=weight_decay))
        self.embedding = embedding

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the touched rows from the gradients of the pending leaves, over all processes."""
        loss = loss_of(closure)
        touched = [(index, leaf.grad) for index, leaf in self.embedding.pending if leaf.grad is not None]
        if not touched:
            return loss
        indices = _gather(torch.cat([index for index, _ in touched]))
        gradients = _gather(torch.cat([gradient for _, gradient in touched]))
        rows, where = indices.unique(return_inverse=True)
        summed = gradients.new_zeros(len(rows), gradients.shape[1]).index_add_(0, where, gradients)
        group, weight = self.param_groups[0], self.embedding.weight
        weight[rows] = weight[rows] * (1 - group["lr"] * group["weight_decay"]) - group["lr"] * summed.sign()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the pending rows."""
        self.embedding.pending.clear()


def _gather(tensor: Tensor) -> Tensor:
    """Concatenation over processes along the first axis; the tensor itself in a single process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    gathered = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, tensor.contiguous())
    return torch.cat(gathered)
