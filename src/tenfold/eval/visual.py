"""How alike two images are, without a model, made so that nothing is earned by drawing nothing.

Plain measures give an empty image a large part of the score: SSIM 0.63 and 1 - MAE 0.83 against a typical chart. So
each is rescaled by what the reference's own blank would get,

    s' = max(0, (s(reference, image) - s(reference, blank)) / (1 - s(reference, blank)))

with the blank in the reference's background colour: blank is 0, identical is 1. No single measure sees everything
(colours need the histogram, values need edges or overlap, words need reading), so a composite weighs several; the
weights are data, and every part can be looked at by itself.

What needs a model is handed in: ``patch_term`` takes an encoder of patches, ``text_term`` a reader of text.

Shapes: N pairs of images [N, h, w, 3], float32 in [0, 1].
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from tenfold.core.errors import UserError

Features = tuple[np.ndarray, ...]
"""What a term knows of images, each [N, ...]; so that an image that is compared often is looked at once."""


class Term(NamedTuple):
    """A measure: what it takes from images [N, h, w, 3], and the similarities [N] in [0, 1] of two such takings."""

    look: Callable[[np.ndarray], Features]
    compare: Callable[[Features, Features], np.ndarray]


POOLS = (2, 4, 8)
EDGE_CONTRAST = 0.2
"""Least step between neighbouring pixels, in some channel, that counts as an edge."""
FOREGROUND = 0.12
"""Least difference to the background, in some channel, that counts as drawn."""
COLOUR_BINS = 6
GREY_COUNTS = 0.15
"""What a grey pixel counts in the palette; one of full saturation counts 1 more."""
MOST_PIXELS = 40_000_000
_NEARLY = 1e-9


def background(images: np.ndarray) -> np.ndarray:
    """The median colour of each image's border, [N, 3].

    Example:
        >>> background(np.full((1, 4, 4, 3), 0.5, np.float32)).tolist()
        [[0.5, 0.5, 0.5]]
    """
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    return np.median(border, axis=1)


def blank_like(images: np.ndarray) -> np.ndarray:
    """Empty images in the background colour of each."""
    return np.broadcast_to(background(images)[:, None, None], images.shape).astype(np.float32)


def _look_for_overlap(images: np.ndarray) -> Features:
    drawn = images - background(images)[:, None, None]
    return tuple(_pooled(drawn, size).reshape(len(images), -1) for size in POOLS)


def _overlap(a: Features, b: Features) -> np.ndarray:
    found = []
    for pooled_a, pooled_b in zip(a, b, strict=True):
        apart = np.abs(pooled_a - pooled_b).sum(1)
        whole = np.abs(pooled_a).sum(1) + np.abs(pooled_b).sum(1)
        found.append(1 - apart / np.where(whole > _NEARLY, whole, 1.0))
    return np.mean(found, axis=0)


OVERLAP = Term(_look_for_overlap, _overlap)
"""1 - sum|a - b| / (sum|a| + sum|b|) of the images minus their backgrounds, pooled by 2, 4 and 8, the mean."""


def _look_for_edges(images: np.ndarray) -> Features:
    edges = _edges(images)
    return edges.reshape(len(images), -1), _dilated(edges).reshape(len(images), -1)


def _edge_f1(a: Features, b: Features) -> np.ndarray:
    (edges_a, wide_a), (edges_b, wide_b) = a, b
    recall, precision = _share(edges_a & wide_b, edges_a), _share(edges_b & wide_a, edges_b)
    both = recall + precision
    neither = ~edges_a.any(1) & ~edges_b.any(1)
    return np.where(neither, 1.0, 2 * recall * precision / np.where(both > 0, both, 1.0))


EDGES = Term(_look_for_edges, _edge_f1)
"""F1 of edge pixels that have an edge of the other image within one pixel; 1 where neither has an edge."""


def _colour_overlap(a: Features, b: Features) -> np.ndarray:
    (counts_a,), (counts_b,) = a, b
    total = counts_a.sum(1) + counts_b.sum(1)
    shared = 2 * np.minimum(counts_a, counts_b).sum(1)
    return np.where(total > 0, shared / np.where(total > 0, total, 1.0), 1.0)


COLOURS = Term(lambda images: (_colour_counts(images),), _colour_overlap)
"""Twice the intersection of both colour histograms over their sum, background left out; 1 where both are empty."""


def _look_for_palette(images: np.ndarray) -> Features:
    saturation = images.max(-1) - images.min(-1)
    return (np.sqrt(_colour_counts(images, GREY_COUNTS + saturation)),)


PALETTE = Term(_look_for_palette, _colour_overlap)
"""The same on square roots of counts in which greys, such as text and axes, count little: a thin line in the right
colour counts beside a filled bar."""


def _ssim(a: Features, b: Features) -> np.ndarray:
    (grey_a, mean_a, variance_a), (grey_b, mean_b, variance_b) = a, b
    covariance = _smooth(grey_a * grey_b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return np.clip((above / below).mean((1, 2)), 0.0, 1.0)


def _look_for_structure(images: np.ndarray) -> Features:
    grey = images.mean(-1, dtype=np.float64)
    mean = _smooth(grey)
    return grey, mean, _smooth(grey * grey) - mean**2


def _smooth(values: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = uniform_filter(values, size=(1, 7, 7), mode="reflect")
    return blurred


SSIM = Term(_look_for_structure, _ssim)
"""Mean structural similarity of the grey images over windows of 7 x 7 pixels (Wang et al., 2004)."""


def patch_term(encode: Callable[[np.ndarray], np.ndarray]) -> Term:
    """Mean cosine of the features of patches at the same place.

    Args:
        encode: images [N, h, w, 3] to features [N, P, D], say of a frozen vision transformer.
    """

    def cosine(a: Features, b: Features) -> np.ndarray:
        norms = np.linalg.norm(a[0], axis=-1) * np.linalg.norm(b[0], axis=-1)
        cosines = (a[0] * b[0]).sum(-1) / np.where(norms > 0, norms, 1.0)
        return np.clip(cosines.mean(-1), 0.0, 1.0)

    return Term(lambda images: (encode(images),), cosine)


def text_term(read: Callable[[np.ndarray], Sequence[str]]) -> Term:
    """F1 of the multisets of words that a reader finds in one image [h, w, 3]; 1 where neither has a word."""

    def look(images: np.ndarray) -> Features:
        texts = np.empty(len(images), dtype=object)
        texts[:] = [list(read(image)) for image in images]
        return (texts,)

    return Term(look, lambda a, b: np.array([_words_f1(*pair) for pair in zip(a[0], b[0], strict=True)]))


def rapidocr_reader() -> Callable[[np.ndarray], list[str]]:
    """A reader of text by rapidocr.

    Raises:
        UserError: rapidocr is not installed.
    """
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise UserError("reading text in images needs rapidocr: pip install 'tenfold[ocr]'") from error
    engine = RapidOCR()

    def read(image: np.ndarray) -> list[str]:
        found, _ = engine((image * 255).astype(np.uint8))
        return [word for _, line, _ in found or () for word in line.split()]

    return read


TERMS: Mapping[str, Term] = {"overlap": OVERLAP, "edges": EDGES, "colours": COLOURS, "palette": PALETTE, "ssim": SSIM}
"""The terms that need nothing else."""
DEFAULT_WEIGHTS: Mapping[str, float] = {"overlap": 0.4, "edges": 0.2, "palette": 0.35, "ssim": 0.05}
"""For pages and charts of some hundred pixels."""
DRAWING_WEIGHTS: Mapping[str, float] = {"overlap": 0.55, "edges": 0.25, "colours": 0.2}
"""For drawings of some dozen pixels."""


@dataclass(frozen=True)
class Looked:
    """What a composite knows of images, to be compared often.

    Args:
        features: of each term.
        of_blank: what the blank of each image gets by each term, [N].
    """

    features: Mapping[str, Features]
    of_blank: Mapping[str, np.ndarray]

    def take(self, numbers: np.ndarray) -> "Looked":
        """Some of the images, or some of them several times."""
        features = {name: tuple(each[numbers] for each in found) for name, found in self.features.items()}
        return Looked(features, {name: values[numbers] for name, values in self.of_blank.items()})


def rescaled(raw: np.ndarray, of_blank: np.ndarray) -> np.ndarray:
    """s' of the module's docstring, [N]; where the reference is itself blank, what equals it is 1 and all else 0.

    Example:
        >>> rescaled(np.array([0.63, 0.63, 1.0]), np.array([0.63, 0.26, 1.0])).round(2).tolist()
        [0.0, 0.5, 1.0]
    """
    room = 1 - of_blank
    lifted = np.clip((raw - of_blank) / np.where(room > _NEARLY, room, 1.0), 0.0, 1.0)
    return np.where(room > _NEARLY, lifted, (raw >= 1 - _NEARLY).astype(np.float64))


@dataclass(frozen=True)
class Similarity:
    """The composite sum_k w_k s'_k, and its parts.

    Args:
        weights: name of a term to its weight; they are divided by their sum.
        more: further terms by name, such as those of :func:`patch_term` and :func:`text_term`.

    Raises:
        UserError: a weight is negative or names no term, or all are 0.

    Example:
        >>> image = np.zeros((1, 16, 16, 3), np.float32)
        >>> image[:, 4:9, 4:9] = 1.0
        >>> Similarity()(image, image).tolist(), Similarity()(image, blank_like(image)).tolist()
        ([1.0], [0.0])
    """

    weights: Mapping[str, float] | None = None
    more: Mapping[str, Term] | None = None

    def __post_init__(self) -> None:
        """Refuse weights that cannot be meant."""
        known = self._terms()
        for name, weight in self._weights().items():
            if name not in known:
                raise UserError(f"weights: {name!r} is no term; known are {', '.join(known)}")
            if not 0 <= weight < np.inf:
                raise UserError(f"weights: {name} = {weight}; allowed: finite numbers from 0 on")
        if not sum(self._weights().values()) > 0:
            raise UserError("weights: all are 0; at least one must be positive")

    def _terms(self) -> Mapping[str, Term]:
        return {**TERMS, **(self.more or {})}

    def _weights(self) -> Mapping[str, float]:
        return DEFAULT_WEIGHTS if self.weights is None else self.weights

    def look(self, images: np.ndarray) -> Looked:
        """What is needed of images [N, h, w, 3] to compare them with others.

        Raises:
            UserError: they are not that.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise UserError(f"images of shape {images.shape}: must be [N, h, w, 3]")
        features, of_blank, terms, blanks = {}, {}, self._terms(), blank_like(images)
        for name, weight in self._weights().items():
            if weight:
                features[name] = terms[name].look(images)
                of_blank[name] = terms[name].compare(features[name], terms[name].look(blanks))
        return Looked(features, of_blank)

    def between(self, references: Looked, images: Looked) -> dict[str, np.ndarray]:
        """Each term that has a weight, rescaled, [N]."""
        terms = self._terms()
        return {
            name: rescaled(
                np.asarray(terms[name].compare(found, images.features[name]), dtype=np.float64),
                np.asarray(references.of_blank[name], dtype=np.float64),
            )
            for name, found in references.features.items()
        }

    def parts(self, references: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        """The same from images [N, h, w, 3], float32 in [0, 1].

        Raises:
            UserError: if the shapes differ, or are not those of images.
        """
        if references.shape != images.shape:
            raise UserError(f"images of shape {images.shape} beside references of {references.shape}: must be equal")
        return self.between(self.look(references), self.look(images))

    def __call__(self, references: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The weighted mean of the parts, [N] in [0, 1]."""
        return self.total(self.parts(references, images))

    def total(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The weighted mean of parts that were computed before."""
        summed, whole = np.zeros(len(next(iter(parts.values())))), 0.0
        for name, weight in self._weights().items():
            if weight:
                summed = summed + weight * parts[name]
                whole += weight
        return summed / whole


# --------------------------------------------------------------------------------------------------------- one image


def as_image(given: Any, name: str = "image") -> np.ndarray:
    """Anything that shows one picture as float32 [h, w, 3] in [0, 1]: a file, bytes, a PIL image, or an array.

    Transparent parts are laid on white; the first picture of an animation is taken; CMYK, palettes and 16 bits become
    RGB.

    Args:
        given: a path, the bytes of a file, an image of PIL, or an array [h, w, 3] of uint8 or of floats in [0, 1].
        name: said in messages.

    Raises:
        UserError: it cannot be read, or is larger than 40 million pixels.

    Example:
        >>> as_image(np.full((2, 2, 3), 255, np.uint8)).max()
        np.float32(1.0)
    """
    if isinstance(given, np.ndarray):
        return _from_array(given, name)
    from PIL import Image, UnidentifiedImageError

    if isinstance(given, Image.Image):
        return _from_pil(given, name)
    shown = f"{name} = {given}" if isinstance(given, str | Path) else f"{name} of {len(given)} bytes"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(_source(given)) as opened:
                return _from_pil(opened, shown)
    except FileNotFoundError as error:
        raise UserError(f"{shown}: there is no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{shown}: is larger than {MOST_PIXELS:,} pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{shown}: cannot be read as an image ({_first_line(error)})") from error


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image [h, w, 3] at another size, by area where it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    from PIL import Image

    pil = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
    return np.asarray(pil.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255


def compare(reference: Any, image: Any, similarity: Similarity | None = None, side: int = 448) -> dict[str, float]:
    """The parts and the ``total`` for two pictures, as :func:`as_image` takes them.

    Args:
        reference: the picture that was to be drawn.
        image: the picture that was drawn; brought to the reference's size.
        similarity: what is measured.
        side: larger references are first shrunk to this many pixels of their longer side.

    Example:
        >>> picture = np.zeros((16, 16, 3), np.uint8)
        >>> compare(picture, picture)["total"]
        1.0
    """
    similarity = similarity or Similarity()
    a, b = as_image(reference, "reference"), as_image(image, "image")
    scale = min(1.0, side / max(a.shape[:2]))
    height, width = (max(1, round(scale * size)) for size in a.shape[:2])
    parts = similarity.parts(resized(a, height, width)[None], resized(b, height, width)[None])
    return {**{name: float(value[0]) for name, value in parts.items()}, "total": float(similarity.total(parts)[0])}


def _source(given: Any) -> Any:
    import io

    return io.BytesIO(given) if isinstance(given, bytes) else given


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _from_array(given: np.ndarray, name: str) -> np.ndarray:
    if given.ndim != 3 or given.shape[-1] != 3 or not given.size:
        raise UserError(f"{name} of shape {given.shape}: must be [h, w, 3]")
    if given.dtype == np.uint8:
        return given.astype(np.float32) / 255
    if not np.isfinite(given).all() or given.min() < 0 or given.max() > 1:
        raise UserError(f"{name}: floats must lie in [0, 1]; pixels from 0 to 255 must be uint8")
    return given.astype(np.float32)


def _from_pil(opened: Any, name: str) -> np.ndarray:
    from PIL import Image

    if opened.width * opened.height > MOST_PIXELS:
        raise UserError(f"{name}: is larger than {MOST_PIXELS:,} pixels")
    if opened.mode.startswith(("I;16", "I", "F")):
        values = np.asarray(opened, dtype=np.float64)
        top = values.max() if values.max() > 0 else 1.0
        opened = Image.fromarray((255 * np.clip(values / top, 0, 1)).astype(np.uint8))
    if "transparency" in opened.info or opened.mode in ("RGBA", "LA", "PA"):
        whole = opened.convert("RGBA")
        opened = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    return np.asarray(opened.convert("RGB"), dtype=np.float32) / 255


def _pooled(images: np.ndarray, size: int) -> np.ndarray:
    """Means over squares; what is left at the right and below is left out, unless it is all there is."""
    count, height, width, channels = images.shape
    size = min(size, height, width)
    rows, columns = height // size, width // size
    cut = images[:, : rows * size, : columns * size]
    pooled: np.ndarray = cut.reshape(count, rows, size, columns, size, channels).mean((2, 4))
    return pooled


def _edges(images: np.ndarray) -> np.ndarray:
    edges = np.zeros(images.shape[:3], dtype=bool)
    edges[:, :, :-1] |= np.abs(np.diff(images, axis=2)).max(-1) > EDGE_CONTRAST
    edges[:, :-1] |= np.abs(np.diff(images, axis=1)).max(-1) > EDGE_CONTRAST
    return edges


def _dilated(edges: np.ndarray) -> np.ndarray:
    wide = edges.copy()
    wide[:, 1:] |= edges[:, :-1]
    wide[:, :-1] |= edges[:, 1:]
    tall = wide.copy()
    tall[:, :, 1:] |= wide[:, :, :-1]
    tall[:, :, :-1] |= wide[:, :, 1:]
    return tall


def _share(found: np.ndarray, of: np.ndarray) -> np.ndarray:
    count = of.sum(1)
    share: np.ndarray = found.sum(1) / np.where(count > 0, count, 1)
    return share


def _colour_counts(images: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """How many drawn pixels have a colour of each bin, [N, bins^3]; or the sum of their weights."""
    drawn = np.abs(images - background(images)[:, None, None]).max(-1) > FOREGROUND
    bins = np.minimum((images * COLOUR_BINS).astype(np.int64), COLOUR_BINS - 1)
    flat = (bins[..., 0] * COLOUR_BINS + bins[..., 1]) * COLOUR_BINS + bins[..., 2]
    numbers = np.arange(len(images))[:, None, None] * COLOUR_BINS**3 + flat
    each = None if weights is None else weights[drawn]
    counts = np.bincount(numbers[drawn], each, minlength=len(images) * COLOUR_BINS**3)
    return counts.reshape(len(images), -1).astype(np.float64)


def _words_f1(a: Sequence[str], b: Sequence[str]) -> float:
    if not a and not b:
        return 1.0
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b))
