"""The text of the experiments: bytes in windows, the same for every arm and every training of a seed.

The held-out part comes last in the text and is cut in two: its first half gives curves and chooses rates, its second
half gives the results. Shapes: N windows, T tokens of a window.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.data.corpora import held_out_windows, load_corpus, training_windows
from tenfold.papers.kimi_k2.pretraining.config import DataConfig


@dataclass(frozen=True, eq=False)
class Text:
    """Tokens to learn from, and windows to measure on.

    Args:
        train: [bytes] uint8.
        context: T.
        vocab_size: a byte that is too large becomes the largest token.
        validation_NT: int64.
        test_NT: int64, of another stretch of text than both others.
        hashes: name of the whole text to its hash.
    """

    train: np.ndarray
    context: int
    vocab_size: int
    validation_NT: Tensor
    test_NT: Tensor
    hashes: Mapping[str, str]

    def batch(self, batch_size: int, seed: int, step: int, slots: range) -> Tensor:
        """These rows of a step's global batch, ``[len(slots), T]`` int64; equal keys give equal windows.

        Args:
            batch_size: windows of the global batch.
            seed: of the run.
            step: from 1.
            slots: rows of the global batch.
        """
        whole_NT = training_windows(self.train, self.context, batch_size, seed, "batch", step)
        return _tokens(whole_NT[slots.start : slots.stop], self.vocab_size)


def load_text(config: DataConfig) -> Text:
    """Read the text that a configuration names.

    Raises:
        UserError: if it cannot be read, or is too short for the windows.
    """
    corpus = load_corpus(config.source, limit=config.limit, held_out=config.held_out)
    if len(corpus.train) < config.context:
        raise UserError(f"context = {config.context}: {corpus.name} has only {len(corpus.train)} bytes to train on")
    first, second = np.array_split(corpus.held_out, 2)
    counts = {"validation_windows": (first, config.validation_windows), "test_windows": (second, config.test_windows)}
    for name, (part, count) in counts.items():
        if not count * config.context <= len(part):
            raise UserError(f"{name} = {count}: only {len(part) // config.context} of {config.context} bytes fit")
    validation, test = (
        _tokens(held_out_windows(part, config.context, count), config.vocab_size) for part, count in counts.values()
    )
    return Text(corpus.train, config.context, config.vocab_size, validation, test, {corpus.name: corpus.sha256})


def _tokens(bytes_NT: np.ndarray, vocab_size: int) -> Tensor:
    return torch.from_numpy(np.minimum(bytes_NT, vocab_size - 1))
