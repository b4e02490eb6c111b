"""Training on Sudokus of one's own: the arm's model, on a split of the file that no symmetry crosses."""

from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.config import differences
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.data.sudoku import Box
from tenfold.data.sudoku_files import read_sudoku_csv
from tenfold.papers.hrm import recipe
from tenfold.papers.hrm.config import Config, laptop
from tenfold.papers.hrm.own_puzzles import sized

ARMS = ("hrm", "trm")
ACTING = (
    "arms.hrm",
    "arms.hrm_rates",
    "arms.trm",
    "arms.trm_rates",
    "data.separate",
    "data.num_train",
    "data.num_validation",
    "data.num_test",
    "data.augmentations",
    "training",
    "evaluation",
)


def read(config: Config, arm: str) -> Box:
    """The box shape of the puzzles, after all that can be checked was.

    Raises:
        UserError: the file cannot be used or holds too few puzzles, or a setting does nothing in this arm.
    """
    data = config.data
    box, file = (data.box_rows, data.box_columns), Path(data.files[0])
    _refuse_other_models(config, arm, box)
    total = len(read_sudoku_csv(file, box))
    used = data.num_train + data.num_validation + max(1, data.num_test)  # 0: all that are left
    if data.num_train < 1 or data.num_validation < 1 or used > total:
        raise UserError(
            f"data.num_train = {data.num_train}, data.num_validation = {data.num_validation}, "
            f"data.num_test = {data.num_test}: at least 1 each (0 tests on all that are left), and together at most "
            f"the {total} of {file}"
        )
    return box


def train(config: Config, arm: str, box: Box, cell: Cell) -> None:
    """The training, or what is left of it; leaves the model, and its metrics in ``scores.json``."""
    scores = recipe.run(config, arm, cell.seed, cell)
    if not cell.is_main:
        return
    write_atomically(cell.directory / "scores.json", to_json(dict(scores.metrics), indent=2) + "\n")
    for name, value in scores.metrics.items():
        print(f"{name:40} {value:.4g}")
    print(f"model: {cell.directory / 'model'}; try: tenfold solve hrm {cell.directory} --puzzle …")


def _refuse_other_models(config: Config, arm: str, box: Box) -> None:
    """Refuse what is set for another arm, and sizes that the data decide."""
    trained = recipe.ARMS[arm]
    for field, (follows, value) in differences(sized(laptop().arms, box), config.arms).items():
        group, _, name = field.partition(".")
        if group not in (trained.model, trained.rates):
            raise UserError(f"arms.{field} = {value}: does nothing with --arm {arm}")
        if name in ("vocab_size", "sequence_length"):
            raise UserError(f"arms.{field} = {value}: must be {follows}, as the data have it")
