"""Configuration of the HRM experiments: models, data, training, evaluation, and the presets that combine them.

Names that the authors' code uses (``H_cycles``, ``L_cycles``, ``halt_max_steps``) are kept. Imports no torch.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.hrm.architecture import ReasonerConfig as ReasonerConfig
from tenfold.papers.hrm.architecture import feed_forward, idle_fields, published_trm
from tenfold.papers.hrm.sources import SOURCES as SOURCES
from tenfold.papers.hrm.sources import TASKS as TASKS


@dataclass(frozen=True)
class DataConfig:
    """Which puzzles, and how many."""

    task: Literal["sudoku", "maze", "arc"] = "sudoku"
    """Kind of puzzle."""
    box_rows: int = 2
    """Sudoku: rows of a box; the board is n by n with n = box_rows * box_columns."""
    box_columns: int = 3
    """Sudoku: columns of a box."""
    clues: int = 0
    """Sudoku, generated: givens of a puzzle; 0 for minimal puzzles (no given can be removed)."""
    min_guesses: int = 0
    """Sudoku, generated: keep puzzles that need at least this many guesses."""
    files: tuple[str, ...] = ()
    """Sudoku: CSV files to read instead of generating; arc: folders of further task files to train on."""
    test_files: tuple[str, ...] = ()
    """Sudoku: CSV files of a published test set, used whole; training and validation then share ``files``."""
    separate: Literal["puzzles", "grids"] = "puzzles"
    """Sudoku: what training and held-out puzzles may not share up to symmetry: the puzzle, or even its solution."""
    num_train: int = 1000
    """Number of training puzzles, before augmentation."""
    num_validation: int = 256
    """Sudoku, maze: number of puzzles for curves and for choosing rates; disjoint from training and test up to
    symmetry."""
    num_test: int = 1000
    """Number of held-out puzzles, no symmetry of which is a training puzzle; 0 for all that ``files`` hold."""
    augmentations: int = 200
    """Random symmetries that are added for each training puzzle; maze: all eight, or 0 for none."""
    arc_version: Literal["arc-1", "arc-2"] = "arc-1"
    """Arc: which set of tasks; ``num_train`` and ``num_test`` count tasks, 0 for all."""
    maze_size: int = 30
    """Maze: cells along a side."""
    maze_min_path: int = 110
    """Maze: least number of cells of the shortest path."""


@dataclass(frozen=True)
class RatesConfig:
    """One arm's learning rate and weight averaging, both chosen on the validation split over the same grid."""

    learning_rate: float = 1e-4
    """AdamATan2's rate after the warm-up."""
    ema_decay: float = 0.0
    """Decay of the weight average that is evaluated and saved; 0 for none."""


@dataclass(frozen=True)
class TrainingConfig:
    """Optimization; the same for every arm but for :class:`RatesConfig`."""

    steps: int = 1000
    """Optimizer steps of each arm; a step is one segment for each slot of the batch."""
    epochs: int = 0
    """When not 0, ``steps`` follows from it: epochs * groups * examples per puzzle / batch, as the authors count."""
    batch_size: int = 64
    """Global batch: slots over all processes and accumulated pieces."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of a batch into."""
    puzzle_learning_rate: float = 1e-4
    """Learning rate of sign descent on the puzzle table."""
    weight_decay: float = 0.1
    """Decoupled decay of the weights, without the puzzle table."""
    puzzle_weight_decay: float = 0.1
    """Decoupled decay of the puzzle table's rows."""
    beta1: float = 0.9
    """AdamATan2's decay of the first moment."""
    beta2: float = 0.95
    """AdamATan2's decay of the second moment."""
    atan2_form: Literal["kernel", "ported"] = "kernel"
    """Form of AdamATan2. kernel: as in the CUDA kernel that trained HRM; ported: a = 1.27 and both corrections
    inside."""
    warmup_steps: int = 2000
    """Steps over which the learning rate rises linearly."""
    rate_floor: float = 1.0
    """Fraction of the learning rate that a cosine ends at; 1 keeps the rate constant."""
    loss: Literal["stablemax", "softmax"] = "stablemax"
    """Which cross-entropy over the vocabulary is minimised: that of stablemax, or that of softmax."""
    epochs_per_pass: int = 10
    """Epochs that follow each other before the rows that fill no batch are dropped."""
    refill: Literal["offered", "free"] = "offered"
    """How a slot of the batch gets a new row. offered: a busy slot throws its incoming row away, as in the authors'
    code; free: a slot takes a row when it is free."""
    compile: bool = False
    """Compile the segment with torch.compile; pays off from some hundred steps on."""
    log_every: int = 20
    """Optimizer steps between logged training metrics."""
    evaluate_every: int = 200
    """Optimizer steps between evaluations on the validation split, if there is one; 0 for the end only."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if (self.steps > 0) == (self.epochs > 0):
            raise UserError(f"steps = {self.steps}, epochs = {self.epochs}: give one of them and set the other to 0")
        for name in ("batch_size", "gradient_accumulation", "log_every", "checkpoint_every", "epochs_per_pass"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """How the held-out puzzles are answered."""

    batch_size: int = 256
    """Number of puzzles answered at once."""
    segments: int = 0
    """Number of segments at test time; 0 for the model's halt_max_steps, more for test-time scaling."""
    symmetry_votes: int = 0
    """Sudoku: also vote over this many random symmetries of each puzzle; 0 for none."""
    trajectories: int = 0
    """Also answer each puzzle with this many noisy trajectories and keep the answer with the highest q_halt; 0 for
    none."""
    noise_std: float = 0.0
    """Standard deviation of the noise on the states in noisy trajectories."""


