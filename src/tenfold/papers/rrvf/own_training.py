"""``tenfold train rrvf``: teach a vision-language model to write the code of images of a user's own.

From the images alone, by dialogue with a renderer (``--arm rrvf``), or from images with their code beside them
(``--arm labels``), which is the paper's rival and a start for the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.envs.render.caching import CachedRenderer
from tenfold.papers.rrvf.config import OwnConfig
from tenfold.papers.rrvf.looking import PixelComparator, PixelJudge
from tenfold.papers.rrvf.loop import DOMAINS, opened_renderer
from tenfold.papers.rrvf.speakers import load_vision_model
from tenfold.papers.rrvf.vision_training import (
    PromptMaker,
    Teaching,
    images_in,
    labelled,
    teach_from_images,
)
from tenfold.policies import Policy
from tenfold.rewards.visual import PRESETS
from tenfold.train.distributed import device_of
from tenfold.train.sft import sft

ARMS = ("rrvf", "labels")
ACTING = ("model", "dialogue", "training", "labels")
OF_ARM = {
    "rrvf": ("dialogue.max_turns", "dialogue.strict", "dialogue.weights", "training"),
    "labels": ("labels",),
}


@dataclass(frozen=True, eq=False)
class Given:
    """What a user has given, checked.

    Args:
        files: the images.
        rows: with labels, the images that have code beside them, and it; else none.
        model: before training; on the CPU until it is trained.
        processor: its own.
    """

    files: Sequence[Path]
    rows: Dataset | None
    model: Any
    processor: Any


def read(config: OwnConfig, arm: str) -> Given:
    """Images and model of a training.

    Raises:
        UserError: one of them cannot be used, or a value does nothing here.
    """
    refuse_idle(config, ("training.reward_weights",), acts="dialogue.weights")
    untested = ("training.evaluate_every", "labels.evaluate_every")
    refuse_idle(config, untested, acts="log_every: images of your own have no test")
    if not config.model:
        raise UserError("model is empty; allowed: a vision-language model of the hub, or its folder")
    files = images_in(Path(config.images))
    rows = labelled(files, DOMAINS[config.dialogue.renderer]) if arm == "labels" else None
    model, processor = load_vision_model(config.model, torch.device("cpu"))
    return Given(files, rows, model, processor)


def train(config: OwnConfig, arm: str, given: Given, cell: Cell) -> Policy:
    """The training, from the start or from where it was interrupted; the processor is saved beside the model."""
    model = given.model.to(device_of(cell))
    d = config.dialogue
    if given.rows is not None:
        make_prompt = PromptMaker(given.processor, model, DOMAINS[d.renderer], d.side)
        policy = sft(Policy(model, given.processor.tokenizer), given.rows, config.labels, cell, prompt_of=make_prompt)
    else:
        teaching = Teaching(DOMAINS[d.renderer], PRESETS[d.weights], d.max_turns, d.side, d.strict)
        looks = (PixelComparator(), PixelJudge())
        with opened_renderer(d.renderer) as renderer:
            policy = teach_from_images(
                model, given.processor, given.files, CachedRenderer(renderer), looks, teaching, config.training, cell
            )
    if cell.is_main:
        given.processor.save_pretrained(cell.directory / "model")
    return policy.merged()
