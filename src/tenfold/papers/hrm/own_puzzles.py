"""A preset fitted to a user's own Sudoku file: board size, vocabulary and the sizes of the split follow the data."""

from dataclasses import replace
from pathlib import Path

from tenfold.data.sudoku import Box, vocabulary_size
from tenfold.data.sudoku_files import BOX_OF_CELLS, read_sudoku_csv
from tenfold.papers.hrm.config import ArmsConfig, Config, ReasonerConfig


def fitted(config: Config, file: str) -> Config:
    """``config`` for the puzzles of a file; a file that is not there leaves the sizes as they are.

    Four fifths are trained on, half of the rest is for the validation curve, the other half for the test.

    Args:
        config: a preset for Sudokus.
        file: a CSV file of Sudokus, all of one size.

    Raises:
        UserError: the file cannot be read.
    """
    data = replace(config.data, files=(file,), clues=0, min_guesses=0)
    if not Path(file).exists():
        return replace(config, data=data)
    puzzles = read_sudoku_csv(Path(file))
    box, total = BOX_OF_CELLS[puzzles.puzzles.shape[1]], len(puzzles)
    # A file that is too small gets a split that it cannot give, which the training refuses with all three numbers.
    num_train = max(1, total * 4 // 5)
    num_validation = max(1, (total - num_train) // 2)
    num_test = max(1, total - num_train - num_validation)
    data = replace(data, box_rows=box[0], box_columns=box[1])
    data = replace(data, num_train=num_train, num_validation=num_validation, num_test=num_test)
    training = replace(config.training, batch_size=min(config.training.batch_size, num_train))
    return replace(config, arms=sized(config.arms, box), data=data, training=training)


def sized(arms: ArmsConfig, box: Box) -> ArmsConfig:
    """The models for boards of another size."""

    def for_box(model: ReasonerConfig) -> ReasonerConfig:
        return replace(model, vocab_size=vocabulary_size(box), sequence_length=(box[0] * box[1]) ** 2)

    return replace(arms, plain=for_box(arms.plain), hrm=for_box(arms.hrm), trm=for_box(arms.trm))
