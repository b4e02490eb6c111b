"""Universal pre-training against training from scratch: one experiment, top to bottom.

Each arm but the first is pre-trained on rows of random computation, then measured on tasks and on real bytes that it
has never seen, then fine-tuned on Python source. Every arm starts from the same weights, sees the same batches of
source code in the same order, and is measured on the same windows. The rates of fine-tuning that a claim compares are
chosen on another seed over one grid (``tenfold tune universal_pretraining``); that of pre-training is shared. What
pre-training itself has cost stands beside what it saves.
"""

import os
from collections.abc import Mapping, Sequence
from math import isfinite, log2, nan
from typing import Any

import torch
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.data.corpora import Corpus, load_corpus
from tenfold.models.causal_lm import save_causal_lm
from tenfold.papers.universal_pretraining import pictures
from tenfold.papers.universal_pretraining.config import Config
from tenfold.papers.universal_pretraining.evaluation import (
    ZeroShot,
    all_windows,
    as_plain,
    evaluate_zero_shot,
    zero_shot_bits,
    zero_shot_metrics,
)
from tenfold.papers.universal_pretraining.finetune import data_order, finetune, steps_to_reach
from tenfold.papers.universal_pretraining.optimization import (
    VOCABULARY,
    build_model,
    generation_flops_per_token,
    training_flops_per_token,
)
from tenfold.papers.universal_pretraining.pretrain import ArmData, pretrain, random_computation, shown_rows
from tenfold.train.distributed import computes_on_cpu, require_device
from tenfold.train.loop import Trained

ARMS: Mapping[str, ArmData | None] = {
    "scratch": None,
    "lstm": ArmData(mixture=False, iterate=True),
    "mixture": ArmData(mixture=True, iterate=True),
    "noniterated": ArmData(mixture=False, iterate=False),
}

_MEASURED = "windows that no arm was trained on; a uniform guess needs 8 bits"
_EQUAL = "identical fine-tuning batches, steps, warm-up; each arm's rate from one grid on another seed"


def _below(task: str, bits: float, what: str) -> Claim:
    return Claim(
        id=task,
        text=f"Pre-trained on the mixture, a model needs less than {bits} bits per byte for {what}, untrained on it.",
        kind="threshold",
        metric=f"zero_shot/{task}",
        split="zero-shot",
        arm="mixture",
        baseline=None,
        direction="lower",
        margin=bits,
        budget=_MEASURED,
    )


