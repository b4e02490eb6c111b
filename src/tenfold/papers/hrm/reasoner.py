"""A trained reasoner as a part of other programs: load it, save it, hand it puzzles as text.

Weights and architecture are stored as ``model.safetensors`` and ``config.json`` by huggingface_hub's mixin, so that
``from_pretrained`` takes a local folder or a repository of a hub.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from scipy.special import expit
from torch import nn

from tenfold.core.config import from_plain
from tenfold.core.damage import read_json, refuse_other_weights
from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.sudoku import Box, Symmetries, board_text, parse_board, random_symmetries, to_boards, to_tokens
from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.inference import AllAnswers, answer_all, majority
from tenfold.papers.hrm.method import RecursiveReasoner, num_parameters
from tenfold.papers.hrm.model_card import card


@dataclass(frozen=True)
class Solution:
    """What a reasoner says about one Sudoku.

    Args:
        board: the final answer, a digit for each cell, row by row.
        after_segment: the answer after each segment, the last one included.
        confidence: sigmoid(q_halt) of the final answer.
        halting_step: the segment after which the learned rule would have stopped.
    """

    board: str
    after_segment: tuple[str, ...]
    confidence: float
    halting_step: int


@dataclass(frozen=True)
class Description:
    """What a folder's ``config.json`` tells of the reasoner in it."""

    architecture: ReasonerConfig
    """Sizes and kind."""
    box: tuple[int, int] | None = None
    """Rows and columns of a Sudoku's box; none where the puzzles are others."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Forward dtype."""

    def __post_init__(self) -> None:
        """Refuse a box that does not make such a grid."""
        cells = self.architecture.sequence_length
        if self.box is not None and (min(self.box) < 1 or (self.box[0] * self.box[1]) ** 2 != cells):
            raise UserError(f"box is {list(self.box)}, which makes no board of sequence_length = {cells} cells")


ADVICE = "allowed: a folder that `tenfold export hrm` or save_pretrained wrote"


def described(file: Path) -> Description:
    """What ``config.json`` tells of a reasoner.

    Args:
        file: the JSON file.

    Raises:
        UserError: it is missing, damaged, or tells of no reasoner; with the file, the field and its value.
    """
    told = read_json(file, ADVICE)
    if not isinstance(told, dict) or not isinstance(told.get("architecture"), dict):
        raise UserError(f"{file} describes no reasoner: its architecture is not one; {ADVICE}")
    try:
        return from_plain(Description, told, str(file))
    except UserError as error:
        where = "" if str(error).startswith(str(file)) else f"{file}: "
        raise UserError(f"{where}{error}; {ADVICE}") from None


def _shapes(architecture: dict[str, Any], file: Path) -> dict[str, torch.Size]:
    """Name to shape of the weights of a reasoner, none of which is made.

    Raises:
        UserError: no network has such sizes.
    """
    try:
        with torch.device("meta"):
            weights = Reasoner(architecture).state_dict()
    except (RuntimeError, OverflowError, MemoryError, ValueError) as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file}: no network has the sizes of its architecture ({fault}); {ADVICE}") from None
    return {name: weight.shape for name, weight in weights.items()}


