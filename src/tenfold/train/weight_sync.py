"""From those who train to those who sample: one interface, three ways (Kimi K2, section 8.4 of its specification).

    CopySync        within a process: tensors are copied, one after the other
    FolderSync      to served engines: a folder of safetensors for each version, and the servers' reload
    BroadcastSync   within a process group (:mod:`tenfold.train.weight_broadcast`), whatever the sharding

Each has ``version``, the number of the weights that are sampled with. A push either ends with the new version in use
everywhere, or raises and leaves the old one; where a served engine can no longer say which one it holds, its version is
``None``, and trainers refuse to sample from it.

Weights go by the names that ``from_pretrained`` reads, so adapters of peft are folded in on the way
(:func:`merged_weights`), or pushed alone. Sharded tensors (FSDP2) are put together one at a time.
"""

import json
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers.core_model_loading import revert_weight_conversion

from tenfold.core.errors import UserError
from tenfold.policies.served import ServedPolicy, ServerError
from tenfold.train.weight_broadcast import BroadcastSync, Part, WeightSyncError

__all__ = [
    "BroadcastSync",
    "CopySync",
    "FolderSync",
    "Part",
    "Versioned",
    "WeightSyncError",
    "adapter_weights",
    "merged_weights",
]

INDEX = "model.safetensors.index.json"
FILE_BYTES = 2**31  # of one file of a version; the memory that writing takes
PREFIX = "base_model.model."  # of the names within a model that peft has wrapped
CHECKPOINTED = "_checkpoint_wrapped_module."  # in the names of modules whose activations are computed again


class Versioned(Protocol):
    """What all ways of pushing weights have."""

    @property
    def version(self) -> int | None:
        """Of the weights in use; ``None`` where nobody can say."""
        ...


