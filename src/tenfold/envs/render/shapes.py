"""A tiny drawing language drawn by PIL, for tests and first steps: one shape a line, nothing that could run away.

    paper white
    circle red 32 32 12
    box blue 4 40 20 60
    line black 0 0 63 63 2

Coordinates are pixels from the top left; a box and a line go from one corner to the other. Unlike the chart language it
has no shortest program for a picture: shapes may lie over each other.
"""

from collections.abc import Callable

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.render.renderer import RenderResult

MOST_SHAPES = 64
NUMBERS = {"circle": (3,), "box": (4,), "line": (4, 5)}
"""How many numbers follow the colour of a shape."""


class ShapeRenderer:
    """Draws programs of shapes.

    Args:
        size: pixels of a side.

    Example:
        >>> ShapeRenderer(16).render("circle red 8 8 4").image.shape
        (16, 16, 3)
        >>> ShapeRenderer(16).render("circle red 8 8").error
        'ShapeError: line 1: circle takes 3 numbers, not 2'
    """

    def __init__(self, size: int = 64) -> None:
        if not 8 <= size <= 1024:
            raise UserError(f"size = {size}: allowed: 8 to 1024")
        self.size = size

    def render(self, code: str) -> RenderResult:
        """Draw a program; the first line that cannot be drawn is told."""
        from PIL import Image, ImageDraw

        lines = [(number, line.split()) for number, line in enumerate(code.splitlines(), 1) if line.strip()]
        if len(lines) > MOST_SHAPES:
            return RenderResult(None, f"ShapeError: {len(lines)} shapes; allowed: {MOST_SHAPES}")
        image = Image.new("RGB", (self.size, self.size), "white")
        pen = ImageDraw.Draw(image)
        for number, words in lines:
            if reason := _draw(pen, words, self.size):
                return RenderResult(None, f"ShapeError: line {number}: {reason}")
        return RenderResult(np.asarray(image))


def _draw(pen: object, words: list[str], size: int) -> str:
    """Draw one shape; why not, where it is none."""
    from PIL import ImageColor

    if len(words) < 2:
        return "a shape and a colour are needed"
    shape, colour, *rest = words
    try:
        ImageColor.getrgb(colour)
    except ValueError:
        return f"{colour!r} is no colour"
    if shape == "paper":
        pen.rectangle((0, 0, size, size), fill=colour)  # type: ignore[attr-defined]
        return "" if not rest else "paper takes no numbers"
    if shape not in NUMBERS:
        return f"{shape!r} is no shape"
    try:
        numbers = [float(word) for word in rest]
    except ValueError:
        return f"{' '.join(rest)!r} are no numbers"
    if len(numbers) not in NUMBERS[shape]:
        return f"{shape} takes {' or '.join(map(str, NUMBERS[shape]))} numbers, not {len(numbers)}"
    if not all(abs(number) <= 10 * size for number in numbers):
        return "numbers must lie within ten sizes of the picture"
    _SHAPES[shape](pen, colour, numbers)
    return ""


def _circle(pen: object, colour: str, numbers: list[float]) -> None:
    x, y, radius = numbers
    radius = abs(radius)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)  # type: ignore[attr-defined]


def _box(pen: object, colour: str, numbers: list[float]) -> None:
    left, top, right, bottom = numbers
    corners = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    pen.rectangle(corners, fill=colour)  # type: ignore[attr-defined]


def _line(pen: object, colour: str, numbers: list[float]) -> None:
    width = max(1, round(numbers[4])) if len(numbers) == 5 else 1
    pen.line(numbers[:4], fill=colour, width=width)  # type: ignore[attr-defined]


_SHAPES: dict[str, Callable[[object, str, list[float]], None]] = {"circle": _circle, "box": _box, "line": _line}
