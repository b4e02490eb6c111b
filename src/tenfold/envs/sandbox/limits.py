"""What a program may use, and what it gives back."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from tenfold.core.errors import UserError

Status = Literal["ok", "error", "timeout", "killed", "refused"]


@dataclass(frozen=True)
class Limits:
    """What the programs of one session may use. Each bound is kept from outside of the interpreter.

    Args:
        seconds: wall time of one program; the parent process holds the clock.
        cpu_seconds: processor time of one process of the session, over all of its programs.
        memory_bytes: address space of one process of the session, the warm interpreter's own (some 100 to 500 MB)
            included.
        processes: most processes of a session at one time, the interpreter included. 1 refuses every child process and
            leaves room for 32 threads, and then ``memory_bytes`` bounds the session as a whole; above 1, threads count
            as processes, and a session may use ``processes * memory_bytes``.
        temporary_bytes: files in ``/tmp``, which is memory.
        program_bytes: length of one program in UTF-8; a longer one is refused.
        output_characters: a longer output keeps its first and last half, with ``...`` between them.

    Example:
        >>> Limits(seconds=30).output_characters
        800
    """

    seconds: float = 5.0
    cpu_seconds: int = 120
    memory_bytes: int = 1 << 30
    processes: int = 1
    temporary_bytes: int = 16 << 20
    program_bytes: int = 1 << 20
    output_characters: int = 800

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 2 if field.name == "output_characters" else 1
            if field.name == "seconds":
                if not (math.isfinite(value) and value > 0):
                    raise UserError(f"seconds is {value!r}; allowed: a finite number above 0")
            elif not isinstance(value, int) or value < least:
                raise UserError(f"{field.name} is {value!r}; allowed: a whole number, at least {least}")


@dataclass(frozen=True)
class Execution:
    """What became of one program.

    Args:
        output: what it printed on standard output, then the full traceback of the exception that ended it, without line
            ends at its end; cut to ``Limits.output_characters`` plus three dots.
        status: ``ok``; ``error``: an exception ended it; ``timeout``: it was stopped at its deadline; ``killed``: the
            interpreter ended with it; ``refused``: it was not run. After ``timeout`` and ``killed`` the names of the
            session are lost, and the output says so.
        num_characters: length of the output before the cut, line ends at its end included; bytes that are no UTF-8
            count as the replacement characters that stand for them.
    """

    output: str
    status: Status
    num_characters: int
