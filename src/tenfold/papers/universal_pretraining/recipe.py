"""Universal pre-training against training from scratch: one experiment, top to bottom.

Each arm but the first is pre-trained on rows of random computation, then measured on tasks and on real bytes that it
has never seen, then fine-tuned on Python source. Every arm starts from the same weights, sees the same batches of
source code in the same order, and is measured on the same windows. The rates of fine-tuning that a claim compares are
chosen on another seed over one grid (``tenfold tune universal_pretraining``); that of pre-training is shared. What
pre-training itself has cost stands beside what it saves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log2, nan
from statistics import fmean
from typing import Any, Literal

import torch
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.data.corpora import Corpus, load_corpus
from tenfold.models.causal_lm import load_causal_lm, save_causal_lm
from tenfold.papers.universal_pretraining import pictures
from tenfold.papers.universal_pretraining.config import Config
from tenfold.papers.universal_pretraining.evaluation import (
    ZeroShot,
    all_windows,
    as_plain,
    evaluate_zero_shot,
    text_hashes,
    zero_shot_bits,
    zero_shot_metrics,
)
from tenfold.papers.universal_pretraining.finetune import data_order, finetune, steps_to_reach, without_held_out
from tenfold.papers.universal_pretraining.optimization import (
    VOCABULARY,
    build_model,
    generation_flops_per_token,
    training_flops_per_token,
)
from tenfold.papers.universal_pretraining.pretrain import ArmData, pretrain, random_computation, shown_rows
from tenfold.study.memory import training_bytes
from tenfold.study.stages import made_once
from tenfold.train.distributed import device_of
from tenfold.train.loop import Trained


@dataclass(frozen=True)
class Arm:
    """An arm of the study: what it is pre-trained on.

    Args:
        text: what it is.
        rate: the field of ``config.rates`` that holds its rate of fine-tuning.
        data: of pre-training; ``None`` for none.
    """

    text: str
    rate: Literal["scratch", "lstm", "mixture", "noniterated"]
    data: ArmData | None


ARMS = {
    "scratch": Arm("fine-tuned from fresh weights", "scratch", None),
    "lstm": Arm("pre-trained on iterated random LSTMs alone", "lstm", ArmData(mixture=False, iterate=True)),
    "mixture": Arm(
        "pre-trained on iterated random LSTMs mixed with simpler random sources",
        "mixture",
        ArmData(mixture=True, iterate=True),
    ),
    "noniterated": Arm(
        "pre-trained on random LSTMs that read noise and constants instead of what other LSTMs wrote",
        "noniterated",
        ArmData(mixture=False, iterate=False),
    ),
}
BASELINE, METHOD = "scratch", "mixture"
_PRETRAINING_RATE, _FINETUNING_RATES = (2e-3, 4e-3), (1e-3, 2e-3, 4e-3)
GRID = {"rates.pretraining": _PRETRAINING_RATE} | {f"rates.{arm.rate}": _FINETUNING_RATES for arm in ARMS.values()}
"""The rate of pre-training is one for all arms, so it is chosen on the method's."""

_MEASURED = "windows that no arm was trained on; a uniform guess needs 8 bits per byte"
_EQUAL = "identical batches, steps and warm-up of fine-tuning; each arm's rate from one grid, chosen on another seed"


def _below(task: str, bits: float, what: str) -> Claim:
    return Claim(
        id=task,
        text=f"Pre-trained on the mixture, a model needs less than {bits} bits per byte for {what}, "
        "on which it never trained.",
        kind="threshold",
        metric=f"zero_shot/{task}",
        split="zero-shot",
        arm=METHOD,
        baseline=None,
        direction="lower",
        margin=bits,
        budget=_MEASURED,
        source="the specification's check 8",
    )


