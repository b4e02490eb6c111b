"""Sums with worked solutions of mixed quality: the two routes of the control task, in text.

A careful solution adds digit by digit, carries, and then gives the answer; a sloppy one gives an answer at once, wrong
half of the time. Curation keeps right answers, so of the kept solutions a third guesses: SFT copies that share,
although a guess is a risk for whoever cannot add in one step. Training and test share no problem.

    careful   37+85=7+5=12;3+8+1=12;ans 122        sloppy   37+85=ans 122
"""

import re
from dataclasses import dataclass

from tenfold.core.seeding import numpy_generator

ALPHABET = "0123456789+=;ans "
ANSWER = "ans "


@dataclass(frozen=True)
class Trace:
    """One solution.

    Args:
        prompt: the sum, such as ``37+85=``.
        completion: working (or none) and answer.
        answer: the right answer.
        quality: 1 for a right answer with working, 0.5 for a right guess, 0 for a wrong answer.
    """

    prompt: str
    completion: str
    answer: str
    quality: float


def problems(num: int, digits: int, *key: int | str, held_out: bool) -> list[tuple[int, int]]:
    """Pairs of summands; every fifth pair of numbers, by a fixed rule, is held out for testing.

    Example:
        >>> set(problems(50, 2, 0, held_out=True)) & set(problems(50, 2, 0, held_out=False))
        set()
    """
    generator = numpy_generator(*key, "problems", int(held_out))
    found: list[tuple[int, int]] = []
    while len(found) < num:
        for a, b in generator.integers(0, 10**digits, size=(num, 2)).tolist():
            if (_mixed(a, b) % 5 == 0) == held_out:
                found.append((a, b))
    return found[:num]


def traces(num: int, digits: int, sloppy_share: float, *key: int | str) -> list[Trace]:
    """Solutions of both kinds to training problems.

    Example:
        >>> solutions = traces(200, 2, 0.5, 0)
        >>> 0.6 < sum(trace.quality > 0 for trace in solutions) / 200 < 0.9
        True
    """
    generator = numpy_generator(*key, "traces")
    return [
        sloppy(a, b, wrong=bool(generator.random() < 0.5)) if generator.random() < sloppy_share else careful(a, b)
        for a, b in problems(num, digits, *key, held_out=False)
    ]


def careful(a: int, b: int) -> Trace:
    """Digit by digit, from the right, with carries.

    Example:
        >>> careful(37, 85).completion
        '7+5=12;3+8+1=12;ans 122'
    """
    left, right, carry, working = str(a)[::-1], str(b)[::-1], 0, ""
    for place in range(max(len(left), len(right))):
        x, y = (int(number[place]) if place < len(number) else 0 for number in (left, right))
        total = x + y + carry
        working += f"{x}+{y}" + (f"+{carry}" if carry else "") + f"={total};"
        carry = total // 10
    return Trace(f"{a}+{b}=", f"{working}{ANSWER}{a + b}", str(a + b), 1.0)


def sloppy(a: int, b: int, *, wrong: bool) -> Trace:
    """An answer at once; a wrong one is off by ten.

    Example:
        >>> sloppy(37, 85, wrong=True).completion
        'ans 132'
    """
    return Trace(f"{a}+{b}=", f"{ANSWER}{a + b + 10 * wrong}", str(a + b), 0.0 if wrong else 0.5)


def final_number(text: str) -> str | None:
    """The last number of a text, which is the answer; ``None`` where there is none.

    Example:
        >>> final_number("7+5=12;ans 1,220."), final_number("no idea")
        ('1220', None)
    """
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return found[-1].replace(",", "") if found else None


def _mixed(a: int, b: int) -> int:
    """A number that spreads pairs evenly over remainders, whatever their order of magnitude."""
    return (a * 7919 + b * 104_729) // 7
