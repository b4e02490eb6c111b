"""Adapters on disk: what a folder of a LoRA training means, and its model with the adapters folded into the weights.

Such a folder holds small matrices and the name of the model that they belong to. Where they are not folded in, a second
training begins without them, or has nothing to train. The base may be a folder with adapters itself, of an earlier
stage; what it names by a relative path is sought from the working directory, and then from the folder itself.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from tenfold.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
BASE = "base_model_name_or_path"


def adapters_in(source: str) -> bool:
    """Whether a folder, or a model of the hub, is adapters for another model.

    Raises:
        UserError: a folder holds adapters and a whole model, so that nothing says which is meant.

    Example:
        >>> adapters_in("no-such-folder")
        False
    """
    from transformers.utils import find_adapter_config_file

    folder = Path(source)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            return False
        whole = [file.name for pattern in _WEIGHTS for file in folder.glob(pattern)]
        if whole:
            raise UserError(
                f"model = {source!r}: holds both {CONFIG} and {sorted(whole)[0]}; allowed: adapters, or a whole model"
            )
        return True
    return find_adapter_config_file(source) is not None


def base_of(source: str, before: tuple[str, ...] = ()) -> str:
    """The model that adapters belong to, as ``from_pretrained`` finds it.

    Args:
        source: the folder with the adapters, or their name on the hub.
        before: the adapters that rest on them.

    Raises:
        UserError: the file that says so is broken or names no model, the base lies nowhere, or it rests on itself.
    """
    from transformers.utils import find_adapter_config_file

    where = f"model = {source!r}: {CONFIG}"
    try:
        told = json.loads(Path(str(find_adapter_config_file(source))).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{where} cannot be read ({error})") from error
    base = told.get(BASE) if isinstance(told, dict) else None
    if not isinstance(base, str) or not base:
        raise UserError(f"{where}: {BASE} is {base!r}; needed: the model that the adapters belong to")
    found = _found(base, Path(source))
    if found in (source, *before):
        raise UserError(f"{where}: {BASE} is {base!r}, which rests on these adapters; needed: another model")
    return found


def _found(base: str, folder: Path) -> str:
    """An existing folder that a base names, as an absolute path; another name as it is, for the hub may know it.

    Raises:
        UserError: it is a path, by its look, and is not there.
    """
    places = [Path(base).expanduser()]
    if folder.is_dir():
        places += [above / base for above in (folder, *folder.resolve().parents)]
    for place in places:
        if place.is_dir():
            return str(place.resolve())
    if Path(base).is_absolute() or base.startswith((".", "~")) or base.count("/") > 1:
        raise UserError(
            f"model = {str(folder)!r}: its {CONFIG} names the base {base!r}, which is not there; put the base back, or "
            f"write where it is now to {BASE}"
        )
    return base


def merged_from(
    source: str, load: Callable[[str], "PreTrainedModel"], before: tuple[str, ...] = ()
) -> "PreTrainedModel":
    """The base of adapters with the adapters folded in, all of its weights to be trained.

    Args:
        source: the folder with the adapters, or their name on the hub.
        load: loads a whole model.
        before: the adapters that rest on them.

    Raises:
        UserError: the adapters lie nowhere, do not fit the base, are broken, or are of a kind that weights cannot hold.
    """
    _require_weights(source)
    from peft import PeftModel
    from safetensors import SafetensorError

    base = base_of(source, before)
    model: Any = merged_from(base, load, (*before, source)) if adapters_in(base) else load(base)
    try:
        with warnings.catch_warnings():
            # peft still asks for the name that transformers has given up.
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)  # refused below
            model = PeftModel.from_pretrained(model, source)
            loaded = model.load_adapter(source, "default")  # once more, for what it tells about names
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, SafetensorError) as error:
        raise UserError(
            f"model = {source!r}: its adapters cannot be put on the base {base!r} ({_first_line(error)})"
        ) from error
    _require_fit(model, loaded, source, base)
    whole = folded(model, source)
    _call(whole, source)  # adapters of a later stage belong to this model, not to its base
    return whole


def _require_weights(source: str) -> None:
    """Refuse a folder that tells of adapters and does not hold them: peft would ask a hub for it."""
    folder = Path(source)
    if folder.is_dir() and not any((folder / name).is_file() for name in ADAPTERS):
        raise UserError(f"model = {source!r}: holds {CONFIG} without weights; needed: {' or '.join(ADAPTERS)}")


def _require_fit(model: Any, loaded: Any, source: str, base: str) -> None:
    """Refuse adapters of which the base has no such place, or lacks one: peft leaves out what does not fit.

    Args:
        model: of peft, with the adapters.
        loaded: what peft tells of the names: missing and unexpected ones.
        source: where the adapters come from.
        base: the model that they are put on.
    """
    if model.active_peft_config.is_prompt_learning:
        return  # has names of its own, and is refused when it is to be folded in
    # What is one vector bank for all layers stands in the file once.
    missing = [name for name in loaded.missing_keys if "vblora_vector_bank" not in name and ".tinylora_v." not in name]
    faults = [
        f"{words} {_some(names)}"
        for words, names in (("it lacks", missing), ("the base has no place for", loaded.unexpected_keys))
        if names
    ]
    if faults:
        raise UserError(f"model = {source!r}: its adapters do not fit the base {base!r}: {'; '.join(faults)}")


SHOWN = 3
"""Names of weights in a message."""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more


def folded(model: Any, name: str = "the policy") -> "PreTrainedModel":
    """A model of peft with its adapters in the weights, all of which can be trained; peft had frozen those of the base.

    It has no name: it is not the model any more that its folder holds.

    Args:
        model: of peft, with one or several active adapters.
        name: of the model, for messages.

    Raises:
        UserError: the adapters are of a kind that weights cannot hold, such as a learned prompt.
    """
    _untie(model)
    try:
        whole = model.merge_and_unload()
    except (AttributeError, ValueError, NotImplementedError) as error:
        kinds = sorted({str(getattr(one.peft_type, "value", one.peft_type)) for one in model.peft_config.values()})
        raise UserError(
            f"model = {name!r}: adapters of the kind {', '.join(kinds)} cannot be folded into the weights "
            f"({_first_line(error)}); allowed: a whole model, or adapters such as LoRA"
        ) from error
    _call(whole, "")
    return whole.requires_grad_(True)


def _untie(model: Any) -> None:
    """Give the head a matrix of its own where adapters are on a table that it shares: in one place they change both."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    config, table, head = model.config, model.get_input_embeddings(), model.get_output_embeddings()
    if not getattr(config, "tie_word_embeddings", False):
        return
    if not any(isinstance(one, BaseTunerLayer) for one in (table, head)):
        return
    inner = head.get_base_layer() if isinstance(head, BaseTunerLayer) else head
    inner.weight = nn.Parameter(inner.weight.detach().clone())
    config.tie_word_embeddings = False


def require_named_base(model: Any) -> None:
    """Refuse to save adapters that nobody could put back: their base was changed or made in memory, and has no folder.

    Args:
        model: about to be saved; a whole one may have any name.

    Raises:
        UserError: with what can be saved.
    """
    if hasattr(model, "peft_config") and not getattr(model.get_base_model(), "name_or_path", ""):
        raise UserError(
            "save: the adapters belong to a model without a folder, made or merged in memory; allowed: "
            "policy.merged().save(…), which saves the whole model, or a base that was saved and loaded"
        )


def _call(model: Any, name: str) -> None:
    """Say where a model comes from, which peft writes beside its adapters."""
    model.name_or_path = model.config.name_or_path = name


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
