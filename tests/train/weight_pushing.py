"""Pushes within a process group, called in two processes that are started by tests."""

import json
import os
import time

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from tenfold.train.weight_sync import BroadcastSync, Part, WeightSyncError

SHAPES = {"rows": (7, 5), "matrix": (64, 33), "scalar": (), "bias": (3,), "half": (9, 4)}


def weights(version):
    generator = torch.Generator().manual_seed(version)
    values = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return values | {"half": values["half"].bfloat16(), "steps": torch.tensor([version, 2**40 + version])}


def begin():
    dist.init_process_group("gloo")
    return dist.get_rank()


def sharded(values, dim, mesh):
    """Tensors with that many dimensions as DTensors that are sharded along one, the others replicated."""
    return {
        name: distribute_tensor(value, mesh, [Shard(dim)] if value.ndim > dim else [Replicate()])
        for name, value in values.items()
    }


def check(target, expected):
    for name, value in expected.items():
        held = target[name]
        held = held.full_tensor() if hasattr(held, "full_tensor") else held
        assert held.dtype == value.dtype and torch.equal(held, value), name


def push_between_shardings(folder):
    """From rows to columns and back, with buckets that hold a few rows; each version is there bit by bit."""
    begin()
    mesh = init_device_mesh("cpu", (2,))
    sync = BroadcastSync(bucket_bytes=200, staging=folder)
    for version, (one, other) in enumerate([(0, 1), (1, 0), (0, 0)], 1):
        target = sharded(weights(0), other, mesh)
        sync.push(sharded(weights(version), one, mesh), target, version)
        check(target, weights(version))
        assert sync.version == version


def push_from_one_to_the_other(folder):
    """One process trains, the other one holds the lower half of one matrix and all of the rest."""
    rank = begin()
    sync = BroadcastSync(staging=folder)
    target = weights(0)
    whole = target["matrix"]
    target["matrix"] = Part(whole[32:], (32, 0), (64, 33))
    sync.push(weights(5) if rank == 0 else None, target if rank == 1 else None, 5)
    if rank == 1:
        assert torch.equal(whole[32:], weights(5)["matrix"][32:]) and torch.equal(whole[:32], weights(0)["matrix"][:32])
        check({**target, "matrix": whole}, {**weights(5), "matrix": whole})


def push_what_breaks_off(folder):
    """A damaged byte, a source that fails, a target that lacks a tensor: all refuse, and hold what they held."""
    rank = begin()
    sync, target = BroadcastSync(bucket_bytes=300, staging=folder), weights(1)
    sync.push(weights(1) if rank == 0 else None, target if rank == 1 else None, 1)
    for number, (break_off, message) in enumerate([(_damage, "checksum"), (_fail, "the disk"), (_lack, "not among")]):
        source = weights(2)
        try:
            with _patched(*break_off(rank, target)):
                given = {name: target[name] for name in list(target)[1:]} if break_off is _lack else target
                sync.push(source if rank == 0 else None, given if rank == 1 else None, 2)
        except WeightSyncError as error:
            assert message in str(error) and "version 1 stays" in str(error), error
        else:
            raise AssertionError(f"break {number} was not noticed")
        assert sync.version == 1
        check(target, weights(1))
    sync.push(weights(3) if rank == 0 else None, target if rank == 1 else None, 3)
    if rank == 1:
        check(target, weights(3))


def _damage(rank, target):
    from tenfold.train import weight_broadcast

    plain = weight_broadcast._Bucket.unpack

    def unpack(bucket, buffer, staged):
        if rank == 1:
            buffer[bucket.pieces[-1].first] ^= 1
        plain(bucket, buffer, staged)

    return weight_broadcast._Bucket, "unpack", unpack


def _fail(rank, target):
    from tenfold.train import weight_broadcast

    plain, packed = weight_broadcast._Bucket.pack, []

    def pack(bucket, buffer, sources):
        packed.append(bucket)
        if len(packed) == 3:
            raise OSError("the disk went away")
        plain(bucket, buffer, sources)

    return weight_broadcast._Bucket, "pack", pack


def _lack(rank, target):
    return json, "nothing", None


class _patched:
    def __init__(self, owner, name, value):
        self.owner, self.name, self.value, self.before = owner, name, value, getattr(owner, name, None)

    def __enter__(self):
        if self.value is not None:
            setattr(self.owner, self.name, self.value)

    def __exit__(self, *_):
        if self.value is not None:
            setattr(self.owner, self.name, self.before)


def push_and_die(folder):
    """The source is gone in the middle of a push: the target's weights are those of before."""
    from datetime import timedelta

    from tenfold.train import weight_broadcast

    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    rank, target = dist.get_rank(), weights(1)
    sync = BroadcastSync(bucket_bytes=300, staging=folder)
    if rank == 0:
        plain, packed = weight_broadcast._Bucket.pack, []

        def pack(bucket, buffer, sources):
            packed.append(bucket)
            if len(packed) == 3:
                os._exit(0)
            plain(bucket, buffer, sources)

        weight_broadcast._Bucket.pack = pack
        sync.push(weights(2), None, 2)
    try:
        sync.push(None, target, 2)
    except RuntimeError:
        check(target, weights(1))
        assert sync.version == 0
        (folder / "survived").write_text(f"{time.time()}")
        os._exit(0)  # the group is broken
    raise AssertionError("nobody noticed")


def push_within_memory(folder):
    """The most memory that a push holds beyond the weights, in bytes, as torch's allocator reports it."""
    rank = begin()
    tensors = {f"w{i}": torch.full((256, 1024), float(i)) for i in range(8)}  # 1 MiB each
    target = {name: torch.zeros(256, 1024) for name in tensors} if rank == 1 else None
    bucket_bytes, largest = 2**18, 2**20
    sync = BroadcastSync(bucket_bytes=bucket_bytes, staging=folder)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        sync.push(tensors if rank == 0 else None, target, 1)
    events = [each for each in profile.profiler.kineto_results.events() if each.name() == "[memory]"]
    held, most = 0, 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    assert bucket_bytes <= most <= 2 * bucket_bytes + largest, most
    if rank == 1:
        check(target, tensors)
