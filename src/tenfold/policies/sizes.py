"""How large a model on disk is, without loading its weights."""

from math import nan
from pathlib import Path

BYTES_PER_PARAMETER = 16.0
"""Of fine-tuning with AdamW in float32: the weight, its gradient and two moments."""


def estimate_on_disk(model: str) -> dict[str, float]:
    """Size of a model that ``from_pretrained`` would load, for the estimates of ``--dry-run``.

    Args:
        model: a folder with a ``config.json``. For anything else, such as a name on the hub, nothing is known.

    Returns:
        ``parameters``, ``memory_bytes`` of fine-tuning all of them with AdamW in float32, without activations, and
        ``seconds``, which nobody knows; NaN where unknown.

    Example:
        >>> estimate_on_disk("someone/on-the-hub")["parameters"]
        nan
    """
    number = float(_num_parameters(Path(model))) if (Path(model) / "config.json").is_file() else nan
    return {"parameters": number, "memory_bytes": BYTES_PER_PARAMETER * number, "seconds": nan}


def _num_parameters(folder: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return sum(weight.numel() for weight in model.parameters())
