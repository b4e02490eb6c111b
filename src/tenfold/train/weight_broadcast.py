"""Weights from those who train to those who sample, bucket by bucket over torch.distributed, whatever the sharding.

Kimi K2's checkpoint engine (section 3.3 and appendix G of its report) in the part that any process group can do: every
process that holds new weights broadcasts its own parts, and every process that samples takes of them what it holds. So
no tensor is ever put together. Sources and targets may be sharded differently, and a process may be both.

    plan       everyone tells what it holds; names, shapes and dtypes are compared before a byte is sent
    transfer   parts are cut at ``bucket_bytes`` and packed; while one bucket is broadcast the next one is packed
    staging    targets write to a file, so that the version in use stays whole; memory is two buckets
    commit     all processes agree that every checksum is right; then, and only then, each installs its file

A process that fails takes part to the end, so that the others neither wait nor install; one that dies leaves them with
the group's error and the old version. The collectives are those of the process group: gloo for the CPU, NCCL for GPUs.
Left out: CUDA IPC, RDMA, and buffers that overlap the copy from host to device.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from tenfold.core.errors import UserError

ALIGNMENT = 16  # bytes; a part of any dtype can be viewed where it lies in a bucket
Box = tuple[tuple[int, ...], tuple[int, ...]]  # where a part begins in its tensor, and its sizes


class WeightSyncError(RuntimeError):
    """A push that was given up; the old version is still in use."""


@dataclass(frozen=True)
class Part:
    """What a process holds of a tensor.

    Args:
        tensor: the part.
        begin: its first index in each dimension of the whole.
        shape: of the whole.

    Example:
        >>> Part(torch.zeros(2, 3), (2, 0), (4, 3)).box
        ((2, 0), (2, 3))
    """

    tensor: Tensor
    begin: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def box(self) -> Box:
        """Where the part lies."""
        return self.begin, tuple(self.tensor.shape)


def part_of(tensor: Tensor | Part) -> Part:
    """The part that lies on this process; all of it where the tensor is not sharded.

    Raises:
        UserError: for a DTensor with placements other than ``Shard`` and ``Replicate``.

    Example:
        >>> part_of(torch.zeros(4, 3)).begin
        (0, 0)
    """
    if isinstance(tensor, Part):
        return tensor
    tensor = tensor.detach()
    if not isinstance(tensor, DTensor):
        return Part(tensor, (0,) * tensor.ndim, tuple(tensor.shape))
    begin, sizes = [0] * tensor.ndim, list(tensor.shape)
    coordinate = tensor.device_mesh.get_coordinate()
    assert coordinate is not None, "this process is not in the mesh of the tensor"
    for placement, count, index in zip(tensor.placements, tensor.device_mesh.shape, coordinate, strict=True):
        if isinstance(placement, Replicate):
            continue
        if type(placement) is not Shard:
            raise UserError(f"placement = {placement}: weights are pushed from Shard and Replicate")
        # Chunks as ``torch.chunk`` makes them: the last ones may be smaller, or empty.
        chunk = -(-sizes[placement.dim] // count)
        first = min(index * chunk, sizes[placement.dim])
        begin[placement.dim] += first
        sizes[placement.dim] = min(chunk, sizes[placement.dim] - first)
    return Part(tensor.to_local(), tuple(begin), tuple(tensor.shape))


class BroadcastSync:
    """Pushes weights within a process group; every process of it makes one, and calls :meth:`push` together.

    Args:
        group: the process group; by default that of all processes.
        bucket_bytes: most bytes of a bucket, of which two are held; larger where one row of a part does not fit.
        staging: folder for a file of this process's size of target, on a disk and not in memory; by default the
            system's folder for temporary files.
        device: where buckets are; by default the CPU for gloo, and the current device for NCCL.

    Attributes:
        version: of the weights in use by the targets; the one before the first push is 0.

    Raises:
        UserError: for buckets of no size.
    """

    def __init__(
        self,
        group: Any = None,
        *,
        bucket_bytes: int = 2**28,
        staging: str | Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        if bucket_bytes < 1:
            raise UserError(f"bucket_bytes = {bucket_bytes}: must be at least 1")
        self.version = 0
        self._group, self._bucket_bytes, self._staging = group, bucket_bytes, staging
        on_cpu = dist.get_backend(group) != "nccl"
        self._device = device or torch.device("cpu" if on_cpu else f"cuda:{torch.cuda.current_device()}")

    def push(
        self,
        source: Mapping[str, Tensor | Part] | None,
        target: Mapping[str, Tensor | Part] | None,
        version: int,
    ) -> None:
        """Bring the weights of all sources to all targets; every process of the group calls this.

        Args:
            source: this process's part of the new weights; ``None`` for a process that has none.
            target: this process's part of the weights in use, changed in place; ``None`` likewise.
            version: of the new weights.

        Raises:
            WeightSyncError: on all processes, if names, shapes or dtypes differ, a part is missing, a checksum is
                wrong, or a process failed; the targets hold what they held, and ``version`` is as it was.
        """
        sources = {name: part_of(tensor) for name, tensor in (source or {}).items()}
        targets = {name: part_of(tensor) for name, tensor in (target or {}).items()}
        layouts = self._gather({name: _layout(part) for name, part in sources.items()})
        buckets = _buckets(layouts, self._bucket_bytes)
        self._agree(_mismatch(layouts, targets))
        with TemporaryDirectory(dir=self._staging) as folder:
            staged = _Staged(targets, Path(folder) / "weights")
            self._agree(self._transfer(buckets, sources, staged))
            staged.install()
        self.version = version

    def _transfer(self, buckets: list["_Bucket"], sources: dict[str, Part], staged: "_Staged") -> str:
        """Broadcast all buckets; what went wrong here, in a sentence, or nothing."""
        size = max((bucket.num_bytes for bucket in buckets), default=0)
        buffers = [torch.empty(size, dtype=torch.uint8, device=self._device) for _ in range(2)]
        failures: list[str] = []
        under_way: tuple[_Bucket, Tensor, Any] | None = None
        for number, bucket in enumerate(buckets):
            buffer = buffers[number % 2]
            if bucket.owner == dist.get_rank(self._group):  # packed while the one before is under way
                failures += _tried(partial(bucket.pack, buffer, sources))
            if under_way is not None:
                under_way[2].wait()
            work = self._broadcast(bucket, buffer)
            if under_way is not None:  # read while this one is under way
                failures += _tried(partial(under_way[0].unpack, under_way[1], staged))
            under_way = bucket, buffer, work
        if under_way is not None:
            under_way[2].wait()
            failures += _tried(partial(under_way[0].unpack, under_way[1], staged))
        return failures[0] if failures else ""

    def _broadcast(self, bucket: "_Bucket", buffer: Tensor) -> Any:
        root = bucket.owner if self._group is None else dist.get_global_rank(self._group, bucket.owner)
        return dist.broadcast(buffer[: bucket.num_bytes], root, group=self._group, async_op=True)

    def _gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(values, value, group=self._group)
        return values

    def _agree(self, failure: str) -> None:
        """Go on where no process has failed."""
        failures = [f"process {rank}: {told}" for rank, told in enumerate(self._gather(failure)) if told]
        if failures:
            raise WeightSyncError(f"weights were not pushed, version {self.version} stays: {'; '.join(failures)}")


@dataclass(frozen=True)
class _Piece:
    """A block of a part, as it lies in a bucket: its bytes at ``first``, then eight with their checksum."""

    name: str
    box: Box
    dtype: torch.dtype
    first: int

    @property
    def num_bytes(self) -> int:
        return prod(self.box[1]) * self.dtype.itemsize

    def view(self, buffer: Tensor) -> Tensor:
        flat = buffer[self.first : self.first + self.num_bytes]
        return flat.view(self.dtype).view(self.box[1])

    def checksum(self, buffer: Tensor) -> int:
        return zlib.crc32(buffer[self.first : self.first + self.num_bytes].cpu().numpy().data)

    def sent_checksum(self, buffer: Tensor) -> Tensor:
        end = self.first + _aligned(self.num_bytes)
        return buffer[end : end + 8].view(torch.int64)


@dataclass(frozen=True)
class _Bucket:
    """Pieces that one process broadcasts together."""

    owner: int
    pieces: tuple[_Piece, ...]
    num_bytes: int

    def pack(self, buffer: Tensor, sources: Mapping[str, Part]) -> None:
        for piece in self.pieces:
            part = sources[piece.name]
            piece.view(buffer).copy_(_cut(part.tensor, part.begin, piece.box))
            piece.sent_checksum(buffer).fill_(piece.checksum(buffer))

    def unpack(self, buffer: Tensor, staged: "_Staged") -> None:
        for piece in self.pieces:
            if piece.checksum(buffer) != int(piece.sent_checksum(buffer)):
                raise ValueError(f"{piece.name}: the checksum of {piece.box} is wrong")
            staged.take(piece.name, piece.box, piece.view(buffer))


class _Staged:
    """The new version of this process's targets, in a file until it is whole."""

    def __init__(self, targets: dict[str, Part], file: Path) -> None:
        self._targets, self._views = targets, {}
        sizes = {name: _aligned(part.tensor.nbytes) for name, part in targets.items()}
        total, first = sum(sizes.values()), 0
        if not total:
            return
        mapped = torch.from_numpy(np.memmap(file, np.uint8, mode="w+", shape=(total,)))
        for name, part in targets.items():
            flat = mapped[first : first + part.tensor.nbytes]
            self._views[name] = flat.view(part.tensor.dtype).view(part.tensor.shape)
            first += sizes[name]

    def take(self, name: str, box: Box, values: Tensor) -> None:
        """Keep what of a piece lies in this process's part."""
        part = self._targets.get(name)
        if part is None or (common := _intersection(box, part.box)) is None:
            return
        _cut(self._views[name], part.begin, common).copy_(_cut(values, box[0], common))

    def install(self) -> None:
        for name, part in self._targets.items():
            if part.tensor.numel():
                part.tensor.copy_(self._views[name])


