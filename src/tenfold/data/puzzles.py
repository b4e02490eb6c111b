"""Puzzle datasets: token grids in, token grids out, in the on-disk format of the HRM authors.

A dataset holds *examples* (an input grid and a label grid), *puzzles* (runs of examples that share an identifier)
and *groups* (an original puzzle and all its augmentations). Training visits each group once an epoch and takes one
puzzle of it; testing goes through every example in order.

The published loader picks the examples inside a puzzle with numpy's global generator, so its runs do not repeat.
Here batch ``k`` is a pure function of ``(seed, k)``: a resumed run asks for the next ``k`` and needs no state.

Letters in shapes: n examples, L tokens of a grid, B rows of a batch.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.damage import read_json
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.seeding import numpy_generator

IGNORED_LABEL = -100
"""The label that losses leave out, as in ``torch.nn.functional.cross_entropy``."""

_ARRAYS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
_SIZES = ("vocab_size", "seq_len", "num_puzzle_identifiers", "pad_id", "blank_identifier_id")


@dataclass(frozen=True, eq=False)
class PuzzleDataset:
    """One split of a puzzle dataset.

    Args:
        inputs: [n, L] uint8, input tokens.
        labels: [n, L] uint8, target tokens.
        puzzle_identifiers: [num_puzzles] int32, row of each puzzle in the embedding table.
        puzzle_indices: [num_puzzles + 1] int32, puzzle i owns the examples ``puzzle_indices[i]:puzzle_indices[i + 1]``.
        group_indices: [num_groups + 1] int32, group g owns the puzzles ``group_indices[g]:group_indices[g + 1]``.
        vocab_size: number of tokens.
        seq_len: L.
        num_puzzle_identifiers: rows of the embedding table.
        pad_id: the token that pads inputs.
        ignore_label_id: the label token that no loss counts, ``None`` when all count.
        blank_identifier_id: the identifier of rows that pad a batch.

    Raises:
        UserError: when the arrays contradict each other or a value is out of range.

    Example:
        >>> grid = np.ones((2, 1, 4), dtype=np.uint8)
        >>> PuzzleDataset.from_groups(grid, grid, vocab_size=6).num_groups
        2
    """

    inputs: np.ndarray
    labels: np.ndarray
    puzzle_identifiers: np.ndarray
    puzzle_indices: np.ndarray
    group_indices: np.ndarray
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    pad_id: int = 0
    ignore_label_id: int | None = None
    blank_identifier_id: int = 0

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @classmethod
    def from_groups(
        cls, inputs: np.ndarray, labels: np.ndarray, *, vocab_size: int, ignore_label_id: int | None = None
    ) -> "PuzzleDataset":
        """A dataset without puzzle identities from groups of equally many one-example puzzles.

        Args:
            inputs: [groups, variants, L] uint8.
            labels: [groups, variants, L] uint8.
            vocab_size: number of tokens.
            ignore_label_id: the label token that no loss counts.
        """
        groups, variants, seq_len = inputs.shape
        num_puzzles = groups * variants
        return cls(
            inputs=inputs.reshape(num_puzzles, seq_len),
            labels=labels.reshape(num_puzzles, seq_len),
            puzzle_identifiers=np.zeros(num_puzzles, dtype=np.int32),
            puzzle_indices=np.arange(num_puzzles + 1, dtype=np.int32),
            group_indices=np.arange(groups + 1, dtype=np.int32) * np.int32(variants),
            vocab_size=vocab_size,
            seq_len=seq_len,
            num_puzzle_identifiers=1,
            ignore_label_id=ignore_label_id,
        )

    @property
    def num_examples(self) -> int:
        """Number of (input, label) pairs."""
        return len(self.inputs)

    @property
    def num_puzzles(self) -> int:
        """Number of puzzles, augmentations included."""
        return len(self.puzzle_identifiers)

    @property
    def num_groups(self) -> int:
        """Number of original puzzles."""
        return len(self.group_indices) - 1

    @property
    def mean_puzzle_examples(self) -> float:
        """Examples per puzzle."""
        return self.num_examples / self.num_puzzles

    def take(self, examples: np.ndarray) -> "Batch":
        """The given examples as a batch: wide integers, ignored labels as -100.

        Args:
            examples: [B] int, positions in ``inputs``.
        """
        labels = self.labels[examples].astype(np.int64)
        if self.ignore_label_id is not None:
            labels[labels == self.ignore_label_id] = IGNORED_LABEL
        puzzles = np.searchsorted(self.puzzle_indices, examples, side="right") - 1
        return Batch(
            inputs=self.inputs[examples].astype(np.int64),
            labels=labels,
            puzzle_identifiers=self.puzzle_identifiers[puzzles].astype(np.int64),
        )

    def save(self, folder: Path) -> None:
        """Write this split (for example ``root/train``); ``dataset.json`` comes last and marks it complete."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            _write_array(folder / f"all__{name}.npy", getattr(self, name))
        facts = {name: getattr(self, name) for name in _SIZES} | {
            "ignore_label_id": self.ignore_label_id,
            "total_groups": self.num_groups,
            "mean_puzzle_examples": self.mean_puzzle_examples,
            "sets": ["all"],
        }
        write_atomically(folder / "dataset.json", to_json(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> "PuzzleDataset":
        """Read a split that :meth:`save` or the authors' builders wrote; the grids are memory-mapped.

        Raises:
            UserError: when a file or a field is missing, or the content is inconsistent.
        """
        folder = Path(folder)
        facts = _read_json(folder / "dataset.json")
        for name in (*_SIZES, "ignore_label_id"):
            if name not in facts:
                raise UserError(f"{folder / 'dataset.json'} lacks the field {name}.")
        if facts.get("sets") != ["all"]:
            raise UserError(f"{folder / 'dataset.json'}: sets is {facts.get('sets')!r}; only ['all'] can be read.")
        arrays: dict[str, Any] = {name: _read_array(folder, name) for name in _ARRAYS}
        return cls(**arrays, **{name: facts[name] for name in (*_SIZES, "ignore_label_id")})


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a dataset, ready to become tensors.

    Args:
        inputs: [B, L] int64.
        labels: [B, L] int64, -100 where no loss is taken.
        puzzle_identifiers: [B] int64.
    """

    inputs: np.ndarray
    labels: np.ndarray
    puzzle_identifiers: np.ndarray


class GroupSampler:
    """Training batches: each epoch takes one random puzzle of every group, in random order.

    The chosen puzzle gives all its examples in random order, cut off where the batch is full. Batches are always
    full: the rows left over at the end of a pass are dropped. A pass is one epoch, or several in a row, as the
    authors do between two evaluations.

    Args:
        dataset: the training split.
        batch_size: rows of a batch, over all processes.
        seed: key of the order; equal seeds give equal batches.
        epochs_per_pass: how many epochs follow each other before left-over rows are dropped.

    Raises:
        UserError: when a pass cannot fill one batch.

    Example:
        >>> grid = np.ones((8, 3, 4), dtype=np.uint8)
        >>> sampler = GroupSampler(PuzzleDataset.from_groups(grid, grid, vocab_size=6), batch_size=4, seed=0)
        >>> sampler.batch(10**6).inputs.shape
        (4, 4)
    """

    def __init__(self, dataset: PuzzleDataset, batch_size: int, seed: int, epochs_per_pass: int = 1) -> None:
        sizes = np.diff(dataset.puzzle_indices)
        smallest_pass = epochs_per_pass * int(np.minimum.reduceat(sizes, dataset.group_indices[:-1]).sum())
        if batch_size < 1 or smallest_pass < batch_size:
            raise UserError(
                f"batch_size is {batch_size}, but it must lie between 1 and the {smallest_pass} examples of "
                f"{epochs_per_pass} epoch(s) over {dataset.num_groups} groups; lower it or raise epochs_per_pass."
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.epochs_per_pass = epochs_per_pass
        self._puzzle_sizes = sizes
        self._plan = self._make_plan(0)
        self._uniform = bool((sizes == sizes[0]).all())
        self._first_batch_of_pass = [0, len(self._plan.bounds)]

    def batch(self, k: int) -> Batch:
        """Batch ``k`` (from 0), the same whenever and in whatever order it is asked for."""
        return self.dataset.take(self.examples(k))

    def examples(self, k: int) -> np.ndarray:
        """[B] int64, the positions in the dataset of the examples of batch ``k``."""
        number, index = self._locate(k)
        if number != self._plan.number:
            self._plan = self._make_plan(number)
        begin, end = self._plan.bounds[index]
        puzzles = self._plan.puzzles[begin:end]
        sizes = self._puzzle_sizes[puzzles]
        generator = numpy_generator(self.seed, "examples", number, index)
        owner = np.repeat(np.arange(len(puzzles)), sizes)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        examples = self.dataset.puzzle_indices[puzzles][owner] + within
        shuffled_inside = np.lexsort((generator.random(len(owner)), owner))
        return examples[shuffled_inside][: self.batch_size].astype(np.int64)

    def _locate(self, k: int) -> tuple[int, int]:
        """The pass and the position in it of batch ``k``."""
        if k < 0:
            raise UserError(f"batch number is {k}, but batches count from 0.")
        starts = self._first_batch_of_pass
        if self._uniform:
            return divmod(k, starts[1])
        while starts[-1] <= k:
            self._plan = self._make_plan(len(starts) - 1)
            starts.append(starts[-1] + len(self._plan.bounds))
        number = int(np.searchsorted(starts, k, side="right")) - 1
        return number, k - starts[number]

    def _make_plan(self, number: int) -> "_Plan":
        epochs = range(number * self.epochs_per_pass, (number + 1) * self.epochs_per_pass)
        puzzles = np.concatenate([self._epoch(epoch) for epoch in epochs])
        return _Plan(number, puzzles, _full_batches(self._puzzle_sizes[puzzles], self.batch_size))

    def _epoch(self, epoch: int) -> np.ndarray:
        """[groups] int64, the puzzle taken from each group, in visiting order."""
        generator = numpy_generator(self.seed, "epoch", epoch)
        order = generator.permutation(self.dataset.num_groups)
        return generator.integers(self.dataset.group_indices[order], self.dataset.group_indices[order + 1])


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which puzzles pass ``number`` visits, and the half-open ranges of them that make its full batches."""

    number: int
    puzzles: np.ndarray
    bounds: list[tuple[int, int]]


def _full_batches(sizes: np.ndarray, batch_size: int) -> list[tuple[int, int]]:
    """Cut a sequence of puzzles of given sizes greedily into ranges that hold at least ``batch_size`` examples each."""
    ends = np.cumsum(sizes)
    bounds = []
    begin, before = 0, 0
    while len(ends) and ends[-1] - before >= batch_size:
        end = int(np.searchsorted(ends, before + batch_size)) + 1
        bounds.append((begin, end))
        begin, before = end, ends[end - 1]
    return bounds


def total_steps(dataset: PuzzleDataset, epochs: int, batch_size: int) -> int:
    """Optimizer steps of a training run: ``int(epochs · groups · mean examples per puzzle / batch size)``.

    Example:
        >>> grid = np.ones((1000, 1, 4), dtype=np.uint8)
        >>> total_steps(PuzzleDataset.from_groups(grid, grid, vocab_size=6), epochs=20_000, batch_size=768)
        26041
    """
    return int(epochs * dataset.num_groups * dataset.mean_puzzle_examples / batch_size)


def evaluation_batches(dataset: PuzzleDataset, batch_size: int) -> Iterator[tuple[Batch, int]]:
    """Every example once, in order, as equally large batches with the number of rows that count.

    The last batch is filled with rows of ``pad_id``, ignored labels and the blank identifier.

    Example:
        >>> grid = np.ones((3, 1, 4), dtype=np.uint8)
        >>> dataset = PuzzleDataset.from_groups(grid, grid, vocab_size=6)
        >>> [(batch.inputs.shape, valid) for batch, valid in evaluation_batches(dataset, 2)]
        [((2, 4), 2), ((2, 4), 1)]
    """
    for begin in range(0, dataset.num_examples, batch_size):
        rows = np.arange(begin, min(begin + batch_size, dataset.num_examples))
        batch = dataset.take(rows)
        missing = batch_size - len(rows)
        yield (
            Batch(
                inputs=np.pad(batch.inputs, ((0, missing), (0, 0)), constant_values=dataset.pad_id),
                labels=np.pad(batch.labels, ((0, missing), (0, 0)), constant_values=IGNORED_LABEL),
                puzzle_identifiers=np.pad(
                    batch.puzzle_identifiers, (0, missing), constant_values=dataset.blank_identifier_id
                ),
            ),
            len(rows),
        )


def save_splits(root: Path, splits: Mapping[str, PuzzleDataset], identifiers: Sequence[str] = ("<blank>",)) -> None:
    """Write a whole dataset: one folder for each split and ``identifiers.json`` with the puzzle names."""
    for name, split in splits.items():
        if split.num_puzzle_identifiers != len(identifiers):
            raise UserError(
                f"identifiers has {len(identifiers)} names, but split {name} has {split.num_puzzle_identifiers}."
            )
        split.save(Path(root) / name)
    write_atomically(Path(root) / "identifiers.json", to_json(list(identifiers)))


def load_splits(root: Path) -> tuple[dict[str, PuzzleDataset], list[str]]:
    """Read the ``train`` and ``test`` splits under ``root`` and the puzzle names."""
    root = Path(root)
    return {name: PuzzleDataset.load(root / name) for name in ("train", "test")}, _read_json(root / "identifiers.json")


def _check_shapes(dataset: PuzzleDataset) -> None:
    inputs, labels = dataset.inputs, dataset.labels
    if inputs.ndim != 2 or inputs.shape[1] != dataset.seq_len or inputs.shape != labels.shape:
        raise UserError(
            f"inputs {inputs.shape} and labels {labels.shape} must both be [examples, seq_len = {dataset.seq_len}]."
        )
    for name in ("inputs", "labels"):
        if getattr(dataset, name).dtype != np.uint8:
            raise UserError(f"{name} has dtype {getattr(dataset, name).dtype}, but tokens must be uint8.")
    for name, count in (("puzzle_indices", len(inputs)), ("group_indices", dataset.num_puzzles)):
        offsets = getattr(dataset, name)
        increasing = (
            len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == count and bool((np.diff(offsets) > 0).all())
        )
        if not increasing:
            raise UserError(f"{name} must be strictly increasing offsets from 0 to {count}.")
    if (entries := len(dataset.puzzle_indices)) != dataset.num_puzzles + 1:
        raise UserError(f"puzzle_indices has {entries} entries; {dataset.num_puzzles} puzzles need one more.")


def _check_values(dataset: PuzzleDataset) -> None:
    for name in ("inputs", "labels"):
        largest = int(getattr(dataset, name).max())
        if largest >= dataset.vocab_size:
            raise UserError(f"{name} holds token {largest}, but vocab_size is {dataset.vocab_size}.")
    low, high = int(dataset.puzzle_identifiers.min()), int(dataset.puzzle_identifiers.max())
    rows = dataset.num_puzzle_identifiers
    if low < 0 or high >= rows:
        raise UserError(f"puzzle_identifiers lie in {low}..{high}, but num_puzzle_identifiers is {rows}.")


def _read_array(folder: Path, name: str) -> np.ndarray:
    """One array; tokens, which the authors' Sudoku builder stores as int64, come as uint8, all else as int32."""
    array = np.load(_existing(folder / f"all__{name}.npy"), mmap_mode="r")
    if name not in ("inputs", "labels"):
        return array.astype(np.int32)
    if array.dtype != np.uint8 and array.size and (array.min() < 0 or array.max() > 255):
        raise UserError(f"{folder}: {name} holds {array.min()}..{array.max()}, but tokens lie in 0..255.")
    return array.astype(np.uint8, copy=False)


def _read_json(path: Path) -> Any:
    return read_json(_existing(path), "make the data set anew")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is missing; a split folder holds dataset.json and five all__*.npy files.")
    return path


def _write_array(path: Path, array: np.ndarray) -> None:
    """Stream an array, which may be larger than memory, to a temporary name and rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.save(file, array)
    os.replace(temporary, path)
