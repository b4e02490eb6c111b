"""Pre-training on random computation, in the loop of ``tenfold.train``; any causal language model over bytes will do.

The buffer's rows are what training carries from step to step: they are saved with every checkpoint, once per process
and piece of a batch, and all that is drawn is keyed by (seed, step, first row), so a resumed training meets the same
batches as one without a break. Generation runs where the model is.

Different from the author's script: the batch has its full size from the first step on, and all blocks train at once;
the author's batches grow, and groups of eight blocks are gated in one after the other.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.files import to_json, write_atomically
from tenfold.optim.schedules import warmup_cosine
from tenfold.papers.universal_pretraining.config import GeneratorConfig, PretrainingConfig
from tenfold.papers.universal_pretraining.generators import Mixture, RandomComputation
from tenfold.papers.universal_pretraining.method import BufferState, IterationBuffer, RandomLSTM
from tenfold.papers.universal_pretraining.optimization import make_optimizer, next_token_loss
from tenfold.train.loop import LoopConfig, Trained, train

_SHOWN_ROWS, _SHOWN_TOKENS = 24, 96


@dataclass(frozen=True)
class ArmData:
    """What an arm is pre-trained on: the scientific difference.

    Args:
        mixture: half of the rows from other sources (pointwise draws and automata), by the configuration's shares.
        iterate: sources read the buffer; without it, fresh constants and noise.
    """

    mixture: bool
    iterate: bool


def random_computation(config: GeneratorConfig, context: int, arm: ArmData) -> RandomComputation:
    """The generator of an arm's batches.

    Args:
        config: sizes and ranges.
        context: tokens of a row.
        arm: mixture or LSTM alone, iterated or not.

    Example:
        >>> data = random_computation(GeneratorConfig(hidden=8), 16, ArmData(mixture=True, iterate=True))
        >>> data.next(data.initial(0), 4, 0)[1].shape
        torch.Size([4, 16])
    """
    lstm = RandomLSTM(
        hidden=config.hidden,
        layers=config.layers,
        gain=(config.gain_low, config.gain_high),
        gain_power=config.gain_power,
        embed_scale=config.embed_scale,
        temperature=config.temperature,
        compiled=config.compiled,
    )
    buffer = IterationBuffer(
        size=config.buffer_rows,
        length=context,
        written=config.rows_per_source,
        reset=(config.reset_constant, config.reset_noise),
        seed_length=config.seed_length,
        iterate=arm.iterate,
    )
    pointwise, automata = config.pointwise_share, config.automata_share
    mixture = Mixture(1 - pointwise - automata, pointwise, automata) if arm.mixture else Mixture()
    return RandomComputation(buffer, lstm, config.source_every, mixture)


def pretrain(
    model: Any,
    data: RandomComputation,
    config: PretrainingConfig,
    rate: float,
    seed: int,
    cell: Cell,
    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
) -> Trained:
    """Train ``model`` on rows of ``data`` from the newest checkpoint of ``cell``.

    Args:
        model: a causal language model of transformers with a vocabulary of at least 256; trained in place.
        data: where the rows come from.
        config: steps, batch, warm-up, decay, clipping, muP.
        rate: AdamW's learning rate after the warm-up.
        seed: of the data.
        cell: where to log and save; the first and the last batch are kept there as ``rows-<step>.json``.
        evaluate: ``(model, step) -> metrics`` for the curves, called at the start, too.
    """
    if evaluate is not None and not cell.curves():
        cell.log(0, evaluate(model, 0))

    def step_function(wrapped: nn.Module, state: BufferState, step: int, slots: range) -> Any:
        state, rows_BL = data.next(state, len(slots), seed, "pretraining", slots.start)
        if cell.is_main and slots.start == 0 and step in (1, config.steps):
            shown = rows_BL[:_SHOWN_ROWS, :_SHOWN_TOKENS].tolist()
            write_atomically(cell.directory / f"rows-{step}.json", to_json(shown))
        return next_token_loss(wrapped, rows_BL), state, {}

    def initial_state(model: nn.Module, rows: int) -> BufferState:
        return data.initial(seed, "pretraining", device=next(model.parameters()).device)

    return train(
        model,
        make_optimizer(rate, config, model.get_output_embeddings().in_features),
        step_function,
        LoopConfig(
            steps=config.steps,
            batch_size=config.batch_size,
            gradient_accumulation=config.gradient_accumulation,
            mixed_precision="bf16" if cell.dtype == "bfloat16" else "no",
            log_every=config.log_every,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
        ),
        cell,
        initial_carry=initial_state,
        schedule=partial(warmup_cosine, total_steps=config.steps, warmup_steps=config.warmup_steps),
        evaluate=evaluate,
    )


def shown_rows(cell: Cell, steps: int) -> dict[str, list[list[int]]]:
    """Some rows of the first and of the last batch of :func:`pretrain`, for the report."""
    return {
        name: json.loads((cell.directory / f"rows-{step}.json").read_text())
        for name, step in (("first", 1), ("last", steps))
    }
