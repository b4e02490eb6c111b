"""Fine-tuning on real bytes: every model sees the same batches in the same order, whatever it was pre-trained on.

The windows of step t are keyed by (seed, "finetune", t), not by the arm, and :func:`data_order` hashes them. A fixed
learning rate would favour one side, so :func:`compare_finetune` gives both the same grid and compares the best of each.
Held-out text and the task that is not trained on are measured along the way, from step 0.

Different from the author's script: the optimizer starts afresh for every arm (theirs loads the state of pre-training),
the rate is constant after the warm-up (theirs is halved every 10 M windows), and the batch does not grow.
"""

import copy
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.data.corpora import Corpus, held_out_windows, training_windows
from tenfold.eval.bits_per_byte import bits_per_byte, token_bits
from tenfold.optim.schedules import warmup_cosine
from tenfold.papers.universal_pretraining.config import FinetuningConfig, PretrainingConfig
from tenfold.papers.universal_pretraining.optimization import make_optimizer, next_token_loss
from tenfold.papers.universal_pretraining.tasks import sample_task
from tenfold.train.loop import LoopConfig, Trained, train

Curve = Sequence[tuple[float, float]]


def finetuning_batch(corpus: Corpus, config: FinetuningConfig, context: int, seed: int, step: int) -> np.ndarray:
    """The windows ``[batch_size, context]`` of a step, counted from 1; no arm has a part in the key."""
    return training_windows(corpus.train, context, config.batch_size, seed, "finetune", step)


def data_order(corpus: Corpus, config: FinetuningConfig, context: int, seed: int) -> str:
    """A hash of all windows of a fine-tuning in their order: equal hashes, equal data.

    Example:
        >>> from tenfold.data.corpora import load_corpus
        >>> corpus, config = load_corpus("python", limit=10_000), FinetuningConfig(steps=2)
        >>> data_order(corpus, config, 32, seed=0) == data_order(corpus, config, 32, seed=1)
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for step in range(1, config.steps + 1):
        digest.update(finetuning_batch(corpus, config, context, seed, step).astype(np.uint8).tobytes())
    return digest.hexdigest()


def finetune(
    model: Any,
    corpus: Corpus,
    config: FinetuningConfig,
    rate: float,
    context: int,
    seed: int,
    cell: Cell,
    *,
    optimization: PretrainingConfig | None = None,
    windows: int = 64,
    batch_size: int = 64,
) -> Trained:
    """Train ``model`` on ``corpus`` in the loop of ``tenfold.train``, from the newest checkpoint of ``cell``.

    The cell's curves get ``held_out/bits`` and ``retention/bits``, bits per byte over all positions, from step 0 on.

    Args:
        model: a causal language model over bytes; trained in place.
        corpus: what it learns from and is measured on.
        config: steps, batch, warm-up, the task of ``retention/bits``.
        rate: AdamW's learning rate after the warm-up.
        context: bytes of a window.
        seed: of the order of the data and of the retention task.
        cell: where to log and save.
        optimization: decay, clipping and muP, as in pre-training; by default none, 1 and off.
        windows: held-out windows of the curves.
        batch_size: windows in a forward pass of the evaluation.
    """
    evaluate = held_out_evaluation(corpus, config, context, seed, windows, batch_size)
    if not cell.curves():
        cell.log(0, evaluate(model, 0))

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> Any:
        rows = finetuning_batch(corpus, config, context, seed, step)[slots.start : slots.stop]
        loss = next_token_loss(wrapped, torch.from_numpy(rows).to(next(wrapped.parameters()).device))
        return loss, carry, {}

    optimization = PretrainingConfig() if optimization is None else optimization
    width = model.get_output_embeddings().in_features
    return train(
        model,
        make_optimizer(rate, optimization, width),
        step_function,
        LoopConfig(
            steps=config.steps,
            batch_size=config.batch_size,
            gradient_accumulation=config.gradient_accumulation,
            mixed_precision="bf16" if cell.dtype == "bfloat16" else "no",
            log_every=config.evaluate_every,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
        ),
        cell,
        schedule=partial(warmup_cosine, total_steps=config.steps, warmup_steps=config.warmup_steps),
        evaluate=evaluate,
    )


def held_out_evaluation(
    corpus: Corpus, config: FinetuningConfig, context: int, seed: int, windows: int, batch_size: int
) -> Callable[[nn.Module, int], Mapping[str, float]]:
    """A function from a model to its bits on fixed windows of held-out text and of the task it must not forget."""
    texts = {
        "held_out/bits": held_out_windows(corpus.held_out, context, windows),
        "retention/bits": sample_task(config.retention_task, windows, context, seed, "retention"),
    }

    def evaluate(model: nn.Module, step: int) -> Mapping[str, float]:
        return {
            name: bits_per_byte(token_bits(model, torch.as_tensor(tokens).long(), batch_size=batch_size))[0]
            for name, tokens in texts.items()
        }

    return evaluate


def steps_to_reach(curve: Curve, target: float) -> float:
    """The step at which a curve first falls to ``target``, on the straight line between its points; inf if never.

    Example:
        >>> steps_to_reach([(0, 8.0), (10, 6.0), (20, 5.0)], target=5.5)
        15.0
    """
    before = None
    for step, value in curve:
        if value <= target:
            if before is None:
                return float(step)
            share = (before[1] - target) / (before[1] - value)
            return float(before[0] + share * (step - before[0]))
        before = (step, value)
    return inf


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_finetune` found; the arms are ``pretrained`` and ``scratch``.

    Args:
        curves: arm to rate to (step, bits per byte on held-out text).
        best_rate: arm to the rate with the lowest last value.
        steps: target to arm to the steps that the best rate took, inf if it did not get there.
        data_order: hash of the batches, which both arms saw.
    """

    curves: Mapping[str, Mapping[float, Curve]]
    best_rate: Mapping[str, float]
    steps: Mapping[float, Mapping[str, float]]
    data_order: str

    def best_curve(self, arm: str) -> Curve:
        """The curve of an arm at its best rate."""
        return self.curves[arm][self.best_rate[arm]]


