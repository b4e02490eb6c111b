"""What the sections of ``report.html`` are made of: claims and their strips, tables of metrics, facts of the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.claims import count_of_seeds, line_of, verdict_text
from tenfold.core.glossary import Meaning, explained
from tenfold.core.notices import looks_text, seeds_text
from tenfold.core.types import Claim, Gate, Judgement
from tenfold.core.wording import effect_text, needed_text, readable, together_text

MOST_ARMS = 5
"""Arms that one table has room for, on a screen and on paper."""
EDGE, WIDTH = 6.0, 88.0
"""Of a strip, in percent: what stays free at each side, and what is drawn on."""


@dataclass(frozen=True)
class MetricRow:
    """A metric as a table names it.

    Args:
        name: ``group/name``.
        shared_with: whose meaning it is, where it is not this metric's alone.
        meaning: what it is, and in which unit; Markdown, empty where the README says nothing.
    """

    name: str
    shared_with: str = ""
    meaning: str = ""


def claim_rows(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The claims as rows of the verdict table, the headline first."""
    ordered = sorted(judgements, key=lambda judgement: not judgement.claim.headline)
    return [claim_row(judgement) for judgement in ordered]


def claim_row(judgement: Judgement) -> dict[str, Any]:
    """A judged claim: its sentence, what is compared, effect, strip, what was needed, and the verdict."""
    claim = judgement.claim
    return {
        "text": claim.text,
        "headline": claim.headline,
        "compared": compared_text(claim),
        "conditions": conditions_text(claim),
        "gate": "" if claim.gate is None else gate_text(claim.gate, judgement.gate),
        "effect": effect_text(judgement),
        "over": interval_text(judgement),
        "strip": strip_of(judgement),
        "seeds": values_text(judgement),
        "needed": needed_text(claim),
        "verdict": verdict_text(judgement),
        "style": judgement.verdict.replace(" ", "-"),
        "notes": [note for note in (judgement.note, all_together_text(judgement)) if note],
    }


def compared_text(claim: Claim) -> str:
    """Arms, metric and kind of a claim.

    Example:
        >>> compared_text(Claim("a", "A works.", "non_inferiority", "test/f1", "dev", "A", "B", "higher", 0.1, "steps"))
        'A against B · test/f1 on dev · non-inferiority, higher is better'
    """
    arms = claim.arm if claim.baseline is None else f"{claim.arm} against {claim.baseline}"
    kind = claim.kind.replace("_", "-")
    better = "" if claim.kind == "exact" else f", {claim.direction} is better"
    return f"{arms} · {claim.metric} on {claim.split} · {kind}{better}"


def conditions_text(claim: Claim) -> str:
    """The margin with its source, and the budget.

    Example:
        >>> claim = Claim("a", "A works.", "threshold", "test/f1", "test", "A", None, "higher", 0.5, "steps", "ours")
        >>> conditions_text(claim)
        'Margin 0.5 (ours). Budget: steps.'
    """
    source = f" ({claim.source})" if claim.source else ""
    margin = f"Margin {claim.margin:,g}".replace("-", "−")
    return f"{margin}{source}." + (f" Budget: {claim.budget}." if claim.budget else "")


def gate_text(gate: Gate, passed: str) -> str:
    """What a rival must have learned, and whether it has.

    Example:
        >>> gate_text(Gate("B", "test/f1", "higher", 0.3, "the rival did not learn"), "failed")
        'Gate: B counts as a rival only if its test/f1 is above 0.3 in every seed. It failed.'
    """
    side = "above" if gate.direction == "higher" else "below"
    outcome = {"passed": " It passed.", "failed": " It failed."}.get(passed, "")
    bound = f"{gate.bound:,g}".replace("-", "−")
    return f"Gate: {gate.arm} counts as a rival only if its {gate.metric} is {side} {bound} in every seed.{outcome}"


