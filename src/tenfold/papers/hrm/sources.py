"""Where each value of the ``paper`` preset comes from. "code": the authors' repository sapientinc/HRM (its README gives
one command for each task); "paper": arXiv 2506.21734; "TRM": arXiv 2510.04871 and its repository."""

from collections.abc import Mapping

TASKS = ("sudoku-extreme", "maze-hard", "arc-1", "arc-2")

_UNUSED = "unstated: ours (not used by this task)"

_MODEL = {
    "kind": "paper, Hierarchical Reasoning Model",
    "vocab_size": "code, data builders: padding, and the symbols of the task",
    "sequence_length": "code, data builders: cells of the grid",
    "hidden_size": "code, architecture file: 512",
    "num_heads": "code, architecture file: 8",
    "expansion": "code, architecture file: 4",
    "width_multiple": "code, SwiGLU: inner width rounded up to 256",
    "mixer": "code: attention",
    "mixer_multiple": "TRM's code: as for the SwiGLU, 256; not used by attention",
    "positions": "code, architecture file: rope",
    "layers": "code, architecture file: 4 in each network",
    "convolution": "code: none (URM adds it)",
    "H_cycles": "code, architecture file: 2",
    "L_cycles": "code, architecture file: 2",
    "gradient": "paper, Approximate gradient: the last update of each state",
    "prefix_tokens": "code: puzzle embedding as wide as the model, one token",
    "puzzle_embedding_size": "code, architecture file: as wide as the model",
    "num_puzzles": "code: counted from the data when it is built",
    "halt_max_steps": "code, architecture file: 16",
    "halt_exploration": "code, architecture file: 0.1",
    "q_continue": "paper, Adaptive computational time",
}
_TRM = {
    "kind": "TRM, single network",
    "mixer": "TRM: MLP mixing on Sudoku, attention on the larger grids",
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
_DATA = {
    "task": "paper, Benchmarks",
    "box_rows": "the rules of 9x9 Sudoku",
    "box_columns": "the rules of 9x9 Sudoku",
    "clues": _UNUSED,
    "min_guesses": _UNUSED,
    "files": "paper, Sudoku-Extreme: the published training list, a path of yours",
    "test_files": "paper, Sudoku-Extreme: the published test list, a path of yours",
    "separate": "paper, Sudoku-Extreme: no test puzzle is an equivalent transform of a training puzzle",
    "num_train": "paper, Benchmarks: 1000 examples",
    "num_validation": "unstated: ours (256, for the curve; the authors watch the test set)",
    "num_test": "code: the whole test set",
    "augmentations": "code, data builders: 1000 on Sudoku and ARC, none on mazes",
    "arc_version": "paper, Benchmarks: ARC-AGI-1 and ARC-AGI-2",
    "maze_size": "paper, Maze-Hard: 30",
    "maze_min_path": "paper, Maze-Hard: shortest path above 110",
}
_TRAINING = {
    "steps": "unstated: ours (0: follows from epochs, as the authors count)",
    "epochs": "code, README: 20000 on Sudoku and mazes, 100000 on ARC",
    "batch_size": "code, README: 768",
    "gradient_accumulation": "code: none",
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
    "log_every": "unstated: ours",
    "evaluate_every": "unstated: ours (in steps; the authors' interval is in epochs)",
    "checkpoint_every": "unstated: ours",
}
_EVALUATION = {
    "batch_size": "code: the training batch",
    "segments": "code: as many as in training",
    "symmetry_votes": "code: none",
    "trajectories": "code: none",
    "noise_std": "code: none",
}


_SUDOKU_SIZES = {"vocab_size": "code: padding, empty and nine digits", "sequence_length": "code: 81 cells"}
_MAZE_SIZES = {"vocab_size": "code: padding and the five symbols", "sequence_length": "code: 900 cells"}
_ARC_SIZES = {"vocab_size": "code: padding, end mark and ten colours", "sequence_length": "code: a canvas of 900 cells"}
_LARGE_GRID_TRM = {
    "mixer": "TRM: attention, which its MLP mixing does not match on large grids",
    "positions": "TRM: rope",
    "L_cycles": "TRM: 4 on maze and ARC",
}
_SUDOKU_TRM = {"mixer": "TRM: MLP mixing, its best on Sudoku", "positions": "TRM: none", "L_cycles": "TRM: 6 on Sudoku"}
_NO_SUDOKU = dict.fromkeys(("box_rows", "box_columns", "test_files", "separate"), _UNUSED)
_NO_MAZE = dict.fromkeys(("maze_size", "maze_min_path"), _UNUSED)
_OF_TASK: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "sudoku-extreme": {
        "model": _SUDOKU_SIZES,
        "trm": _SUDOKU_TRM,
        "data": _NO_MAZE | {"arc_version": _UNUSED, "augmentations": "code, data builder: 1000"},
        "training": {
            "epochs": "code, README: 20000 (TRM's own run: 50000)",
            "puzzle_learning_rate": "code, README: 1e-4",
            "weight_decay": "code, README: 1.0",
            "puzzle_weight_decay": "code, README: 1.0",
        },
    },
    "maze-hard": {
        "model": _MAZE_SIZES,
        "trm": _LARGE_GRID_TRM,
        "data": _NO_SUDOKU
        | {
            "files": _UNUSED,
            "arc_version": _UNUSED,
            "augmentations": "code, data builder: none",
            "num_test": "paper, Benchmarks: 1000",
        },
        "training": {
            "epochs": "code, README: 20000",
            "puzzle_learning_rate": "code, README: 1e-4",
            "weight_decay": "code, README: 1.0",
            "puzzle_weight_decay": "code, README: 1.0",
        },
    },
    "arc-1": {
        "model": _ARC_SIZES,
        "trm": _LARGE_GRID_TRM,
        "data": _NO_SUDOKU
        | _NO_MAZE
        | {
            "files": "unstated: ours (none; the authors add ConceptARC, a folder of yours)",
            "num_train": "code: all tasks of the set",
            "num_validation": "code: none; the curve is that of training",
            "num_test": "code: all evaluation tasks",
            "augmentations": "code, data builder: 1000",
        },
        "training": {
            "epochs": "code, README: 100000",
            "puzzle_learning_rate": "code, README: 1e-2",
            "weight_decay": "code, README: 0.1",
            "puzzle_weight_decay": "code, README: 0.1",
        },
    },
}


def _sources(task: str) -> dict[str, str]:
    own = _OF_TASK["arc-1" if task == "arc-2" else task]
    model = _MODEL | own["model"]
    groups = {
        "arms.hrm": model,
        "arms.trm": model | _TRM | own["trm"],
        "arms.plain": model | _PLAIN,
        "arms.hrm_rates": _RATES,
        "arms.plain_rates": _RATES,
        "arms.trm_rates": _RATES | {"ema_decay": "TRM: 0.999"},
        "data": _DATA | own["data"],
        "training": _TRAINING | own["training"],
        "evaluation": _EVALUATION,
    }
    return {f"{group}.{field}": source for group, fields in groups.items() for field, source in fields.items()}


SOURCES: Mapping[str, Mapping[str, str]] = {task: _sources(task) for task in TASKS}
"""Task to field to source; the values themselves are in ``config.paper``."""