class CopySync:
    """Copies weights within this process.

    Args:
        target: the tensors in use, changed in place; such as ``dict(model.named_parameters())``.

    Example:
        >>> old, new = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
        >>> sync = CopySync(old)
        >>> sync.push(new, version=7)
        >>> old["w"], sync.version
        (tensor([1., 1.]), 7)
    """

    def __init__(self, target: Mapping[str, Tensor]) -> None:
        self._target = target
        self.version = 0

    @torch.no_grad()
    def push(self, source: Mapping[str, Tensor], version: int) -> None:
        """Copy all tensors of ``source``; an interruption in the middle is raised when all have been copied.

        Raises:
            WeightSyncError: if names, shapes or dtypes differ; nothing has been copied then.
        """
        for name in {**source, **self._target}:
            told = [_told(tensors.get(name)) for tensors in (source, self._target)]
            if told[0] != told[1]:
                raise WeightSyncError(
                    f"weights were not pushed, version {self.version} stays: {name}: {told[0]} pushed, {told[1]} in use"
                )
        remaining = iter(source.items())
        try:
            self._copy(remaining)
        finally:  # never half of two versions
            self._copy(remaining)
        self.version = version

    def _copy(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        for name, tensor in tensors:
            self._target[name].copy_(tensor)


def _told(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{tuple(tensor.shape)} of {tensor.dtype}"


@dataclass(eq=False)
class FolderSync:
    """Pushes weights to vLLM servers over a folder that they can read.

    A version is written whole under a temporary name and renamed. Then each server pauses (requests under way end
    first), reads it, forgets its prefix cache, takes the version's name, and goes on. Where one of them fails, those
    that had changed read the version before again. Written versions are removed when the next one is in use.

    The servers need vLLM's endpoints for development (``VLLM_SERVER_DEV_MODE=1``), which let anyone who reaches them
    change the model: bind such a server to an address that nobody else reaches.

    Args:
        policy: the servers; its ``version`` is kept, and with adapters its ``model``.
        folder: for the versions; on several machines a shared one.

    Raises:
        UserError: the folder cannot be made.
    """

    policy: ServedPolicy
    folder: Path
    _run: str = field(init=False)
    _current: tuple[Path, int] | None = field(init=False, default=None)
    _adapter: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._run = secrets.token_hex(4)  # another trainer's version 3 is not ours
        self._base = self.policy.model
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"folder = {str(self.folder)!r}: cannot be made ({error.strerror})") from None

    @property
    def version(self) -> int | None:
        """Of the weights that the servers sample with."""
        return self.policy.version

    def write(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Path:
        """Write a version; the servers know nothing of it yet.

        ``weights`` is taken to its end even where writing fails: other processes may take part in it.

        Raises:
            OSError: what the disk says.
        """
        final = self._path(version)
        unfinished = final.with_suffix(".tmp")
        remaining = iter(weights)
        try:
            for path in (final, unfinished):
                shutil.rmtree(path, ignore_errors=True)
            unfinished.mkdir()
            _write_files(remaining, unfinished)
        except BaseException:
            for _ in remaining:
                pass
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        unfinished.rename(final)
        return final

    def write_adapter(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> Path:
        """Write a version that is an adapter alone.

        Args:
            weights: of the adapter, as :func:`adapter_weights` gives them.
            config: peft's.
            version: of the weights.
        """
        folder = self.write(weights, version)
        (file,) = folder.glob("*.safetensors")
        file.rename(folder / "adapter_model.safetensors")
        (folder / INDEX).unlink()
        config.save_pretrained(folder)
        return folder

    def activate(self, version: int) -> None:
        """Let all servers read a version that was written.

        Raises:
            ServerError: a server is not there, or refuses; the message says what is in use now.
        """
        if self._current is None:
            for url in self.policy.urls:
                self._require_full_reload(url)
        written, before = self._path(version), self._current
        changed: list[str] = []
        self.policy.version = None  # until all have it
        try:
            for url in self.policy.urls:
                changed.append(url)
                self._read(url, written, version)
        except ServerError as error:
            in_use = self._back(changed, before)
            raise ServerError(f"version {version} was not pushed; {in_use}: {error}") from None
        self._current, self.policy.version = (written, version), version
        if before is not None and before[0] != written:
            shutil.rmtree(before[0], ignore_errors=True)

    def activate_adapter(self, version: int) -> None:
        """Let all servers load an adapter that was written, and sample with it.

        The adapter before stays loaded until all have the new one, so an interrupted push changes nothing.

        Raises:
            ServerError: a server is not there, or refuses (``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``, ``--enable-lora``).
        """
        name, before = f"{self._base}-{self._run}-{version}", self._adapter
        for url in self.policy.urls:
            body = {"lora_name": name, "lora_path": str(self._path(version).resolve())}
            self.policy.tell(url, "/load_lora_adapter", body)
        self.policy.model, self.policy.version, self._adapter = name, version, name
        for url in self.policy.urls if before is not None else ():
            self.policy.tell(url, "/unload_lora_adapter", {"lora_name": before})
        if self._current is not None:
            shutil.rmtree(self._current[0], ignore_errors=True)
        self._current = self._path(version), version

    def require(self, version: int) -> None:
        """Refuse to sample with other weights than are meant.

        Raises:
            ServerError: the version counter differs, or a server holds something else: it was started anew, or another
                trainer has pushed to it.
        """
        if self.policy.version != version:
            raise ServerError(f"version = {self.policy.version} of the servers' weights; the trainer's is {version}")
        for url in self.policy.urls if self._adapter is None else ():
            held = self.policy.ask(_root(url), "/weight_info")["weight_version"]
            if held != self._name(version):
                raise ServerError(
                    f"{url}: holds the weights {held!r}, and the trainer pushed {self._name(version)!r}; the server "
                    "was started anew, or another trainer pushes to it"
                )

    def _require_full_reload(self, url: str) -> None:
        """With adapters enabled vLLM 0.32 reads embeddings and norms anew and keeps all linear layers, silently.

        On a CPU it keeps the output layer of a model that shares it with the embeddings: it was packed in another form.
        """
        config = self.policy.ask(_root(url), "/server_info?config_format=json")["vllm_config"]
        if config.get("lora_config"):
            raise ServerError(
                f"{url}: was started with --enable-lora, and vLLM then keeps the old weights of linear layers; start "
                "it without, or push the adapter alone (engine.adapters = alone)"
            )
        if (config.get("device_config") or {}).get("device") == "cpu":
            warnings.warn(
                f"{url} runs on a CPU, where vLLM 0.32 keeps the old output layer of a model that shares it with the "
                "embeddings; this is fit for tests, not for training",
                stacklevel=2,
            )

    def _read(self, url: str, folder: Path, version: int) -> None:
        root, tell = _root(url), self.policy.tell
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.resolve())}}
        tell(root, "/pause?mode=wait", {})
        tell(root, "/collective_rpc", reload)
        if not self.policy.ask(root, "/reset_prefix_cache", {})["success"]:
            raise ServerError(f"{url}: kept its prefix cache, which the old weights had filled")
        tell(root, "/update_weight_version", {"new_version": self._name(version)})
        tell(root, "/resume", {})

    def _back(self, urls: list[str], before: tuple[Path, int] | None) -> str:
        """Bring servers back to the version before; what is in use then."""
        if before is None:
            for url in urls:  # those that have read nothing go on as they were
                with suppress(ServerError):
                    self.policy.tell(_root(url), "/resume", {})
            return "the servers' weights are unknown"
        try:
            for url in urls:
                self._read(url, *before)
        except ServerError:
            return "the servers' weights are unknown"
        self.policy.version = before[1]
        return f"version {before[1]} is in use"

    def _path(self, version: int) -> Path:
        return self.folder / f"version-{version:08d}"

    def _name(self, version: int) -> str:
        return f"{self._run}-{version}"