class Reasoner(nn.Module, PyTorchModelHubMixin):
    """A recursive reasoner with the box shape of its puzzles.

    Args:
        architecture: fields of :class:`tenfold.papers.hrm.config.ReasonerConfig`.
        box: rows and columns of a box; ``None`` when the puzzles are not Sudokus.
        dtype: forward dtype, "float32" or "bfloat16".

    Example:
        >>> sizes = dict(hidden_size=64, num_heads=1, puzzle_embedding_size=64, sequence_length=16, vocab_size=6)
        >>> reasoner = Reasoner(architecture=sizes, box=(2, 2))
        >>> len(reasoner.solve(["1.34" "34.." ".1.." "4.2."])[0].board)
        16
    """

    def __init__(self, architecture: dict[str, Any], box: Sequence[int] | None = None, dtype: str = "float32") -> None:
        super().__init__()
        self.core = RecursiveReasoner(ReasonerConfig(**architecture), getattr(torch, dtype))
        self.box: Box | None = None if box is None else (int(box[0]), int(box[1]))
        self.eval()

    @classmethod
    def from_core(cls, core: nn.Module, box: Box | None = None) -> "Reasoner":
        """Wrap a trained core; its weights are shared, not copied."""
        assert isinstance(core, RecursiveReasoner)
        dtype = str(core.forward_dtype).removeprefix("torch.")
        reasoner = cls(architecture=asdict(core.config), box=box, dtype=dtype)
        reasoner.core = core.eval()
        return reasoner

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """What the mixin writes beside the weights; its own card would speak of a hub."""
        return ModelCard(card(self.core.config, self.box, num_parameters(self.core)))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **given: Any) -> "Reasoner":
        """The reasoner in a folder that ``tenfold export hrm`` or ``save_pretrained`` wrote, or in a repository.

        Args:
            pretrained_model_name_or_path: the folder, or the name of a repository of the hub.
            **given: as for :class:`huggingface_hub.PyTorchModelHubMixin`.

        Raises:
            UserError: a folder's files are missing, damaged or those of another model.
        """
        if (folder := Path(pretrained_model_name_or_path)).is_dir():
            description = described(folder / "config.json")
            given = {
                "architecture": asdict(description.architecture),
                "box": description.box,
                "dtype": description.dtype,
                **given,
            }
        return super().from_pretrained(pretrained_model_name_or_path, **given)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, architecture: Any = None, **given: Any) -> "Reasoner":
        """The mixin's way to read weights, after a check of them: by itself it would make up those that are missing."""
        given["strict"] = True
        if (folder := Path(model_id)).is_dir():
            shapes = _shapes(architecture, folder / "config.json")
            refuse_other_weights(folder / "model.safetensors", shapes, ADVICE)
        return super()._from_pretrained(model_id=model_id, architecture=architecture, **given)

    def solve(
        self, puzzles: Sequence[str], *, segments: int = 0, symmetry_votes: int = 0, batch_size: int = 256
    ) -> list[Solution]:
        """Solve Sudokus.

        Args:
            puzzles: boards as text, row by row, ``.`` or ``0`` for an empty cell.
            segments: segments of reasoning; 0 for as many as in training.
            symmetry_votes: also solve so many random symmetries of each puzzle and take the majority of the answers.
            batch_size: puzzles at once.

        Raises:
            UserError: a board of the wrong length, with an illegal symbol or with conflicting givens; a negative
                count; or a model that was not trained on Sudokus.
        """
        if self.box is None:
            raise UserError("box = None: this model was not trained on Sudokus, and solve() reads only those")
        for name, count in (("segments", segments), ("symmetry_votes", symmetry_votes)):
            if count < 0:
                raise UserError(f"{name} = {count}: must not be negative")
        if not puzzles:
            return []
        boards = np.stack(
            [parse_board(text, self.box, f"puzzle {number}") for number, text in enumerate(puzzles, start=1)]
        )
        return self.solve_boards(boards, segments, symmetry_votes, batch_size)

    def solve_boards(
        self, boards: np.ndarray, segments: int = 0, symmetry_votes: int = 0, batch_size: int = 256
    ) -> list[Solution]:
        """:meth:`solve` for boards as ``[n, cells]`` uint8 with 0 for an empty cell."""
        answers = self._answer(boards, segments, batch_size)
        final = answers.tokens[-1]
        if symmetry_votes:
            final = vote_over_symmetries(self.core, boards, answers, self.box, symmetry_votes, segments, batch_size)
        confidence = expit(answers.q_halt[-1])
        return [
            Solution(
                board=_text(final[n]),
                after_segment=tuple(_text(tokens) for tokens in answers.tokens[:, n]),
                confidence=float(confidence[n]),
                halting_step=int(answers.halting_step[n]),
            )
            for n in range(len(boards))
        ]

    def _answer(self, boards: np.ndarray, segments: int, batch_size: int) -> AllAnswers:
        no_identity = np.zeros(len(boards), dtype=np.int64)
        return answer_all(self.core, to_tokens(boards), no_identity, batch_size, segments)


def vote_over_symmetries(
    core: RecursiveReasoner,
    boards: np.ndarray,
    identity: AllAnswers,
    box: Box | None,
    votes: int,
    segments: int = 0,
    batch_size: int = 256,
    seed: int = 0,
) -> np.ndarray:
    """Majority over the answer to the puzzle itself and to ``votes`` random symmetries of it, mapped back.

    Args:
        core: the model.
        boards: ``[n, cells]``, 0 for an empty cell.
        identity: answers to ``boards`` themselves.
        box: box shape.
        votes: random symmetries of each puzzle.
        segments: as in :func:`tenfold.papers.hrm.inference.answer`.
        batch_size: puzzles at once.
        seed: key of the symmetries.

    Returns:
        ``[n, cells]`` tokens.
    """
    assert box is not None
    no_identity = np.zeros(len(boards), dtype=np.int64)
    grids, confidences = [identity.tokens[-1]], [identity.q_halt[-1]]
    for vote in range(votes):
        symmetries = Symmetries.join(
            [
                random_symmetries(numpy_generator(seed, "symmetry vote", vote, puzzle), 1, box)
                for puzzle in range(len(boards))
            ]
        )
        turned = answer_all(core, to_tokens(symmetries.apply(boards)), no_identity, batch_size, segments)
        back = symmetries.inverse().apply(to_boards(turned.tokens[-1]))
        grids.append(to_tokens(back))
        confidences.append(turned.q_halt[-1])
    return majority(np.stack(grids), expit(np.stack(confidences)))


def _text(tokens: np.ndarray) -> str:
    return board_text(to_boards(tokens))
