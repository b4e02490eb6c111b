"""Bits per byte of a model that was never trained on a text, beside predictors that learn from the window alone.

A window is filled from a synthetic task, from the held-out part of real bytes, or by the caller. The rivals are Markov
models of the orders 0 to 5, fitted on the preceding bytes of the same window (each at its best smoothing, a slight
advantage to the rival), and the 8 bits of a uniform guess. The
first byte of a window has no context and is not counted, for models and rivals alike.

The paper counts the last byte of a full window, but all of them for the repetition tasks, and so does ``"last"`` here;
with windows of 128 bytes and some dozens of them, ``"all"`` gives the smaller standard error.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tenfold.core.errors import UserError
from tenfold.data.corpora import Corpus, held_out_windows, load_corpus
from tenfold.eval.bits_per_byte import Positions, bits_per_byte, first_counted, token_bits
from tenfold.eval.markov import in_context_baselines
from tenfold.papers.universal_pretraining.tasks import TASKS, lower_bound, sample_task

UNIFORM_BITS = 8.0
SHIPPED = ("python", "licences")
"""Corpora that come with the environment."""
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class ZeroShot:
    """What a model and its rivals say about one task.

    Args:
        bits: bits per byte of the model.
        error: its standard error over windows; NaN for a single one.
        second_half: bits per byte over the second half of the windows.
        markov: bits per byte of the in-context Markov models, order 0 first, over the positions of ``bits``.
        lower_bound: the least possible bits per byte at these positions, where it is known.
        windows: bits per byte of each window.
    """

    bits: float
    error: float
    second_half: float
    markov: tuple[float, ...]
    lower_bound: float | None
    windows: tuple[float, ...]


def evaluate_zero_shot(
    model: nn.Module,
    tasks: Sequence[str] | Mapping[str, np.ndarray],
    windows: int = 64,
    context: int = 128,
    positions: Positions = "all",
    *,
    seed: int = 0,
    markov_order: int = 5,
    batch_size: int = 64,
) -> dict[str, ZeroShot]:
    """Measure a causal language model whose first 256 tokens are the bytes, without training it.

    Args:
        model: any of transformers with a vocabulary of at least 256; evaluated where it is.
        tasks: names of synthetic tasks, ``python``, ``licences``, or paths of files and folders; or windows of your
            own, name to ``[windows, context]`` integers from 0 to 255.
        windows: of each task.
        context: bytes of a window.
        positions: which bytes count: the ``last`` one, ``all`` but the first, or the ``second_half``. Of the
            repetition tasks all count where the others' last does.
        seed: of the synthetic tasks.
        markov_order: the highest order of the Markov models.
        batch_size: windows in a forward pass.

    Returns:
        Task to result, in the order given.

    Raises:
        UserError: an unknown task, a path that does not exist, a text that is too short.

    Example:
        >>> from tenfold.papers.universal_pretraining.config import ModelConfig
        >>> from tenfold.papers.universal_pretraining.optimization import build_model
        >>> model = build_model(ModelConfig(width=32, layers=1), seed=0)
        >>> round(evaluate_zero_shot(model, ["rep-3"], windows=4, context=32)["rep-3"].bits, 1)
        8.0
    """
    named = tasks if isinstance(tasks, Mapping) else all_windows(tasks, windows, context, seed)
    results = {}
    for name, tokens_NL in named.items():
        counted = counted_positions(name, positions)
        table_NT = token_bits(model, torch.as_tensor(tokens_NL).long(), batch_size=batch_size).numpy()
        rivals = in_context_baselines(np.asarray(tokens_NL), counted, markov_order)
        bits, error = bits_per_byte(table_NT, counted)
        results[name] = ZeroShot(
            bits=bits,
            error=error,
            second_half=bits_per_byte(table_NT, "second_half")[0],
            markov=tuple(rival.bits for rival in rivals),
            lower_bound=lower_bound(name, tokens_NL.shape[1], counted) if name in TASKS else None,
            windows=tuple(table_NT[:, first_counted(table_NT.shape[1], counted) :].mean(1).tolist()),
        )
    return results


def zero_shot_bits(
    model: nn.Module, named: Mapping[str, np.ndarray], positions: Positions = "all", batch_size: int = 64
) -> dict[str, float]:
    """Bits per byte alone, without rivals: for learning curves. Windows as :func:`all_windows` makes them."""
    return {
        name: bits_per_byte(
            token_bits(model, torch.as_tensor(tokens_NL).long(), batch_size=batch_size).numpy(),
            counted_positions(name, positions),
        )[0]
        for name, tokens_NL in named.items()
    }


def counted_positions(name: str, positions: Positions) -> Positions:
    """All positions of a repetition task where the last one is asked for, else what is asked for."""
    return "all" if positions == "last" and name.startswith("rep-") else positions


def all_windows(names: Sequence[str], count: int, context: int, seed: int) -> dict[str, np.ndarray]:
    """Windows ``[count, context]`` of each task or corpus; a path is called by its last part."""
    return {label(name): task_windows(name, count, context, seed) for name in names}


def task_windows(name: str, count: int, length: int, seed: int) -> np.ndarray:
    """Windows ``[count, length]`` of a synthetic task (keyed by ``seed``) or of the held-out part of a corpus.

    Raises:
        UserError: the name is neither a task nor a corpus nor a path.
    """
    if name in TASKS:
        return sample_task(name, count, length, seed, "zero-shot")
    if name in SHIPPED:
        return held_out_windows(_shipped_text(name).held_out, length, count)
    if not Path(name).expanduser().exists():
        allowed = f"{', '.join(TASKS)}, python, licences, or the path of a file or folder"
        raise UserError(f"task is {name!r}, but it must be one of {allowed}.")
    return held_out_windows(load_corpus(name, limit=_MOST_BYTES).held_out, length, count)


@cache  # gathering the texts of an environment takes seconds, and every arm is measured on them twice
def _shipped_text(name: str) -> Corpus:
    """A corpus that comes with the environment."""
    return load_corpus(name, limit=_MOST_BYTES)


def text_hashes(names: Sequence[str]) -> dict[str, str]:
    """Hashes of those texts among ``names`` that come with the environment, and differ between environments."""
    return {name: _shipped_text(name).sha256 for name in names if name in SHIPPED}


def label(name: str) -> str:
    """What a task is called in metrics: its name, for a path the last part of it."""
    return Path(name).name


def zero_shot_metrics(results: Mapping[str, ZeroShot], synthetic: Sequence[str]) -> dict[str, float]:
    """The numbers of a report.

    ``zero_shot/<task>`` for every task and their mean over the synthetic ones; the second half of the windows, and the
    mean distance to the best in-context Markov model, for real bytes; on how many tasks the model needs fewer bits.
    """
    real = [name for name in results if name not in synthetic]
    metrics = {f"zero_shot/{name}": result.bits for name, result in results.items()}
    metrics["zero_shot/mean_of_tasks"] = _mean(results[name].bits for name in synthetic)
    metrics |= {f"second_half/{name}": results[name].second_half for name in real}
    metrics["markov/distance"] = _mean(results[name].bits - min(results[name].markov) for name in real)
    metrics["markov/tasks_won"] = float(sum(result.bits < min(result.markov) for result in results.values()))
    metrics["markov/tasks_won_against_order_0"] = float(sum(r.bits < r.markov[0] for r in results.values()))
    metrics["uniform/tasks_won"] = float(sum(result.bits < UNIFORM_BITS for result in results.values()))
    return metrics


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else math.nan


def as_plain(results: Mapping[str, ZeroShot]) -> dict[str, Any]:
    """The results as JSON has them, without the single windows."""
    return {
        name: {
            "bits": result.bits,
            "error": result.error,
            "second_half": result.second_half,
            "markov": list(result.markov),
            "lower_bound": result.lower_bound,
        }
        for name, result in results.items()
    }