def _root(url: str) -> str:
    return url.removesuffix("/v1")


def _write_files(weights: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    """Files of a version, with the index that ``from_pretrained`` and vLLM read."""
    file_of = {}
    for number, tensors in enumerate(_files(weights)):
        name = f"model-{number:05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        file_of.update(dict.fromkeys(tensors, name))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": file_of}))


def _files(weights: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Tensors in memory, as many as go into one file."""
    held: dict[str, Tensor] = {}
    num_bytes = 0
    for name, tensor in weights:
        held[name] = tensor.contiguous()
        num_bytes += tensor.nbytes
        if num_bytes >= FILE_BYTES:
            yield held
            held, num_bytes = {}, 0
    if held:
        yield held


def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights by the names that ``from_pretrained`` reads, on the CPU, adapters folded in, tied ones once.

    Sharded tensors are put together one at a time, in which all processes must take part: each goes through the whole
    iterator. What transformers holds under other names, or in other pieces, than its files have (experts, parts of
    vision-language models) is given as the files have it, as servers read it.

    Args:
        model: of transformers, also one that peft has wrapped or FSDP2 has sharded.

    Raises:
        UserError: for adapters of another kind than LoRA on linear layers.

    Example:
        >>> from tenfold.policies import tiny_policy
        >>> names = [name for name, _ in merged_weights(tiny_policy("01", width=16, layers=1, heads=2).model)]
        >>> names[0]
        'model.embed_tokens.weight'
    """
    deltas = _deltas(model)
    tied = _tied_names(model)
    bare = _bare(model)
    for name, tensor in model.state_dict(keep_vars=True).items():
        plain = name.removeprefix(PREFIX).replace(".base_layer.", ".").replace(CHECKPOINTED, "")
        if "lora_" in name or plain in tied:
            continue
        merged = whole(tensor)
        if (delta := deltas.get(plain)) is not None:
            up, down, scale = delta
            merged = merged + (whole(up).float() @ whole(down).float() * scale).to(merged.dtype)
        yield from revert_weight_conversion(bare, {plain: merged.cpu()}).items()


def adapter_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of the default adapter by peft's names, on the CPU; all processes go through the whole iterator."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        if "lora_" in name:
            yield name.replace(".default", ""), whole(tensor).cpu()


def whole(tensor: Tensor) -> Tensor:
    """A tensor of a model, put together where it is sharded; all processes must call this then.

    Example:
        >>> whole(nn.Parameter(torch.ones(2)))
        tensor([1., 1.])
    """
    if hasattr(tensor, "ds_id"):  # DeepSpeed's ZeRO-3 leaves parameters empty between their uses
        from deepspeed.zero import GatheredParameters

        with GatheredParameters([tensor]):
            return tensor.detach().clone()
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _bare(model: Any) -> Any:
    """The model of transformers within one that peft may have wrapped."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _tied_names(model: Any) -> set[str]:
    """Names that share another one's tensor, which ``from_pretrained`` ties again."""
    return set(getattr(_bare(model), "all_tied_weights_keys", None) or {})


def _deltas(model: nn.Module) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Of each weight with an adapter: B, A and the scale of what ``scale * B A`` adds to it."""
    from peft.tuners.lora import Linear, LoraLayer

    deltas = {}
    modules: Iterable[tuple[str, Any]] = model.named_modules()
    for name, module in modules:
        if not isinstance(module, LoraLayer):
            continue
        if not isinstance(module, Linear) or len(module.lora_A) != 1 or module.use_dora.get("default"):
            raise UserError(
                f"{name}: {type(module).__name__} is not merged; allowed: one LoRA adapter of a linear layer"
            )
        ((adapter, down),) = module.lora_A.items()
        up, scale = module.lora_B[adapter].weight, float(module.scaling[adapter])
        plain = name.removeprefix(PREFIX).replace(CHECKPOINTED, "")
        deltas[f"{plain}.weight"] = (up, down.weight, scale)
    return deltas