@dataclass(frozen=True)
class ArmsConfig:
    """The three arms: what differs is here, everything else is shared."""

    plain: ReasonerConfig = field(default_factory=lambda: feed_forward(ReasonerConfig()))
    """Architecture of the arm plain: a feed-forward network of the size of ``hrm``, with one segment."""
    hrm: ReasonerConfig = field(default_factory=ReasonerConfig)
    """Architecture of the arm hrm, the paper's model."""
    trm: ReasonerConfig = field(default_factory=lambda: published_trm(ReasonerConfig()))
    """Architecture of the arm trm, the tiny recursive model: one network, gradient through a whole cycle."""
    plain_rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rate and weight average of the arm plain."""
    hrm_rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rate and weight average of the arm hrm."""
    trm_rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rate and weight average of the arm trm."""


_ACT_WITH = {
    "sudoku": (
        "data.box_rows",
        "data.box_columns",
        "data.clues",
        "data.min_guesses",
        "data.separate",
        "data.test_files",
        "evaluation.symmetry_votes",
    ),
    "maze": ("data.maze_size", "data.maze_min_path"),
    "arc": ("data.arc_version",),
}
"""Fields that act with one kind of puzzle alone."""


@dataclass(frozen=True)
class Config:
    """One HRM experiment."""

    arms: ArmsConfig = field(default_factory=ArmsConfig)
    """The models that are compared."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which puzzles the models learn and are tested on."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How every model is trained."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained models are tested."""

    def __post_init__(self) -> None:
        """Refuse settings that would do nothing."""
        self._refuse_idle_in_data()
        self._refuse_idle_in_models()
        if not self.evaluation.trajectories:
            refuse_idle(self, ["evaluation.noise_std"], acts="evaluation.trajectories above 0")

    def _refuse_idle_in_data(self) -> None:
        task = self.data.task
        for other, names in _ACT_WITH.items():
            if other != task:
                refuse_idle(self, names, acts=f"data.task = {other}")
        if task == "maze":
            refuse_idle(self, ["data.files"], acts="data.task = sudoku or arc")
        if task == "arc" and self.data.num_validation:
            refuse_idle(self, ["data.num_validation"], acts="data.num_validation to 0, for ARC has no validation part")
        if self.training.evaluate_every and (task == "arc" or not self.data.num_validation):
            never = "training.evaluate_every to 0, for there is no validation part"
            refuse_idle(self, ["training.evaluate_every"], acts=never)
        if self.data.files:
            refuse_idle(self, ["data.clues", "data.min_guesses"], acts="data.files to nothing, for generated puzzles")

    def _refuse_idle_in_models(self) -> None:
        for name in ("plain", "hrm", "trm"):
            for idle, acts in idle_fields(getattr(self.arms, name)).items():
                refuse_idle(self, [f"arms.{name}.{idle}"], acts=f"arms.{name}.{acts}")
            refuse_idle(self, [f"arms.{name}.num_puzzles"], acts="data.num_train: a run counts its puzzles")


def smoke() -> Config:
    """4x4 Sudoku in seconds: shows that everything runs, proves nothing about recursion."""
    tiny = ReasonerConfig(
        vocab_size=6,
        sequence_length=16,
        hidden_size=32,
        expansion=2.0,
        width_multiple=32,
        mixer="mlp",
        mixer_multiple=16,
        positions="none",
        layers=1,
        puzzle_embedding_size=32,
        halt_max_steps=4,
    )
    return Config(
        arms=_small_arms(tiny, RatesConfig(1e-2, 0.9)),
        data=DataConfig(
            box_rows=2, box_columns=2, clues=10, num_train=64, num_validation=16, num_test=32, augmentations=8
        ),
        training=TrainingConfig(
            steps=40, batch_size=32, warmup_steps=5, log_every=10, evaluate_every=20, checkpoint_every=10
        ),
        evaluation=EvaluationConfig(batch_size=32, symmetry_votes=2, trajectories=2, noise_std=0.1),
    )


