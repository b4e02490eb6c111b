"""A preset fitted to a user's own Sudoku file: board size, vocabulary and the sizes of the split follow the data."""

from dataclasses import replace
from pathlib import Path

from tenfold.core.errors import UserError
from tenfold.data.sudoku import vocabulary_size
from tenfold.data.sudoku_files import BOX_OF_CELLS, read_sudoku_csv
from tenfold.papers.hrm.config import Config, ReasonerConfig


def config_for_file(
    config: Config, file: Path, num_train: int | None = None, num_test: int | None = None, steps: int | None = None
) -> Config:
    """``config`` with data and model sizes for the puzzles of ``file``.

    Args:
        config: a preset.
        file: a CSV file of Sudokus, all of one size.
        num_train: training puzzles; by default four fifths.
        num_test: puzzles to measure on, half of them for the validation curve; by default the rest.
        steps: optimizer steps; by default the preset's.

    Raises:
        UserError: if the file cannot be read, holds fewer puzzles than asked for, or ``steps`` is not positive.
    """
    if steps is not None and steps < 1:
        raise UserError(
            f"steps = {steps}: must be at least 1; without it, the preset's {config.training.steps} are done"
        )
    puzzles = read_sudoku_csv(file)
    box, total = BOX_OF_CELLS[puzzles.puzzles.shape[1]], len(puzzles)
    train = num_train if num_train is not None else total * 4 // 5
    test = num_test if num_test is not None else total - train
    if train < 1 or test < 2 or train + test > total:
        raise UserError(
            f"num_train = {train}, num_test = {test}: at least 1 and 2, and together at most the {total} of {file}"
        )
    data = replace(
        config.data,
        files=(str(file),),
        box_rows=box[0],
        box_columns=box[1],
        num_train=train,
        num_validation=test // 2,
        num_test=test - test // 2,
    )
    training = replace(
        config.training,
        steps=config.training.steps if steps is None else steps,
        batch_size=min(config.training.batch_size, train),
    )
    arms = replace(
        config.arms,
        plain=_sized(config.arms.plain, box),
        hrm=_sized(config.arms.hrm, box),
        trm=_sized(config.arms.trm, box),
    )
    return replace(config, data=data, training=training, arms=arms)


def _sized(model: ReasonerConfig, box: tuple[int, int]) -> ReasonerConfig:
    return replace(model, vocab_size=vocabulary_size(box), sequence_length=(box[0] * box[1]) ** 2)