CLAIMS = (
    _below("rep-1", 0.5, "one byte repeated"),
    _below("rep-3", 5.5, "three bytes repeated"),
    _below("dyck", 3.8, "balanced brackets"),
    Claim(
        id="transfer",
        text="Pre-trained on the mixture, a model gets to the target on Python source in less than 0.7 times the steps "
        "that it takes from scratch (the base-2 logarithm of the steps is lower by at least 0.515).",
        kind="superiority",
        metric="finetuning/log2_steps_to_target",
        split="held-out Python source",
        arm=METHOD,
        baseline=BASELINE,
        direction="lower",
        margin=-log2(0.7),
        budget=_EQUAL,
        source="the specification's check 8",
    ),
    Claim(
        id="retention",
        text="After fine-tuning on Python source, a pre-trained model needs fewer bits per byte for brackets than one "
        "that started from scratch.",
        kind="superiority",
        metric="finetuning/retention",
        split="dyck",
        arm=METHOD,
        baseline=BASELINE,
        direction="lower",
        margin=0.0,
        budget=_EQUAL,
        source="no difference",
    ),
    Claim(
        id="iteration",
        text="Iterating random computation helps: with it, a model needs fewer bits per byte on the synthetic tasks.",
        kind="superiority",
        metric="zero_shot/mean_of_tasks",
        split="zero-shot",
        arm="lstm",
        baseline="noniterated",
        direction="lower",
        margin=0.0,
        budget="equal steps, batch, rate, sources and rows",
        source="no difference",
    ),
    Claim(
        id="markov",
        text="On real bytes, a model pre-trained on the mixture needs fewer bits than the best Markov model that is "
        "fitted in context.",
        kind="threshold",
        metric="markov/distance",
        split="zero-shot real bytes",
        arm=METHOD,
        baseline=None,
        direction="lower",
        margin=0.0,
        budget="both see the window alone; the best Markov model of orders 0 to 5, each at its best smoothing",
        source="no difference",
        headline=True,
    ),
)
CHOSEN_ON = (0, 1, 2, 3, 4, 1000)
"""Rates on 1000; 0 to 4 are the run that the plan is sized by."""
PLAN = Plan(
    laptop=(10, 11, 12, 13, 14, 15, 16),
    why="seven: retention has a power of 0.84 at seven by the seeds 0 to 4, 0.62 at five; the headline needs fewer",
)


