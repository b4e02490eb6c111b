"""What training a large language model takes of named GPUs: memory of each by part, tokens, and hours. Not measured.

No one has run these presets on a GPU here, so every number is arithmetic on the shape of the model, with the
assumptions below; they say so wherever they are shown. The number of GPUs is the smallest power of two on which a
model fits that is sharded over all of them (FSDP2): weights, gradients, AdamW's two moments, a reference; two gathered
layers; activations (Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022,
equation 1 without the quadratic term, which fused attention does not keep); keys and values of the rows that are
sampled, which several GPUs share (tensor parallel) as they share the weights.

    trained tokens / s of a GPU = 0.4 * 989e12 / (6 P), with 8 P where activations are computed again
    sampled tokens / s of a GPU = rows * 0.5 * 3.35e12 / (2 P + rows * bytes of keys and values of half a sequence)
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenfold.core import timing

if TYPE_CHECKING:
    from tenfold.policies.sizes import ModelShape

GPU = "H100 80 GB"
MEMORY = 80e9 * 0.9  # bytes; the rest is the libraries'
FLOPS, SHARE_OF_FLOPS = 989e12, 0.4  # of dense bfloat16; what training is assumed to reach
BANDWIDTH, SHARE_OF_BANDWIDTH = 3.35e12, 0.5  # bytes per second; what sampling is assumed to reach
MOST_GPUS = 1024


@dataclass(frozen=True)
class Work:
    """One training of a language model, as memory and time depend on it.

    Args:
        kind: what it is called.
        number_bytes: of a weight; gradients and moments have as many.
        batch: sequences of a step, over all processes and pieces.
        pieces: that each process splits its part of the batch into.
        length: tokens of the longest sequence.
        steps: of the optimizer.
        checkpointing: activations are computed again.
        adapters: they alone are trained.
        reference: a frozen copy is kept.
        rows: sampled at the same time.
        sampled: tokens that are sampled in all, at most.
        cache_number_bytes: of a key's number.
    """

    kind: str
    number_bytes: float
    batch: int
    pieces: int
    length: int
    steps: int
    checkpointing: bool
    adapters: bool = False
    reference: bool = False
    rows: int = 0
    sampled: float = 0.0
    cache_number_bytes: float = 2.0

    @property
    def trained(self) -> float:
        """Tokens that are trained on in all, at most."""
        return float(self.steps * self.batch * self.length)


def parts_of_memory(shape: "ModelShape", work: Work, num_gpus: int) -> dict[str, float]:
    """Bytes on each GPU by part.

    Example:
        >>> from tenfold.policies.sizes import PUBLISHED
        >>> work = Work("training", 4.0, batch=64, pieces=8, length=2048, steps=100, checkpointing=True)
        >>> parts = parts_of_memory(PUBLISHED["Qwen/Qwen2.5-7B"], work, num_gpus=8)
        >>> {name: round(size / 1e9, 1) for name, size in parts.items()}
        {'weights': 3.8, 'gradients': 3.8, 'moments': 7.6, 'gathered': 1.1, 'activations': 0.7}
    """
    shared = shape.parameters * work.number_bytes / num_gpus
    tokens = work.length * max(1, math.ceil(work.batch / (num_gpus * work.pieces)))
    layer = 34.0 * shape.width  # bytes per token in half precision
    kept = 2.0 * shape.width * shape.layers + layer if work.checkpointing else layer * shape.layers
    parts = {
        "weights": shared,
        "gradients": 0.0 if work.adapters else shared,
        "moments": 0.0 if work.adapters else 2 * shared,
        "reference": shared if work.reference else 0.0,
        "gathered": 2 * 2.0 * shape.parameters / shape.layers if num_gpus > 1 else 0.0,
        "activations": kept * tokens,
        "cache": work.rows * work.length * shape.cache_bytes(work.cache_number_bytes) / num_gpus,
    }
    return {name: size for name, size in parts.items() if size}


def gpus_needed(shape: "ModelShape", work: Work) -> int | None:
    """The smallest power of two of GPUs on which the training fits; ``None`` if none does."""
    num_gpus = 1
    while sum(parts_of_memory(shape, work, num_gpus).values()) > MEMORY:
        num_gpus *= 2
        if num_gpus > MOST_GPUS:
            return None
    return num_gpus


def rates(shape: "ModelShape", work: Work, num_gpus: int) -> tuple[float, float]:
    """Tokens per second over all GPUs, trained and sampled, as the module's docstring assumes."""
    trained = num_gpus * SHARE_OF_FLOPS * FLOPS / ((8 if work.checkpointing else 6) * shape.parameters)
    moved = 2.0 * shape.parameters + work.rows * work.length / 2 * shape.cache_bytes(work.cache_number_bytes)
    return trained, num_gpus * work.rows * SHARE_OF_BANDWIDTH * BANDWIDTH / moved


def lines_about(shape: "ModelShape", work: Work) -> list[str]:
    """The plan in sentences, for ``--dry-run``."""
    num_gpus = gpus_needed(shape, work)
    if num_gpus is None:
        return [f"{work.kind}: does not fit {MOST_GPUS} x {GPU}; sample fewer rows at a time, or shorter ones"]
    parts = parts_of_memory(shape, work, num_gpus)
    trained, sampled = rates(shape, work, num_gpus)
    seconds = work.trained / trained + (work.sampled / sampled if work.sampled else 0.0)
    how = "one process" if num_gpus == 1 else "sharded over them (FSDP2)"
    if work.sampled and num_gpus > 1:
        how += ", sampling by a served engine"
    speeds = f"{timing.count(trained)} trained" + (f" and {timing.count(sampled)} sampled" if work.sampled else "")
    tokens = f"{timing.count(work.trained)} trained" + (
        f", {timing.count(work.sampled)} of them sampled" if work.sampled else ""
    )
    return [
        f"{work.kind}: {num_gpus} x {GPU}, {how}",
        "  memory of each: "
        + ", ".join(f"{name} {timing.size(size).removeprefix('about ')}" for name, size in parts.items()),
        f"  tokens: at most {tokens}",
        f"  time: {timing.about(seconds)} at most, at {speeds} tokens/s over all GPUs "
        f"({SHARE_OF_FLOPS:.0%} of their arithmetic, {SHARE_OF_BANDWIDTH:.0%} of their bandwidth); not measured",
    ]
