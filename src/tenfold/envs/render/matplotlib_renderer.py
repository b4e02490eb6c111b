"""Draws Python programs that use Matplotlib, each in a session of its own of the code sandbox.

A session is forked from a warm parent that has imported Matplotlib, so that a render takes a tenth of a second and
leaves nothing behind: no rcParams, no figures. The program runs between two of ours: the first fixes fonts and keeps
figures that the program closes, the last draws the current figure into a file, which comes out by the side of the
output. Programs can spoil what the last one does, but only their own image: the reference, its path and its score are
never in this process. What the sandbox stops, and what it does not, stands in ``docs/code-sandbox.md``.
"""

import re
import time
from collections.abc import Sequence
from typing import Self

from tenfold.core.errors import UserError
from tenfold.envs.render.literals import why_refused
from tenfold.envs.render.png import pixels_of
from tenfold.envs.render.renderer import RenderResult
from tenfold.envs.sandbox import CodeSession, Execution, Limits, Sandbox

MODULES = ("numpy", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "PIL.PngImagePlugin")
LIMITS = Limits(seconds=10.0, memory_bytes=2 << 30, output_characters=4000)
FILE = "render.png"
BEFORE = """
import matplotlib
import matplotlib.pyplot as _pyplot
matplotlib.rcParams.update({"font.family": "DejaVu Sans", "figure.max_open_warning": 0})
_pyplot.close = lambda *_, **__: None
_pyplot.show = lambda *_, **__: None
del matplotlib, _pyplot
"""
AFTER = """
import matplotlib.pyplot as _pyplot
if not _pyplot.get_fignums():
    class NothingDrawn(Exception):
        __module__ = "builtins"
    raise NothingDrawn("the program made no figure")
_figure = _pyplot.gcf()
_longest = max(_figure.get_size_inches())
_figure.savefig("render.png", dpi=min(100.0, {most_pixels} / _longest), format="png", metadata={{"Software": None}})
"""
_ERROR = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Warning|Interrupt|Exit)?\b.*")


class MatplotlibRenderer:
    """Draws Python programs; whatever they do is a result. Safe to use from several threads.

    Args:
        most_pixels: longer side of an image; figures are drawn at 100 dots an inch, or fewer where that is too large.
        limits: of one program.
        allow_unsafe: where programs cannot be isolated, draw all the same, with limits and deadlines alone.

    Raises:
        UserError: programs cannot be isolated on this machine.

    Example:
        >>> with MatplotlibRenderer() as renderer:
        ...     result = renderer.render("from pylab import *; figure(figsize=(2, 1)); plot([1, 2])")
        >>> result.image.shape
        (100, 200, 3)
    """

    def __init__(self, *, most_pixels: int = 1000, limits: Limits = LIMITS, allow_unsafe: bool = False) -> None:
        if not 16 <= most_pixels <= 2000:
            raise UserError(f"most_pixels = {most_pixels}: allowed: 16 to 2000")
        self._after = AFTER.format(most_pixels=most_pixels)
        self._sandbox = Sandbox(limits=limits, modules=MODULES, allow_unsafe=allow_unsafe)

    @property
    def isolated(self) -> bool:
        """Whether programs are kept from the machine."""
        return self._sandbox.isolated

    def render(self, code: str) -> RenderResult:
        """The figure that is current when the program ends."""
        started = time.monotonic()
        if refused := why_refused(code):
            return RenderResult(None, refused)
        with self._sandbox.open() as session:
            result = self._drawn(session, code)
        return RenderResult(result.image, result.error, time.monotonic() - started)

    def _drawn(self, session: CodeSession, code: str) -> RenderResult:
        content, error = left_by(session, (BEFORE, code, self._after), FILE)
        if error:
            return RenderResult(None, error)
        if content is None:
            return RenderResult(None, "ImageError: nothing was drawn")
        image = pixels_of(content)
        return RenderResult(None, image) if isinstance(image, str) else RenderResult(image)

    def close(self) -> None:
        """End the sandbox."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def left_by(session: CodeSession, programs: Sequence[str], name: str) -> tuple[bytes | None, str]:
    """What programs leave in a file, run one after the other, and the first error, which ends them.

    Args:
        session: in which they run.
        programs: of Python.
        name: of the file.

    Returns:
        The content, ``None`` where there is no such file or an error; and the error, empty where there is none.
    """
    for program in programs:
        execution = session.run(program)
        if execution.status != "ok":
            return None, error_line(execution)
    return session.fetch(name), ""


def error_line(execution: Execution) -> str:
    """The class of the error and what it says: the last line of a traceback."""
    lines = [line for line in execution.output.splitlines() if line.strip()]
    if execution.status == "timeout":
        return "TimeoutError: the program took too long and was stopped"
    found = [line for line in lines if _ERROR.match(line)]
    line = (found or lines or [f"Error: the program was {execution.status}"])[-1].strip()
    return line[:300]
