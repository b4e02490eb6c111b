"""A device that is pretended: tensors in the memory of the CPU with the label of a GPU, for machines without one.

Within :func:`pretended_device` all code runs as it is, on plain tensors of the CPU, autograd and optimizers included;
what is added is a label on the memory of each tensor. ``tensor.device`` says the label, ``.to(device)`` copies and
changes it, the results of an operation bear that of what went in. So a step that runs here takes the branches that it
would take on a GPU, and what a GPU would not forgive is an error with the operation's name:

- tensors of the device and of the host in one operation (host numbers of no dimension aside, as in PyTorch);
- a generator of the host that is to draw on the device;
- float64 on the device, where asked, as on Apple silicon;
- numpy of a tensor on the device.

Crossings between host and device are counted, each with the file and the line of this package that asked for it:
``to``, ``cpu``, ``item``, ``tolist``, ``bool``, a tensor made on the device from numbers of Python, and operations
whose result has a size that the host must wait for, such as an index by a mask. Products of matrices on the host are
counted too: many of them are a model that was not moved.

It says nothing about speed, memory, kernels or rounding, and the device code of accelerate and trl is not run: they are
told that their device is this one.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE, HOST = torch.device("cuda", 0), torch.device("cpu")
MEMORY = 80 * 10**9
"""Bytes that the device says it has; nothing of it is used up."""
COPIES = {"copy_", "_foreach_copy_"}
TAKE_A_HOST_INDEX = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
WAITED_FOR = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "embedding"}
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}
TO_PYTHON = {Tensor.numpy, Tensor.__array__, Tensor.tolist}
OUR_FILES = str(Path(__file__).parents[1] / "src" / "tenfold")


class PretendedFault(AssertionError):
    """What a device would not have done."""


class Pretended:
    """What happened on the device.

    Attributes:
        crossings: ``file:line what`` to how often.
        products: on the host, ``file:line what`` to how often; models that should have been moved make many.
        operations: operations on the device so far.
        refuses_float64: whether tensors of 64 bits are a fault, as on Apple silicon.
    """

    def __init__(self, refuses_float64: bool) -> None:
        self.crossings: Counter[str] = Counter()
        self.products: Counter[str] = Counter()
        self.operations = 0
        self.refuses_float64 = refuses_float64
        # A weak reference keeps the place of a storage from being given to another one.
        self._memory: dict[int, StorageWeakRef] = {}
        self._swept_at = 4096

    @property
    def num_crossings(self) -> int:
        """All of them."""
        return sum(self.crossings.values())

    def forget_crossings(self) -> None:
        """Count anew."""
        self.crossings.clear()

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor is on the device."""
        return tensor.layout == torch.strided and tensor.untyped_storage()._cdata in self._memory

    def take(self, tensor: Tensor, what: str) -> None:
        """Put the label on a tensor's memory."""
        if self.refuses_float64 and tensor.dtype in (torch.float64, torch.complex128):
            raise PretendedFault(f"{what}: float64 on the device; {_asked_by()}")
        storage = tensor.untyped_storage()
        if storage._cdata in self._memory:
            return
        self._memory[storage._cdata] = StorageWeakRef(storage)
        if len(self._memory) > self._swept_at:
            self._memory = {place: memory for place, memory in self._memory.items() if not memory.expired()}
            self._swept_at = 2 * len(self._memory) + 4096

    def cross(self, what: str) -> None:
        """Count a crossing."""
        self.crossings[f"{_asked_by()} {what}"] += 1

    def moved(self, tensor: Tensor, to_device: bool, what: str) -> Tensor:
        """A copy on the other side, through which gradients come back."""
        self.cross(what)
        return _Moved.apply(tensor, self, to_device)


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, on: Pretended, to_device: bool) -> Tensor:
        ctx.on, ctx.to_device = on, to_device
        return _copied(tensor, on, to_device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _copied(gradients[0], ctx.on, not ctx.to_device), None, None


def _copied(tensor: Tensor, on: Pretended, to_device: bool) -> Tensor:
    with torch.utils._python_dispatch._disable_current_modes():
        copy = tensor.detach().clone()
    if to_device:
        on.take(copy, "to")
    return copy


class _Labels(TorchDispatchMode):
    """Sees each operation, those of backward passes and optimizers too, and labels its results."""

    def __init__(self, on: Pretended) -> None:
        super().__init__()
        self._on = on
        self.inside = False
        """Whether what PyTorch makes by itself, such as the zeros of a backward pass, is made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        given = _tensors(args) + _tensors(kwargs)
        held = [tensor for tensor in given if self._on.holds(tensor)]
        is_new = not given and self.inside
        if (held or is_new) and (kwargs or {}).get("generator") is not None:
            raise PretendedFault(f"{name}: a generator of the host draws on the device; {_asked_by()}")
        if held:
            self._check(name, given, held, args)
        elif name in PRODUCTS and not given[0].is_meta:
            self._on.products[f"{_asked_by()} {name}"] += 1
        result = _computed(func, name, args, kwargs or {})
        if (held and name not in COPIES) or is_new:
            self._on.operations += 1
            if name not in WAITED_FOR - {"nonzero", "masked_select", "_unique2", "unique_consecutive"}:
                for made in _tensors(result):
                    if made.layout == torch.strided:
                        self._on.take(made, name)
        return result

    @contextmanager
    def making(self, inside: bool) -> Iterator[None]:
        """Say what new tensors are, until the end of a call."""
        before, self.inside = self.inside, inside
        try:
            yield
        finally:
            self.inside = before

    def _check(self, name: str, given: list[Tensor], held: list[Tensor], args: Any) -> None:
        on_host = [tensor for tensor in given if tensor.ndim and not self._on.holds(tensor)]
        if name in COPIES:
            if on_host or not self._on.holds(given[0]):
                self._on.cross(name)
            return
        if name in WAITED_FOR or (name.startswith(("index", "_index")) and _by_a_mask(args)):
            self._on.cross(name)
        if name in TAKE_A_HOST_INDEX and self._on.holds(given[0]):
            indices = {id(tensor) for tensor in _tensors(args[1])}
            if on_host and all(id(tensor) in indices for tensor in on_host):
                self._on.cross(f"{name} by an index of the host")
                return
        if name.startswith("_fused_"):  # a kernel of many tensors reads even single numbers where they are
            on_host = [tensor for tensor in given if not self._on.holds(tensor)]
        elif all(tensor.ndim == 0 for tensor in held):
            on_host = [tensor for tensor in given if tensor.ndim and not self._on.holds(tensor)]
        if on_host:
            raise PretendedFault(f"{name}: tensors of the host and of the device; {_asked_by()}")


class _Names(TorchFunctionMode):
    """Gives the device its name: in ``tensor.device``, and wherever a device is an argument."""

    def __init__(self, on: Pretended, labels: _Labels) -> None:
        super().__init__()
        self._on = on
        self._labels = labels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Tensor) else None
        held = own is not None and self._on.holds(own)
        if held and func in _ASKED:
            return _ASKED[func]
        if held and func in TO_PYTHON:
            return self._to_python(func, args, kwargs)
        if func in MOVES and own is not None:
            return self._move(func, own, args[1:], kwargs)
        device = kwargs.get("device")
        if device is None or not _is_named(device):
            if func is Tensor.new_tensor and held:
                self._on.cross("new_tensor")
            is_there = device is None and any(map(self._on.holds, _tensors(args) + _tensors(kwargs)))
            with self._labels.making(is_there):
                return self._backward(*args, **kwargs) if func is Tensor.backward else func(*args, **kwargs)
        return self._made(func, args, kwargs)

    def _backward(self, of: Tensor, gradient: Tensor | None = None, **options: Any) -> None:
        with self:  # which backward passes written in Python need as much as forward passes do
            torch.autograd.backward(of, gradient, **options)

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The result of a function that was told to make it on the device."""
        kwargs["device"] = HOST
        first = args[0] if args else None
        if kwargs.get("generator") is not None:
            raise PretendedFault(f"{func.__name__}: a generator of the host draws on the device; {_asked_by()}")
        if func in (torch.as_tensor, torch.asarray) and isinstance(first, Tensor) and self._on.holds(first):
            return func(*args, **kwargs)
        with self._labels.making(True):
            made = func(*args, **kwargs)
        if func in FROM_NUMBERS:
            self._on.cross(func.__name__)
            made = made.clone() if isinstance(first, Tensor | np.ndarray) else made
        self._on.take(made, func.__name__)
        return made

    def _to_python(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if func is not Tensor.tolist:
            raise PretendedFault(f"numpy of a tensor on the device; {_asked_by()}")
        self._on.cross("tolist")
        return func(*args, **kwargs)

    def _move(self, func: Any, own: Tensor, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        held, target = self._on.holds(own), self._target(func, rest, kwargs)
        if target is None or target == held:
            rest = tuple(HOST if _is_device(word) else word for word in rest)
            if "device" in kwargs:
                kwargs["device"] = HOST
            if func is Tensor.cuda:
                return own
            return func(own, *rest, **kwargs)
        dtypes = [word for word in (*rest, *kwargs.values()) if isinstance(word, torch.dtype)]
        dtypes += [word.dtype for word in rest if isinstance(word, Tensor)]
        # As PyTorch does it: what is converted on the way is converted where it comes from.
        converted = own.to(dtypes[0]) if dtypes else own
        return self._on.moved(converted, target, func.__name__)

    def _target(self, func: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> bool | None:
        """Whether it is to be on the device; nothing where no device is named."""
        if func is not Tensor.to:
            return func is Tensor.cuda
        for word in (*rest[:1], kwargs.get("device"), kwargs.get("other")):
            if isinstance(word, Tensor):
                return self._on.holds(word)
            if _is_device(word):
                return _is_named(word)
        return None


_ASKED: dict[Any, Any] = {
    Tensor.device.__get__: DEVICE,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: True,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: False,  # type: ignore[attr-defined]
    Tensor.get_device: 0,
}


def _is_device(word: Any) -> bool:
    kind = word.type if isinstance(word, torch.device) else word
    return isinstance(kind, str) and kind.partition(":")[0] in (HOST.type, DEVICE.type)


def _is_named(word: Any) -> bool:
    """Whether a device, or its name, is the pretended one."""
    return (isinstance(word, int) and not isinstance(word, bool)) or (
        _is_device(word) and torch.device(word).type == DEVICE.type
    )


def _computed(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """The result, also of what the CPU's kernels leave out and those of a GPU do not."""
    if name == "histc" and not args[0].is_floating_point():
        return func(args[0].double(), *args[1:], **kwargs).to(args[0].dtype)
    return func(*args, **kwargs)


def _by_a_mask(args: Any) -> bool:
    masks = (torch.bool, torch.uint8)
    return any(index.dtype in masks for index in _tensors(args[1]))


def _tensors(given: Any) -> list[Tensor]:
    """Those in arguments or results; PyTorch's own search of all kinds of containers takes longer than a step."""
    if isinstance(given, Tensor):
        return [given]
    found: list[Tensor] = []
    for part in given.values() if isinstance(given, dict) else given if isinstance(given, tuple | list) else ():
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, tuple | list | dict):
            found += _tensors(part)
    return found


def _asked_by() -> str:
    """The innermost line of the package that is running, or of a test."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OUR_FILES):
            return f"{file[len(OUR_FILES) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@contextmanager
def pretended_device(*, refuses_float64: bool = False) -> Iterator[Pretended]:
    """Code within runs as on a machine with one device; ``--device auto`` takes it.

    Args:
        refuses_float64: raise on 64 bits there.
    """
    on = Pretended(refuses_float64)
    labels = _Labels(on)
    with pytest.MonkeyPatch.context() as patch, labels, _Names(on, labels):
        _tell_libraries(patch)
        yield on


def _tell_libraries(patch: pytest.MonkeyPatch) -> None:
    """PyTorch's, accelerate's and transformers' questions after a device are answered."""
    from accelerate import PartialState
    from transformers import TrainingArguments

    begin, autocast = PartialState.__init__, torch.autocast.__init__

    def begin_there(state: Any, cpu: bool = False, **options: Any) -> None:
        begin(state, cpu=True, **options)
        state.device = HOST if cpu else DEVICE

    asked = TrainingArguments.device.fget

    def device_there(arguments: Any) -> torch.device:
        asked(arguments)  # which sets up accelerate's state
        return HOST if arguments.use_cpu else DEVICE

    def autocast_there(context: Any, device_type: str, *args: Any, **options: Any) -> None:
        autocast(context, "cpu" if device_type == DEVICE.type else device_type, *args, **options)

    patch.setattr(torch.accelerator, "is_available", lambda: True)
    patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device(DEVICE.type))
    patch.setattr(torch.accelerator, "current_stream", lambda device=None: SimpleNamespace(is_capturing=lambda: False))
    patch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    patch.setattr(torch.utils.data._utils.pin_memory, "pin_memory", lambda data, device=None: data)
    patch.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
    patch.setattr(torch.cuda, "set_device", lambda device: None)
    patch.setattr(torch.cuda, "get_device_name", lambda device=None: "pretended")
    properties = SimpleNamespace(name="pretended", total_memory=MEMORY)
    patch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
    patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    patch.setattr(torch.autocast, "__init__", autocast_there)
    patch.setattr(PartialState, "__init__", begin_there)
    patch.setattr(TrainingArguments, "device", property(device_there))
    patch.setattr(TrainingArguments, "n_gpu", property(lambda arguments: int(arguments.device == DEVICE)))