def interval_text(judgement: Judgement) -> str:
    """What an interval is over, and its confidence; how many seeds there are where there is no interval."""
    if judgement.interval is None:
        return count_of_seeds(judgement.seeds)
    over = "held-out items" if judgement.interval_over == "items" else count_of_seeds(judgement.seeds)
    return f"{100 * judgement.confidence:.4g} % interval over {over}"


def all_together_text(judgement: Judgement) -> str:
    """Whether a supported claim also holds when all of a run are counted together; empty where that is not asked."""
    if judgement.verdict == "supported" and judgement.together:
        return "also when all claims are counted together"
    return together_text(judgement)


def values_text(judgement: Judgement) -> str:
    """The judged value of each seed, for those who cannot see the dots."""
    return ", ".join(readable(value) for value in judgement.values)


def strip_of(judgement: Judgement) -> dict[str, Any] | None:
    """Where margin, interval, effect and the seeds' values stand on a strip, in percent of its width.

    Returns:
        ``line``, ``effect``, ``interval`` (a pair, or ``None``) and ``values``; ``None`` where the effect is no number.
    """
    if not math.isfinite(judgement.effect):
        return None
    values = [value for value in judgement.values if math.isfinite(value)]
    line, ends = line_of(judgement.claim), list(judgement.interval or ())
    everything = [line, judgement.effect, *ends, *values]
    left, span = min(everything), max(everything) - min(everything)

    def place(value: float) -> float:
        return round(EDGE + WIDTH * (value - left) / span, 1) if span else 50.0

    return {
        "line": place(line),
        "effect": place(judgement.effect),
        "interval": [place(end) for end in ends] or None,
        "values": [place(value) for value in values],
    }


def arm_groups(arms: Sequence[str], most: int = MOST_ARMS) -> list[list[str]]:
    """Arms in as few groups of at most ``most`` as there can be, about equally large.

    Example:
        >>> arm_groups(["a", "b", "c", "d", "e", "f"]), arm_groups(["a", "b"])
        ([['a', 'b', 'c'], ['d', 'e', 'f']], [['a', 'b']])
    """
    if not arms:
        return []
    count = -(-len(arms) // most)
    size = -(-len(arms) // count)
    return [list(arms[start : start + size]) for start in range(0, len(arms), size)]


def metric_rows(names: Sequence[str], glossary: Sequence[Meaning]) -> list[MetricRow]:
    """The first column of a table of metrics."""
    meanings = explained(names, glossary)
    return [MetricRow(name, *meanings[name]) for name in names]


def facts_table(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the run ran on and what was stated before it, as rows of the report."""
    state = {True: "tree clean", False: "with uncommitted or mixed changes", None: "installed package"}
    rows = [("hardware", facts["hardware"]), ("platform", facts["platform"])]
    rows.append(("device, dtype", f"{device_text(facts)}, {facts['dtype']}"))
    rows.append(("source", f"{facts['commit'] or 'no repository'} ({state[facts['tree_clean']]})"))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())))
    if plan := facts.get("plan"):
        rows.append(("plan", f"{count_of_seeds(len(plan['seeds']))}, {seeds_text(plan['seeds'])} ({plan['why']})"))
    if facts.get("looks"):
        rows.append(("looks", looks_text(facts["looks"])))
    for name, digest in facts.get("data", {}).items():
        rows.append((f"text of this machine: {name}", f"hash {digest}"))
    for session in facts.get("resumptions", []):
        rows.append(("resumed", f"{session['date']} on {session['hardware']}"))
    return rows


def device_text(facts: Mapping[str, Any]) -> str:
    """The device that was asked for, and where that left it open the one that was used, if the run noted it.

    Example:
        >>> device_text({"device": "auto", "device_used": "cpu"}), device_text({"device": "cuda"})
        ('auto (cpu)', 'cuda')
    """
    asked, used = str(facts["device"]), facts.get("device_used")
    return asked if used in (None, asked) else f"{asked} ({used})"