@dataclass(frozen=True, eq=False)
class Study:
    """One arm with one seed: who learns what.

    Args:
        config: of the experiment.
        arm: who learns.
        seed: of weights, data and tasks.
        corpus: what is fine-tuned on.
    """

    config: Config
    arm: Arm
    seed: int
    corpus: Corpus


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Pre-train one arm with one seed, measure it, fine-tune it and measure it again."""
    study = Study(config, ARMS[arm], seed, corpus_of(config))
    pretraining_steps = config.pretraining.steps if study.arm.data else 0
    parts = cell.parts({"pretraining": pretraining_steps, "finetuning": config.finetuning.steps})
    first, second = parts["pretraining"], parts["finetuning"]

    model, skipped = pretrained_model(study, first)
    if cell.is_main and study.arm.data:
        save_causal_lm(model, first.directory / "model")
    results = measure(model, study)
    tuned = finetuned(model, study, second)
    if cell.is_main:
        learned: Any = tuned.model
        save_causal_lm(learned, cell.directory / "finetuned")
    return Scores(
        metrics={
            **{claim.metric: nan for claim in CLAIMS},  # what was not measured decides nothing
            **zero_shot_metrics(results, config.evaluation.tasks),
            **finetuning_metrics(second.curves(), config),
            **cost_metrics(model, config, study.arm),
            "train/skipped_steps": float(skipped + tuned.skipped),
        },
        items={f"zero_shot/{name}": result.windows for name, result in results.items()},
        curves=cell.curves(),
        samples={
            "zero_shot": as_plain(results),
            "rows": shown_rows(first, config.pretraining.steps) if study.arm.data else {},
            "data_order": data_order(study.corpus, config.finetuning, config.model.context, seed),
        },
        data={**text_hashes(config.evaluation.corpora), f"{study.corpus.name}, fine-tuning": study.corpus.sha256},
    )


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """Bits per byte after a training at the rate at ``field``, for choosing rates.

    Begin with ``--fields pretraining``, and write the best rate into the preset: fine-tuning is tried from a
    pre-training at the rate that stands there, made once for each arm. Pre-training is judged by the mean bits over all
    tasks and texts, held-out windows of the texts included; fine-tuning on the last tenth of the training part of the
    corpus, without a look at the held-out part.
    """
    rate = field.removeprefix("rates.")
    finetuned_arm = next((arm for arm in ARMS.values() if arm.rate == rate), None)
    if finetuned_arm is None:
        study = Study(config, ARMS[METHOD], cell.seed, corpus_of(config))
        model, _ = pretrained_model(study, cell)
        return {"validation/bits": fmean(result.bits for result in measure(model, study).values())}

    study = Study(config, finetuned_arm, cell.seed, without_held_out(corpus_of(config)))
    started_from = f"after-{config.rates.pretraining:g}"  # another rate of pre-training is another trial
    part = cell.parts({started_from: config.finetuning.steps})[started_from]
    finetuned(_pretrained_once(study, cell), study, part)
    return {"validation/bits": part.curves()["held_out/bits"][-1][1]}


def _pretrained_once(study: Study, cell: Cell) -> Any:
    """The model that an arm fine-tunes at every rate."""
    if study.arm.data is None:
        return pretrained_model(study, cell)[0]
    return made_once(
        cell,
        f"pretraining-{study.arm.rate}-{study.config.rates.pretraining:g}",
        lambda stage: pretrained_model(study, stage)[0],
        save=lambda model, folder: save_causal_lm(model, folder / "model"),
        load=lambda folder: load_causal_lm(folder / "model").to(device_of(cell)),  # type: ignore[arg-type]
    )


def corpus_of(config: Config) -> Corpus:
    """The real bytes of fine-tuning."""
    return load_corpus(config.finetuning.source, limit=config.finetuning.limit)


def pretrained_model(study: Study, cell: Cell) -> tuple[Any, int]:
    """The model that an arm fine-tunes, where it will be computed, and the steps that its pre-training skipped."""
    config, seed = study.config, study.seed
    model = build_model(config.model, seed).to(device_of(cell))
    if study.arm.data is None:
        return model, 0
    e = config.evaluation
    windows = all_windows((*e.tasks, *e.corpora), e.curve_windows, config.model.context, seed)

    def evaluate(shown: nn.Module, step: int) -> Mapping[str, float]:
        bits = zero_shot_bits(shown, windows, e.positions, e.batch_size)
        return {f"zero_shot/{name}": value for name, value in bits.items()}

    data = random_computation(config.generator, config.model.context, study.arm.data)
    rate = config.rates.pretraining
    trained = pretrain(model, data, config.pretraining, rate, seed, cell, evaluate=evaluate)
    fresh = build_model(config.model, seed)  # the trained one is wrapped for the precision of its training
    fresh.load_state_dict(trained.model.state_dict())
    return fresh.to(device_of(cell)), trained.skipped


def finetuned(model: Any, study: Study, cell: Cell) -> Trained:
    """Fine-tune at the arm's rate; ``model`` is trained in place."""
    config = study.config
    return finetune(
        model,
        study.corpus,
        config.finetuning,
        getattr(config.rates, study.arm.rate),
        config.model.context,
        study.seed,
        cell,
        optimization=config.pretraining,
        windows=config.evaluation.windows,
        batch_size=config.evaluation.batch_size,
    )


