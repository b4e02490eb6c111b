"""The toy task: products of two numbers of two digits, and a base policy that thinks long about them.

A tiny policy cannot do such a product in its head, but it can write ``print(47*28)``. Its base is supervised on traces
in the paper's format that have both habits: partial products by hand before a program that only verifies, and a check
by hand of what the program found. Slips by hand are part of the traces; where a program ran, its value is the answer.
The hints are in the base's language, and rare, so that it knows what follows them.

The tiny vocabulary has one token for each sentence, and digits go in pairs: 1316 is 13 and 16. Problems are told apart
by their pair of factors: a hash says whether a pair is for training, validation or test.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, key_to_seed, numpy_generator
from tenfold.papers.cort.config import HabitsConfig
from tenfold.papers.cort.formats import END_OF_THINK, OPENING, REQUEST, THINK, output_block
from tenfold.papers.cort.method import COMPUTE, GENERAL, TRUST

Split = Literal["train", "validation", "test"]

OPENINGS = ("We are asked for a product.", "The two factors are given.")
BY_HAND = "Let me multiply by hand."
ADD = "Adding both:"
VERIFY = "Let me verify this with python."
RECHECK = "Wait, let me double-check."
SENTENCES = (GENERAL.text, COMPUTE.text, TRUST.text, *OPENINGS, BY_HAND, ADD, VERIFY, RECHECK)
MARKS = (THINK + "\n", END_OF_THINK + "\n", "\\boxed{", OPENING, "```output\n", "``", "`\n", "print(")
PAIRS = tuple(f"{number:02d}" for number in range(100))
SPECIAL = (REQUEST, *SENTENCES, *MARKS, *PAIRS)
ALPHABET = string.digits + string.ascii_letters + string.punctuation + " \n"


@dataclass(frozen=True)
class Problem:
    """A product to find.

    Args:
        left: two digits.
        right: two digits, the last one not 0.
    """

    left: int
    right: int

    @property
    def prompt(self) -> str:
        """What the policy is given, up to the opened thinking."""
        return f"{self.left}*{self.right}\n{REQUEST}{THINK}\n"

    @property
    def answer(self) -> str:
        """The product."""
        return str(self.left * self.right)


PROGRAMS = HabitsConfig(general=0.2, direct=1.0, distrust=0.5, trust=0.2)
"""Programs, outputs, and checks of them, without working before: what the base learns first, since it is shorter."""

Piece = tuple[str, bool]
"""Text, and whether the policy says it; output blocks it does not."""


def split_of(left: int, right: int) -> Split:
    """The part that a pair belongs to: a tenth each for test and validation.

    Example:
        >>> split_of(47, 28), split_of(47, 29)
        ('train', 'validation')
    """
    tenth = key_to_seed("product", left, right) % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"


def problems(num: int, split: Split, *key: Key) -> list[Problem]:
    """Different problems of one part.

    Raises:
        UserError: there are not as many.

    Example:
        >>> found = problems(3, "test", 0)
        >>> len(set(found)), {split_of(problem.left, problem.right) for problem in found}
        (3, {'test'})
    """
    pool = _pool(split)
    if num > len(pool):
        raise UserError(f"{split} problems = {num}: there are only {len(pool)}")
    return [pool[i] for i in numpy_generator(*key, "problems", split).permutation(len(pool))[:num]]


@cache
def _pool(split: Split) -> tuple[Problem, ...]:
    pairs = ((left, right) for left in range(11, 100) for right in range(11, 100) if right % 10)
    return tuple(Problem(*pair) for pair in pairs if split_of(*pair) == split)


def working(problem: Problem, generator: np.random.Generator, slip: float) -> tuple[str, int]:
    """Partial products by hand and their sum, which is wrong after a slip.

    Example:
        >>> working(Problem(47, 28), numpy_generator(0), slip=0.0)
        (' 47*20=940. 47*8=376. Adding both: 940+376=1316.', 1316)
    """
    tens, ones = problem.right // 10 * 10, problem.right % 10
    parts = [problem.left * tens, problem.left * ones]
    for i in range(2):
        if generator.random() < slip:
            parts[i] += int(generator.choice((-100, -10, 10, 100)))
    products = f" {problem.left}*{tens}={parts[0]}. {problem.left}*{ones}={parts[1]}."
    return f"{products} {ADD} {parts[0]}+{parts[1]}={sum(parts)}.", sum(parts)


def base_trace(problem: Problem, habits: HabitsConfig, generator: np.random.Generator) -> list[Piece]:
    """A trace of the base's kind, piece by piece, without the end-of-sequence token."""
    begins = generator.random() < habits.general
    said = GENERAL.text if begins else ""
    said += "".join(sentence for sentence in OPENINGS if generator.random() < 0.5)
    value = problem.left * problem.right
    if generator.random() < habits.direct:
        said += COMPUTE.text
        runs = True
    else:
        text, value = working(problem, generator, habits.slip)
        said += BY_HAND + text
        runs = generator.random() < (habits.verify_after_general if begins else habits.verify)
        said += VERIFY if runs else ""
    pieces: list[Piece] = []
    if runs:
        value = problem.left * problem.right
        said += f"\n{OPENING}print({problem.left}*{problem.right})\n```\n"
        pieces = [(said, True), (output_block(str(value)), False)]
        said = _after_output(problem, habits, generator)
    said += f"{END_OF_THINK}\n\\boxed{{{value}}}"
    return [*pieces, (said, True)]


def _after_output(problem: Problem, habits: HabitsConfig, generator: np.random.Generator) -> str:
    draw = generator.random()
    if draw < habits.distrust:
        return RECHECK + working(problem, generator, slip=0.0)[0]  # a check by hand that fails would end otherwise
    return TRUST.text if draw < habits.distrust + habits.trust else ""


def base_traces(found: Sequence[Problem], habits: HabitsConfig, *key: Key) -> list[list[Piece]]:
    """One trace for each problem."""
    generator = numpy_generator(*key, "base traces")
    return [base_trace(problem, habits, generator) for problem in found]
