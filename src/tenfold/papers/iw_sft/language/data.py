"""What the language study learns from and is tested on: generated sums, or files of a user's own, by seed."""

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.arms import QUALITY
from tenfold.papers.iw_sft.language import arithmetic
from tenfold.papers.iw_sft.language.config import TaskConfig
from tenfold.papers.iw_sft.language.own_data import read_supervised
from tenfold.study.questions import Question, read_questions


@dataclass(frozen=True, eq=False)
class Solutions:
    """Rows with prompt and completion, and perhaps quality and stored log-probabilities of the reference.

    Args:
        everything: all of them.
        kept: those with a quality above 0; all where nothing is said about quality.
    """

    everything: Dataset
    kept: Dataset


@dataclass(frozen=True, eq=False)
class Problems:
    """Held-out problems; what is beyond those of the test is for validation, which takes the test's if none is left."""

    test: list[Question]
    validation: list[Question]


def load_solutions(config: TaskConfig, seed: int) -> Solutions:
    """The training part."""
    if config.train_file:
        return curated(read_supervised(Path(config.train_file)))
    generated = arithmetic.traces(config.num_traces, config.digits, config.sloppy_share, seed)
    rows = [{"prompt": one.prompt, "completion": one.completion, QUALITY: one.quality} for one in generated]
    return curated(Dataset.from_list(rows))


def curated(everything: Dataset) -> Solutions:
    """All rows, and those that are worth something.

    Raises:
        UserError: none is.

    Example:
        >>> rows = Dataset.from_dict({"prompt": ["1+2="] * 2, "completion": ["3", "4"], "quality": [1.0, 0.0]})
        >>> curated(rows).kept["completion"][:]
        ['3']
    """
    if QUALITY not in everything.column_names:
        return Solutions(everything, everything)
    kept = [row for row, quality in enumerate(everything[QUALITY]) if quality > 0]
    if not kept:
        raise UserError(f"{QUALITY}: 0 in every row, so that no solution is kept; allowed: at least one above 0")
    return Solutions(everything, everything.select(kept))


def load_problems(config: TaskConfig, seed: int) -> Problems:
    """The held-out part."""
    if config.test_file:
        questions = read_questions(Path(config.test_file))
    else:
        pairs = arithmetic.problems(2 * config.num_test, config.digits, seed, held_out=True)
        questions = [Question(f"{a}+{b}=", (str(a + b),), f"{a}+{b}") for a, b in pairs]
    test, others = questions[: config.num_test], questions[config.num_test :]
    return Problems(test=test, validation=others or questions)
