"""Reinforcement on questions of a user's own, by `tenfold train paper_name`."""

from dataclasses import dataclass
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.paper_name.config import Config
from tenfold.papers.paper_name.recipe import ALPHABET, Split, reinforce
from tenfold.papers.paper_name.recipe import ARMS as ALL
from tenfold.policies import Policy
from tenfold.study.language import build_policy
from tenfold.study.questions import Question, read_questions

ARMS = ("graded", "exact")
ACTING = ("task.file", "policy", "training", "rates")
OF_ARM = {name: (f"rates.{arm.rate}",) for name, arm in ALL.items()}


@dataclass(frozen=True)
class Given:
    """What the training needs, checked."""

    questions: Split
    policy: Policy


def read(config: Config, arm: str) -> Given:
    """Questions and model, each checked."""
    questions = read_questions(Path(config.task.file), check=_require_number)
    return Given(Split(train=questions, validation=[], test=[]), build_policy(config.policy, ALPHABET, seed=0))


def train(config: Config, arm: str, given: Given, cell: Cell) -> Policy:
    """GRPO with the arm's reward."""
    return reinforce(config, ALL[arm], given.policy, given.questions, cell)


def _require_number(question: Question) -> None:
    if len(question.answers) != 1 or not question.answers[0].lstrip("-").isdecimal():
        raise UserError(f"answer is {' / '.join(question.answers)!r}; allowed: one whole number")
