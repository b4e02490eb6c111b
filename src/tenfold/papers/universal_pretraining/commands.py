"""The paper's own verbs: ``evaluate`` a model without training it, ``throughput``, ``gain_sweep``.

Each verb is a function that tyro reads. ``evaluate`` takes any folder that ``save_pretrained`` wrote, of any causal
language model whose first 256 tokens are the bytes; a run keeps such folders in its cells.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining import config as presets

Target = Annotated[Path, tyro.conf.Positional]


def evaluate(
    model: Target,
    tasks: tuple[str, ...] = (*presets.SYNTHETIC_TASKS, "python", "licences"),
    windows: int = 64,
    context: int = 128,
    positions: Literal["last", "all", "second_half"] = "all",
    seed: int = 0,
    markov_order: int = 5,
) -> None:
    """Measure a model on texts that it was not trained on, beside in-context Markov models and the 8-bit line.

    Args:
        model: a folder that ``save_pretrained`` wrote, such as ``cells/mixture/seed-0/pretraining/model`` of a run.
        tasks: names of synthetic tasks, ``python``, ``licences``, or paths of files and folders.
        windows: number of windows of each task.
        context: bytes of a window; not more than the model was made for.
        positions: which bytes of a window count.
        seed: seed of the synthetic tasks.
        markov_order: the highest order of the Markov models.
    """
    from tenfold.models.causal_lm import load_causal_lm
    from tenfold.papers.universal_pretraining.evaluation import UNIFORM_BITS, evaluate_zero_shot

    if windows < 1:
        raise UserError(f"windows = {windows}: must be at least 1")
    loaded = load_causal_lm(model)
    vocabulary = loaded.config.vocab_size
    longest = getattr(loaded.config, "max_position_embeddings", context)
    if context > longest:
        raise UserError(f"context = {context}: {model} was made for at most {longest}")
    if vocabulary < 256:
        raise UserError(
            f"{model} has a vocabulary of {vocabulary}; allowed: at least 256, of which the first are bytes"
        )
    results = evaluate_zero_shot(loaded, tasks, windows, context, positions, seed=seed, markov_order=markov_order)
    table = Table(
        title=f"bits per byte, {positions} positions of {windows} windows of {context}; uniform: {UNIFORM_BITS:g}",
        caption="Mk: Markov model of order k, fitted in each window; least: lower bound",
        box=SIMPLE_HEAD,
        collapse_padding=True,  # fits 80 columns
    )
    for heading in ("task", "model", "±", "half 2", *(f"M{k}" for k in range(markov_order + 1)), "least"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for name, result in results.items():
        least = "" if result.lower_bound is None else f"{result.lower_bound:.2f}"
        numbers = (result.bits, result.error, result.second_half, *result.markov)
        table.add_row(name, *(f"{number:.2f}" for number in numbers), least)
    Console(highlight=False).print(table)


def throughput(
    preset: Literal["smoke", "laptop", "gpu"] = "laptop",
    steps: int = 20,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Print how long a step of pre-training takes here, and which share of it goes into generating its data.

    Args:
        preset: the preset whose model and data are timed.
        steps: number of steps that are timed, after two that are not.
        device: where to compute.
    """
    from tenfold.papers.universal_pretraining.timing import time_of_a_step

    if steps < 1:
        raise UserError(f"steps = {steps}: must be at least 1")
    for arm, (generating, training, tokens) in time_of_a_step(getattr(presets, preset)(), steps, device).items():
        total = generating + training
        print(
            f"{arm:12} {1000 * total:8.1f} ms a step, generator's share {generating / total:6.1%}, "
            f"{tokens / total:,.0f} tokens/s"
        )


def gain_sweep(
    gains: tuple[float, ...] = (0.5, 1.1, 2.0, 3.5, 6.0),
    layers: tuple[int, ...] = (1, 4),
    embed_scales: tuple[float, ...] = (1e-8, 1.0),
    hidden: int = 128,
    gain_power: int = 1,
    sources: int = 4,
    seed: int = 0,
) -> None:
    """Print what random LSTMs write at each gain: how far gzip compresses it, its entropy, and the share of constants.

    Args:
        gains: multipliers of all LSTM weights and biases.
        layers: number of layers of the LSTM.
        embed_scales: multipliers of the embedding.
        hidden: width of the LSTM.
        gain_power: how often the gain is applied; the author's code: once per layer.
        sources: number of LSTMs drawn at each gain.
        seed: seed of all draws.
    """
    from tenfold.papers.universal_pretraining.gain_sweep import gain_sweep as describe
    from tenfold.papers.universal_pretraining.method import RandomLSTM

    table = Table(title="compressed / raw bytes by gzip · bits of entropy · share of rows that end in one symbol")
    for heading in ("embedding", "layers", *(f"gain {gain:g}" for gain in gains)):
        table.add_column(heading)
    for embed_scale in embed_scales:
        for num_layers in layers:
            law = RandomLSTM(hidden=hidden, layers=num_layers, gain_power=gain_power, embed_scale=embed_scale)
            rows = describe(gains, law=law, sources=sources, seed=seed)
            cells = (f"{row.gzip_ratio:.3f} · {row.entropy:.1f} · {row.constant_share:.2f}" for row in rows)
            table.add_row(f"{embed_scale:g}", str(num_layers), *cells)
    Console(highlight=False).print(table)
