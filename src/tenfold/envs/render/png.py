"""From the bytes of an image that foreign code wrote to pixels: sizes are checked before a pixel is decoded."""

import io

import numpy as np

MOST_PIXELS = 4_000_000


def pixels_of(content: bytes) -> np.ndarray | str:
    """uint8 [h, w, 3], transparent parts on white; or in a line why not.

    Example:
        >>> pixels_of(b"no image")
        'ImageError: what was drawn is no PNG'
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return f"ImageError: {opened.width} x {opened.height} pixels; allowed: {MOST_PIXELS:,} in all"
            whole = opened.convert("RGBA")
    except Exception:  # PIL has many ways to say that bytes are broken
        return "ImageError: what was drawn is no PNG"
    return np.asarray(Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB"))
