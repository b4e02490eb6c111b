"""Answering puzzles with a trained reasoner: segment by segment, with early halting, voting and noisy trajectories.

``halt_at_eval`` is Ge, Liao and Poggio (arXiv 2510.00355); the noisy trajectories chosen by q_halt are PTRM
(arXiv 2605.19943); voting over symmetries follows Ren and Liu (arXiv 2601.10679). The authors' own evaluation is
:func:`answer` with its defaults: always M segments, the last one's answer.

Letters: B puzzles, L grid tokens, M segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, torch_generator
from tenfold.papers.hrm.halting import wants_to_halt
from tenfold.papers.hrm.method import Latents, RecursiveReasoner


@dataclass(frozen=True)
class Answers:
    """Answers of a batch after each segment.

    Args:
        tokens: ``[M, B, L]`` uint8 predicted tokens.
        q_halt: ``[M, B]`` float32 logits of "this answer is right".
        halting_step: ``[B]`` int64, the first segment after which the halting rule held, M where it never did.
    """

    tokens: Tensor
    q_halt: Tensor
    halting_step: Tensor

    def final(self) -> Tensor:
        """``[B, L]`` tokens after the last segment (with ``halt_at_eval``: after the halting one)."""
        return self.tokens[-1]


@torch.no_grad()
def answer(
    model: RecursiveReasoner,
    inputs: Tensor,
    puzzles: Tensor,
    *,
    segments: int = 0,
    halt_at_eval: bool = False,
    noise_std: float = 0.0,
    noise_keys: Sequence[tuple[Key, ...]] | None = None,
) -> Answers:
    """Run ``segments`` segments on every puzzle.

    Args:
        model: in evaluation mode.
        inputs: ``[B, L]`` token ids on the model's device.
        puzzles: ``[B]`` rows of the puzzle table.
        segments: M; 0 for the trained ``halt_max_steps``.
        halt_at_eval: freeze a puzzle's answer and q_halt once the halting rule holds.
        noise_std: Gaussian noise added to both states before each segment.
        noise_keys: for each puzzle the key of its noise, so that its answer does not depend on its neighbours; by
            default its place in the batch.

    Example:
        >>> from tenfold.papers.hrm.config import ReasonerConfig
        >>> sizes = dict(hidden_size=64, num_heads=1, puzzle_embedding_size=64, sequence_length=16, vocab_size=6)
        >>> model = RecursiveReasoner(ReasonerConfig(**sizes)).eval()
        >>> ones, rows = torch.ones(2, 16, dtype=torch.long), torch.zeros(2, dtype=torch.long)
        >>> answer(model, ones, rows, segments=3).tokens.shape
        torch.Size([3, 2, 16])
    """
    M = segments or model.config.halt_max_steps
    latents = model.initial_latents(len(inputs))
    keys = noise_keys if noise_keys is not None else [(place,) for place in range(len(inputs))]
    generators = [torch_generator("latent noise", *key) for key in keys] if noise_std else []
    halted = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    halting_step = torch.full((len(inputs),), M, device=inputs.device)
    tokens: list[Tensor] = []
    q_halts: list[Tensor] = []
    for segment in range(1, M + 1):
        if noise_std:
            latents = Latents(*(z + noise_std * _gaussian(z, generators) for z in latents))
        output = model(latents, inputs, puzzles)
        latents = output.latents
        said, q_halt = output.logits.argmax(-1).to(torch.uint8), output.q_halt
        if halt_at_eval and tokens:
            said = torch.where(halted[:, None], tokens[-1], said)
            q_halt = torch.where(halted, q_halts[-1], q_halt)
        halts_now = wants_to_halt(model.config, output.q_halt, output.q_continue) & ~halted
        halting_step = torch.where(halts_now, segment, halting_step)
        halted = halted | halts_now
        tokens.append(said)
        q_halts.append(q_halt)
    return Answers(torch.stack(tokens), torch.stack(q_halts), halting_step)


def _gaussian(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    draws = [torch.randn(like.shape[1:], generator=generator) for generator in generators]
    return torch.stack(draws).to(like.device, like.dtype)


@dataclass(frozen=True)
class AllAnswers:
    """Answers to a whole test set, on the CPU as numpy arrays.

    Args:
        tokens: ``[M, n, L]`` uint8, without halting at evaluation.
        q_halt: ``[M, n]`` float32.
        halting_step: ``[n]``, see :class:`Answers`.
    """

    tokens: np.ndarray
    q_halt: np.ndarray
    halting_step: np.ndarray

    def right(self, labels: np.ndarray) -> np.ndarray:
        """``[M, n]`` whether every cell that counts (label not -100) is right after each segment."""
        return ((self.tokens == labels) | (labels < 0)).all(-1)

    def at_halting(self, right: np.ndarray) -> np.ndarray:
        """``[n]`` of ``right`` ``[M, n]`` at each puzzle's own halting step: what ``halt_at_eval`` answers."""
        return right[self.halting_step - 1, np.arange(right.shape[1])]


