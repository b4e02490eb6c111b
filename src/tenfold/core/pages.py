"""What every page is made with: one environment of templates, and images that lie within the page."""

import base64
import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def page_environment(folder: Path) -> "jinja2.Environment":
    """Templates of a folder: what is filled in is escaped, and what is missing is an error.

    Args:
        folder: that holds the templates.

    Example:
        >>> page_environment(Path(".")).from_string("<p>{{ text }}</p>").render(text="a < b")
        '<p>a &lt; b</p>'
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment


def inside(kind: str, content: bytes) -> str:
    """An image as an address that holds it.

    Example:
        >>> inside("png", b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def svg_of(figure: Any) -> bytes:
    """A figure of matplotlib as an SVG file; equal figures give equal files."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tenfold"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def breakable(name: str) -> Any:
    """A name that may be broken after its joints, for narrow columns."""
    import markupsafe

    return markupsafe.Markup(re.sub(r"([_/])", r"\1<wbr>", html.escape(name)))
