"""CoRT's own ideas as pure functions: the hints, the two parts of the reward, and the filter for rejection fine-tuning.

    R = R_acc + w R_code,   R_acc in {1, 0},   R_code = -1 if all programs fail, else 0,   w = 0.1      (paper, eq. 3)

The rewards have trl's signature. As in the released code a response without any program counts as one whose programs
all fail (``penalize_no_code``), which the formula does not say. The paper gives the filter in words alone; the rules of
the two habits are in ``detectors.py``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.eval.answer_text import shortest_decimal
from tenfold.eval.characters import plain_characters
from tenfold.eval.references import reference_texts
from tenfold.papers.cort.detectors import (
    DEFAULT_STEPS,
    delayed_computation,
    result_distrust,
    segments,
    without_outputs,
)
from tenfold.papers.cort.formats import OPENING, final_answer, is_failure
from tenfold.policies.stopping import turn_text
from tenfold.rewards.said import text_of

Kind = Literal["general", "compute", "trust"]
Grade = Callable[[str, str | Sequence[str]], bool]
MarkOfCodeUse = Callable[[str], int]
"""A completion to 0, 1 or 2: Python used badly, as it should be, or well."""

CODE_WEIGHT = 0.1
_LOOSE_SPACE = re.compile(r"(?<!\w) | (?!\w)")  # not between numbers
_THOUSANDS = re.compile(r"(?<![\d.,([{])\d{1,3}(?:,\d{3})+(?!\d|,\d)")  # (1,234) is a pair
_DECIMAL = re.compile(r"(?<![\w.:])(?<![^\W\d_] )\d*\.\d+(?![\w.:])")  # no version (Python 3.10), no time
UNPENALIZED_SOURCES = ("acc_reward", "openai/gsm8k", "lighteval/MATH")


@dataclass(frozen=True)
class HintSpec:
    """A hint and what it is for.

    Args:
        text: of the hint.
        kind: general: the first words of the thinking; compute: where manual computation begins; trust: where a result
            begins to be checked again by hand.
        opens_code: an opened program follows the text.

    Example:
        >>> HintSpec("Use code.", "compute", opens_code=True).inserted
        'Use code.\\n```python\\n'
    """

    text: str
    kind: Kind
    opens_code: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("general", "compute", "trust"):
            raise UserError(f"kind = {self.kind!r}; allowed: general, compute, trust")
        if not self.text:
            raise UserError("text = '': a hint needs words")

    @property
    def inserted(self) -> str:
        """What goes into the trace."""
        return f"{self.text}\n{OPENING}" if self.opens_code else self.text


GENERAL = HintSpec(
    "Okay, let's try to solve this problem step by step using multiple python code calls", kind="general"
)
COMPUTE = HintSpec(
    "It looks tedious, and we can use python code to simplify the reasoning.", kind="compute", opens_code=True
)
TRUST = HintSpec("We don't need to doubt the accuracy of python calculations.", kind="trust")
HINTS: Mapping[Kind, HintSpec] = {"general": GENERAL, "compute": COMPUTE, "trust": TRUST}
"""The paper's wording; give others where hints are taken."""


def same_answer(answer: str, references: str | Sequence[str]) -> bool:
    """Whether an answer is a reference but for spaces, dollar signs, separators of thousands, zeros and characters.

    Example:
        >>> same_answer("9,716.0", "9716"), same_answer("3.5", "35"), same_answer("1,2", "12")
        (True, False, False)
    """
    return any(_plain(answer) == _plain(reference) != "" for reference in reference_texts(references))


def is_right(text: str, references: str | Sequence[str], grade: Grade = same_answer) -> bool:
    """R_acc: whether the boxed answer after ``</think>`` is right; never without ``</think>``.

    Output blocks are not read: what a program prints is no answer of the policy. A text alone does not tell a line of
    three back-ticks in an output from its end; give what was said (``Trace.said_text``) where there are tokens.

    Args:
        text: of the completion.
        references: one accepted answer or several.
        grade: whether an answer is a reference.

    Example:
        >>> is_right("so ... </think>\\n\\\\boxed{4}", "4"), is_right("\\\\boxed{4}", "4")
        (True, False)
    """
    answer = final_answer(without_outputs(text))
    return answer is not None and grade(answer, references)


def code_reward(outputs: Sequence[str], penalize_no_code: bool = True) -> float:
    """R_code: -1 if all programs fail, else 0.

    Args:
        outputs: of the programs that ran.
        penalize_no_code: whether no program counts as failing, as ``all([])`` does in the released code.

    Example:
        >>> code_reward(["", "9716"]), code_reward(["Traceback ..."]), code_reward([]), code_reward([], False)
        (0.0, -1.0, -1.0, 0.0)
    """
    if not outputs and not penalize_no_code:
        return 0.0
    return -1.0 if all(map(is_failure, outputs)) else 0.0


