"""Random LSTM generation as one would write it down: one call of ``nn.LSTM`` for every token, with its state."""

import torch
from torch import Tensor

from tenfold.papers.universal_pretraining.method import LSTMSource


@torch.inference_mode()
def generate(source: LSTMSource, seed_NS: Tensor, cond_NL: Tensor, length: int) -> Tensor:
    """Rows ``[N, L]``: the seed, then the most probable symbols."""
    last = seed_NS.shape[1] - 1
    _, state = source.lstm(inputs(source, seed_NS[:, :last], cond_NL[:, :last]))
    rows = [seed_NS]
    for t in range(last, length - 1):
        output, state = source.lstm(inputs(source, rows[-1][:, -1:], cond_NL[:, t : t + 1]), state)
        rows.append(source.head(output).argmax(dim=2))
    return torch.cat(rows, dim=1)


def inputs(source: LSTMSource, tokens: Tensor, cond: Tensor) -> Tensor:
    return torch.cat((source.embedding(tokens), source.embedding(cond)), dim=2)