def measure(model: nn.Module, study: Study) -> dict[str, ZeroShot]:
    """Bits per byte on every synthetic task and on real bytes, beside the in-context Markov models."""
    e = study.config.evaluation
    return evaluate_zero_shot(
        model,
        (*e.tasks, *e.corpora),
        e.windows,
        study.config.model.context,
        e.positions,
        seed=study.seed,
        markov_order=e.markov_order,
        batch_size=e.batch_size,
    )


def finetuning_metrics(curves: Mapping[str, Sequence[tuple[float, float]]], config: Config) -> dict[str, float]:
    """The end of the curves, and the steps to the target bits per byte.

    An arm that never gets there counts as if it had at the last step, and says so in ``reached_target``: where the
    slower arm is cut off, the faster one's lead is understated, never overstated.
    """
    f = config.finetuning
    reached = steps_to_reach(curves["held_out/bits"], f.target_bits)
    steps = min(max(reached, 1.0), float(f.steps))
    return {
        "finetuning/held_out": curves["held_out/bits"][-1][1],
        "finetuning/retention": curves["retention/bits"][-1][1],
        "finetuning/steps_to_target": steps,
        "finetuning/log2_steps_to_target": log2(steps),
        "finetuning/reached_target": float(isfinite(reached)),
    }


def cost_metrics(model: Any, config: Config, arm: Arm) -> dict[str, float]:
    """Tokens seen and operations spent by each training; generation counts for pre-training."""
    p, f, context = config.pretraining, config.finetuning, config.model.context
    per_token = training_flops_per_token(model, config.model)
    pretraining_tokens = float(p.steps * p.batch_size * context) if arm.data else 0.0
    generated_tokens = float(generated_per_step(config) * p.steps) if arm.data else 0.0
    finetuning_tokens = float(f.steps * f.batch_size * context)
    return {
        "cost/parameters": float(model.num_parameters()),
        "cost/pretraining_tokens": pretraining_tokens,
        "cost/pretraining_teraflops": pretraining_tokens * per_token / 1e12,
        "cost/generated_tokens": generated_tokens,
        "cost/generation_teraflops": generated_tokens * generation_flops_per_token(config.generator) / 1e12,
        "cost/finetuning_tokens": finetuning_tokens,
        "cost/finetuning_teraflops": finetuning_tokens * per_token / 1e12,
    }


def generated_per_step(config: Config) -> float:
    """Tokens that random LSTMs generate for a step of pre-training, on one process."""
    g = config.generator
    return g.rows_per_source * config.model.context * config.pretraining.gradient_accumulation / g.source_every


def figures(report: Report) -> list[Picture]:
    """Zero-shot bits, curves of pre-training and of fine-tuning, and rows of the data."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``.

    Memory: that of the training, and four numbers for each logit. Evaluation is left out of the time.
    """
    p, f, m = config.pretraining, config.finetuning, config.model
    with torch.device("meta"):
        model = build_model(m, seed=0)
    parameters, per_token = model.num_parameters(), training_flops_per_token(model, m)
    pretrained = sum(arm.data is not None for arm in ARMS.values())
    tokens = (pretrained * p.steps * p.batch_size + len(ARMS) * f.steps * f.batch_size) * m.context
    generated = pretrained * p.steps * generated_per_step(config)
    rows = max(p.batch_size / p.gradient_accumulation, f.batch_size / f.gradient_accumulation)
    tokens_of_a_piece = rows * m.context
    logits = 4.0 * 4 * tokens_of_a_piece * VOCABULARY
    flops = tokens * per_token + generated * generation_flops_per_token(config.generator)
    return {
        "parameters": float(parameters),
        "memory_bytes": training_bytes(parameters, tokens_of_a_piece, m.width, m.layers) + logits,
        "seconds": flops / (_GPU_FLOPS if torch.cuda.is_available() else _CPU_FLOPS),
    }


_CPU_FLOPS, _GPU_FLOPS = 6e10, 5e13  # assumed sustained: two cores in float32; one H100-class GPU in bfloat16