def compare_finetune(
    pretrained: nn.Module,
    scratch: nn.Module,
    corpus: Corpus,
    *,
    rates: Sequence[float] = (5e-4, 1e-3, 2e-3, 4e-3),
    targets: Sequence[float] = (),
    config: FinetuningConfig | None = None,
    context: int = 128,
    windows: int = 64,
    seed: int = 0,
    out: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> Comparison:
    """Fine-tune two models on identical batches, each at every rate of one grid, and count steps to equal loss.

    Args:
        pretrained: a causal language model of transformers with a vocabulary of at least 256; not changed.
        scratch: the model it is compared with; not changed.
        corpus: what both learn from; ``tenfold.data.corpora.load_corpus`` makes one of any file or folder.
        rates: the grid, the same for both.
        targets: bits per byte on held-out text; by default the last value of ``scratch`` at its best rate.
        config: steps, batch size and warm-up; its source and target are not used.
        context: bytes of a window.
        windows: held-out windows of the curves.
        seed: of the order of the data.
        out: keeps logs and checkpoints, so that the same call goes on after an interruption; a temporary folder
            by default. The models are yours to keep the same.
        device: where to compute.

    Raises:
        UserError: no rates, or ``out`` was begun with other batches.

    Example:
        >>> from tenfold.data.corpora import load_corpus
        >>> from tenfold.papers.universal_pretraining.config import ModelConfig
        >>> from tenfold.papers.universal_pretraining.optimization import build_model
        >>> models = [build_model(ModelConfig(width=16, layers=1), seed) for seed in (0, 1)]
        >>> config = FinetuningConfig(steps=2, batch_size=2, evaluate_every=1)
        >>> found = compare_finetune(
        ...     *models, load_corpus("python", limit=10_000), rates=(1e-3,), config=config, context=32, windows=4,
        ...     device="cpu",
        ... )
        >>> [step for step, _ in found.best_curve("pretrained")]
        [0.0, 1.0, 2.0]
    """
    if not rates:
        raise UserError("rates = (): at least one learning rate is needed")
    config = FinetuningConfig() if config is None else config
    order = data_order(corpus, config, context, seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) if out is None else out
        _claim(root, order)
        curves: dict[str, dict[float, Curve]] = {"pretrained": {}, "scratch": {}}
        for arm, model in (("pretrained", pretrained), ("scratch", scratch)):
            for rate in rates:
                cell = Cell(arm=arm, seed=seed, directory=root / f"{arm}-{rate:g}", device=device)
                finetune(copy.deepcopy(model), corpus, config, rate, context, seed, cell, windows=windows)
                curves[arm][rate] = cell.curves()["held_out/bits"]
    best = {arm: min(of_arm, key=lambda rate: of_arm[rate][-1][1]) for arm, of_arm in curves.items()}
    wanted = tuple(targets) or (curves["scratch"][best["scratch"]][-1][1],)
    steps = {
        target: {arm: steps_to_reach(of_arm[best[arm]], target) for arm, of_arm in curves.items()} for target in wanted
    }
    return Comparison(curves, best, steps, order)


def _claim(root: Path, order: str) -> None:
    """Note which batches a folder is about; refuse it for others."""
    note = root / "data_order.txt"
    if note.is_file() and note.read_text() != order:
        raise UserError(f"out = {root}: holds another comparison, of other batches; allowed: a new or an empty folder")
    write_atomically(note, order)


def without_held_out(corpus: Corpus, share: float = 0.1) -> Corpus:
    """The training part alone, split again: for choosing rates without a look at the held-out part."""
    cut = round(len(corpus.train) * (1 - share))
    return replace(corpus, train=corpus.train[:cut], held_out=corpus.train[cut:])
