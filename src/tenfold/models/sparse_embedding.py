"""An embedding table of which a step touches only the rows of its batch.

The table is a buffer, not a parameter: with a million rows a dense gradient and two Adam moments would cost three
more tables. In training the rows of the batch are copied into a leaf tensor that receives the gradient;
``tenfold.optim.SparseSignSGD`` writes them back.
"""

import torch
from torch import Tensor, nn

from tenfold.models.initialisation import truncated_normal_


class SparseEmbedding(nn.Module):
    """A table ``[num_rows, size]`` in float32, looked up by row number.

    Args:
        num_rows: number of rows.
        size: length of a row.
        std: of the truncated normal that fills the table; 0 gives zeros.

    Attributes:
        pending: ``(row numbers [B], leaf rows [B, size])`` of each training forward since the last optimizer step.
    """

    weight: Tensor

    def __init__(self, num_rows: int, size: int, std: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", truncated_normal_(torch.empty(num_rows, size), std))
        self.pending: list[tuple[Tensor, Tensor]] = []

    @torch.compiler.disable
    def forward(self, indices: Tensor) -> Tensor:
        """Rows ``[B, size]`` for ``indices`` ``[B]``; with gradient only in training mode with gradient enabled."""
        rows = self.weight[indices]
        if not (self.training and torch.is_grad_enabled()):
            return rows
        leaf = rows.detach().requires_grad_()
        self.pending.append((indices.detach(), leaf))
        return leaf
