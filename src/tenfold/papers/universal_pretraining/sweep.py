"""Choosing rates, and timing a step: what the verbs ``tune`` and ``throughput`` compute."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tenfold.core.cell import Cell
from tenfold.data.corpora import load_corpus
from tenfold.papers.universal_pretraining.config import Config
from tenfold.papers.universal_pretraining.finetune import without_held_out
from tenfold.papers.universal_pretraining.optimization import build_model, make_optimizer, next_token_loss
from tenfold.papers.universal_pretraining.pretrain import random_computation
from tenfold.papers.universal_pretraining.recipe import ARMS, device_of, finetuned, measure, pretrained_model

Result = tuple[str, str, float, float]
"""Arm, training, rate, bits per byte."""


def sweep(
    config: Config,
    seed: int,
    out: Path,
    device: str,
    pretraining_rates: Sequence[float],
    finetuning_rates: Sequence[float],
) -> Iterator[Result]:
    """Train at every rate, going on with what is in ``out``.

    The rate of pre-training is one for all arms: it is chosen on the mixture, by the mean bits over all tasks and
    texts, and no claim compares the mixture with another pre-trained arm. From the best of it every arm is fine-tuned
    over one grid, judged on the last tenth of the training part of the corpus.
    """
    bits_at: dict[float, float] = {}
    for rate in pretraining_rates:
        model = _pretrained(config, "mixture", seed, out, device, rate)
        results = measure(model, config, seed)
        bits_at[rate] = sum(result.bits for result in results.values()) / len(results)
        yield "mixture", "pretraining", rate, bits_at[rate]
    best = min(bits_at, key=lambda rate: bits_at[rate])
    corpus = without_held_out(load_corpus(config.finetuning.source, limit=config.finetuning.limit))
    for arm in ARMS:
        for rate in finetuning_rates:
            model = _pretrained(config, arm, seed, out, device, best)
            cell = Cell(arm=arm, seed=seed, directory=out / arm / f"finetuning-{rate:g}", device=device)
            finetuned(model, corpus, _with_rates(config, **{arm: rate}), arm, seed, cell)
            yield arm, "finetuning", rate, cell.curves()["held_out/bits"][-1][1]


def _pretrained(config: Config, arm: str, seed: int, out: Path, device: str, rate: float) -> torch.nn.Module:
    cell = Cell(arm=arm, seed=seed, directory=out / arm / f"pretraining-{rate:g}", device=device)
    return pretrained_model(_with_rates(config, pretraining=rate), arm, seed, cell)[0]


def _with_rates(config: Config, **rates: float) -> Config:
    return replace(config, rates=replace(config.rates, **rates))


def time_of_a_step(config: Config, steps: int, device: str) -> dict[str, tuple[float, float, int]]:
    """Arm to (seconds of generating, seconds of training, tokens) of a step of pre-training, after two to warm up."""
    context, batch_size = config.model.context, config.pretraining.batch_size
    place = device_of(Cell(arm="", seed=0, directory=Path(), device=device))
    times = {}
    for arm, data_of_arm in ARMS.items():
        if data_of_arm is None:
            continue
        model = build_model(config.model, seed=0).to(place)
        (optimizer,) = make_optimizer(1e-3, config.pretraining, config.model.width)(model)
        data = random_computation(config.generator, context, data_of_arm)
        state = data.initial(0, device=place)
        generating = training = 0.0
        for step in range(2 + steps):
            started = _now(place)
            state, rows_BL = data.next(state, batch_size, 0)
            generated = _now(place)
            next_token_loss(model, rows_BL).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step >= 2:
                generating += generated - started
                training += _now(place) - generated
        times[arm] = (generating / steps, training / steps, batch_size * context)
    return times


def _now(place: torch.device) -> float:
    if place.type != "cpu":
        torch.accelerator.synchronize(place)
    return time.perf_counter()
