"""One training loop for everything that is not a language model on trl: accelerate's devices, precision and processes.

The loop owns steps, gradient accumulation, learning rates, weight averaging, the guard against non-finite gradients,
checkpoints, logging and stopping. It knows neither data nor method: a :data:`StepFunction` fetches the rows of its
slots by (seed, step) and returns the loss. Data order is therefore a pure function of the step and needs no saving;
what a method carries from step to step (HRM's latent states) is a dataclass of tensors, saved per process.

Not covered: model sharding; pass an FSDP plugin to ``accelerate launch`` once a model needs it.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.train import checkpoint
from tenfold.train.distributed import computes_on_cpu, num_launched, require_device

StepFunction = Callable[[nn.Module, Any, int, range], tuple[Tensor, Any, Mapping[str, Tensor]]]
"""``(model, carry, step, slots) -> (loss, carry, metrics)``: ``step`` counts from 1; ``slots`` are the rows of the
global batch that this call is about; the loss is the mean over them; metrics are scalar tensors, NaN for "none"."""


@dataclass(frozen=True)
class LoopConfig:
    """What the loop itself needs to know.

    Args:
        steps: optimizer steps.
        batch_size: global batch, a multiple of processes times ``gradient_accumulation``.
        gradient_accumulation: pieces a process splits its part of the batch into.
        mixed_precision: accelerate's autocast. Its weight cache is off, because a weight that is first used without
            gradient would lose its gradient.
        ema_decay: of the averaged weights, averaged after every step from the initial weights on; 0 for none.
        compile: whether torch.compile takes the model, and its average; in place, so that names of weights stay.
        log_every: steps between logged metrics (means since the last log).
        evaluate_every: steps between calls of ``evaluate``; 0 for the end only.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many stay.
        max_skipped: consecutive non-finite steps after which training gives up.
    """

    steps: int
    batch_size: int
    gradient_accumulation: int = 1
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    ema_decay: float = 0.0
    compile: bool = False
    log_every: int = 20
    evaluate_every: int = 200
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    max_skipped: int = 20


@dataclass(frozen=True)
class Trained:
    """The result of :func:`train`.

    Args:
        model: the averaged weights when there are any, else the trained ones; unwrapped, in evaluation mode.
        last: the trained weights without averaging.
        skipped: steps that were left out because a gradient was not finite.
        seconds: of training steps alone, over all resumptions; evaluation and checkpoints not counted.
    """

    model: nn.Module
    last: nn.Module
    skipped: int
    seconds: float


def train(
    model: nn.Module,
    make_optimizers: Callable[[nn.Module], Sequence[torch.optim.Optimizer]],
    step_function: StepFunction,
    config: LoopConfig,
    cell: Cell,
    *,
    initial_carry: Callable[[nn.Module, int], Any] | None = None,
    schedule: Callable[[int], float] = lambda step: 1.0,
    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
    meters: Callable[[], Mapping[str, float]] | None = None,
) -> Trained:
    """Train ``model`` from the newest complete checkpoint of ``cell`` (or from the start) to ``config.steps``.

    Args:
        model: fresh, seeded by the caller.
        make_optimizers: called with the model on its device.
        step_function: see :data:`StepFunction`.
        config: the loop's own settings.
        cell: where to log and save, and whether to stop.
        initial_carry: ``(model, rows) -> carry``, a dataclass of tensors; ``None`` when nothing is carried.
        schedule: factor on every learning rate at a step, counted from 1.
        evaluate: ``(model, step) -> metrics``, called on the averaged weights when there are any; the first metric is
            shown in the progress display.
        meters: what optimizers and hooks measured at the last step (largest logits, loads of experts); read after the
            steps that are logged, and logged with them as it is.

    Raises:
        UserError: if the batch cannot be divided, the device is absent, or a checkpoint fits another launch.
        Interrupted: after a checkpoint, when the cell was asked to stop.
        FloatingPointError: after ``config.max_skipped`` non-finite steps in a row.
    """
    loop = _Loop(model, make_optimizers, config, cell, initial_carry, meters)
    loop.resume()
    while loop.done.step < config.steps:
        loop.set_rates(schedule(loop.done.step + 1))
        loop.step(step_function)
        loop.report()
        step = loop.done.step
        if evaluate is not None and (step == config.steps or _due(step, config.evaluate_every)):
            loop.evaluated = evaluate(loop.shown(), step)
            cell.log(step, loop.evaluated)
        stop = loop.any_process(cell.stop_requested())
        if stop or step == config.steps or _due(step, config.checkpoint_every):
            saved = loop.save()
            if stop and step < config.steps:
                raise Interrupted(step, saved)
    return Trained(loop.shown(), loop.unwrapped.eval(), loop.done.skipped, loop.done.seconds)


@dataclass
class _Done:
    """How far training has come."""

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0


class _Loop:
    """The state of one call of :func:`train`."""

    def __init__(
        self,
        model: nn.Module,
        make_optimizers: Callable[[nn.Module], Sequence[torch.optim.Optimizer]],
        config: LoopConfig,
        cell: Cell,
        initial_carry: Callable[[nn.Module, int], Any] | None,
        meters: Callable[[], Mapping[str, float]] | None,
    ) -> None:
        self.config, self.cell, self.meters = config, cell, meters
        self.accelerator = _accelerator(config, cell.device)
        self.rows = _rows_of_a_piece(config, self.accelerator.num_processes)
        self.unwrapped = model.to(self.accelerator.device)
        optimizers = make_optimizers(model)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.average: AveragedModel | None = None
        if config.ema_decay:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
            self.average.update_parameters(model)  # the first call copies: the average starts from the initial weights
            self.accelerator.register_for_checkpointing(self.average)
        if config.compile:
            model.compile()
            if self.average is not None:
                self.average.module.compile()  # a copy does not take it along
        self.model, *self.optimizers = self.accelerator.prepare(model, *optimizers)
        self.carries = [
            initial_carry(model, self.rows) if initial_carry else None for _ in range(config.gradient_accumulation)
        ]
        self.done = _Done()
        self.folder = cell.directory / "checkpoints"
        self.window: list[dict[str, Tensor]] = []
        self.loss: dict[str, float] = {}
        self.evaluated: Mapping[str, float] = {}
        self.started, self.steps_here = time.perf_counter(), 0

    def resume(self) -> None:
        """Continue from the newest complete checkpoint, if there is one."""
        newest = checkpoint.newest_whole(self.folder)
        if newest is None:
            self.cell.rewind(0)
            return
        state = checkpoint.restore(self.accelerator, newest)
        self.carries = [
            _with_tensors(carry, saved) for carry, saved in zip(self.carries, state["carries"], strict=True)
        ]
        self.done = _Done(**state["done"])
        device = self.accelerator.device
        self.window = [{name: value.to(device) for name, value in entry.items()} for entry in state["window"]]
        self.cell.rewind(self.done.step)

    def save(self) -> Path:
        """Write a checkpoint; every process calls this."""
        state = {
            "carries": [_tensors(carry) for carry in self.carries],
            "done": dataclasses.asdict(self.done),
            "window": self.window,
        }
        return checkpoint.save(self.accelerator, self.folder, self.done.step, state, self.config.keep_checkpoints)

    def set_rates(self, factor: float) -> None:
        """Multiply the initial rate of every group by ``factor``."""
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def step(self, step_function: StepFunction) -> None:
        """One optimizer step over all pieces; left out where a gradient is not finite."""
        started = time.perf_counter()
        self.model.train()
        for piece in range(self.config.gradient_accumulation):
            first = (piece * self.accelerator.num_processes + self.accelerator.process_index) * self.rows
            slots = range(first, first + self.rows)
            with self.accelerator.accumulate(self.model):
                loss, self.carries[piece], metrics = step_function(
                    self.model, self.carries[piece], self.done.step + 1, slots
                )
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self._count(_finite_gradients(self.unwrapped))
                for optimizer in self.optimizers:
                    if not self.done.skipped_in_a_row:
                        optimizer.step()
                    optimizer.zero_grad()
            self.window.append({"train/loss": loss.detach(), **metrics})
        if self.average is not None and not self.done.skipped_in_a_row:
            self.average.update_parameters(self.unwrapped)
        self.done.step += 1
        self.done.seconds += time.perf_counter() - started
        self.steps_here += 1

    def _count(self, finite: bool) -> None:
        if finite:
            self.done.skipped_in_a_row = 0
            return
        self.done.skipped += 1
        self.done.skipped_in_a_row += 1
        if self.done.skipped_in_a_row > self.config.max_skipped:
            raise FloatingPointError(
                f"no finite gradient in {self.done.skipped_in_a_row} steps in a row, up to step {self.done.step + 1}"
            )

    def report(self) -> None:
        """Log means over the window when due; show progress at every step."""
        step = self.done.step
        if step % self.config.log_every == 0 or step == self.config.steps:
            means = _means(self.accelerator, self.window)
            self.window, self.loss = [], {"train/loss": means["train/loss"]}
            measured = {} if self.meters is None else self.meters()
            self.cell.log(step, {**means, **measured, "train/skipped": float(self.done.skipped)})
        rate = self.steps_here * self.config.batch_size / (time.perf_counter() - self.started)
        headline = dict(list(self.evaluated.items())[:1])
        self.cell.progress(step, self.config.steps, self.loss | headline, (rate, "samples/s"))

    def shown(self) -> nn.Module:
        """The weights that are evaluated and saved: averaged when there is an average; in evaluation mode."""
        return (self.unwrapped if self.average is None else self.average.module).eval()

    def any_process(self, flag: bool) -> bool:
        """Whether ``flag`` is set on any process."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device)).item())


