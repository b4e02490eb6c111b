"""The process in which answers are compared as mathematics: ``python -m tenfold.eval.math_worker``.

A line of JSON comes in, ``{"answer": str, "references": [str, …], "seconds": number}``, and a line goes out: ``true``,
``false``, or ``null`` where the comparison failed. The first line out says that the packages are loaded. The answers
may be a model's, so the process limits its own memory, and an alarm of the system ends it when a comparison takes
too long even if whoever asked is gone. It isolates nothing else: math-verify parses, it runs no program.
"""

import json
import logging
import os
import resource
import signal
import sys

from tenfold.eval.math_values import equal_answers

MEMORY = 2 * 2**30  # of address space: what a comparison may take before it counts as failed


def main() -> None:
    """Answer until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    logging.disable(logging.CRITICAL)  # math-verify warns that its own time limits, which need signals, are off
    equal_answers("1/2", ["0.5"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, 2 * asked["seconds"] + 1)
        try:
            equal = equal_answers(asked["answer"], asked["references"])
        except Exception:  # whatever a model's answer does to the parser, it is not equal
            equal = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(equal), file=out, flush=True)


if __name__ == "__main__":
    main()
