"""What the gain of random LSTMs does to their output: from constants over structure to noise.

The gain decides everything about a source, and the right range depends on layers and embedding (specification, section
6): look at this table before choosing one. Seeds and conditions are uniform noise, so what is compressible was made so
by the source.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining.method import RandomLSTM, noise_rows

SEED_LENGTH = 8
TAIL = 64


@dataclass(frozen=True)
class GainRow:
    """How rows look at one gain, averaged over sources.

    Args:
        gain: m, before the law's ``gain_power``.
        gzip_ratio: compressed over raw bytes of a source's rows together.
        entropy: of the symbols in the last 64 tokens of a row, in bits, counted row by row.
        constant_share: share of the rows whose last 64 tokens are one symbol.
    """

    gain: float
    gzip_ratio: float
    entropy: float
    constant_share: float


def gain_sweep(
    gains: Sequence[float] = (0.5, 1.1, 2.0, 3.5, 6.0),
    *,
    law: RandomLSTM | None = None,
    sources: int = 4,
    rows: int = 32,
    length: int = 128,
    seed: int = 0,
) -> list[GainRow]:
    """Draw some sources at each gain and describe what they write.

    Args:
        gains: values of m; each is tried with the same sources, scaled.
        law: width, layers, gain power, embedding, temperature; its range of gains is not used. Default: 4 layers of
            width 128, unit embedding, gain applied once.
        sources: how many at each gain.
        rows: of each source.
        length: L, at least 64 more than the seed's 8 tokens.
        seed: of all draws.

    Raises:
        UserError: for no sources or rows, or too short rows.

    Example:
        >>> low, high = gain_sweep((0.5, 6.0), law=RandomLSTM(hidden=32), sources=1, rows=4, length=72)
        >>> low.gzip_ratio < high.gzip_ratio, low.constant_share
        (True, 1.0)
    """
    if sources < 1 or rows < 1:
        raise UserError(f"sources = {sources}, rows = {rows}: must both be at least 1")
    if length < SEED_LENGTH + TAIL:
        raise UserError(f"length = {length}: must be at least {SEED_LENGTH + TAIL}")
    law = RandomLSTM() if law is None else law
    table = []
    for gain in gains:
        written = [_rows_of(replace(law, gain=(gain, gain)), rows, length, seed, number) for number in range(sources)]
        tails = torch.cat(written)[:, -TAIL:]
        table.append(
            GainRow(
                gain=gain,
                gzip_ratio=sum(_gzip_ratio(rows_NL) for rows_NL in written) / sources,
                entropy=_entropies(tails, law.num_symbols).mean().item(),
                constant_share=(tails == tails[:, :1]).all(dim=1).double().mean().item(),
            )
        )
    return table


def _rows_of(law: RandomLSTM, rows: int, length: int, seed: int, number: int) -> Tensor:
    noise = torch_generator(seed, "gain sweep, noise", number)
    seed_NS = noise_rows(rows, SEED_LENGTH, law.num_symbols, noise)
    cond_NL = noise_rows(rows, length, law.num_symbols, noise)
    return law.sample(seed_NS, cond_NL, length, torch_generator(seed, "gain sweep, source", number))


def _gzip_ratio(rows_NL: Tensor) -> float:
    return len(gzip.compress(rows_NL.to(torch.uint8).numpy().tobytes(), mtime=0)) / rows_NL.numel()


def _entropies(rows_NT: Tensor, num_symbols: int) -> Tensor:
    """Bits of the distribution of symbols in each row, ``[N]`` float64."""
    count_NV = torch.zeros(len(rows_NT), num_symbols, dtype=torch.float64)
    count_NV.scatter_add_(1, rows_NT, torch.ones(rows_NT.shape, dtype=torch.float64))
    share_NV = count_NV / rows_NT.shape[1]
    return -torch.special.xlogy(share_NV, share_NV).sum(dim=1) / torch.log(torch.tensor(2.0, dtype=torch.float64))
