"""Each setting of an experiment acts or is refused with the field that acts; presets keep to it."""

from dataclasses import replace

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.hrm import config as presets
from tenfold.study.tuning import with_value

ON_ARC = replace(
    presets.smoke(),
    data=presets.DataConfig(task="arc", num_validation=0),
    training=replace(presets.smoke().training, evaluate_every=0),
    evaluation=presets.EvaluationConfig(),
)
ON_MAZES = replace(presets.smoke(), data=presets.DataConfig(task="maze"), evaluation=presets.EvaluationConfig())
FROM_FILES = replace(presets.smoke(), data=presets.DataConfig(files=("mine.csv",)))


@pytest.mark.parametrize(
    ("config", "field", "value", "acts"),
    [
        (presets.smoke(), "data.maze_size", 9, "data.task = maze"),
        (presets.smoke(), "data.maze_min_path", 9, "data.task = maze"),
        (presets.smoke(), "data.arc_version", "arc-2", "data.task = arc"),
        (presets.smoke(), "arms.hrm.num_heads", 2, "arms.hrm.mixer"),
        (presets.smoke(), "arms.trm.num_puzzles", 2, "data.num_train: a run counts its puzzles"),
        (presets.smoke(), "arms.plain.H_cycles", 3, "arms.plain.kind"),
        (presets.smoke(), "arms.plain.L_cycles", 3, "arms.plain.kind"),
        (presets.smoke(), "arms.plain.gradient", "last_cycle", "arms.plain.kind"),
        (presets.smoke(), "arms.plain.halt_exploration", 0.5, "arms.plain.halt_max_steps"),
        (
            replace(presets.smoke(), evaluation=presets.EvaluationConfig()),
            "evaluation.noise_std",
            1.0,
            "evaluation.traj",
        ),
        (presets.gpu(), "arms.hrm.mixer_multiple", 8, "arms.hrm.mixer"),
        (FROM_FILES, "data.clues", 3, "data.files to nothing, for generated puzzles"),
        (FROM_FILES, "data.min_guesses", 3, "data.files to nothing"),
        (ON_MAZES, "data.box_rows", 3, "data.task = sudoku"),
        (ON_MAZES, "data.separate", "grids", "data.task = sudoku"),
        (ON_MAZES, "data.files", ("a",), "data.task = sudoku or arc"),
        (ON_MAZES, "evaluation.symmetry_votes", 3, "data.task = sudoku"),
        (ON_ARC, "data.test_files", ("a",), "data.task = sudoku"),
        (ON_ARC, "data.num_validation", 3, "data.num_validation to 0, for ARC has no validation part"),
        (ON_ARC, "training.evaluate_every", 3, "training.evaluate_every to 0, for there is no validation part"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(config, field, value, acts):
    with pytest.raises(UserError) as refused:
        with_value(config, field, value)
    assert str(refused.value).startswith(f"{field} = {value}: does not act here; set {acts}")


def test_what_acts_is_taken():
    changed = with_value(ON_ARC, "data.files", ("further tasks",))
    assert changed.data.files == ("further tasks",)
    assert with_value(presets.gpu(), "arms.hrm.num_heads", 16).arms.hrm.num_heads == 16
    assert with_value(FROM_FILES, "data.separate", "grids").data.separate == "grids"


@pytest.mark.parametrize("task", presets.TASKS)
def test_published_settings_hold_nothing_idle(task):
    assert presets.paper(task).data.task == {"s": "sudoku", "m": "maze", "a": "arc"}[task[0]]
