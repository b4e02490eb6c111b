"""How fast probabilistic programs are run, beside WebPPL and beside one particle at a time in Python.

    python benchmarks/programs.py                           about three minutes
    python benchmarks/programs.py --programs tug_of_war     one of the programs
    python benchmarks/programs.py --quick                   few samples, numbers without meaning

``tug_of_war`` is check 2 of the specification, ``full`` the same with a rank among 99, 100 future matches and effort
that depends on strength. All sides draw by rejection until equally many samples are accepted, and must agree on the
means. Ours is the vector executor in this process, and, in a line of its own, within the warm code sandbox. Of WebPPL
there are two lines: with the start of its process, as a pipeline that calls it pays, and without, where what a program
that does nothing takes is subtracted. Without node these lines are left out, with the reason.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import tyro
from rivals import webppl
from side_by_side import Comparison, Side, rates, show

from tenfold.envs.programs import InThisProcess, ProgramSandbox, Runner, infer

Program = Literal["tug_of_war", "full"]
HEAD = """
def model():
    @mem
    def strength(athlete):
        return max(gaussian(100, 20), 0)

    @mem
    def effort(athlete, match):
"""
LEVEL = """
        level = categorical([0.2, 0.6, 0.2], [40, 60, 80])
"""
DEPENDENT_LEVEL = """
        if strength(athlete) > 140:
            level = categorical([0.05, 0.15, 0.8], [40, 60, 80])
        elif strength(athlete) < 90:
            level = categorical([0.8, 0.15, 0.05], [40, 60, 80])
        else:
            level = categorical([0.2, 0.6, 0.2], [40, 60, 80])
"""
WORLD = """
        return min(max(gaussian(level, 10), 0), 100)

    def pull(team, match):
        return sum(strength(athlete) * effort(athlete, match) / 50 for athlete in team)

    def beats(winners, losers, match):
        return pull(winners, match) > pull(losers, match)

    condition(beats(["bob", "mary"], ["tom", "sue"], 1))
    condition(beats(["sue"], ["mary"], 2))
    condition(beats(["tom", "jim"], ["bob", "sue"], 3))
    condition(beats(["jim"], ["bob"], 4))
"""
TUG_OF_WAR = f"""{HEAD}{LEVEL}{WORLD}
    condition(strength("bob") > 100)
    win = beats(["bob", "mary"], ["jim", "sue"], 5)
    return {{"strength": strength("bob"), "effort": effort("jim", 3), "win": win}}
"""
FULL = f"""{HEAD}{DEPENDENT_LEVEL}{WORLD}
    wins = sum(beats(["bob", "sue"], ["tom", "jim"], 100 + future) for future in range(100))
    return {{"rank": rank_among(strength, "bob"), "effort": effort("jim", 3), "win": wins}}
"""
PROGRAMS: dict[Program, tuple[str, str, tuple[float, ...]]] = {
    "tug_of_war": (TUG_OF_WAR, webppl.TUG_OF_WAR, (15.0, 15.0, 0.5)),
    "full": (FULL, webppl.FULL, (27.0, 15.0, 25.0)),
}
"""Ours, WebPPL's, and the standard deviation of each query, for the check that both mean the same."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    programs: tuple[Program, ...] = ("tug_of_war", "full")
    """Which programs."""
    samples: int = 1000
    """Accepted samples of a turn."""
    repeats: int = 5
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Few samples and two turns: only shows that everything runs."""


def ours(source: str, n: int, executor: Literal["vector", "scalar"], runner: Runner) -> Callable[[], list[float]]:
    """One inference after the other, with seeds that go on."""
    seeds = iter(range(10**9))

    def turn() -> list[float]:
        found = infer(source, "rejection", n, next(seeds), executor=executor, max_seconds=100, runner=runner)
        return [found[query].mean() for query in found.queries]

    return turn


def require_equal(name: str, one: Sequence[float], other: Sequence[float], spread: Sequence[float], n: int) -> None:
    """Means over ``n`` samples agree, within five standard errors."""
    for mean, again, sd in zip(one, other, spread, strict=True):
        if abs(mean - again) > 5 * sd * (2 / n) ** 0.5:
            raise AssertionError(f"{name}: the sides do not have the same posterior, {one} and {other}")


def installed() -> webppl.WebPPL | None:
    """WebPPL, or nothing, with a note."""
    try:
        return webppl.WebPPL()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"WebPPL is left out: {error}", file=sys.stderr)
        return None


def compare(name: Program, options: Options, rival: webppl.WebPPL | None) -> Iterator[list[Comparison]]:
    source, other, spread = PROGRAMS[name]
    n, here = options.samples, InThisProcess()
    fast, plain = ours(source, n, "vector", here), ours(source, n, "scalar", here)
    require_equal(name, fast(), plain(), spread, n)
    side = Side("tenfold", fast, n)
    with ProgramSandbox(seconds=100) as sandbox:
        boxed = Side("the same, in the code sandbox", ours(source, n, "vector", sandbox), n)
        rivals = [Side("one particle at a time", plain, n), boxed]
        yield rates(f"{name}, {n} accepted", "samples/s", side, rivals, repeats=options.repeats)
    if rival is not None:
        require_equal(name, fast(), rival.means(other, n), spread, n)
        with_start = Side("WebPPL, with its start", lambda: rival.means(other, n), n)
        (gross,) = rates(f"{name}, {n} accepted", "samples/s", side, [with_start], repeats=options.repeats)
        yield [gross, without_start(gross, n, rival, options.repeats)]


def without_start(gross: Comparison, n: int, rival: webppl.WebPPL, repeats: int) -> Comparison:
    """The comparison without the seconds that WebPPL needs for a program that does nothing."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        rival.start_up()
        spent.append(time.perf_counter() - started)
    seconds = max(n / gross.rival - statistics.median(spent), 1e-9)
    rate = n / seconds
    return replace(gross, rival=rate, rival_name="WebPPL, without its start", ratio=gross.ours / rate)


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=1, samples=100)
    rival = None if options.quick else installed()
    title = "probabilistic programs; ratio above 1: ours is better"
    comparisons = chain.from_iterable(compare(name, options, rival) for name in options.programs)
    show(comparisons, as_json=options.json, title=title)


if __name__ == "__main__":
    main()