def _layout(part: Part) -> tuple[Box, tuple[int, ...], torch.dtype]:
    return part.box, part.shape, part.tensor.dtype


def _mismatch(layouts: list[dict[str, Any]], targets: Mapping[str, Part]) -> str:
    """What the targets of this process lack or have otherwise, in a sentence, or nothing."""
    offered = {name: layout for of_rank in layouts for name, layout in of_rank.items()}
    for name, (_, shape, dtype) in offered.items():
        boxes = {layouts_of[name][0] for layouts_of in layouts if name in layouts_of}
        if sum(prod(sizes) for _, sizes in boxes) < prod(shape):
            return f"{name}: no process has some part of it"
        if targets and name not in targets:
            return f"{name}: is pushed, and not among the targets"
        if targets and (targets[name].shape, targets[name].tensor.dtype) != (shape, dtype):
            mine = targets[name]
            return f"{name}: {shape} of {dtype} are pushed, and {mine.shape} of {mine.tensor.dtype} are in use"
    missing = sorted(set(targets) - set(offered))
    return f"{missing[0]}: is in use, and not pushed" if missing else ""


def _buckets(layouts: list[dict[str, Any]], bucket_bytes: int) -> list[_Bucket]:
    """What each process broadcasts, in the order in which all take part; equal on all of them."""
    taken: set[tuple[str, Box]] = set()
    buckets: list[_Bucket] = []
    for owner, layout in enumerate(layouts):
        pieces: list[_Piece] = []
        end = 0
        for name, (box, _, dtype) in layout.items():
            if (name, box) in taken or not prod(box[1]):
                continue
            taken.add((name, box))  # where several processes have the same part, the first one sends it
            for block in _blocks(box, dtype.itemsize, bucket_bytes):
                piece = _Piece(name, block, dtype, end)
                size = _aligned(piece.num_bytes) + ALIGNMENT
                if pieces and end + size > bucket_bytes:
                    buckets.append(_Bucket(owner, tuple(pieces), end))
                    pieces, end, piece = [], 0, _Piece(name, block, dtype, 0)
                pieces.append(piece)
                end += size
        if pieces:
            buckets.append(_Bucket(owner, tuple(pieces), end))
    return buckets


