"""A chart language small enough to be learned in a minute: ``kind colour value value [value] end``, drawn at 24 pixels.

Two kinds, four colours, five levels, two or three values: 1,200 programs, and whatever else is written does not run
and says why. Drawn by PIL into masks that are kept, so that hundreds take milliseconds. Each program has a twin in
Matplotlib of one line, so that what was learned here can be drawn in the code sandbox.

A :class:`Look` draws the same programs otherwise: on tinted paper, in other shades, with noise. Images of such a domain
have no renderer: the best that a program can do there is the plain drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tenfold.core.seeding import Key, numpy_generator
from tenfold.envs.render.renderer import RenderResult

SIZE = 24
KINDS = ("bar", "dots")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.15, 0.15),
    "blue": (0.15, 0.3, 0.85),
    "green": (0.15, 0.6, 0.25),
    "orange": (0.95, 0.6, 0.1),
}
LEVELS = 5
FEWEST, MOST = 2, 3
END = "end"
WORDS = (*KINDS, *COLOURS, *(str(level) for level in range(1, LEVELS + 1)))
LONGEST = 2 + MOST + 1
"""Words of the longest program, its end included."""
_BASE, _STEP = 22, 4  # the row at which a level of 0 lies, and the rows of a level


@dataclass(frozen=True)
class Chart:
    """A program that runs.

    Args:
        kind: bar or dots.
        colour: a name.
        values: two or three levels from 1 to 5.
    """

    kind: str
    colour: str
    values: tuple[int, ...]

    def words(self) -> tuple[str, ...]:
        """The program.

        Example:
            >>> " ".join(Chart("bar", "red", (3, 5)).words())
            'bar red 3 5 end'
        """
        return (self.kind, self.colour, *(str(value) for value in self.values), END)

    def twin(self) -> str:
        """The same chart as a program of Matplotlib."""
        places = list(range(len(self.values)))
        drawn = "bar" if self.kind == "bar" else "scatter"
        size = "" if self.kind == "bar" else ", s=400"
        return (
            "import matplotlib.pyplot as plt\n"
            f"plt.figure(figsize=(2.4, 2.4))\n"
            f"plt.{drawn}({places}, {list(self.values)}, color={COLOURS[self.colour]}{size})\n"
            f"plt.xlim(-0.6, {len(places) - 0.4})\nplt.ylim(0, {LEVELS + 0.5})\nplt.axis('off')\n"
        )


@dataclass(frozen=True)
class Look:
    """How a domain draws.

    Args:
        tint: how much the paper may darken, for each channel apart.
        shade: how far a colour may be off, in each channel.
        noise: deviation of the noise on each pixel.
    """

    tint: float = 0.0
    shade: float = 0.0
    noise: float = 0.0


PLAIN = Look()


def parse(words: Sequence[str]) -> Chart | str:
    """The chart that words draw, or in a line why they draw none.

    Example:
        >>> parse("bar red 3 5 end".split())
        Chart(kind='bar', colour='red', values=(3, 5))
        >>> parse("bar 3 5 end".split())
        "ColourError: '3' is no colour"
    """
    if END not in words:
        return "SyntaxError: the program has no end"
    body = list(words[: list(words).index(END)])
    if list(words)[-1] != END or len(body) + 1 != len(words):
        return "SyntaxError: words follow the end"
    if not body or body[0] not in KINDS:
        return f"KindError: {body[0]!r} is no kind of chart" if body else "KindError: the program is empty"
    if len(body) < 2 or body[1] not in COLOURS:
        return f"ColourError: {body[1]!r} is no colour" if len(body) > 1 else "ColourError: there is none"
    for word in body[2:]:
        if word not in WORDS[-LEVELS:]:
            return f"ValueError: {word!r} is no level"
    if not FEWEST <= len(body) - 2 <= MOST:
        return f"ValueError: {len(body) - 2} values; allowed: {FEWEST} or {MOST}"
    return Chart(body[0], body[1], tuple(int(word) for word in body[2:]))


def draw(chart: Chart) -> np.ndarray:
    """The plain drawing, float32 [24, 24, 3] in [0, 1]; not to be written to.

    Example:
        >>> draw(Chart("bar", "red", (3, 5))).shape
        (24, 24, 3)
    """
    return _drawn(chart)


@lru_cache(maxsize=2048)
def _drawn(chart: Chart) -> np.ndarray:
    mask = _mask(chart.kind, chart.values)[..., None]
    image = (1 - mask + mask * np.array(COLOURS[chart.colour], np.float32)).astype(np.float32)
    image.setflags(write=False)
    return image


def draw_as(chart: Chart, look: Look, *key: Key) -> np.ndarray:
    """A drawing of a domain, by the random stream of a key; float32 [24, 24, 3]."""
    if look == PLAIN:
        return draw(chart)
    generator = numpy_generator(*key, "look")
    paper = 1 - look.tint * generator.random(3)
    colour = np.array(COLOURS[chart.colour]) + look.shade * generator.uniform(-1, 1, 3)
    mask = _mask(chart.kind, chart.values)[..., None]
    image = paper * (1 - mask) + np.clip(colour, 0, 1) * mask
    noisy = image + look.noise * generator.standard_normal(image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


@lru_cache(maxsize=512)
def _mask(kind: str, values: tuple[int, ...]) -> np.ndarray:
    """Where ink is, float32 [24, 24]."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (SIZE, SIZE), 0)
    pen = ImageDraw.Draw(image)
    for middle, value in zip(columns(len(values)), values, strict=True):
        top = _BASE - _STEP * value + 1
        if kind == "bar":
            pen.rectangle((middle - 2, top, middle + 2, _BASE), fill=255)
        else:
            pen.ellipse((middle - 2, top, middle + 2, top + 4), fill=255)
    return np.asarray(image, dtype=np.float32) / 255


def columns(count: int) -> list[int]:
    """The middle pixel column of each value.

    Example:
        >>> columns(2), columns(3)
        ([7, 17], [5, 12, 19])
    """
    slot = (SIZE - 4) / count
    return [round(2 + slot * (place + 0.5)) for place in range(count)]


def random_chart(generator: np.random.Generator) -> Chart:
    """One of all programs, each number of values as likely."""
    count = int(generator.integers(FEWEST, MOST + 1))
    return Chart(
        KINDS[generator.integers(len(KINDS))],
        tuple(COLOURS)[generator.integers(len(COLOURS))],
        tuple(int(value) for value in generator.integers(1, LEVELS + 1, count)),
    )


class ChartRenderer:
    """Draws programs of the chart language.

    Example:
        >>> ChartRenderer().render("bar red 3 5 end").image.shape
        (24, 24, 3)
        >>> ChartRenderer().render("pie red 3 5 end").error
        "KindError: 'pie' is no kind of chart"
    """

    def render(self, code: str) -> RenderResult:
        """Draw a program, words between blanks."""
        chart = parse(code.split())
        if isinstance(chart, str):
            return RenderResult(None, chart)
        return RenderResult((draw(chart) * 255 + 0.5).astype(np.uint8))
