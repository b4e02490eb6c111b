"""Adaptive computation time: the carry, who halts, what q_halt and q_continue learn, and the loss of one step.

Paper: section "Adaptive computational time (ACT)"; the order of events is that of the authors' code. One training step
is one segment for each slot of the batch. Letters as in ``method.py``; M = halt_max_steps.

Draws are keyed by (seed, step) over the *global* batch and then cut to the process's slots, so that the number of
processes changes nothing.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tenfold.core.seeding import torch_generator
from tenfold.data.puzzles import Batch
from tenfold.models.stablemax import IGNORE_LABEL, softmax_cross_entropy, stablemax_cross_entropy
from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.method import Latents, RecursiveReasoner, SegmentOutput


@dataclass(frozen=True)
class Carry:
    """What each slot of a batch takes from step to step.

    Args:
        z_H, z_L: ``[B, S, D]`` states; meaningless where ``halted``.
        steps: ``[B]`` segments done on the present puzzle.
        halted: ``[B]`` whether the slot takes a new puzzle at the next step.
        loads: ``[B]`` puzzles taken so far.
        inputs: ``[B, L]`` present puzzle.
        labels: ``[B, L]`` its solution.
        puzzles: ``[B]`` its row in the puzzle table.
    """

    z_H: Tensor
    z_L: Tensor
    steps: Tensor
    halted: Tensor
    loads: Tensor
    inputs: Tensor
    labels: Tensor
    puzzles: Tensor


class Rows(NamedTuple):
    """Incoming puzzles, one for each slot: ``inputs`` and ``labels`` ``[B, L]``, ``puzzles`` ``[B]``, all int64."""

    inputs: Tensor
    labels: Tensor
    puzzles: Tensor

    @staticmethod
    def from_batch(batch: Batch, part: slice) -> "Rows":
        """Part of a batch of arrays as tensors."""
        arrays = (batch.inputs, batch.labels, batch.puzzle_identifiers)
        return Rows(*(torch.from_numpy(array[part]) for array in arrays))

    def to(self, device: torch.device) -> "Rows":
        """The same rows on another device."""
        return Rows(*(tensor.to(device, non_blocking=True) for tensor in self))


def empty_carry(model: RecursiveReasoner, batch_size: int) -> Carry:
    """A carry in which every slot waits for a puzzle; the states are uninitialised."""
    device = model.initial_z_H.device
    latents = model.initial_latents(batch_size)
    grid = torch.zeros(batch_size, model.config.sequence_length, dtype=torch.long, device=device)
    count = torch.zeros(batch_size, dtype=torch.long, device=device)
    return Carry(
        z_H=torch.empty_like(latents.z_H, memory_format=torch.contiguous_format),
        z_L=torch.empty_like(latents.z_L, memory_format=torch.contiguous_format),
        steps=count,
        halted=torch.ones(batch_size, dtype=torch.bool, device=device),
        loads=count.clone(),
        inputs=grid,
        labels=grid.clone(),
        puzzles=count.clone(),
    )


def refill(carry: Carry, rows: Rows, initial: Latents) -> Carry:
    """Where a slot has halted: the incoming row, step 0, initial states. Elsewhere nothing changes, bit for bit."""
    halted, column = carry.halted, carry.halted[:, None]
    return Carry(
        z_H=torch.where(column[..., None], initial.z_H, carry.z_H),
        z_L=torch.where(column[..., None], initial.z_L, carry.z_L),
        steps=carry.steps.masked_fill(halted, 0),
        halted=torch.zeros_like(halted),
        loads=carry.loads + halted,
        inputs=torch.where(column, rows.inputs, carry.inputs),
        labels=torch.where(column, rows.labels, carry.labels),
        puzzles=torch.where(halted, rows.puzzles, carry.puzzles),
    )


def wants_to_halt(config: ReasonerConfig, q_halt: Tensor, q_continue: Tensor) -> Tensor:
    """The rule by which a slot stops before M: q_halt > q_continue (HRM), or q_halt > 0 (TRM). ``[B]`` bool."""
    return q_halt > (q_continue if config.q_continue else 0.0)


def least_steps(config: ReasonerConfig, seed: int, step: int, slots: range, num_slots: int) -> Tensor:
    """m_min: with probability ε a draw from {2..M}, else 0; drawn afresh at every step, as the authors' code does.

    Args:
        config: gives ε and M.
        seed: of the run.
        step: the optimizer step, part of the key.
        slots: global numbers of this process's slots.
        num_slots: slots over all processes and pieces.

    Returns:
        ``[len(slots)]`` int64 on the CPU.
    """
    M = config.halt_max_steps
    generator = torch_generator(seed, "exploration", step)
    explores = torch.rand(num_slots, generator=generator) < config.halt_exploration
    draws = torch.randint(2, max(M, 2) + 1, (num_slots,), generator=generator)
    return torch.where(explores, draws, 0)[slots.start : slots.stop]


def next_halted(config: ReasonerConfig, steps: Tensor, output: SegmentOutput, m_min: Tensor) -> Tensor:
    """Which slots stop after this training segment: ``(steps >= M or wants to halt) and steps >= m_min``.

    The mask covers the forced stop too; harmless because m_min <= M.
    """
    if config.halt_max_steps == 1:
        return torch.ones_like(steps, dtype=torch.bool)
    last = steps >= config.halt_max_steps
    return (last | wants_to_halt(config, output.q_halt, output.q_continue)) & (steps >= m_min)


@torch.no_grad()
def continue_target(model: RecursiveReasoner, carry: Carry, latents: Latents) -> Tensor:
    """G_cont = σ( q'_halt if last else max(q'_halt, q'_cont) ), from one more segment on the same data. ``[B]``.

    Neither a replay buffer nor a target network; the extra segment leaves ``carry`` and ``latents`` untouched.
    """
    ahead = model(latents, carry.inputs, carry.puzzles)
    last = carry.steps >= model.config.halt_max_steps
    best = torch.maximum(ahead.q_halt, ahead.q_continue)
    return torch.where(last, ahead.q_halt, best).sigmoid()


class StepLosses(NamedTuple):
    """Parts of the loss of one step, each ``[B]``, and what was right."""

    answer: Tensor
    q_halt: Tensor
    q_continue: Tensor
    cell_accuracy: Tensor
    exact: Tensor

    def total(self) -> Tensor:
        """mean over slots of answer + 0.5 · (q_halt + q_continue)."""
        return (self.answer + 0.5 * (self.q_halt + self.q_continue)).mean()


def step_losses(
    output: SegmentOutput, labels: Tensor, g_continue: Tensor | None, loss: str = "stablemax"
) -> StepLosses:
    """Section 6 of the specification: per-slot mean cross-entropy over cells that count, and two binary ones.

    G_halt is 1 where every cell that counts is right at this segment.

    Args:
        output: of the segment; logits ``[B, L, V]``.
        labels: ``[B, L]``, -100 where a cell does not count.
        g_continue: ``[B]`` target of q_continue, or ``None`` to leave it untrained.
        loss: "stablemax" or "softmax".
    """
    cross_entropy = stablemax_cross_entropy if loss == "stablemax" else softmax_cross_entropy
    counts = labels != IGNORE_LABEL
    n = counts.sum(-1)
    answer = cross_entropy(output.logits, labels).sum(-1) / n.clamp(min=1)
    right = (output.logits.argmax(-1) == labels) & counts
    exact = right.sum(-1) == n
    binary = nn.functional.binary_cross_entropy_with_logits
    q_halt = binary(output.q_halt, exact.float(), reduction="none")
    q_continue = torch.zeros_like(q_halt)
    if g_continue is not None:
        q_continue = binary(output.q_continue, g_continue, reduction="none")
    filled = n > 0  # a row that only pads the batch adds nothing
    return StepLosses(answer, q_halt * filled, q_continue * filled, right.sum(-1) / n.clamp(min=1), exact & filled)


def unwrapped(model: nn.Module) -> RecursiveReasoner:
    """The reasoner itself, without what wraps it for data parallelism."""
    core: Any = getattr(model, "module", model)
    return core


class StepOptions(NamedTuple):
    """What :func:`training_step` needs beside the data; ``num_slots`` is the global batch."""

    seed: int
    num_slots: int
    loss: str = "stablemax"


def training_step(
    model: nn.Module, carry: Carry, rows: Rows, step: int, slots: range, options: StepOptions
) -> tuple[Tensor, Carry, dict[str, Tensor]]:
    """One segment for every slot: refill, segment, losses, halting.

    Args:
        model: a :class:`RecursiveReasoner`, possibly wrapped for data parallelism.
        carry: of the step before, or :func:`empty_carry`.
        rows: the incoming puzzles of these slots.
        step: the optimizer step.
        slots: global numbers of these slots.
        options: seed, global batch and loss.

    Returns:
        The loss (mean over slots), the carry for the next step, and scalar metrics. Metrics of group ``train`` are
        taken over the slots that halted in this step (NaN when none did).
    """
    core = unwrapped(model)
    config = core.config
    carry = refill(carry, rows, core.initial_latents(len(slots)))
    output = model(Latents(carry.z_H, carry.z_L), carry.inputs, carry.puzzles)
    carry = replace(carry, z_H=output.latents.z_H, z_L=output.latents.z_L, steps=carry.steps + 1)
    learns_continue = config.q_continue and config.halt_max_steps > 1
    g_continue = continue_target(core, carry, output.latents) if learns_continue else None
    losses = step_losses(output, carry.labels, g_continue, options.loss)
    with torch.no_grad():
        m_min = least_steps(config, options.seed, step, slots, options.num_slots).to(carry.steps.device)
        # A slot whose state overflowed starts afresh; otherwise it would spoil every batch until it halts.
        broken = ~carry.z_H.isfinite().all(-1).all(-1)
        carry = replace(carry, halted=next_halted(config, carry.steps, output, m_min) | broken)
        metrics = _metrics(output, losses, carry)
    return losses.total(), carry, metrics


def _metrics(output: SegmentOutput, losses: StepLosses, carry: Carry) -> dict[str, Tensor]:
    halted = carry.halted
    count = halted.sum()

    def over_halted(values: Tensor) -> Tensor:
        return torch.where(halted, values.float(), 0.0).sum() / count  # 0 / 0 is NaN: nobody halted

    predicted_right = output.q_halt >= 0
    return {
        "train/answer_loss": losses.answer.mean(),
        "train/q_halt_loss": losses.q_halt.mean(),
        "train/q_continue_loss": losses.q_continue.mean(),
        "train/exact_accuracy": over_halted(losses.exact),
        "train/cell_accuracy": over_halted(losses.cell_accuracy),
        "train/q_halt_accuracy": over_halted(predicted_right == losses.exact),
        "train/segments": over_halted(carry.steps),
        "train/halted": halted.float().mean(),
        "train/q_halt_max": output.q_halt.max(),
        "train/q_halt_min": output.q_halt.min(),
    }
