"""The two protocols of a session: between host and guard, and between guard and interpreter.

Host to guard: ``REQUEST`` and the program, or the name of a file that is to be fetched. Guard to host: ``REPLY`` and
the output, or the content of the file. Guard to interpreter: ``TASK`` and
the program. Interpreter to guard: ``DONE``, which must repeat the random number of the task, so that bytes that an
earlier program left in the pipe, or wrote there, never pass for an answer. It says nothing but ``OK`` or ``ERROR``: a
program that searches its own process for the number can end itself early, and no more.
"""

import os
import struct

REQUEST = struct.Struct("<cI")  # what is wanted, bytes that follow
REPLY = struct.Struct("<cIQ")  # status, bytes that follow, characters of the output before the cut
TASK = struct.Struct("<8scI")  # random number, what is wanted, bytes that follow
DONE = struct.Struct("<8sc")  # random number, status

RUN, RUN_AND_ECHO, CANCEL, FETCH = b"r", b"e", b"c", b"f"
OK, ERROR, TIMEOUT, KILLED, UNCONFINED = b"o", b"e", b"t", b"k", b"u"
LOST = "The names of this session are lost; the next program starts a new one."


def read_exactly(descriptor: int, size: int) -> bytes:
    """As many bytes, or ``b""`` when the other side has closed."""
    parts = b""
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            return b""
        parts += part
    return parts


def write_all(descriptor: int, message: bytes) -> None:
    """Write to a blocking descriptor until everything is written."""
    view = memoryview(message)
    while view:
        view = view[os.write(descriptor, view) :]