def _blocks(box: Box, itemsize: int, bucket_bytes: int) -> Iterator[Box]:
    """Blocks of rows that fit a bucket with their checksum; a single row may be larger."""
    begin, sizes = box
    if not sizes:
        yield box
        return
    row_bytes = prod(sizes[1:]) * itemsize
    rows = max(1, (bucket_bytes - 2 * ALIGNMENT) // max(1, row_bytes))
    for first in range(0, sizes[0], rows):
        yield (begin[0] + first, *begin[1:]), (min(rows, sizes[0] - first), *sizes[1:])


def _intersection(one: Box, other: Box) -> Box | None:
    begin, sizes = [], []
    for first, size, other_first, other_size in zip(*one, *other, strict=True):
        start, end = max(first, other_first), min(first + size, other_first + other_size)
        if end <= start:
            return None
        begin.append(start)
        sizes.append(end - start)
    return tuple(begin), tuple(sizes)


def _cut(tensor: Tensor, tensor_begin: tuple[int, ...], box: Box) -> Tensor:
    """The view of a box, in a tensor that begins somewhere in the whole."""
    for dim, (first, size, offset) in enumerate(zip(*box, tensor_begin, strict=True)):
        tensor = tensor.narrow(dim, first - offset, size)
    return tensor


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def _tried(action: Callable[[], None]) -> list[str]:
    """What went wrong, if anything: a process that fails goes on, for the others wait for its broadcasts."""
    try:
        action()
    except Exception as error:
        return [str(error) or type(error).__name__]
    return []