class AccuracyReward:
    """R_acc as a reward function of trl: reads the columns ``answer`` (a text or several).

    Reads what was sampled: the column ``said``, or the sampled tokens of the column ``trajectory``, where a rollout
    gives them; else the text without output blocks.

    Args:
        grade: whether an answer is a reference; ``tenfold.eval.math_match`` compares as mathematics.
        tokenizer: of the policy, to spell sampled tokens; without it the text is read.

    Example:
        >>> AccuracyReward()(prompts=["2+2"], completions=["</think>\\\\boxed{4}"], answer=["4"])
        [1.0]
    """

    def __init__(self, grade: Grade = same_answer, tokenizer: Any = None) -> None:
        self.grade, self.tokenizer = grade, tokenizer
        self.__name__ = "accuracy"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        answer: Sequence[Any],
        trajectory: Sequence[Any] | None = None,
        said: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score each completion."""
        if trajectory is not None and self.tokenizer is not None:
            said = [turn_text(self.tokenizer, one.sampled_ids) for one in trajectory]
        elif said is None:
            said = [text_of(completion) for completion in completions]
        return [float(is_right(text, given, self.grade)) for text, given in zip(said, answer, strict=True)]


class CodeReward:
    """R_code as a reward function of trl; its weight is w.

    Reads outputs from the column ``trajectory`` where a rollout gives it, since a text could claim any; else from the
    output blocks of the text. Rows whose ``data_source`` is one of :data:`UNPENALIZED_SOURCES` get 0.

    Args:
        penalize_no_code: see :func:`code_reward`.

    Example:
        >>> CodeReward()(prompts=["2+2"], completions=["```output\\n4\\n```\\n"])
        [0.0]
    """

    def __init__(self, penalize_no_code: bool = True) -> None:
        self.penalize_no_code = penalize_no_code
        self.__name__ = "code"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        trajectory: Sequence[Any] | None = None,
        data_source: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score each completion."""
        if trajectory is None:
            found = [[part.text for part in segments(text_of(text)) if part.kind == "output"] for text in completions]
        else:
            found = [[str(call["output"]) for call in one.tool_calls] for one in trajectory]
        sources = data_source or [""] * len(found)
        return [
            0.0 if source in UNPENALIZED_SOURCES else code_reward(outputs, self.penalize_no_code)
            for outputs, source in zip(found, sources, strict=True)
        ]


class JudgeReward:
    """A language model's opinion of how Python was used as a reward function of trl: 0, 1, 2 become -1, 0, 1.

    Args:
        judge: reads a completion.

    Example:
        >>> JudgeReward(lambda text: 2)(prompts=["2+2"], completions=["..."])
        [1.0]
    """

    def __init__(self, judge: MarkOfCodeUse) -> None:
        self.judge = judge
        self.__name__ = "judge"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score each completion.

        Raises:
            UserError: the judge said something else.
        """
        marks = [self.judge(text_of(completion)) for completion in completions]
        if wrong := [mark for mark in marks if mark not in (0, 1, 2)]:
            raise UserError(f"judge: said {wrong[0]!r}; allowed: 0, 1, 2")
        return [float(mark - 1) for mark in marks]


def cort_rewards(
    grade: Grade = same_answer,
    *,
    code_weight: float = CODE_WEIGHT,
    penalize_no_code: bool = True,
    judge: MarkOfCodeUse | None = None,
    judge_weight: float = 0.1,
    tokenizer: Any = None,
) -> tuple[list[Callable[..., list[float | None]]], list[float]]:
    """R = R_acc + w R_code as reward functions and their weights, for trl's trainers and for ``tenfold.train.grpo``.

    Args:
        grade: whether an answer is a reference.
        code_weight: w; the paper found 0.5 unstable.
        penalize_no_code: see :func:`code_reward`.
        judge: an opinion of how Python was used, added as a third part.
        judge_weight: of that part.
        tokenizer: of the policy, see :class:`AccuracyReward`.

    Example:
        >>> functions, weights = cort_rewards()
        >>> [function.__name__ for function in functions], weights
        (['accuracy', 'code'], [1.0, 0.1])
    """
    functions: list[Callable[..., list[float | None]]] = [
        AccuracyReward(grade, tokenizer),
        CodeReward(penalize_no_code),
    ]
    weights = [1.0, code_weight]
    if judge is not None:
        functions, weights = [*functions, JudgeReward(judge)], [*weights, judge_weight]
    return functions, weights


def dropped_because(
    text: str, right: bool, num_steps: int = DEFAULT_STEPS
) -> Literal["wrong", "delayed", "distrust"] | None:
    """Why rejection fine-tuning drops a trace; ``None`` for one that it keeps.

    Args:
        text: of the trace.
        right: whether its answer is.
        num_steps: k of both detectors.

    Example:
        >>> dropped_because("```python\\nprint(6*7)\\n```\\n```output\\n42\\n```\\n</think>\\\\boxed{42}", True)
    """
    if not right:
        return "wrong"
    if delayed_computation(text, num_steps):
        return "delayed"
    return "distrust" if result_distrust(text, num_steps) else None


def _plain(answer: str) -> str:
    text = _LOOSE_SPACE.sub("", plain_characters(answer).replace("$", "").strip())
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text).removesuffix(".")
    return _DECIMAL.sub(shortest_decimal, text)
