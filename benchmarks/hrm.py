"""How fast HRM's parts are, each beside what one would use instead.

    python benchmarks/hrm.py                     the table, on the CPU
    python benchmarks/hrm.py --device cuda --dtype bfloat16 --json
    python benchmarks/hrm.py --quick             a few seconds, numbers without meaning

Parts: ``step`` segment-samples per second of a training step, beside the same mathematics written plainly and beside a
``torch.nn.TransformerEncoder`` of equal FLOPs with fused AdamW; ``optimizer`` AdamATan2 beside fused AdamW on the 27 M
model; ``compile`` compiled beside eager training, with the number of steps after which compiling has paid off;
``sudoku`` minimal 9x9 puzzles per second beside a backtracker. Needs nothing but tenfold.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import torch
import tyro
from rivals.plain_hrm import PlainAdamATan2, PlainHRM, sign_step
from rivals.sudoku_backtracking import minimal_puzzle
from side_by_side import Comparison, Side, rates, show
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tenfold.data.sudoku_generator import generate
from tenfold.optim import AdamATan2, SparseSignSGD
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.halting import Carry, Rows, StepOptions, empty_carry, training_step
from tenfold.papers.hrm.method import RecursiveReasoner
from tenfold.papers.hrm.training import flops_of_a_step

LR, PUZZLE_LR, DECAY = 1e-3, 1e-4, 0.1
Part = Literal["step", "optimizer", "compile", "sudoku"]


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    parts: tuple[Part, ...] = ("step", "optimizer", "compile", "sudoku")
    """Which comparisons."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the models train."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Forward precision on both sides."""
    repeats: int = 9
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Tiny sizes and two turns: only shows that everything runs."""

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


class Training:
    """Steps of training on fixed rows, as the training loop takes them but without its bookkeeping."""

    def __init__(self, model: nn.Module, step_optimizers: Callable[[], None], batch_size: int, device: str) -> None:
        self.model, self.step_optimizers, self.number = model, step_optimizers, 0
        self.carry: Carry = empty_carry(model, batch_size)
        self.rows = random_rows(model.config, batch_size, device)
        self.options = StepOptions(seed=0, num_slots=batch_size)

    def backward(self) -> Tensor:
        self.number += 1
        slots = range(self.options.num_slots)
        loss, self.carry, _ = training_step(self.model, self.carry, self.rows, self.number, slots, self.options)
        loss.backward()
        return loss.detach()

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.backward()
            self.step_optimizers()


def random_rows(config: ReasonerConfig, batch_size: int, device: str) -> Rows:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, config.sequence_length)
    inputs, labels = (torch.randint(1, config.vocab_size, shape, generator=generator) for _ in range(2))
    return Rows(inputs, labels, torch.zeros(batch_size, dtype=torch.long)).to(torch.device(device))


def reasoner(config: ReasonerConfig, options: Options) -> RecursiveReasoner:
    torch.manual_seed(0)
    return RecursiveReasoner(config, getattr(torch, options.dtype)).to(options.device)


def our_training(config: ReasonerConfig, batch_size: int, options: Options) -> Training:
    model = reasoner(config, options)
    optimizers = [
        AdamATan2(model.parameters(), LR, weight_decay=DECAY),
        SparseSignSGD(model.puzzle_embedding, PUZZLE_LR, DECAY),
    ]

    def step_optimizers() -> None:
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return Training(model, step_optimizers, batch_size, options.device)


def plain_training(core: RecursiveReasoner, batch_size: int, options: Options) -> Training:
    """The same weights, data and mathematics, written plainly."""
    model = PlainHRM(core).to(options.device)
    optimizer = PlainAdamATan2([p for p in model.parameters() if p is not model.puzzle_table], LR, DECAY)

    def step_optimizers() -> None:
        optimizer.step()
        sign_step(model.puzzle_table, PUZZLE_LR, DECAY)

    return Training(model, step_optimizers, batch_size, options.device)


def largest_difference(ours: Training, plain: Training, steps: int = 3) -> float:
    """Relative difference in loss and gradients over a few steps of both; they must be the same mathematics."""
    worst = 0.0
    for _ in range(steps):
        mine, theirs = ours.backward(), plain.backward()
        gradients = [p.grad for p in ours.model.parameters()]
        for a, b in zip([mine, *gradients], [theirs, *plain.model.gradients()], strict=True):
            worst = max(worst, float((a - b).norm() / b.norm().clamp(min=1e-12)))
        ours.step_optimizers()
        plain.step_optimizers()
    return worst


class Encoder(nn.Module):
    """What one would take for the task from PyTorch: a transformer encoder over the grid."""

    def __init__(self, config: ReasonerConfig, layers: int) -> None:
        super().__init__()
        D = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, D)
        self.positions = nn.Parameter(torch.zeros(config.sequence_length, D))
        heads = config.num_heads if config.mixer == "attention" else 1
        layer = nn.TransformerEncoderLayer(D, heads, 4 * D, dropout=0.0, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.answer = nn.Linear(D, config.vocab_size)

    def forward(self, rows: Rows) -> Tensor:
        logits = self.answer(self.layers(self.tokens(rows.inputs) + self.positions))
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows.labels.flatten())


def encoder_flops(config: ReasonerConfig, layers: int, batch_size: int) -> float:
    model, rows = Encoder(config, layers), random_rows(config, 1, "cpu")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(rows).backward()
    return float(counter.get_total_flops() * batch_size)


def encoder_of_equal_flops(config: ReasonerConfig, batch_size: int) -> tuple[int, float]:
    """How many layers come nearest to the FLOPs of our step, and their FLOPs over ours."""
    target = flops_of_a_step(config, batch_size)
    one, two = (encoder_flops(config, layers, batch_size) for layers in (1, 2))
    layers = max(1, round((target - one) / (two - one)) + 1)
    return layers, (one + (layers - 1) * (two - one)) / target


