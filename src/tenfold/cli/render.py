"""``tenfold render FILE --to png``: draw code of one's own as a policy's would be drawn, in the same isolation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tenfold.core.errors import UserError

BY_SUFFIX = {".py": "chart", ".html": "web", ".htm": "web", ".svg": "svg", ".shapes": "shapes", ".txt": "small"}


@dataclass(frozen=True)
class RenderCommand:
    """Draw a Matplotlib program, a page, an SVG or a program of shapes into a picture."""

    file: Annotated[Path, tyro.conf.Positional]
    """The code. By its suffix: .py Matplotlib, .html a page, .svg a drawing, .shapes shapes, .txt the small charts."""
    to: Literal["png"] = "png"
    """The kind of picture."""
    by: Literal["auto", "chart", "web", "svg", "shapes", "small"] = "auto"
    """What draws it; auto goes by the suffix."""
    width: int = 400
    """Pixels of a page's window, or of an SVG."""
    height: int = 300
    """Pixels of a page's window, or of an SVG."""
    out: Path | None = None
    """The picture; by default beside the code, with another suffix."""


def main(arguments: Sequence[str]) -> int:
    """Draw one file; returns 1 where it draws nothing."""
    command = tyro.cli(RenderCommand, args=arguments, prog="tenfold render")
    if not command.file.is_file():
        raise UserError(f"file is {str(command.file)!r}, which does not exist")
    kind = BY_SUFFIX.get(command.file.suffix.lower(), "") if command.by == "auto" else command.by
    if not kind:
        raise UserError(
            f"file is {str(command.file)!r}: the suffix {command.file.suffix!r} names no renderer; allowed: "
            f"{', '.join(BY_SUFFIX)}, or --by"
        )
    try:
        code = command.file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"file is {str(command.file)!r}, which is no text in UTF-8") from error
    renderer = _renderers(command)[kind]()
    try:
        result = renderer.render(code)
    finally:
        if hasattr(renderer, "close"):
            renderer.close()
    if result.image is None:
        print(f"nothing was drawn: {result.error}")
        return 1
    out = command.file.with_suffix(".png") if command.out is None else command.out
    _save(result.image, out)
    print(f"wrote {out}: {result.image.shape[1]} x {result.image.shape[0]} pixels in {result.seconds:.2f} s")
    return 0


def _renderers(command: RenderCommand) -> dict[str, Callable[[], Any]]:
    """What draws each kind, made when it is asked for."""
    from tenfold.envs import render

    return {
        "chart": render.MatplotlibRenderer,
        "web": lambda: render.BrowserRenderer(command.width, command.height),
        "svg": lambda: render.SvgRenderer(command.width, command.height),
        "shapes": render.ShapeRenderer,
        "small": render.ChartRenderer,
    }


def _save(image: Any, out: Path) -> None:
    import io

    from PIL import Image

    from tenfold.core.files import write_atomically

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    write_atomically(out, stream.getvalue())
