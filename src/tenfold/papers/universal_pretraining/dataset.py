"""Random computation as an endless dataset, for a DataLoader, a transformers ``Trainer``, or a file.

Rows are made while they are read, in the process that reads them. Every stream is keyed by (seed, rank, worker): equal
seeds give equal streams, and no two processes or workers of a training see the same rows.

Different from the specification's sketch: there is no thread that reads ahead; ``DataLoader(num_workers=1)`` does it.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.core.seeding import Key
from tenfold.papers.universal_pretraining.generators import RandomComputation
from tenfold.papers.universal_pretraining.method import BufferState

Batch = TypeVar("Batch")


class UniversalDataset(IterableDataset[Any]):
    """Rows of random computation without end.

    An iteration starts at the beginning of its stream, or where a loaded state says. In the process that iterates (no
    workers), ``state_dict`` is the exact position of the newest iteration. With workers, each has a copy of the dataset
    and a stream of its own; the dataset outside of them does not move, and its state is where the workers start.

    Args:
        data: what is drawn.
        batch_size: rows taken from ``data`` at once; a new source serves ``data.source_every`` times as many.
        seed: of all streams.
        rank: of this process; the launcher's ``RANK`` when it is not given, 0 without a launcher.
        labels: yield ``{"input_ids", "labels"}`` instead of rows; both ``[L]``, labels not shifted, as transformers'
            causal language models expect them.

    Yields:
        int64 ``[L]``, or such a dictionary.

    Raises:
        UserError: if ``batch_size`` is below 1.

    Example:
        >>> from tenfold.papers.universal_pretraining.generators import preset
        >>> dataset = UniversalDataset(preset("small", batch_size=4, length=16), batch_size=4)
        >>> first, second = islice(dataset, 2)
        >>> first.shape, first.dtype
        (torch.Size([16]), torch.int64)
    """

    def __init__(
        self,
        data: RandomComputation,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        labels: bool = False,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size = {batch_size}: must be at least 1")
        self.data, self.batch_size, self.seed, self.labels = data, batch_size, seed, labels
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self._start: tuple[BufferState, int] | None = None
        self._here: tuple[BufferState, int] | None = None

    def __iter__(self) -> Iterator[Any]:
        key = self._key()
        state, taken = self._start or (self.data.initial(*key), 0)
        while True:
            after, rows_BL = self.data.next(state, self.batch_size, *key)
            while taken < len(rows_BL):
                taken += 1
                self._here = (state, taken)
                row_L = rows_BL[taken - 1]
                yield {"input_ids": row_L, "labels": row_L.clone()} if self.labels else row_L
            state, taken = after, 0

    def state_dict(self) -> dict[str, Any]:
        """The buffer before the batch of the newest row (``rows``, ``step``), and the rows ``taken`` of that batch."""
        state, taken = self._here or self._start or (self.data.initial(*self._key()), 0)
        return {"rows": state.rows.clone(), "step": state.step.clone(), "taken": taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let iterations start at a position of a dataset with the same settings.

        Raises:
            UserError: if the buffer has another size.
        """
        expected = (self.data.buffer.size, self.data.buffer.length)
        if state_dict["rows"].shape != expected:
            raise UserError(f"rows {tuple(state_dict['rows'].shape)}: must be the buffer's size and length, {expected}")
        state = BufferState(rows=state_dict["rows"].clone(), step=state_dict["step"].clone())
        self._start = self._here = (state, state_dict["taken"])

    def export(self, path: Path, rows: int) -> Path:
        """Write the next ``rows`` rows, whole or not at all: bytes if ``path`` ends in ``.bin``, else an Arrow folder.

        Args:
            path: a file ``*.bin`` of ``rows`` times L bytes, or a folder that ``datasets.load_from_disk`` opens, with
                the column ``input_ids``. Rows that are stored are the same everywhere; seeds are not, where sources are
                chaotic.
            rows: how many.

        Returns:
            ``path``.

        Raises:
            UserError: if ``rows`` is below 1, the folder exists, or it needs the package ``datasets`` that is missing.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from tenfold.papers.universal_pretraining.generators import preset
            >>> dataset = UniversalDataset(preset("small", batch_size=4, length=16), batch_size=4)
            >>> with TemporaryDirectory() as folder:
            ...     np.fromfile(dataset.export(Path(folder) / "rows.bin", rows=5), dtype=np.uint8).reshape(-1, 16).shape
            (5, 16)
        """
        if rows < 1:
            raise UserError(f"rows = {rows}: must be at least 1")
        if path.suffix == ".bin":
            write_atomically(path, self._array(rows).tobytes())
        else:
            self._export_arrow(path, rows)
        return path

    def _array(self, rows: int) -> np.ndarray:
        plain = (row["input_ids"] if self.labels else row for row in self)
        return torch.stack(list(islice(plain, rows))).to("cpu", torch.uint8).numpy()

    def _export_arrow(self, path: Path, rows: int) -> None:
        try:
            from datasets import Dataset, Features, List, Value
        except ModuleNotFoundError:
            raise UserError(f"path = {path}: needs the package datasets; a file that ends in .bin does not") from None
        if path.exists():
            raise UserError(f"path = {path} exists already; name a new folder")
        features = Features({"input_ids": List(Value("uint8"), length=self.data.buffer.length)})
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            Dataset.from_dict({"input_ids": self._array(rows)}, features).save_to_disk(str(partial))
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _key(self) -> tuple[Key, ...]:
        worker = get_worker_info()
        return (self.seed, "universal pre-training", self.rank, 0 if worker is None else worker.id)


class Waiting(Generic[Batch]):
    """Iterates over batches and measures which share of the time is spent on waiting for them.

    The first batch is left out: it waits for workers to start.

    Args:
        batches: what is iterated, once.

    Example:
        >>> batches = Waiting([1, 2, 3])
        >>> sum(batches), str(batches).startswith("generator share of a training step:")
        (6, True)
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.steps = 0
        self.waited = self.total = 0.0

    def __iter__(self) -> Iterator[Batch]:
        started = asked = None
        for batch in self.batches:
            now = time.perf_counter()
            if started is None or asked is None:
                started = now
            else:
                self.waited, self.total, self.steps = self.waited + now - asked, now - started, self.steps + 1
            yield batch
            asked = time.perf_counter()

    @property
    def share(self) -> float:
        """Time waited over all time, up to the newest batch; NaN before the second."""
        return self.waited / self.total if self.steps else float("nan")

    def __str__(self) -> str:
        return (
            f"generator share of a training step: {100 * self.share:.1f} % "
            f"(waited {self.waited:.2f} s of {self.total:.2f} s in {self.steps} steps)"
        )