def encoder_step(config: ReasonerConfig, layers: int, batch_size: int, options: Options) -> Callable[[], None]:
    model = Encoder(config, layers).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=DECAY, fused=True)
    rows = random_rows(config, batch_size, options.device)

    def step() -> None:
        with torch.autocast(options.device, torch.bfloat16, enabled=options.dtype == "bfloat16"):
            loss = model(rows)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def sizes(options: Options) -> dict[str, tuple[ReasonerConfig, int]]:
    """Name to model and batch: the laptop preset, and 9x9 with attention as large as the device allows."""
    laptop, full = presets.laptop(), presets.paper().arms.hrm
    if options.quick:
        laptop = presets.smoke()
    attention = (full, 768)
    if options.device == "cpu":
        attention = (replace(full, hidden_size=128, num_heads=2, layers=2, puzzle_embedding_size=128), 8)
    if options.quick:
        attention = (replace(full, hidden_size=32, num_heads=2, layers=1, puzzle_embedding_size=32), 2)
    return {
        "6x6, mlp mixing, laptop preset": (laptop.arms.hrm, laptop.training.batch_size),
        "9x9, attention": attention,
    }


def compare_steps(options: Options) -> list[Comparison]:
    lines = []
    for size, (config, batch_size) in sizes(options).items():
        ours = our_training(config, batch_size, options)
        plain = plain_training(ours.model, batch_size, options)
        difference = largest_difference(ours, plain)
        if difference > (1e-3 if options.dtype == "float32" else 0.2):
            raise AssertionError(f"{size}: the two sides differ by {difference:.1e}: not the same mathematics")
        layers, share = encoder_of_equal_flops(config, batch_size)
        encoder = encoder_step(config, layers, batch_size, options)
        lines += rates(
            f"training step, {size}",
            "segment-samples/s",
            Side("tenfold", ours.step, batch_size),
            [
                Side(f"the same, written plainly (gradients agree to {difference:.0e})", plain.step, batch_size),
                Side(f"TransformerEncoder, {layers} layers, {share:.2f} of our FLOPs", encoder, batch_size),
            ],
            repeats=options.repeats,
            synchronize=options.synchronize,
        )
    return lines


def compare_optimizers(options: Options) -> list[Comparison]:
    config = presets.smoke().arms.hrm if options.quick else presets.paper().arms.hrm
    params = list(reasoner(config, options).parameters())
    for p in params:
        p.grad = torch.randn_like(p) * 1e-3
    ours = AdamATan2(params, LR, weight_decay=DECAY)
    rival = torch.optim.AdamW(params, LR, weight_decay=DECAY, fused=True)
    millions = sum(p.numel() for p in params) / 1e6
    return rates(
        f"AdamATan2 on {millions:.2g} M parameters",
        "optimizer steps/s",
        Side("AdamATan2", ours.step),
        [Side("torch.optim.AdamW(fused=True)", rival.step)],
        repeats=options.repeats,
        synchronize=options.synchronize,
    )


def compare_compiled(options: Options) -> list[Comparison]:
    """Compiling starts from an empty cache, as the first run on a machine does; later runs start faster."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        print("compile: skipped, because torch.compile needs a C++ compiler and there is none", file=sys.stderr)
        return []
    preset = presets.smoke() if options.quick else presets.laptop()
    config, batch_size = preset.arms.hrm, preset.training.batch_size
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        seconds, compiled = compiled_training(config, batch_size, options)
        eager, turns = our_training(config, batch_size, options), 5
        (line,) = rates(
            "training step, torch.compile, laptop preset",
            "steps/s",
            Side("compiled", lambda: compiled.step(turns), turns),
            [Side("eager", lambda: eager.step(turns), turns)],
            repeats=options.repeats,
            synchronize=options.synchronize,
        )
    return [line, break_even(line, seconds, preset.training.steps)]


def compiled_training(config: ReasonerConfig, batch_size: int, options: Options) -> tuple[float, Training]:
    """Seconds of the first two steps, which compile, and the training after them."""
    compiled = our_training(config, batch_size, options)
    compiled.model.compile()
    started = time.perf_counter()
    compiled.step(2)
    options.synchronize()
    return time.perf_counter() - started, compiled


def break_even(line: Comparison, seconds: float, steps: int) -> Comparison:
    """The number of steps after which ``seconds`` for the first two compiled steps are saved again."""
    saved_per_step = 1 / line.rival - 1 / line.ours
    needed = (seconds - 2 / line.ours) / saved_per_step if saved_per_step > 0 else float("inf")
    name = f"steps that save the {seconds:.0f} s of compiling for the first time"
    return Comparison(name, needed, steps, "the steps of the laptop preset", "steps", steps / needed)


def compare_sudoku(options: Options) -> list[Comparison]:
    box, many, few = ((2, 2), 32, 4) if options.quick else ((3, 3), 500, 5)
    seeds = iter(range(1_000_000))
    random = Random(0)
    return rates(
        f"minimal {box[0] * box[1]}x{box[0] * box[1]} puzzles with one solution",
        "puzzles/s",
        Side("tenfold", lambda: generate(many, box, seed=next(seeds)), many),
        [Side("recursive backtracker in Python", lambda: [minimal_puzzle(box, random) for _ in range(few)], few)],
        repeats=min(options.repeats, 3),
    )


PARTS: dict[Part, Callable[[Options], list[Comparison]]] = {
    "step": compare_steps,
    "optimizer": compare_optimizers,
    "compile": compare_compiled,
    "sudoku": compare_sudoku,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    title = f"HRM, {where}, {options.dtype}, torch {torch.__version__}; ratio above 1: ours is better"
    show((PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
