"""Runs the programs of one session, one after the other, in one namespace of names.

Everything here shares its process with the programs, so nothing outside believes more of it than a status.
"""

import ast
import gc
import io
import linecache
import os
import random
import signal
import sys
import traceback
import types
from typing import NoReturn

from .frames import DONE, ERROR, OK, RUN_AND_ECHO, TASK, read_exactly, write_all

TASKS, ANSWERS = 3, 4  # the descriptors at which a session's interpreter finds its pipes


def serve() -> NoReturn:
    """Answer tasks until the guard closes the pipe; never returns."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    me = os.getpid()
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = [""]
    random.seed(0)  # every session draws the same numbers, so that a run can be repeated; a fork mixes them anew
    number = 0
    stdout = _fresh_output()
    while header := read_exactly(TASKS, TASK.size):
        ticket, wanted, size = TASK.unpack(header)
        source = read_exactly(TASKS, size).decode()
        number += 1
        if stdout.closed:
            stdout = _fresh_output()
        sys.stdout = stdout  # also where a program put something else there
        status = _run(source, f"<program {number}>", main.__dict__, wanted == RUN_AND_ECHO, stdout)
        if os.getpid() != me:  # a child that a program forked comes by here, too
            stdout.flush()
            os._exit(0)
        if not stdout.closed:
            stdout.flush()
        write_all(ANSWERS, DONE.pack(ticket, status))
    os._exit(0)


def _fresh_output() -> io.TextIOWrapper:
    raw = open(1, "wb", closefd=False)  # noqa: SIM115 -- lives as long as the session
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=False)


def _run(source: str, name: str, names: dict[str, object], echo: bool, stdout: io.TextIOWrapper) -> bytes:
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        _execute(source, name, names, echo)
    except SystemExit as end:
        if end.code is None or end.code == 0:
            return OK
        _report(end, stdout)
        return ERROR
    except BaseException as error:
        _report(error, stdout)
        return ERROR
    return OK


def _execute(source: str, name: str, names: dict[str, object], echo: bool) -> None:
    if not echo:
        exec(compile(source, name, "exec", dont_inherit=True), names)
        return
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)
        if value is not None:
            print(repr(value))


def _report(error: BaseException, stdout: io.TextIOWrapper) -> None:
    """Print the traceback from the program's own first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # an exception that cannot be printed, or no memory to do it
        gc.collect()
        text = f"Traceback (most recent call last):\n{type(error).__name__}\n"
    if not stdout.closed:
        stdout.write(text)