def _accelerator(config: LoopConfig, device: str) -> Accelerator:
    require_device(device)
    accelerator = Accelerator(
        cpu=computes_on_cpu(device),
        mixed_precision=config.mixed_precision,
        # a loader of another training in this process must not end our accumulation early
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.gradient_accumulation, sync_with_dataloader=False
        ),
        kwargs_handlers=[
            AutocastKwargs(cache_enabled=False),
            DistributedDataParallelKwargs(broadcast_buffers=False),
        ],
    )
    assert accelerator.num_processes == num_launched(), "each process would train, and write, a run of its own"
    return accelerator


def _rows_of_a_piece(config: LoopConfig, num_processes: int) -> int:
    pieces = num_processes * config.gradient_accumulation
    if config.batch_size % pieces:
        raise UserError(
            f"batch_size = {config.batch_size}: must be a multiple of {num_processes} process(es) times "
            f"gradient_accumulation = {config.gradient_accumulation}"
        )
    return config.batch_size // pieces


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _finite_gradients(model: nn.Module) -> bool:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())


def _means(accelerator: Accelerator, window: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Mean of each metric over window and processes, leaving NaN entries out; NaN where nothing is left."""
    names = sorted(window[0])
    table = torch.stack([torch.stack([entry[name].detach().double() for name in names]) for entry in window])
    if accelerator.num_processes > 1:
        table = accelerator.gather(table)
    return dict(zip(names, table.nanmean(0).tolist(), strict=True))


def _tensors(carry: Any) -> dict[str, Tensor]:
    return {} if carry is None else {f.name: getattr(carry, f.name) for f in dataclasses.fields(carry)}


def _with_tensors(carry: Any, saved: Mapping[str, Tensor]) -> Any:
    if carry is None:
        return None
    return dataclasses.replace(carry, **{name: value.to(getattr(carry, name).device) for name, value in saved.items()})
