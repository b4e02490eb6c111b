"""Sums with hidden operands: a task on which the best confidence of every problem is known.

    3+1=    ?+1=    ?+?=        the answer is (a + b) mod 10; operands are 0, 1, 2 with probability .5, .3, .1

No, one or two operands are hidden, equally often: the smallest relative of RLCR's HotpotQA-Modified, where paragraphs
that the answer needs are taken away. The best answer is right with probability 1, .50 or .30 (about; .60 on average),
and a confidence is right when it is that number. Since the law is known, so is the probability that any answer to any
of the 121 prompts is right, and nothing about a policy needs to be estimated but what it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tenfold.core.seeding import Key, numpy_generator

LAW = (0.5, 0.3, 0.1, *[0.1 / 7] * 7)
"""Probability of each operand 0 … 9."""
HIDDEN = "?"
DIGITS = "0123456789"
CONFIDENCES = tuple(f"{k / 10:.1f}" for k in range(11))
"""What may be stated, each one token of the tiny policy."""
TAGS = ("<answer>", "</answer>", "<confidence>", "</confidence>")
ALPHABET = DIGITS + "+=" + HIDDEN


@dataclass(frozen=True)
class Problem:
    """One sum.

    Args:
        prompt: the text that the policy sees.
        answer: the last digit of the sum of the true operands.
        num_hidden: how many operands are hidden.
    """

    prompt: str
    answer: str
    num_hidden: int


def problems(num: int, *key: Key) -> list[Problem]:
    """Independent draws from the law; other keys give other problems.

    Example:
        >>> [problem.prompt for problem in problems(3, 0, "example")]
        ['0+?=', '4+1=', '0+1=']
    """
    generator = numpy_generator(*key, "masked addition")
    operands_N2 = generator.choice(10, size=(num, 2), p=LAW)
    hidden_N, first_N = generator.integers(0, 3, size=num), generator.integers(0, 2, size=num)
    found = []
    for (a, b), num_hidden, first in zip(operands_N2.tolist(), hidden_N.tolist(), first_N.tolist(), strict=True):
        hides = {0: (), 1: (first,), 2: (0, 1)}[num_hidden]
        left, right = (HIDDEN if place in hides else str(value) for place, value in enumerate((a, b)))
        found.append(Problem(f"{left}+{right}=", str((a + b) % 10), num_hidden))
    return found


@cache
def answer_probabilities(prompt: str) -> tuple[float, ...]:
    """P(answer = 0 … 9) given what the prompt shows.

    Example:
        >>> [round(p, 2) for p in answer_probabilities("?+1=")[:4]]
        [0.01, 0.5, 0.3, 0.1]
    """
    left, right = prompt.removesuffix("=").split("+")
    law_of = [np.array(LAW) if part == HIDDEN else np.eye(10)[int(part)] for part in (left, right)]
    probability = np.zeros(10)
    for a in range(10):
        probability += law_of[0][a] * np.roll(law_of[1], a)
    return tuple(probability.tolist())


def probability_right(prompt: str, answer: str | None) -> float:
    """The probability that an answer to a prompt is right; 0 for what is no digit.

    Example:
        >>> probability_right("?+1=", "1"), probability_right("3+1=", "four")
        (0.5, 0.0)
    """
    return answer_probabilities(prompt)[int(answer)] if answer is not None and answer in set(DIGITS) else 0.0


def best_accuracy(num_hidden: int) -> float:
    """The accuracy of the best answers to problems with so many hidden operands.

    Example:
        >>> [round(best_accuracy(hidden), 2) for hidden in range(3)]
        [1.0, 0.5, 0.3]
    """
    law = np.array(LAW)
    prompts = {
        0: {f"{a}+{b}=": law[a] * law[b] for a in range(10) for b in range(10)},
        1: {f"{HIDDEN}+{b}=": law[b] for b in range(10)},
        2: {f"{HIDDEN}+{HIDDEN}=": 1.0},
    }[num_hidden]
    return float(sum(share * max(answer_probabilities(prompt)) for prompt, share in prompts.items()))


def overconfident(found: Sequence[Problem], laws: Sequence[Sequence[float]], *key: Key) -> list[str]:
    """Completions for a warm start: the right answer, and a confidence that has nothing to do with the difficulty.

    As with the confidence that language models state, it does depend on the problem: the law that it is drawn from goes
    by whether the two symbols add to an even number (? counts as 10), so that what is hidden does not matter where all
    laws have one mean.

    Args:
        found: the problems.
        laws: of an even and of an odd problem; probability of each of :data:`CONFIDENCES`, up to their sum.
        *key: of the draws.

    Example:
        >>> overconfident([Problem("1+1=", "2", 0), Problem("1+2=", "3", 0)], [[0] * 9 + [1, 0], [0] * 10 + [1]], 0)
        ['<answer>2</answer><confidence>0.9</confidence>', '<answer>3</answer><confidence>1.0</confidence>']
    """
    cumulative = np.cumsum(np.asarray(laws, dtype=np.float64), axis=1)
    rows = cumulative[[sum((DIGITS + HIDDEN).index(part) for part in p.prompt[:-1].split("+")) % 2 for p in found]]
    drawn = numpy_generator(*key, "confidences").random(len(found))
    stated = (rows <= (drawn * rows[:, -1])[:, None]).sum(axis=1)
    return [completion(problem.answer, CONFIDENCES[q]) for problem, q in zip(found, stated, strict=True)]


def completion(answer: str, confidence: str) -> str:
    """What a policy is to say.

    Example:
        >>> completion("7", "0.3")
        '<answer>7</answer><confidence>0.3</confidence>'
    """
    return f"<answer>{answer}</answer><confidence>{confidence}</confidence>"
