"""Causal language models of transformers: built from a configuration and a seed, written and read without noise.

What is written is a plain folder of ``save_pretrained``: ``AutoModelForCausalLM.from_pretrained`` loads it anywhere.
Matrices start from N(0, 1/fan-in) and embeddings from N(0, 1) in place of transformers' N(0, 0.02²), which is made for
wide models and delays learning at widths of some hundreds. The output layer starts small, N(0, (0.1/width)²), so that
an untrained model says almost exactly log2(vocabulary) bits for every token, whatever the text: muP's 1/width lets a
text of two symbols deviate by more than a tenth of a bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tenfold.core.damage import read_json, shapes_in
from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


_HEAD_STD = 0.1


def causal_lm(config: "PreTrainedConfig", seed: int) -> "PreTrainedModel":
    """A fresh model; equal seeds give equal weights, and the global generator starts from the seed, too.

    Args:
        config: of any causal language model of transformers.
        seed: of the weights.

    Example:
        >>> from tenfold.models.byte_transformer import byte_transformer_config
        >>> causal_lm(byte_transformer_config(width=16, layers=1, heads=2), seed=0).config.model_type
        'arcee'
    """
    from transformers import AutoModelForCausalLM

    torch.manual_seed(key_to_seed(seed, "weights"))
    model = AutoModelForCausalLM.from_config(config)
    for module in model.modules():
        _initialise(module)
    head = model.get_output_embeddings()
    nn.init.normal_(head.weight, std=_HEAD_STD / head.in_features)
    return model


def _initialise(module: nn.Module) -> None:
    """Matrices, of Linear ``[out, in]`` and of GPT's Conv1D ``[in, out]``, by fan-in; embeddings with unit variance."""
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    elif isinstance(module, Conv1D):
        nn.init.normal_(module.weight, std=module.nx**-0.5)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight)


def save_causal_lm(model: "PreTrainedModel", folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, showing no progress bar."""
    with _without_progress_bars():
        model.save_pretrained(folder)


def load_causal_lm(folder: Path) -> "PreTrainedModel":
    """The model in a folder that ``save_pretrained`` wrote, in evaluation mode, showing no progress bar.

    Raises:
        UserError: the folder holds no causal language model, or not all of its weights.
    """
    from transformers import AutoModelForCausalLM

    advice = "allowed: a folder with a causal language model that save_pretrained wrote"
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; {advice}")
    read_json(folder / "config.json", advice)
    for file in folder.glob("*.safetensors"):
        shapes_in(file, advice)
    try:
        with _without_progress_bars():
            load: Any = AutoModelForCausalLM.from_pretrained
            model, told = load(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder} cannot be loaded as a causal language model ({reason}); {advice}") from error
    made_up = sorted(told["missing_keys"]) + sorted(str(key) for key in told["mismatched_keys"])
    if made_up:
        raise UserError(f"{folder} lacks the weight {made_up[0]}, or has it in another size; {advice}")
    loaded: PreTrainedModel = model.eval()
    return loaded


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
