"""The process in which answers are compared as mathematics: ``python -m tenfold.eval.math_worker``.

A line of JSON comes in, ``{"answer": str, "references": [str, …], "seconds": number}``, and a line goes out: ``true``,
``false``, or ``null`` where the comparison failed. The first line out says that the packages are loaded. The answers
may be a model's, so the process limits its own memory, and an alarm of the system ends it when a comparison takes
too long even if whoever asked is gone. It isolates nothing else: math-verify parses, it runs no program.
"""

import json
import logging
import os
import re
import resource
import signal
import sys

MEMORY = 2 * 2**30  # of address space: what a comparison may take before it counts as failed


def compare(answer: str, references: list[str]) -> bool:
    """Whether an answer is equal to a reference, without a limit in time."""
    from math_verify import parse, verify  # type: ignore[import-untyped]

    given = parse(delimited(answer), parsing_timeout=None)
    return any(
        bool(verify(parse(delimited(reference), parsing_timeout=None), given, timeout_seconds=None))
        for reference in references
    )


def delimited(answer: str) -> str:
    """An answer that is a formula and nothing else, such as the content of a box, between dollar signs.

    Out of a text without delimiters math-verify reads numbers alone, so that ``3\\pi`` would be 3, and ``x^2`` nothing.

    Example:
        >>> delimited("x^2"), delimited("about 3"), delimited("0.5")
        ('$x^2$', 'about 3', '0.5')
    """
    words = re.sub(r"\\(begin|end|text|mathrm){[^{}]*}|\\[A-Za-z]+", "", answer)  # but for commands
    is_formula = re.search(r"[A-Za-z\\^_{}]", answer) and not re.search(r"[A-Za-z]{2}|[$\n]|\\[(\[]", words)
    return f"${answer.strip()}$" if is_formula and "\\boxed" not in answer else answer


def main() -> None:
    """Answer until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    logging.disable(logging.CRITICAL)  # math-verify warns that its own time limits, which need signals, are off
    compare("1/2", ["0.5"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, 2 * asked["seconds"] + 1)
        try:
            equal = compare(asked["answer"], asked["references"])
        except Exception:  # whatever a model's answer does to the parser, it is not equal
            equal = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(equal), file=out, flush=True)


if __name__ == "__main__":
    main()
