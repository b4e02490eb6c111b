"""Draws SVG by resvg, in a session of the code sandbox: the library is compiled code that reads foreign text.

No script runs, no link is followed: resvg knows no network, and the session has none. Embedded images are refused.
"""

import time
from typing import Self

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.envs.render.literals import why_page_refused
from tenfold.envs.render.matplotlib_renderer import error_line
from tenfold.envs.render.png import pixels_of
from tenfold.envs.render.renderer import RenderResult
from tenfold.envs.sandbox import Limits, Sandbox

LIMITS = Limits(seconds=5.0, memory_bytes=1 << 30, output_characters=4000)
# The fonts are those that Matplotlib brings: the same on every machine, and found where the sandbox shows them.
PROGRAM = """
import importlib.util, os, resvg_py
matplotlib = os.path.dirname(importlib.util.find_spec("matplotlib").origin)
open("render.png", "wb").write(resvg_py.svg_to_bytes(
    svg_string={svg!r}, width={width}, height={height}, background="white", skip_system_fonts=True,
    font_dirs=[os.path.join(matplotlib, "mpl-data", "fonts", "ttf")],
    font_family="DejaVu Sans", sans_serif_family="DejaVu Sans"))
"""


class SvgRenderer:
    """Draws SVG at a fixed size. Safe to use from several threads.

    Args:
        width: pixels.
        height: pixels.
        allow_unsafe: where programs cannot be isolated, draw all the same.

    Raises:
        UserError: resvg is not installed, programs cannot be isolated here, or a size is out of range.
    """

    def __init__(self, width: int = 400, height: int = 300, *, allow_unsafe: bool = False) -> None:
        for name, value in (("width", width), ("height", height)):
            if not 8 <= value <= 2000:
                raise UserError(f"{name} = {value}: allowed: 8 to 2000")
        require_extras(["svg"], "drawing SVG")
        self.width, self.height = width, height
        self._sandbox = Sandbox(limits=LIMITS, modules=("resvg_py",), allow_unsafe=allow_unsafe)

    def render(self, code: str) -> RenderResult:
        """The drawing on white."""
        started = time.monotonic()
        if refused := why_page_refused(code):
            return RenderResult(None, refused)
        program = PROGRAM.format(svg=code, width=self.width, height=self.height)
        with self._sandbox.open() as session:
            execution = session.run(program)
            content = session.fetch("render.png") if execution.status == "ok" else None
        if content is None:
            return RenderResult(None, error_line(execution), time.monotonic() - started)
        image = pixels_of(content)
        if isinstance(image, str):
            return RenderResult(None, image, time.monotonic() - started)
        return RenderResult(image, "", time.monotonic() - started)

    def close(self) -> None:
        """End the sandbox."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
