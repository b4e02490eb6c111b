"""Matplotlib in the sandbox: the same bytes each time, hostile programs end in time, and nobody else notices."""

import hashlib
import time

import numpy as np
import pytest

from tenfold.envs.render.caching import CachedRenderer
from tenfold.envs.render.chart_language import Chart
from tenfold.envs.render.matplotlib_renderer import MatplotlibRenderer
from tenfold.envs.sandbox import Limits

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("_bubblewrap")]

SECONDS = 4.0
OVERTIME = 1.0
PLOT = (
    "import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 3))\nplt.bar([1, 2, 3], [3, 1, 2])\nplt.title('Sales')\n"
)
HOSTILE = {
    "endless loop": ("while True: pass", "TimeoutError"),
    "sleeps": ("import time\ntime.sleep(60)", "TimeoutError"),
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(1 << 34))", "MemoryError"),
    "fork": ("import os\nos.fork()", "Error"),
    "children": ("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'])", "Error"),
    "writes outside": ("open('/usr/tenfold-was-here', 'w')", "OSError"),
    "fills the disk": ("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))", "Error"),
    "network": ("import socket\nsocket.create_connection(('127.0.0.1', 80))", "Error"),
    "reads the environment": ("import os\nprint(os.environ['HOME_OF_THE_HOST'])", "KeyError"),
    "ends the interpreter": ("import os\nos._exit(3)", "Error"),
    "opens a window": (
        "import matplotlib\nmatplotlib.use('TkAgg')\nimport matplotlib.pyplot as plt\nplt.figure()",
        "Error",
    ),
    "draws nothing": ("x = 1", "NothingDrawn: the program made no figure"),
    "is no program": ("plt.plot(", "SyntaxError"),
    "a figure as wide as a street": ("import matplotlib.pyplot as plt\nplt.figure(figsize=(1e5, 1))", "Error"),
    "embeds a picture": (f"data = {'A' * 5000!r}", "LiteralRefused: a text of 5000 characters"),
    "embeds numbers": (f"data = {list(range(5000))!r}", "LiteralRefused: 5000 constants"),
}


@pytest.fixture(scope="module")
def renderer():
    limits = Limits(seconds=SECONDS, memory_bytes=2 << 30, output_characters=2000)
    with MatplotlibRenderer(limits=limits) as found:
        yield found


def digest(result):
    assert result.ran, result.error
    return hashlib.sha256(result.image.tobytes()).hexdigest()


@pytest.mark.spec("rrvf", "A4")
def test_the_same_code_gives_the_same_bytes_twenty_times_and_in_a_cold_pool(renderer):
    warm = {digest(renderer.render(PLOT)) for _ in range(20)}
    assert len(warm) == 1
    with MatplotlibRenderer() as cold:
        assert digest(cold.render(PLOT)) in warm


def test_one_program_leaves_nothing_to_the_next(renderer):
    before = digest(renderer.render(PLOT))
    spoils = (
        "import matplotlib\nmatplotlib.rcParams['axes.facecolor'] = 'red'\nimport numpy\nnumpy.random.seed(5)\n" + PLOT
    )
    assert digest(renderer.render(spoils)) != before
    assert digest(renderer.render(PLOT)) == before


@pytest.mark.spec("rrvf", "A3")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_ends_in_time_and_the_pool_still_serves(renderer, name):
    program, error = HOSTILE[name]
    started = time.monotonic()
    result = renderer.render(program)
    assert time.monotonic() - started < SECONDS + OVERTIME + 1.0  # a second for our own part under load
    assert not result.ran and error in result.error, result.error
    assert renderer.render(PLOT).ran


def test_what_the_code_saved_itself_closed_or_asked_for_does_not_matter(renderer):
    plain = digest(renderer.render(PLOT))
    assert digest(renderer.render(PLOT + "plt.savefig('mine.png')\nplt.close('all')\n")) == plain
    assert digest(renderer.render(PLOT + "plt.show()\n")) == plain
    fonts = renderer.render("import matplotlib.pyplot as plt\nplt.rcParams['font.family'] = 'No Such Font'\n" + PLOT)
    assert fonts.ran, "a font that is absent is replaced"


def test_a_program_cannot_hand_over_another_file(renderer):
    for swap in (
        "import os\nos.symlink('/etc/hostname', 'render.png')\n",
        "import os\nos.mkfifo('render.png')\n",
        "import os\nos.mkdir('render.png')\n",
    ):
        result = renderer.render(swap + PLOT)
        assert not result.ran, swap
    fake = "import matplotlib.figure as f\nf.Figure.savefig = lambda *_, **__: open('render.png', 'wb').write(b'x')\n"
    assert renderer.render(fake + PLOT).error == "ImageError: what was drawn is no PNG"


def test_many_are_drawn_at_once_through_the_cache(renderer):
    cached = CachedRenderer(renderer, workers=4)
    codes = [PLOT + f"plt.xlabel('{number % 3}')\n" for number in range(9)]
    results = cached.render_all(codes)
    assert len({digest(result) for result in results}) == 3 and cached.hits == 6


def test_the_twin_of_a_small_chart_draws_the_same_bars(renderer):
    """The chart language and Matplotlib agree about what is high and what is low, and in which colour."""
    chart = Chart("bar", "green", (1, 5, 3))
    image = renderer.render(chart.twin()).image
    ink = np.abs(image.astype(int) - 255).max(-1) > 60
    thirds = np.array_split(np.arange(image.shape[1]), 3)
    heights = [int(ink[:, columns].any(1).sum()) for columns in thirds]
    assert heights[1] > heights[2] > heights[0]
    drawn = image[ink].mean(0)
    assert drawn[1] > drawn[0] and drawn[1] > drawn[2]
