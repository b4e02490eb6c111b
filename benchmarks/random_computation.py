"""How fast random computation is generated, beside the loop that one would write.

    python benchmarks/random_computation.py                     the table, on the CPU
    python benchmarks/random_computation.py --device cuda
    python benchmarks/random_computation.py --quick             a few seconds, numbers without meaning

Parts: ``default`` tokens per second of a random LSTM (4 layers of width 128) at 32 rows, the small setting, beside one
call of ``nn.LSTM`` for every token; ``rows`` the same at more rows; ``compile`` our step through ``torch.compile``
beside ours without and beside the loop (left out where there is no compiler). Both sides must say the same tokens
before anything is timed (but for ties). Weights are packed within the time that is measured. Needs nothing but tenfold.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import tyro
from rivals import lstm_loop
from side_by_side import Comparison, Side, rates, show
from torch import Tensor

from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining.method import LSTMSource, RandomLSTM, noise_rows

Part = Literal["default", "rows", "compile"]


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    parts: tuple[Part, ...] = ("default", "rows", "compile")
    """Which comparisons."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where sources run."""
    hidden: int = 128
    """Width of the LSTM."""
    layers: int = 4
    """Its layers."""
    length: int = 128
    """Tokens of a row."""
    default_rows: int = 32
    """Rows that a source writes in the small setting."""
    rows: tuple[int, ...] = (8, 128, 512)
    """Numbers of rows for ``rows``."""
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


@dataclass(frozen=True)
class Task:
    """A source, and what it is to continue."""

    source: LSTMSource
    seed_NS: Tensor
    cond_NL: Tensor

    def ours(self, compiled: bool = False) -> Tensor:
        self.source.law = replace(self.source.law, compiled=compiled)
        return self.source.generate(self.seed_NS, self.cond_NL, self.cond_NL.shape[1], torch_generator(0))

    def loop(self) -> Tensor:
        return lstm_loop.generate(self.source, self.seed_NS, self.cond_NL, self.cond_NL.shape[1])

    @property
    def tokens(self) -> int:
        return (self.cond_NL.shape[1] - self.seed_NS.shape[1]) * len(self.seed_NS)


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two runs say the same tokens; about one in half a million is a tie that rounding decides."""
    return (one == other).double().mean().item() > 0.99


def make_task(options: Options, rows: int) -> Task:
    """A source of gain 2: below chaos, so that both sides must agree token by token."""
    law = RandomLSTM(hidden=options.hidden, layers=options.layers, gain=(2.0, 2.0))
    generator = torch_generator("benchmark", rows)
    source = law.draw(generator).to(options.device)
    inputs = [noise_rows(rows, tokens, 256, generator).to(options.device) for tokens in (8, options.length)]
    return Task(source, *inputs)


def compare(options: Options, rows: int) -> list[Comparison]:
    """Ours beside the loop."""
    task = make_task(options, rows)
    assert agree(task.ours(), task.loop()), "the loop is not the same computation"
    return rates(
        f"random LSTM, {rows} rows",
        "tokens/s",
        Side("tenfold", task.ours, task.tokens),
        [Side("nn.LSTM, a call per token", task.loop, task.tokens)],
        repeats=options.repeats,
        synchronize=options.synchronize,
    )


def compare_default(options: Options) -> list[Comparison]:
    return compare(options, options.default_rows)


def compare_rows(options: Options) -> list[Comparison]:
    return [line for rows in options.rows for line in compare(options, rows)]


def compare_compile(options: Options) -> list[Comparison]:
    """The compiled step beside ours and the loop; compiling itself is in the first turn, which does not count."""
    if options.device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        print("compile: left out, there is no C++ compiler", file=sys.stderr)
        return []
    task = make_task(options, options.default_rows)
    assert agree(task.ours(compiled=True), task.loop()), "the compiled step is not the same computation"
    return rates(
        f"random LSTM, compiled step, {options.default_rows} rows",
        "tokens/s",
        Side("tenfold", lambda: task.ours(compiled=True), task.tokens),
        [
            Side("tenfold, not compiled", task.ours, task.tokens),
            Side("nn.LSTM, a call per token", task.loop, task.tokens),
        ],
        repeats=options.repeats,
        synchronize=options.synchronize,
    )


PARTS: dict[Part, Callable[[Options], list[Comparison]]] = {
    "default": compare_default,
    "rows": compare_rows,
    "compile": compare_compile,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, hidden=16, layers=2, length=24, default_rows=4, rows=(2,), repeats=2)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    title = f"random computation, {where}, torch {torch.__version__}; ratio above 1: ours is better"
    show((PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
