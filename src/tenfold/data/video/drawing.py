"""Discs and rectangles as pixels, without aliasing: an edge covers a pixel by as much as it overlaps it.

Smooth edges matter: a disc that moves by a tenth of a pixel changes the picture, so positions can be read from it.

Shapes: N pictures of size x size pixels, K discs, R rectangles. Positions are (across, down) in pixels, [0, size].
"""

import numpy as np

BACKGROUND = (0.10, 0.11, 0.14)


def canvas(num: int, size: int, colour: tuple[float, float, float] = BACKGROUND) -> np.ndarray:
    """[N, size, size, 3] float32 in [0, 1], all of one colour."""
    return np.broadcast_to(np.asarray(colour, np.float32), (num, size, size, 3)).copy()


def draw_discs(pictures: np.ndarray, centres_NK2: np.ndarray, radius: float, colours_NK3: np.ndarray) -> None:
    """Paint K discs on each picture, later ones above earlier ones; a centre of NaN is not drawn.

    Args:
        pictures: [N, size, size, 3], changed in place.
        centres_NK2: across and down.
        radius: in pixels.
        colours_NK3: in [0, 1].
    """
    middle = np.arange(pictures.shape[1], dtype=np.float32) + 0.5
    for disc in range(centres_NK2.shape[1]):
        across, down = (centres_NK2[:, disc, axis].astype(np.float32) for axis in (0, 1))
        square = (middle[None, :, None] - down[:, None, None]) ** 2 + (middle[None, None] - across[:, None, None]) ** 2
        covered = np.nan_to_num(np.clip(radius + 0.5 - np.sqrt(square), 0, 1))[..., None]
        pictures += covered * (colours_NK3[:, disc, None, None].astype(np.float32) - pictures)


def draw_rectangles(pictures: np.ndarray, rectangles_NR4: np.ndarray, colour: tuple[float, float, float]) -> None:
    """Paint R rectangles (left, top, right, bottom) on each picture, in place."""
    low = np.arange(pictures.shape[1], dtype=np.float32)
    for rectangle in range(rectangles_NR4.shape[1]):
        left, top, right, bottom = rectangles_NR4[:, rectangle].astype(np.float32).T[..., None]
        columns = np.clip(np.minimum(low + 1, right) - np.maximum(low, left), 0, 1)
        rows = np.clip(np.minimum(low + 1, bottom) - np.maximum(low, top), 0, 1)
        covered = (rows[:, :, None] * columns[:, None])[..., None]
        pictures += covered * (np.asarray(colour, np.float32) - pictures)


def as_bytes(pictures: np.ndarray) -> np.ndarray:
    """[..., h, w, 3] in [0, 1] to uint8 [..., 3, h, w], colours first, as encoders take them."""
    return np.moveaxis((np.clip(pictures, 0, 1) * 255 + 0.5).astype(np.uint8), -1, -3)


def bright_colours(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Colours that stand out from the background, [*shape, 3]."""
    return generator.uniform(0.35, 1.0, (*shape, 3)).astype(np.float32)