def answer_all(
    model: RecursiveReasoner,
    inputs: np.ndarray,
    puzzles: np.ndarray,
    batch_size: int,
    segments: int = 0,
    *,
    noise_std: float = 0.0,
    noise_key: tuple[Key, ...] = (0,),
) -> AllAnswers:
    """:func:`answer` for ``[n, L]`` inputs and ``[n]`` puzzles, in batches of one shape: a model compiles once."""
    device = model.initial_z_H.device
    size = min(batch_size, len(inputs))
    parts = []
    for start in range(0, len(inputs), size):
        rows = np.arange(start, start + size) % len(inputs)  # the last batch is filled up with rows from the front
        said = answer(
            model,
            torch.from_numpy(inputs[rows].astype(np.int64)).to(device),
            torch.from_numpy(puzzles[rows].astype(np.int64)).to(device),
            segments=segments,
            noise_std=noise_std,
            noise_keys=[(*noise_key, int(row)) for row in rows],
        )
        parts.append((said.tokens.cpu().numpy(), said.q_halt.cpu().numpy(), said.halting_step.cpu().numpy()))
    tokens, q_halt, halting_step = zip(*parts, strict=True)
    n = len(inputs)
    return AllAnswers(
        np.concatenate(tokens, 1)[:, :n], np.concatenate(q_halt, 1)[:, :n], np.concatenate(halting_step)[:n]
    )


def best_of_trajectories(
    model: RecursiveReasoner,
    inputs: np.ndarray,
    puzzles: np.ndarray,
    *,
    trajectories: int,
    noise_std: float,
    batch_size: int,
    segments: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """Run noisy trajectories and keep, for each puzzle, the final answer with the highest q_halt. ``[n, L]`` uint8."""
    best, best_q = None, None
    for trajectory in range(trajectories):
        said = answer_all(
            model, inputs, puzzles, batch_size, segments, noise_std=noise_std, noise_key=(seed, trajectory)
        )
        tokens, q_halt = said.tokens[-1], said.q_halt[-1]
        if best is None or best_q is None:
            best, best_q = tokens, q_halt
        else:
            better = q_halt > best_q
            best, best_q = np.where(better[:, None], tokens, best), np.where(better, q_halt, best_q)
    if best is None:
        raise UserError(f"trajectories = {trajectories}: must be at least 1")
    return best


def majority(votes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The most frequent whole grid of each puzzle; ties go to the higher mean confidence.

    Args:
        votes: ``[K, n, L]`` grids in the same frame.
        confidence: ``[K, n]``, such as sigmoid(q_halt).

    Returns:
        ``[n, L]``.
    """
    chosen = np.empty_like(votes[0])
    for puzzle in range(votes.shape[1]):
        grids, which, counts = np.unique(votes[:, puzzle], axis=0, return_inverse=True, return_counts=True)
        mean_confidence = np.bincount(which.ravel(), weights=confidence[:, puzzle]) / counts
        chosen[puzzle] = grids[np.lexsort((mean_confidence, counts))[-1]]
    return chosen
