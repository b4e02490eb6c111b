"""RRVF's tab: the loop on a held-out picture, turn by turn: target, code, render, remarks, score."""

import html
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tenfold.core.cell import Cell
from tenfold.core.config import from_yaml
from tenfold.core.errors import UserError
from tenfold.core.pages import inside
from tenfold.core.seeding import torch_generator
from tenfold.core.touch import Choice, Number, Tab, first_finished
from tenfold.envs.render.chart_language import LONGEST, PLAIN
from tenfold.papers.rrvf.config import Config
from tenfold.papers.rrvf.dialogues import converse
from tenfold.papers.rrvf.looking import png_of
from tenfold.papers.rrvf.measures import dialogues_to_show, held_out
from tenfold.papers.rrvf.recipe import ARMS, Seeing
from tenfold.papers.rrvf.seeing import Images, programs
from tenfold.papers.rrvf.stages import Study, load_saved

ARM = "words"
DOMAINS = ("the domain with labels", "the new domain, without labels")


def act(run: Path, domain: str, number: int, seed: int) -> Iterator[str]:
    """The dialogue about one picture, a turn more in each piece.

    Args:
        run: a run directory.
        domain: how pictures look.
        number: of the picture among the held-out ones, from 1.
        seed: of what is drawn by chance; 0 for the most probable words.
    """
    if domain not in DOMAINS:
        raise UserError(f"domain is {domain!r}; allowed: {', '.join(DOMAINS)}")
    config = from_yaml(Config, run / "config.yaml")
    folder, trained_on = first_finished(run, ARM)
    study = Study(config, Cell(arm=ARM, seed=trained_on, directory=folder, device="cpu", is_main=False))
    look = PLAIN if domain == DOMAINS[0] else study.new_domain
    everything = held_out(study, look)
    place = (int(number) - 1) % len(everything.numbers)
    image = Images(everything.numbers[place : place + 1], everything.pixels[place : place + 1])
    does = ARMS[ARM].does
    assert isinstance(does, Seeing)
    noise = torch.rand(1, (len(does.comparators) + 1) * LONGEST, generator=torch_generator(int(seed), "touched"))
    model = load_saved(config, folder / "model", torch.device("cpu"))
    said = converse(model, image, 1, does.comparators, noise if int(seed) else -torch.ones_like(noise))
    dialogue = dialogues_to_show(image, said, domain)[0]
    shown = f"<div class='boards'><figure><figcaption>target</figcaption>{picture(image.pixels[0])}</figure>"
    for count, turn in enumerate(dialogue["turns"], start=1):
        drawn = "<p>does not run</p>"
        if turn["number"] >= 0:
            drawn = picture(programs().images[turn["number"]])
        remarks = f"<br>remarks: {html.escape(turn['remarks'])}" if turn["remarks"] else ""
        shown += (
            f"<figure><figcaption>turn {count}: score {turn['score']:.2f}</figcaption>{drawn}"
            f"<p><code>{html.escape(turn['program'])}</code>{remarks}</p></figure>"
        )
        yield f"{shown}</div>"
    yield (
        f"{shown}</div><p>The program behind the target, which the training from pictures never reads: "
        f"<code>{html.escape(dialogue['true'])}</code>. Arm {ARM}, seed {trained_on} of {html.escape(run.name)}.</p>"
    )


def picture(pixels: np.ndarray) -> str:
    """Pixels ``[h, w, 3]`` from 0 to 1 as an image within the page."""
    return f'<img class="pixels" src="{inside("png", png_of(pixels))}" alt="a picture of {len(pixels)} rows">'


TAB = Tab(
    title="RRVF",
    about="A picture, and a policy that writes a program for it. The program is drawn and compared, remarks are made, "
    "and the policy writes again. It knew few labelled pictures, and learned from many without labels.",
    button="Draw",
    fields={
        "domain": Choice("Pictures of", DOMAINS),
        "number": Number("Picture", 1, 1, 50),
        "seed": Number("Seed of the words (0: the most probable ones)", 0, 0, 99),
    },
    act=act,
    study="rrvf",
    arms=(ARM,),
)
