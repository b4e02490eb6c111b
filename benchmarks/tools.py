"""How fast the code sandbox runs programs, beside a fresh isolated interpreter per call and beside a Jupyter kernel.

    python benchmarks/tools.py                    both tables, about two minutes
    python benchmarks/tools.py --parts calls      one of them
    python benchmarks/tools.py --quick            a few seconds, numbers without meaning

``calls``: a short program again and again in one session. Ours is isolated and persistent; the fresh interpreter has
the same limits and imports, and keeps nothing; the kernel keeps its names and is not isolated. All must print the same.
``sessions``: opening a session, one program, closing it, from a pool of two, at the 95th percentile; the rival starts
and ends an interpreter for the same program. Search is in ``retrieval.py``, rollouts with a slow tool are in
``rollout.py``.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import tyro
from rivals.one_interpreter_per_call import run_once
from side_by_side import Comparison, Side, rates, show

from tenfold.envs.sandbox import MODULES, Limits, Sandbox

Part = Literal["calls", "sessions"]
PROGRAM = "print(12345 * 6789)"
ANSWER = "83810205"
PERCENTILE = 95


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[Part, ...] = ("calls", "sessions")
    """Which tables."""
    calls: int = 500
    """Programs of a turn of ours; the kernel runs a tenth as many, the fresh interpreters two."""
    sessions: int = 200
    """Sessions that are opened and closed."""
    repeats: int = 7
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Few programs and two turns: only shows that everything runs."""


def many(run: Callable[[], str], times: int) -> Callable[[], None]:
    """Run it so many times; a wrong answer is an error."""

    def turn() -> None:
        for _ in range(times):
            said = run()
            if said.strip() != ANSWER:
                raise AssertionError(f"{said!r} is not {ANSWER}")

    return turn


def kernel(stack: ExitStack) -> Callable[[], str] | None:
    """A Jupyter kernel with the same imports, or nothing, with a note, if it is not installed."""
    try:
        from jupyter_client.manager import start_new_kernel
    except ModuleNotFoundError as error:
        print(f"the Jupyter kernel is left out: {error}", file=sys.stderr)
        return None
    manager, client = start_new_kernel()
    stack.callback(manager.shutdown_kernel, now=True)
    stack.callback(client.stop_channels)
    client.execute_interactive("\n".join(f"import {module}" for module in MODULES), store_history=False)
    parts: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            parts.append(message["content"]["text"])

    def run() -> str:
        parts.clear()
        client.execute_interactive(PROGRAM, store_history=False, output_hook=collect)
        return "".join(parts)

    return run


def compare_calls(options: Options) -> Iterator[list[Comparison]]:
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(modules=MODULES))
        session = stack.enter_context(sandbox.open())
        ours = many(lambda: session.run(PROGRAM).output, options.calls)
        rivals = [Side("a fresh bubblewrap per call", many(lambda: run_once(PROGRAM, Limits(), MODULES), 2), 2)]
        if in_kernel := kernel(stack):
            fewer = max(options.calls // 10, 1)
            rivals.append(Side("Jupyter kernel", many(in_kernel, fewer), fewer))
        yield rates("warm call", "calls/s", Side("tenfold", ours, options.calls), rivals, repeats=options.repeats)


def percentile(run: Callable[[], str], times: int) -> float:
    """Milliseconds that a run takes at most in 95 of 100 cases."""
    spent = []
    turn = many(run, 1)
    for _ in range(times):
        started = time.perf_counter()
        turn()
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.quantiles(spent, n=100, method="inclusive")[PERCENTILE - 1]


def compare_sessions(options: Options) -> Iterator[list[Comparison]]:
    with Sandbox(modules=MODULES, max_sessions=2) as sandbox, sandbox.open() as other:
        other.run("x = 1")  # the pool has two places, and one is taken

        def ours() -> str:
            with sandbox.open() as session:
                return session.run(PROGRAM).output

        mine = percentile(ours, options.sessions)
        theirs = percentile(lambda: run_once(PROGRAM, Limits(), MODULES), max(options.sessions // 10, 2))
    name = f"acquire, one call, release: {PERCENTILE}th percentile of {options.sessions}"
    yield [Comparison(name, mine, theirs, "a fresh bubblewrap", "ms", theirs / mine)]


PARTS: dict[Part, Callable[[Options], Iterator[list[Comparison]]]] = {
    "calls": compare_calls,
    "sessions": compare_sessions,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2, calls=5, sessions=5)
    title = "code sandbox; ratio above 1: ours is better"
    show(chain.from_iterable(PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
