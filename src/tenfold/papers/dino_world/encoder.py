"""The laptop's frozen encoder: a small Dinov2 with registers, trained to fill in masked patches of single pictures.

It stands in for the published DINOv2 where no weights can be loaded, and keeps the point of the paper: the encoder is
an image encoder that was trained before, never sees two frames together, and is never updated again. The pictures hold
up to three discs, some of them a wall. The architecture and its mask token are those of transformers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, torch_generator
from tenfold.data.video.arenas import WALL_COLOUR, walls_with_doors
from tenfold.data.video.drawing import as_bytes, bright_colours, canvas, draw_discs, draw_rectangles
from tenfold.models.frame_encoder import FrameEncoder, small_vision_transformer
from tenfold.optim import warmup_cosine
from tenfold.papers.dino_world.settings import EncoderConfig
from tenfold.train.loop import LoopConfig, train

MOST_DISCS, WITH_WALL = 3, 0.4


@dataclass(frozen=True)
class Pixels:
    """How pixels in [0, 1] are normalised, all colours alike.

    The background must come near 0: what stands out from it is a small part of the picture, and would drown.
    """

    mean: float
    deviation: float

    def normalised(self, pictures: Tensor) -> Tensor:
        """uint8 to numbers around 0."""
        return (pictures.float() / 255 - self.mean) / self.deviation


DISCS = Pixels(mean=0.15, deviation=0.2)
"""Of pictures of discs on the background of ``tenfold.data.video.drawing``."""


def single_pictures(generator: np.random.Generator, num: int, size: int) -> np.ndarray:
    """Pictures of up to three discs, a part of them with a wall and its door: [num, 3, size, size] uint8."""
    pictures = canvas(num, size)
    walled = generator.uniform(size=num) < WITH_WALL
    rectangles = np.where(walled[:, None, None], walls_with_doors(generator, num, size).walls, 0.0)
    draw_rectangles(pictures, rectangles, WALL_COLOUR)
    centres = generator.uniform(0, size, (num, MOST_DISCS, 2))
    there = np.arange(MOST_DISCS) < generator.integers(MOST_DISCS + 1, size=(num, 1))
    centres = np.where(there[..., None], centres, np.nan)
    radius = float(generator.uniform(0.05, 0.12)) * size  # of all in a batch
    draw_discs(pictures, centres, radius, bright_colours(generator, num, MOST_DISCS))
    return as_bytes(pictures)


def small_vision_model(config: EncoderConfig, size: int, seed: int) -> nn.Module:
    """The configured vision transformer with random weights."""
    return small_vision_transformer(
        width=config.width,
        blocks=config.blocks,
        heads=config.heads,
        patch=config.patch,
        registers=config.registers,
        size=size,
        seed=key_to_seed(seed, "encoder weights"),
    )


class MaskedPictures(nn.Module):
    """A vision model and one linear layer, from a patch's token to its pixels."""

    def __init__(self, vision_model: nn.Module, patch: int, width: int) -> None:
        super().__init__()
        self.vision_model, self.patch = vision_model, patch
        self.to_pixels = nn.Linear(width, 3 * patch * patch)

    def forward(self, pixels_B3hw: Tensor, masked_BP: Tensor) -> Tensor:
        """Mean squared error of the pixels of all patches, masked and seen: a token must know its own, too."""
        output = self.vision_model(pixel_values=pixels_B3hw, bool_masked_pos=masked_BP)
        tokens_BPD = output.last_hidden_state[:, -masked_BP.shape[1] :]
        patches_BPc = nn.functional.unfold(pixels_B3hw, self.patch, stride=self.patch).transpose(1, 2)
        return (self.to_pixels(tokens_BPD) - patches_BPc).square().mean()


def train_vision_model(
    config: EncoderConfig, size: int, rate: float, cell: Cell, pictures_of: Callable[[int], np.ndarray], pixels: Pixels
) -> nn.Module:
    """A vision model that has learned to fill in masked patches, in evaluation mode.

    Args:
        config: its size and training.
        size: pixels of a picture's side.
        rate: of AdamW.
        cell: where it is logged.
        pictures_of: the pictures of a step, [batch, 3, size, size] uint8, no two of which need belong together.
        pixels: how they are normalised.
    """
    vision_model = small_vision_model(config, size, cell.seed)
    model = MaskedPictures(vision_model, config.patch, config.width)
    patches = (size // config.patch) ** 2

    def step_function(
        wrapped: nn.Module, carry: None, step: int, slots: range
    ) -> tuple[Tensor, None, dict[str, Tensor]]:
        pictures = pixels.normalised(torch.from_numpy(pictures_of(step)[slots.start : slots.stop]))
        order = torch.rand(config.batch_size, patches, generator=torch_generator(cell.seed, "masks", step)).argsort(1)
        masked_BP = (order < round(config.mask_share * patches))[slots.start : slots.stop]
        device = next(wrapped.parameters()).device
        return wrapped(pictures.to(device), masked_BP.to(device)), None, {}

    trained = train(
        model,
        lambda fresh: [torch.optim.AdamW(fresh.parameters(), lr=rate, weight_decay=0.05)],
        step_function,
        LoopConfig(config.steps, config.batch_size, log_every=config.log_every, checkpoint_every=config.steps),
        cell,
        schedule=lambda step: warmup_cosine(step, total_steps=config.steps, warmup_steps=10, floor=0.05),
    )
    learned: nn.Module = trained.model.vision_model  # type: ignore[assignment]
    return learned.eval()


def frozen(vision_model: nn.Module, pixels: Pixels) -> FrameEncoder:
    """The encoder of a small vision model, with the normalisation of pixels that it was trained with."""
    return FrameEncoder(vision_model, image_mean=(pixels.mean,) * 3, image_std=(pixels.deviation,) * 3)