CLAIMS = (
    _below("rep-1", 0.5, "one byte repeated"),
    _below("rep-3", 5.5, "three bytes repeated"),
    _below("dyck", 3.8, "balanced brackets"),
    Claim(
        id="transfer",
        text="Pre-trained on the mixture, it gets to the target on Python source in less than 0.7 times the steps "
        "that it takes from scratch (base-2 logarithm of the steps lower by at least 0.515).",
        kind="superiority",
        metric="finetuning/log2_steps_to_target",
        split="held-out Python source",
        arm="mixture",
        baseline="scratch",
        direction="lower",
        margin=-log2(0.7),
        budget=_EQUAL,
    ),
    Claim(
        id="retention",
        text="After fine-tuning on Python source, a pre-trained model needs fewer bits for brackets than one that "
        "started from scratch.",
        kind="superiority",
        metric="finetuning/retention",
        split="dyck",
        arm="mixture",
        baseline="scratch",
        direction="lower",
        margin=0.0,
        budget=_EQUAL,
    ),
    Claim(
        id="iteration",
        text="Iterating random computation helps: fewer bits over the synthetic tasks than without iteration.",
        kind="superiority",
        metric="zero_shot/mean_of_tasks",
        split="zero-shot",
        arm="lstm",
        baseline="noniterated",
        direction="lower",
        margin=0.0,
        budget="equal steps, batch, rate, sources and rows",
    ),
    Claim(
        id="markov",
        text="On real bytes, a model pre-trained on the mixture beats the best Markov model that is fitted in context.",
        kind="threshold",
        metric="markov/distance",
        split="zero-shot real bytes",
        arm="mixture",
        baseline=None,
        direction="lower",
        margin=0.0,
        budget="both see the window alone; best of the orders 0 to 5, each at its best smoothing",
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Pre-train one arm with one seed, measure it, fine-tune it and measure it again."""
    corpus = load_corpus(config.finetuning.source, limit=config.finetuning.limit)
    pretraining_steps = config.pretraining.steps if ARMS[arm] else 0
    total_steps = pretraining_steps + config.finetuning.steps
    first = cell.part("pretraining", steps_before=0, total_steps=total_steps)
    second = cell.part("finetuning", steps_before=pretraining_steps, total_steps=total_steps)

    model, skipped = pretrained_model(config, arm, seed, first)
    results = measure(model, config, seed)
    tuned = finetuned(model, corpus, config, arm, seed, second)
    if cell.is_main:
        save_causal_lm(tuned.model, cell.directory / "finetuned")
    return Scores(
        metrics={
            **{claim.metric: nan for claim in CLAIMS},  # what was not measured decides nothing
            **zero_shot_metrics(results, config.evaluation.tasks),
            **finetuning_metrics(second.curves(), config),
            **cost_metrics(model, config, arm),
            "train/skipped_steps": float(skipped + tuned.skipped),
        },
        items={f"zero_shot/{name}": result.windows for name, result in results.items()},
        curves=cell.curves(),
        samples={
            "zero_shot": as_plain(results),
            "rows": shown_rows(first, config.pretraining.steps) if ARMS[arm] else {},
            "data_order": data_order(corpus, config.finetuning, config.model.context, seed),
        },
    )


def pretrained_model(config: Config, arm: str, seed: int, cell: Cell) -> tuple[Any, int]:
    """The model that an arm fine-tunes, where it will be computed, and the steps that its pre-training skipped."""
    model = build_model(config.model, seed).to(device_of(cell))
    data = ARMS[arm]
    if data is None:
        return model, 0
    e = config.evaluation
    windows = all_windows((*e.tasks, *e.corpora), e.curve_windows, config.model.context, seed)

    def evaluate(shown: nn.Module, step: int) -> Mapping[str, float]:
        bits = zero_shot_bits(shown, windows, e.positions, e.batch_size)
        return {f"zero_shot/{name}": value for name, value in bits.items()}

    trained = pretrain(
        model,
        random_computation(config.generator, config.model.context, data),
        config.pretraining,
        config.rates.pretraining,
        seed,
        cell,
        evaluate=evaluate,
    )
    if cell.is_main:
        save_causal_lm(trained.model, cell.directory / "model")
    fresh = build_model(config.model, seed)  # the trained one is wrapped for the precision of its training
    fresh.load_state_dict(trained.model.state_dict())
    return fresh.to(device_of(cell)), trained.skipped


def finetuned(model: nn.Module, corpus: Corpus, config: Config, arm: str, seed: int, cell: Cell) -> Trained:
    """Fine-tune at the arm's rate; ``model`` is trained in place."""
    return finetune(
        model,
        corpus,
        config.finetuning,
        getattr(config.rates, arm),
        config.model.context,
        seed,
        cell,
        optimization=config.pretraining,
        windows=config.evaluation.windows,
        batch_size=config.evaluation.batch_size,
    )


def measure(model: nn.Module, config: Config, seed: int) -> dict[str, ZeroShot]:
    """Bits per byte on every synthetic task and on real bytes, beside the in-context Markov models."""
    e = config.evaluation
    return evaluate_zero_shot(
        model,
        (*e.tasks, *e.corpora),
        e.windows,
        config.model.context,
        e.positions,
        seed=seed,
        markov_order=e.markov_order,
        batch_size=e.batch_size,
    )


def device_of(cell: Cell) -> torch.device:
    """Where the loop of ``tenfold.train`` will put the model of this process."""
    require_device(cell.device)
    accelerator = torch.accelerator.current_accelerator()
    if computes_on_cpu(cell.device) or accelerator is None or not torch.accelerator.is_available():
        return torch.device("cpu")
    return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")))


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


def cost_metrics(model: nn.Module, config: Config, arm: str) -> dict[str, float]:
    """Tokens seen and operations spent by each training; generation counts for pre-training."""
    p, f, context = config.pretraining, config.finetuning, config.model.context
    per_token = training_flops_per_token(model, config.model)
    pretraining_tokens = float(p.steps * p.batch_size * context) if ARMS[arm] else 0.0
    generated_tokens = float(generated_per_step(config) * p.steps) if ARMS[arm] else 0.0
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
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``.

    Memory: weights, gradient and two moments in float32, and what a step keeps of its activations, at about 34 widths
    a layer and a token and four logits of a byte. Evaluation is left out of the time.
    """
    p, f, m = config.pretraining, config.finetuning, config.model
    with torch.device("meta"):
        model = build_model(m, seed=0)
    parameters, per_token = model.num_parameters(), training_flops_per_token(model, m)
    pretrained = sum(data is not None for data in ARMS.values())
    tokens = (pretrained * p.steps * p.batch_size + len(ARMS) * f.steps * f.batch_size) * m.context
    generated = pretrained * p.steps * generated_per_step(config)
    rows = max(p.batch_size / p.gradient_accumulation, f.batch_size / f.gradient_accumulation)
    flops = tokens * per_token + generated * generation_flops_per_token(config.generator)
    return {
        "parameters": float(parameters),
        "memory_bytes": 16.0 * parameters + 4.0 * rows * m.context * (34 * m.width * m.layers + 4 * VOCABULARY),
        "seconds": flops / (_GPU_FLOPS if torch.cuda.is_available() else _CPU_FLOPS),
    }


_CPU_FLOPS, _GPU_FLOPS = 6e10, 5e13  # assumed sustained: two cores in float32; one H100-class GPU in bfloat16
