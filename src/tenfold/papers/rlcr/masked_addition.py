"""Sums with hidden operands: a task on which the best confidence of every problem is known.

    3+1=    ?+1=    ?+?=        the answer is (a + b) mod 10; operands are 0, 1, 2 with probability .5, .3, .1

No, one or two operands are hidden, equally often: the smallest relative of RLCR's HotpotQA-Modified, where paragraphs
that the answer needs are taken away. The best answer is right with probability 1, .50 or .30 (about; .60 on average),
and a confidence is right when it is that number. Since the law is known, so is the probability that any answer to any
of the 121 prompts is right, and nothing about a policy needs to be estimated but what it says.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from tenfold.core.seeding import Key, numpy_generator
from tenfold.data.questions import Question

LAW = (0.5, 0.3, 0.1, *[0.1 / 7] * 7)
"""Probability of each operand 0 … 9."""
HIDDEN = "?"
DIGITS = "0123456789"
CONFIDENCES = tuple(f"{k / 10:.1f}" for k in range(11))
"""What may be stated, each one token of the tiny policy."""
TAGS = ("<answer>", "</answer>", "<confidence>", "</confidence>")
SYMBOLS = DIGITS + HIDDEN
ALPHABET = DIGITS + "+=" + HIDDEN
NUM_HIDDEN = "num_hidden"
"""The fact of a question that says how much of what the answer needs is hidden."""


def problems(num: int, *key: Key) -> list[Question]:
    """Independent draws from the law, with the fact ``num_hidden``; other keys give other problems.

    Example:
        >>> [problem.prompt for problem in problems(3, 0, "example")]
        ['0+?=', '4+1=', '0+1=']
    """
    generator = numpy_generator(*key, "masked addition")
    operands_N2 = generator.choice(10, size=(num, 2), p=LAW)
    hidden_N = generator.integers(0, 3, size=num)
    first_N = generator.integers(0, 2, size=num)
    found = []
    for number, (a, b) in enumerate(operands_N2.tolist()):
        num_hidden = int(hidden_N[number])
        symbols = [str(a), str(b)]
        if num_hidden == 1:
            symbols[first_N[number]] = HIDDEN
        elif num_hidden == 2:
            symbols = [HIDDEN, HIDDEN]
        answer = str((a + b) % 10)
        found.append(Question("+".join(symbols) + "=", (answer,), str(number), facts={NUM_HIDDEN: num_hidden}))
    return found


def symbols_of(prompt: str) -> list[int]:
    """Both symbols of a prompt, by their places in :data:`SYMBOLS`: a digit is itself, what is hidden is 10.

    Example:
        >>> symbols_of("3+?=")
        [3, 10]
    """
    return [SYMBOLS.index(symbol) for symbol in prompt.removesuffix("=").split("+")]


@cache
def answer_probabilities(prompt: str) -> tuple[float, ...]:
    """P(answer = 0 … 9) given what the prompt shows.

    Example:
        >>> [round(p, 2) for p in answer_probabilities("?+1=")[:4]]
        [0.01, 0.5, 0.3, 0.1]
    """
    left, right = symbols_of(prompt)
    law_of_left, law_of_right = _law_of(left), _law_of(right)
    probability = np.zeros(10)
    for a in range(10):
        probability += law_of_left[a] * np.roll(law_of_right, a)
    return tuple(probability.tolist())


def _law_of(symbol: int) -> np.ndarray:
    """Probability of each digit behind a symbol."""
    if SYMBOLS[symbol] == HIDDEN:
        return np.array(LAW)
    return np.eye(10)[symbol]


def probability_right(prompt: str, answer: str | None) -> float:
    """The probability that an answer to a prompt is right; 0 for what is no digit.

    Example:
        >>> probability_right("?+1=", "1"), probability_right("3+1=", "four")
        (0.5, 0.0)
    """
    if answer is None or answer not in set(DIGITS):
        return 0.0
    return answer_probabilities(prompt)[int(answer)]


def best_accuracy(num_hidden: int) -> float:
    """The accuracy of the best answers to problems with so many hidden operands.

    Example:
        >>> [round(best_accuracy(hidden), 2) for hidden in range(3)]
        [1.0, 0.5, 0.3]
    """
    visible, hidden = dict(zip(DIGITS, LAW, strict=True)), {HIDDEN: 1.0}
    lefts, rights = [(visible, visible), (hidden, visible), (hidden, hidden)][num_hidden]
    accuracy = 0.0
    for left, share_of_left in lefts.items():
        for right, share_of_right in rights.items():
            accuracy += share_of_left * share_of_right * max(answer_probabilities(f"{left}+{right}="))
    return accuracy


def overconfident(found: Sequence[Question], laws: Sequence[Sequence[float]], *key: Key) -> list[str]:
    """Completions for a warm start: the right answer, and a confidence that has nothing to do with the difficulty.

    As with the confidence that language models state, it does depend on the problem: the law that it is drawn from goes
    by whether the two symbols add to an even number (? counts as 10), so that what is hidden does not matter where all
    laws have one mean.

    Args:
        found: the problems.
        laws: of an even and of an odd problem; probability of each of :data:`CONFIDENCES`, up to their sum.
        *key: of the draws.

    Example:
        >>> sums = [Question("1+1=", ("2",), "1"), Question("1+2=", ("3",), "2")]
        >>> overconfident(sums, [[0] * 9 + [1, 0], [0] * 10 + [1]], 0)
        ['<answer>2</answer><confidence>0.9</confidence>', '<answer>3</answer><confidence>1.0</confidence>']
    """
    cumulative = np.cumsum(np.asarray(laws, dtype=np.float64), axis=1)
    drawn = numpy_generator(*key, "confidences").random(len(found))
    said = []
    for problem, u in zip(found, drawn, strict=True):
        law = cumulative[sum(symbols_of(str(problem.prompt))) % 2]
        stated = int((law <= u * law[-1]).sum())
        said.append(completion(problem.answers[0], CONFIDENCES[stated]))
    return said


def completion(answer: str, confidence: str) -> str:
    """What a policy is to say.

    Example:
        >>> completion("7", "0.3")
        '<answer>7</answer><confidence>0.3</confidence>'
    """
    return f"<answer>{answer}</answer><confidence>{confidence}</confidence>"
