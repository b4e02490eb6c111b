"""How fast code becomes images and scores, beside a fresh interpreter or browser for each.

    python benchmarks/rendering.py                    all tables, some minutes
    python benchmarks/rendering.py --parts charts     one of them
    python benchmarks/rendering.py --quick            a few seconds, numbers without meaning

``charts``: a Matplotlib program rendered and scored, in sessions forked from a warm parent; the rival starts a Python
for each, imports Matplotlib and saves the same figure, without isolation. ``pages``: a page in one warm browser; the
rival starts a headless Chromium for each. ``similarity``: pairs compared when their references were looked at before;
the rival looks at both images of each pair. ``step``: the renders of a step of GRPO, drawn while further dialogues are
sampled; the rival samples first and renders then. Without Chromium or bubblewrap what needs them is left out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from side_by_side import Comparison, Side, rates, show

from tenfold.envs.render import BrowserRenderer, MatplotlibRenderer
from tenfold.envs.render.browser import PLACES
from tenfold.envs.render.chart_language import PLAIN, random_chart
from tenfold.eval.visual import DRAWING_WEIGHTS, Similarity, as_image, compare
from tenfold.policies import Sampling, rollout
from tenfold.policies.small_vision import image_prompt, small_vision_policy

Part = Literal["charts", "pages", "similarity", "step"]
PROGRAM = "import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 3))\nplt.bar([1, 2, 3], [3, 1, {height}])\n"
PAGE = "<body style='font-family:DejaVu Sans'><h1>Sales</h1><p>{height} sold</p></body>"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[Part, ...] = ("charts", "pages", "similarity", "step")
    """Which tables."""
    renders: int = 20
    """Programs, or pages, of a turn of ours; the rivals render two."""
    pairs: int = 512
    """Pairs of small images that are compared in a turn."""
    step_renders: int = 512
    """Renders of a step of GRPO."""
    repeats: int = 5
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Few renders and two turns: only shows that everything runs."""


def compare_charts(options: Options) -> Iterator[list[Comparison]]:
    if shutil.which("bwrap") is None:
        print("charts are left out: bubblewrap is missing", file=sys.stderr)
        return
    with MatplotlibRenderer() as renderer, tempfile.TemporaryDirectory() as folder:
        reference = as_image(renderer.render(PROGRAM.format(height=2)).image)

        def ours() -> None:
            for number in range(options.renders):
                drawn = renderer.render(PROGRAM.format(height=number + 1))
                assert drawn.image is not None, drawn.error
                compare(reference, drawn.image)

        def cold() -> None:
            for number in range(2):
                file = Path(folder) / "drawn.png"
                code = PROGRAM.format(height=number + 1) + f"plt.savefig({str(file)!r}, dpi=100)\n"
                subprocess.run([sys.executable, "-c", code], env=os.environ | {"MPLBACKEND": "Agg"}, check=True)
                compare(reference, file)

        sides = [Side("a fresh Python for each, not isolated", cold, 2)]
        yield rates(
            "charts rendered and scored",
            "charts/s",
            Side("tenfold", ours, options.renders),
            sides,
            repeats=options.repeats,
        )


def compare_pages(options: Options) -> Iterator[list[Comparison]]:
    browser = next((place for place in PLACES if Path(place).is_file()), None)
    if browser is None or shutil.which("bwrap") is None:
        print("pages are left out: Chromium or bubblewrap is missing", file=sys.stderr)
        return
    with BrowserRenderer(400, 300, seconds=60.0) as renderer, tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            for number in range(options.renders):
                drawn = renderer.render(PAGE.format(height=number))
                assert drawn.ran, drawn.error

        def fresh() -> None:
            for number in range(2):
                page, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
                page.write_text(PAGE.format(height=number))
                flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,300", f"--screenshot={shot}"]
                subprocess.run(
                    [browser, *flags, f"--user-data-dir={folder}/profile", str(page)], check=True, capture_output=True
                )
                assert shot.is_file()

        sides = [Side("a fresh Chromium for each, not isolated", fresh, 2)]
        yield rates("pages rendered", "pages/s", Side("tenfold", ours, options.renders), sides, repeats=options.repeats)


def drawings(count: int, seed: int) -> np.ndarray:
    """Small images of random charts."""
    from tenfold.envs.render.chart_language import draw_as

    generator = np.random.default_rng(seed)
    return np.stack([draw_as(random_chart(generator), PLAIN) for _ in range(count)])


def compare_similarity(options: Options) -> Iterator[list[Comparison]]:
    similarity = Similarity(DRAWING_WEIGHTS)
    references, images = drawings(32, 0), drawings(options.pairs, 1)
    of = np.arange(options.pairs) % 32
    looked, seen = similarity.look(references), similarity.look(images)

    def ours() -> None:
        similarity.total(similarity.between(looked.take(of), seen))

    def each() -> None:
        for row in range(8):
            similarity(references[of[row]][None], images[row][None])

    sides = [Side("both images looked at for each pair", each, 8)]
    yield rates("similarities", "pairs/s", Side("tenfold", ours, options.pairs), sides, repeats=options.repeats)


def compare_step(options: Options) -> Iterator[list[Comparison]]:
    if shutil.which("bwrap") is None:
        print("step is left out: bubblewrap is missing", file=sys.stderr)
        return
    policy = small_vision_policy(tuple(str(number) for number in range(16)))
    prompts = [image_prompt(policy, torch.rand(3, 24, 24), key=number) for number in range(32)]
    samples = max(1, options.step_renders // 32)
    codes = [PROGRAM.format(height=1 + number % 40) for number in range(options.step_renders)]
    with MatplotlibRenderer() as renderer, ThreadPoolExecutor(4) as pool:

        def sample() -> None:
            rollout(policy, prompts, Sampling(max_new_tokens=32), num_samples=samples)

        def ours() -> None:
            drawn = [pool.submit(renderer.render, code) for code in codes]
            sample()
            assert all(each.result().ran for each in drawn)

        def one_after_the_other() -> None:
            sample()
            assert all(renderer.render(code).ran for code in codes)

        sides = [Side("first sampled, then rendered", one_after_the_other, options.step_renders)]
        mine = Side("tenfold", ours, options.step_renders)
        yield rates(
            f"a step of {options.step_renders} renders", "renders/s", mine, sides, repeats=max(2, options.repeats // 2)
        )


PARTS = {"charts": compare_charts, "pages": compare_pages, "similarity": compare_similarity, "step": compare_step}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2, renders=2, pairs=64, step_renders=32)
    title = "image to code; ratio above 1: ours is better"
    show(chain.from_iterable(PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
