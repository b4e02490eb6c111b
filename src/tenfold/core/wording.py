"""How numbers, claims and facts are worded in tables, the same on the terminal, in reports and in READMEs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.claims import line_of, verdict_text
from tenfold.core.statistics import mean_interval
from tenfold.core.types import Claim, Judgement, Verdict

CONFIDENCE = 0.95
VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "undecided")


@dataclass(frozen=True)
class Entry:
    """One entry of the metrics table, as text.

    Args:
        mean: the mean over seeds; ``–`` where the arm does not report the metric.
        spread: half the width of the 95 % interval over seeds, with sign; empty below two seeds.
        seeds: the value of each seed; empty for a single one or where all are equal.
    """

    mean: str
    spread: str = ""
    seeds: str = ""


def readable(value: float) -> str:
    """A number with as many digits as a table needs.

    Example:
        >>> readable(0.65625), readable(27275266), readable(12.3456), readable(1.5e12), readable(2e-5)
        ('0.656', '27,275,266', '12.3', '1.5e+12', '2e-05')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e10 or 0 < size < 5e-4:
        text = f"{value:.3g}"
    elif value == round(value) and size >= 10:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"
    return text.replace("-", "−") if value < 0 and "e" not in text else text


def setting_text(value: Any) -> str:
    """The value of a configuration field, given as plain data.

    Example:
        >>> setting_text(500), setting_text("mlp"), setting_text(None), setting_text([1, 2])
        ('500', 'mlp', 'null', '[1, 2]')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def preset_text(preset: str, changed: Mapping[str, Any]) -> str:
    """A preset with the fields that a run changed.

    Args:
        preset: its name.
        changed: dotted field name to the run's value, as plain data.

    Example:
        >>> preset_text("laptop", {}), preset_text("laptop", {"training.steps": 500})
        ('laptop', 'laptop with training.steps 500')
    """
    fields = ", ".join(f"{name} {setting_text(value)}" for name, value in changed.items())
    return f"{preset} with {fields}" if fields else preset


def needed_text(claim: Claim) -> str:
    """What the interval has to satisfy, in words.

    Example:
        >>> needed_text(Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps"))
        'above 0.5'
    """
    line = (readable(line_of(claim)) if abs(line_of(claim)) >= 1000 else f"{line_of(claim):.3g}").replace("-", "−")
    if claim.kind == "exact":
        return f"equal to {claim.baseline}" if claim.baseline else f"exactly {readable(claim.margin)}"
    if claim.kind == "threshold":
        return f"{'above' if claim.direction == 'higher' else 'below'} {line}"
    return f"gain above {line}"


def effect_text(judgement: Judgement) -> str:
    """The effect with its interval; a gain carries its sign."""
    signed = judgement.claim.kind in ("superiority", "non_inferiority") and judgement.effect > 0
    text = ("+" if signed else "") + readable(judgement.effect)
    if judgement.interval is None:
        return text
    return f"{text} [{readable(judgement.interval[0])}, {readable(judgement.interval[1])}]"


def interval_note(judgement: Judgement) -> str:
    """What the interval is over where that is not the seeds, and its confidence where that is not 95 %.

    Example:
        >>> claim = Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps")
        >>> interval_note(Judgement(claim, 0.7, (0.6, 0.8), "seeds", 7, "supported", look=2, confidence=0.975))
        '97.5 % interval'
    """
    if judgement.interval is None:
        return ""
    notes = []
    if judgement.confidence != CONFIDENCE:
        notes.append(f"{100 * judgement.confidence:g} % interval")
    if judgement.interval_over == "items":
        notes.append("over held-out items")
    return " ".join(notes)


def together_text(judgement: Judgement) -> str:
    """What becomes of a supported claim when all of a run are counted together; empty where nothing does.

    Example:
        >>> claim = Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps")
        >>> together_text(Judgement(claim, 0.7, (0.6, 0.8), "seeds", 5, "supported", look=1, together=False))
        'not when all claims are counted together'
    """
    alone = judgement.verdict == "supported" and judgement.together is False
    return "not when all claims are counted together" if alone else ""


def verdict_row(judgement: Judgement) -> dict[str, Any]:
    """A judgement as a row of the verdict table on the terminal, as texts."""
    return {
        "text": judgement.claim.text,
        "effect": effect_text(judgement),
        "over": interval_note(judgement),
        "needed": needed_text(judgement.claim),
        "verdict": verdict_text(judgement),
        "note": "; ".join(remark for remark in (judgement.note, together_text(judgement)) if remark),
    }


def duration(seconds: float) -> str:
    """Seconds in words, in two units at most.

    Example:
        >>> duration(8.2), duration(1432), duration(5400)
        ('8 s', '23 min 52 s', '1 h 30 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_rest = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_rest} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count_verdicts(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how.

    Example:
        >>> count_verdicts(["supported", "undecided", "supported"])
        '2 supported, 1 undecided'
    """
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)


def entry_of(values: Sequence[float]) -> Entry:
    """The table entry for one metric of one arm.

    Args:
        values: the value for each seed; none when the arm does not report the metric.

    Example:
        >>> entry_of([0.5, 0.7]).mean
        '0.600'
    """
    if not values:
        return Entry("–")
    mean = sum(values) / len(values)
    seeds = "  ".join(readable(value) for value in values) if len(set(values)) > 1 else ""
    if len(values) == 1 or not math.isfinite(mean):
        return Entry(readable(mean), "", seeds)
    low, high = mean_interval(values)
    return Entry(readable(mean), f"± {readable((high - low) / 2)}" if high > low else "", seeds)
