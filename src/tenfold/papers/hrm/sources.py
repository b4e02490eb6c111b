"""Where each value of the ``paper`` preset comes from. "code": the authors' repository sapientinc/HRM (its README gives
one command for each task); "paper": arXiv 2506.21734; "TRM": arXiv 2510.04871 and its repository."""

from collections.abc import Mapping

from tenfold.study.sources import Groups, merged, source_table

TASKS = ("sudoku-extreme", "maze-hard", "arc-1", "arc-2")

_MODEL = {
    "kind": "paper, Hierarchical Reasoning Model",
    "hidden_size": "code, architecture file: 512",
    "num_heads": "code, architecture file: 8",
    "expansion": "code, architecture file: 4",
    "width_multiple": "code, SwiGLU: inner width rounded up to 256",
    "mixer": "code: attention",
    "positions": "code, architecture file: rope",
    "layers": "code, architecture file: 4 in each network",
    "convolution": "code: none (URM adds it)",
    "H_cycles": "code, architecture file: 2",
    "L_cycles": "code, architecture file: 2",
    "gradient": "paper, Approximate gradient: the last update of each state",
    "prefix_tokens": "code: puzzle embedding as wide as the model, one token",
    "puzzle_embedding_size": "code, architecture file: as wide as the model",
    "halt_max_steps": "code, architecture file: 16",
    "halt_exploration": "code, architecture file: 0.1",
    "q_continue": "paper, Adaptive computational time",
}
_TRM = {
    "kind": "TRM, single network",
    "mixer": "TRM: MLP mixing, its best on Sudoku; attention, which it does not match on large grids",
    "mixer_multiple": "TRM's code: as for the SwiGLU, 256",
    "positions": "TRM: none with MLP mixing, rope with attention",
    "layers": "TRM: 2",
    "H_cycles": "TRM: 3",
    "L_cycles": "TRM: 6 on Sudoku, 4 on maze and ARC",
    "gradient": "TRM: through one whole cycle",
    "prefix_tokens": "TRM's code: 16",
    "q_continue": "TRM: dropped",
}
_PLAIN = {
    "kind": "paper, Results: direct prediction with an 8-layer transformer of the same size",
    "gradient": "paper: direct prediction, ordinary back-propagation",
    "halt_max_steps": "paper: direct prediction, one pass",
    "halt_exploration": "paper: direct prediction has no halting",
    "q_continue": "paper: direct prediction has no halting",
}
_RATES = {"learning_rate": "code, README: 1e-4 at batch 768", "ema_decay": "code: no weight average"}
_OF_EVERY_TASK: Groups = {
    "arms.plain_rates": _RATES,
    "arms.hrm_rates": _RATES,
    "arms.trm_rates": {**_RATES, "ema_decay": "TRM: 0.999"},
    "data": {
        "task": "paper, Benchmarks",
        "num_train": "paper, Benchmarks: 1000 examples",
        "num_test": "code: the whole test set",
        "augmentations": "code, data builders: 1000 on Sudoku and ARC, none on mazes",
    },
    "training": {
        "steps": "unstated: ours (0: follows from epochs, as the authors count)",
        "epochs": "code, README: 20000 on Sudoku and mazes, 100000 on ARC",
        "batch_size": "code, README: 768",
        "gradient_accumulation": "code: none; ours: pieces that one GPU holds, which change no number but rounding",
        "puzzle_learning_rate": "code, README: 1e-2 on ARC, 1e-4 elsewhere",
        "weight_decay": "code, README: 0.1 on ARC, 1.0 elsewhere",
        "puzzle_weight_decay": "code, README: 0.1 on ARC, 1.0 elsewhere",
        "beta1": "code: 0.9",
        "beta2": "code: 0.95",
        "atan2_form": "code: the CUDA kernel imoneoi/adam-atan2",
        "warmup_steps": "code: 2000",
        "rate_floor": "code: 1.0, a constant rate",
        "loss": "code: stablemax for small-sample runs",
        "epochs_per_pass": "code, README: evaluation interval of 2000 epochs",
        "refill": "code: rows offered to busy slots are dropped",
        "compile": "unstated: ours (off; --training.compile where a compiler is at hand)",
        "evaluate_every": "unstated: ours (in steps; the authors' interval is in epochs)",
    },
    "evaluation": {
        "batch_size": "code: the training batch",
        "segments": "code: as many as in training",
        "symmetry_votes": "code: none",
        "trajectories": "code: none",
    },
}
_HELD_OUT = "unstated: ours (256, for the curve; the authors watch the test set)"
_SUDOKU: Groups = {
    "data": {
        "box_rows": "the rules of 9x9 Sudoku",
        "box_columns": "the rules of 9x9 Sudoku",
        "files": "paper, Sudoku-Extreme: the published training list, a path of yours",
        "test_files": "paper, Sudoku-Extreme: the published test list, a path of yours",
        "separate": "paper, Sudoku-Extreme: no test puzzle is an equivalent transform of a training puzzle",
        "num_validation": _HELD_OUT,
    },
    "training": {"epochs": "code, README: 20000 (TRM's own run: 50000)"},
}
_MAZE: Groups = {
    "data": {
        "num_validation": _HELD_OUT,
        "num_test": "paper, Benchmarks: 1000",
        "maze_size": "paper, Maze-Hard: 30",
        "maze_min_path": "paper, Maze-Hard: shortest path above 110",
    },
}
_ARC: Groups = {
    "data": {
        "arc_version": "paper, Benchmarks: ARC-AGI-1 and ARC-AGI-2",
        "files": "unstated: ours (none; the authors add ConceptARC, a folder of yours)",
        "num_train": "code: all tasks of the set",
        "num_validation": "code: none; the curve is that of training",
        "num_test": "code: all evaluation tasks",
    },
}
_OF_TASK = {"sudoku-extreme": _SUDOKU, "maze-hard": _MAZE, "arc-1": _ARC, "arc-2": _ARC}
_SYMBOLS = {
    "sudoku-extreme": "code: padding, empty and nine digits",
    "maze-hard": "code: padding and the five symbols",
    "arc-1": "code: padding, end mark and ten colours",
    "arc-2": "code: padding, end mark and ten colours",
}
_CELLS = {
    "sudoku-extreme": "code: 81 cells",
    "maze-hard": "code: 900 cells",
    "arc-1": "code: a canvas of 900 cells",
    "arc-2": "code: a canvas of 900 cells",
}


def _sources(task: str) -> dict[str, str]:
    model = {**_MODEL, "vocab_size": _SYMBOLS[task], "sequence_length": _CELLS[task]}
    models = {"arms.hrm": model, "arms.trm": {**model, **_TRM}, "arms.plain": {**model, **_PLAIN}}
    return source_table(merged(models, _OF_EVERY_TASK, _OF_TASK[task]))


SOURCES: Mapping[str, Mapping[str, str]] = {task: _sources(task) for task in TASKS}
"""Task to field to source; the values themselves are in ``config.paper``, and what is not named here is ours."""