def laptop() -> Config:
    """6x6 Sudoku with 1,000 training puzzles: three arms of one seed in minutes on two CPU cores.

    Rates: ``tenfold tune hrm`` gave every arm 1e-3, 2e-3, 4e-3 and 8e-3, averaged and not, on the validation puzzles of
    seed 1000. Best, averaged: plain 4e-3; HRM 2e-3 and 4e-3 alike, of which the lower, because from 4e-3 on q_halt is
    the same for every puzzle; TRM 2e-3 to 8e-3 alike, of which 4e-3, the best at 1,000 steps.
    """
    small = ReasonerConfig(
        vocab_size=8,
        sequence_length=36,
        hidden_size=64,
        expansion=2.0,
        width_multiple=64,
        mixer="mlp",
        mixer_multiple=32,
        positions="none",
        layers=2,
        puzzle_embedding_size=64,
        halt_max_steps=8,
    )
    return Config(
        arms=replace(
            _small_arms(small, RatesConfig(2e-3, 0.99)),
            plain_rates=RatesConfig(4e-3, 0.99),
            trm_rates=RatesConfig(4e-3, 0.99),
        ),
        data=DataConfig(clues=12),
        training=TrainingConfig(steps=1500, warmup_steps=30, evaluate_every=250, checkpoint_every=250),
        evaluation=EvaluationConfig(symmetry_votes=4, trajectories=4, noise_std=0.5),
    )


def _small_arms(base: ReasonerConfig, chosen: RatesConfig) -> ArmsConfig:
    return ArmsConfig(
        plain=feed_forward(base),
        hrm=base,
        trm=replace(base, kind="trm", L_cycles=3, gradient="last_cycle", q_continue=False),
        plain_rates=chosen,
        hrm_rates=chosen,
        trm_rates=chosen,
    )


def own(data: str) -> Config:
    """``laptop`` for a CSV file of Sudokus of one's own: board, vocabulary and the sizes of the split follow the file.

    Models and rates are those for 6x6 boards; larger boards want wider models.

    Raises:
        UserError: the file cannot be used.
    """
    from tenfold.papers.hrm.own_puzzles import fitted

    return fitted(laptop(), data)


def gpu() -> Config:
    """9x9 Sudoku that needs guesses, the paper's 27 M model and its batch, sized for half an hour on one GPU; untimed.

    Puzzles are generated; ``--data.files`` with CSV files of hard puzzles and ``--data.min-guesses 0`` replace them
    and, with ``--data.num-test 0``, test on all that are left.
    """
    full = ReasonerConfig()
    return Config(
        arms=ArmsConfig(
            plain=feed_forward(full),
            hrm=full,
            trm=published_trm(full),
            plain_rates=RatesConfig(3e-4, 0.999),
            hrm_rates=RatesConfig(3e-4, 0.999),
            trm_rates=RatesConfig(3e-4, 0.999),
        ),
        data=DataConfig(
            box_rows=3,
            box_columns=3,
            min_guesses=4,
            separate="grids",
            num_test=2000,
            augmentations=1000,
        ),
        training=TrainingConfig(
            steps=3000,
            batch_size=768,
            gradient_accumulation=2,
            puzzle_learning_rate=3e-4,
            weight_decay=1.0,
            puzzle_weight_decay=1.0,
            warmup_steps=200,
            epochs_per_pass=100,
            compile=True,
            evaluate_every=500,
            checkpoint_every=500,
        ),
        evaluation=EvaluationConfig(batch_size=1024, symmetry_votes=8),
    )


def paper(task: str = "sudoku-extreme") -> Config:
    """The published setting of a task; every value has its source in ``SOURCES``."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    vocab_size, sequence_length = {"sudoku-extreme": (11, 81), "maze-hard": (6, 900)}.get(task, (12, 900))
    is_arc, is_sudoku = task.startswith("arc"), task == "sudoku-extreme"
    full = ReasonerConfig(vocab_size=vocab_size, sequence_length=sequence_length)
    rates = RatesConfig(1e-4)
    return Config(
        arms=ArmsConfig(
            plain=feed_forward(full),
            hrm=full,
            trm=published_trm(full) if is_sudoku else published_trm(full, "attention", L_cycles=4),
            plain_rates=rates,
            hrm_rates=rates,
            trm_rates=replace(rates, ema_decay=0.999),
        ),
        data=_published_data(task),
        training=TrainingConfig(
            steps=0,
            epochs=100_000 if is_arc else 20_000,
            batch_size=768,
            gradient_accumulation=2 if is_sudoku else 8,  # what one GPU holds
            puzzle_learning_rate=1e-2 if is_arc else 1e-4,
            weight_decay=0.1 if is_arc else 1.0,
            puzzle_weight_decay=0.1 if is_arc else 1.0,
            epochs_per_pass=2000,
            log_every=100,
            evaluate_every=0 if is_arc else 2000,
            checkpoint_every=1000,
        ),
        evaluation=EvaluationConfig(batch_size=768),
    )


def _published_data(task: str) -> DataConfig:
    if task == "sudoku-extreme":
        return DataConfig(
            box_rows=3,
            box_columns=3,
            files=("sudoku-extreme/train.csv",),
            test_files=("sudoku-extreme/test.csv",),
            num_test=0,
            augmentations=1000,
        )
    if task == "maze-hard":
        return DataConfig(task="maze", augmentations=0)
    return DataConfig(
        task="arc",
        arc_version="arc-1" if task == "arc-1" else "arc-2",
        num_train=0,
        num_validation=0,
        num_test=0,
        augmentations=1000,
    )
