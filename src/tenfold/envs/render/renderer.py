"""What draws code, and what comes of it.

A renderer runs text that a model wrote, so that whatever the text does is a result, never an exception.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class RenderResult:
    """What became of one piece of code.

    Args:
        image: uint8 [h, w, 3], or ``None`` where nothing was drawn.
        error: why not, in a line: the class of the error and its last line; empty where there is an image.
        seconds: it took; 0 where it was drawn before.
        artists: what a recorder saw being drawn; mostly empty.

    Example:
        >>> RenderResult(None, "SyntaxError: invalid syntax").ran
        False
    """

    image: np.ndarray | None
    error: str = ""
    seconds: float = 0.0
    artists: tuple[Any, ...] = field(default=(), compare=False)

    @property
    def ran(self) -> bool:
        """Whether there is an image."""
        return self.image is not None


class Renderer(Protocol):
    """Draws code; equal code gives equal bytes."""

    def render(self, code: str) -> RenderResult:
        """Draw one piece of code; whatever it does is a result."""
        ...
