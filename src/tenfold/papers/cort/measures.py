"""What CoRT reports about trajectories: accuracy, tokens of the model and of the tool, and how code is used.

Numbers are over N samples, ``num_samples`` for each problem one after the other. Tokens of the model are what it said
(sampled, and hints it was made to say); tokens of the tool are the output blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, nan
from typing import Any, Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.papers.cort.detectors import (
    DEFAULT_STEPS,
    arithmetic_steps,
    delayed_computation,
    result_distrust,
    segments,
)
from tenfold.papers.cort.method import Grade, is_right, same_answer
from tenfold.papers.cort.traces import Trace

Purpose = Literal["calculation", "verification"]
PurposeOf = Callable[[str, int], Purpose]
"""The text of a trace and the number of a program in it, to what the program is for."""


@dataclass(frozen=True)
class Measured:
    """One sample.

    Args:
        right: whether its answer is.
        model_tokens: that the policy said.
        tool_tokens: of output blocks.
        programs_ok: for each program that ran, whether it did not fail.
        purposes: for each program that ran, what it is for.
        delayed: whether computation was delayed.
        distrust: whether a result was distrusted.
        ended: whether the policy came to an end by itself.
    """

    right: bool
    model_tokens: int
    tool_tokens: int
    programs_ok: tuple[bool, ...]
    purposes: tuple[Purpose, ...]
    delayed: bool
    distrust: bool
    ended: bool


def measure(
    traces: Sequence[Trace],
    answers: Sequence[str | Sequence[str]],
    tokenizer: Any,
    *,
    grade: Grade = same_answer,
    purpose: PurposeOf | None = None,
    num_steps: int = DEFAULT_STEPS,
) -> list[Measured]:
    """Read each trace.

    Args:
        traces: the samples.
        answers: the reference of each.
        tokenizer: of the policy.
        grade: whether an answer is a reference.
        purpose: what a program is for; by default :func:`purpose_of`.
        num_steps: k of the detectors.
    """
    judged = purpose or purpose_of
    found = []
    for trace, references in zip(traces, answers, strict=True):
        text, said = trace.fenced_text(tokenizer), trace.said
        calls = trace.trajectory.tool_calls
        found.append(
            Measured(
                right=is_right(trace.said_text(tokenizer), references, grade),
                model_tokens=sum(said),
                tool_tokens=len(said) - sum(said),
                programs_ok=tuple(not call["failed"] for call in calls),
                purposes=tuple(judged(text, number) for number in range(len(calls))),
                delayed=delayed_computation(text, num_steps),
                distrust=result_distrust(text, num_steps),
                ended=trace.trajectory.stop_reason != "length",
            )
        )
    return found


def purpose_of(text: str, number: int) -> Purpose:
    """Whether a program computes or verifies: it verifies if the prose since the last program has arithmetic steps.

    Example:
        >>> purpose_of("6*7=42.\\n```python\\nprint(6*7)\\n```\\n```output\\n42\\n```\\n", 0)
        'verification'
    """
    before: Purpose = "calculation"
    seen = 0
    for part in segments(text):
        if part.kind == "prose":
            before = "verification" if arithmetic_steps(part.text) else "calculation"
        elif part.kind == "code":
            if seen == number:
                return before
            seen += 1
    return before


def summary(samples: Sequence[Measured], num_samples: int = 1, budgets: Sequence[int] = ()) -> dict[str, float]:
    """All numbers of a set of samples; those of a share of nothing are NaN.

    Args:
        samples: of the problems, ``num_samples`` each.
        num_samples: k of avg@k and pass@k.
        budgets: numbers of model tokens; an answer counts under a budget if it is right and within.

    Raises:
        UserError: the samples are not as many for each problem, or none.

    Example:
        >>> sample = Measured(True, 20, 8, (True,), ("calculation",), False, False, True)
        >>> numbers = summary([sample], budgets=(10, 30))
        >>> numbers["accuracy"], numbers["model_tokens"], numbers["accuracy_within_10"], numbers["accuracy_within_30"]
        (1.0, 20.0, 0.0, 1.0)
    """
    if not samples or len(samples) % num_samples:
        raise UserError(f"samples: there are {len(samples)}; allowed: a multiple of num_samples = {num_samples}, not 0")
    right = np.array([sample.right for sample in samples])
    model = np.array([sample.model_tokens for sample in samples], dtype=np.float64)
    return {
        "accuracy": float(right.mean()),
        "pass_at_k": _pass_at(num_samples, right.reshape(-1, num_samples)),
        "model_tokens": float(model.mean()),
        "model_tokens_right": _mean(model[right]),
        "model_tokens_wrong": _mean(model[~right]),
        "tool_tokens": _mean([sample.tool_tokens for sample in samples]),
        **_of_code(samples, right),
        "delayed": _mean([sample.delayed for sample in samples]),
        "distrust": _mean([sample.distrust for sample in samples]),
        "ended": _mean([sample.ended for sample in samples]),
        **{f"accuracy_within_{budget}": float((right & (model <= budget)).mean()) for budget in budgets},
    }


def pass_at(num_samples: int, num_right: int, k: int) -> float:
    """The probability that one of k of the samples is right, without bias: 1 - C(n - c, k) / C(n, k).

    Example:
        >>> pass_at(4, 1, 2)
        0.5
    """
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def _of_code(samples: Sequence[Measured], right: np.ndarray) -> dict[str, float]:
    """How code is used, and how often answers with and without it are right."""
    programs = [ok for sample in samples for ok in sample.programs_ok]
    purposes = [purpose for sample in samples for purpose in sample.purposes]
    with_code = np.array([bool(sample.programs_ok) for sample in samples])
    return {
        "code_use": float(with_code.mean()),
        "accuracy_with_code": _mean(right[with_code]),
        "accuracy_without_code": _mean(right[~with_code]),
        "block_success": _mean(programs),
        "blocks_per_answer": len(programs) / len(samples),
        "verification_share": _mean([purpose == "verification" for purpose in purposes]),
    }


def _pass_at(k: int, right_PK: np.ndarray) -> float:
    return float(np.mean([pass_at(k, int(row.sum()), k) for row in right_PK]))


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else nan
