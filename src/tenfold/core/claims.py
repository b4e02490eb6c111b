"""Verdicts: what the planned seeds of a run say about a claim.

Every claim is judged by an interval of one quantity, paired over the seeds that both arms finished:

    superiority      gain = arm - baseline (baseline - arm where lower is better)   supported iff  lower bound >  margin
    non_inferiority  the same gain                                                  supported iff  lower bound > -margin
    threshold        the metric itself                                              supported iff  lower bound >  margin
    exact            the metric itself, or arm - baseline                           supported iff every seed hits it

*Not supported* iff the other bound lies beyond the same line, else *undecided*. Where lower is better, a
threshold is met from below.

There is a verdict once the planned seeds are there, and not before. The interval is Student's t over seeds, at 95 %:
its lower bound alone errs in at most 2.5 % of claims without an effect. Each further look at a claim, with more seeds
than planned or under another plan, has half the error of the one before, so that all looks together err in less than
5 %. Where seeds are all alike, or all but two items of a bounded metric hit or miss, t has nothing to go by; an exact
interval over pooled items decides then, or nothing does. ``docs/verdicts.md`` has the rates, also for skewed seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tenfold.core.statistics import (
    ERROR,
    MOST_SEEDS,
    Interval,
    is_alike,
    mean_interval,
    p_above,
    seeds_to_decide,
    share_interval,
)
from tenfold.core.types import Claim, Gate, Judgement, Looks, Scores, Verdict

ITEMS_FROM_BOUND = 2

ScoresByArm = Mapping[str, Mapping[int, Scores]]


def judge_all(claims: Sequence[Claim], scores: ScoresByArm, looks: Looks) -> tuple[Judgement, ...]:
    """Judge each claim whose arms have a finished seed in common, first alone and then counted together.

    Args:
        claims: the claims of a recipe.
        scores: arm to seed to scores, finished cells only.
        looks: the plan, and the looks before this one.
    """
    judged = [judge(claim, scores, looks) for claim in claims if common_seeds(claim, scores)]
    return tuple(counted_together(judged))


def judge(claim: Claim, scores: ScoresByArm, looks: Looks) -> Judgement:
    """Judge one claim alone.

    Args:
        claim: the claim.
        scores: arm to seed to scores; seeds that only one of the claim's arms has do not enter.
        looks: the plan, and the looks before this one.

    Returns:
        The judgement. ``effect`` and ``interval`` are the gain in the good direction for ``superiority`` and
        ``non_inferiority``, and the metric's own value for ``threshold`` and ``exact``.

    Raises:
        KeyError: an arm did not report the metric of the claim or of its gate.
        ValueError: the arms have no seed in common.

    Example:
        >>> claim = Claim("a", "A beats B.", "superiority", "test/exact", "test", "A", "B", "higher", 0.0, "steps")
        >>> scores = {arm: {k: Scores({"test/exact": value + k * growth}) for k in range(5)}
        ...           for arm, value, growth in (("A", 0.5, 0.02), ("B", 0.2, 0.01))}
        >>> judge(claim, scores, Looks(plan=(0, 1, 2, 3, 4))).verdict
        'supported'
        >>> judge(claim, scores, Looks(plan=(0, 1, 2, 3, 4, 5))).verdict
        'undecided'
    """
    seeds = common_seeds(claim, scores)
    if not seeds:
        raise ValueError(f"claim {claim.id!r}: its arms have no finished seed in common")
    values = np.array([_quantity(claim, scores, seed) for seed in seeds])
    judgement = Judgement(
        claim=claim,
        effect=float(values.mean()),
        interval=None,
        interval_over="nothing",
        seeds=len(seeds),
        verdict="undecided",
        values=tuple(float(value) for value in values),
        planned=len(looks.plan),
        void=looks.void,
        on_plan=_on_plan(seeds, looks.plan),
        gate=_gate(claim.gate, scores, seeds),
    )
    if np.isnan(values).any():
        missing = ", ".join(str(seed) for seed, value in zip(seeds, values, strict=True) if math.isnan(value))
        return replace(judgement, effect=math.nan, note=f"{claim.metric} is not a number for seed {missing}")
    look = 0 if looks.void else number_of_look(what_it_says(claim), seeds, looks)
    if look == 0:
        interval = _interval_over_items(claim, scores, seeds)
        return replace(judgement, interval=interval, interval_over="nothing" if interval is None else "items")
    return _decided(replace(judgement, look=look, confidence=1 - 2 * error_of_look(look)), values, scores, seeds)


def what_it_says(claim: Claim) -> str:
    """What looks are counted by: a claim under another name, or with another margin, is looked at again.

    Example:
        >>> what_it_says(Claim("a", "A works.", "threshold", "test/f1", "test", "A", None, "higher", 0.5, "steps"))
        'threshold test/f1 A'
    """
    return " ".join(part for part in (claim.kind, claim.metric, claim.arm, claim.baseline) if part)


def number_of_look(claim: str, seeds: Sequence[int], looks: Looks) -> int:
    """Which look at a claim these seeds are: 1 for the plan alone, 0 where a planned seed is missing.

    Example:
        >>> number_of_look("a", [0, 1], Looks(plan=(0, 1))), number_of_look("a", [0, 1, 2], Looks(plan=(0, 1)))
        (1, 2)
        >>> number_of_look("a", [0, 1], Looks(plan=(0, 1), earlier={"a": 3})), number_of_look("a", [0], Looks((0, 1)))
        (4, 0)
    """
    plan, judged = set(looks.plan), set(seeds)
    if not plan or not plan <= judged:
        return 0
    before = {frozenset(plan), *(frozenset(own) for own in looks.own)}
    return looks.earlier.get(claim, 0) + 1 + sum(own < judged for own in before)


def error_of_look(look: int) -> float:
    """How often look number ``look`` may call a claim without an effect supported; all looks together stay below 5 %.

    Example:
        >>> [error_of_look(look) for look in (1, 2, 3)]
        [0.025, 0.0125, 0.00625]
    """
    return ERROR / 2 ** (look - 1)


def counted_together(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Which claims hold when all of a run are counted together: the headline first, then Holm over the others.

    The headline is tested at 2.5 %. Only where it holds are the others tested, so that with all of them at most 2.5 %
    of runs without any effect call anything supported. Exact claims are no tests, and stay apart.

    Args:
        judgements: those of one run; where the headline has no verdict, none of the others holds.
    """
    asked = [judged for judged in judgements if judged.p is not None and judged.claim.kind != "exact"]
    headline = [judged for judged in asked if judged.claim.headline]
    others = sorted((judged for judged in asked if not judged.claim.headline), key=_p)
    so_far = bool(headline) and _p(headline[0]) <= ERROR
    holds = {judged.claim.id: so_far for judged in headline}
    for place, judged in enumerate(others):
        so_far = so_far and _p(judged) <= ERROR / (len(others) - place)
        holds[judged.claim.id] = so_far
    return [replace(judged, together=holds.get(judged.claim.id)) for judged in judgements]


def common_seeds(claim: Claim, scores: ScoresByArm) -> list[int]:
    """The seeds, in increasing order, that all arms of the claim and of its gate have finished."""
    seeds = set(scores.get(claim.arm, {}))
    for arm in (claim.baseline, None if claim.gate is None else claim.gate.arm):
        if arm is not None:
            seeds &= set(scores.get(arm, {}))
    return sorted(seeds)


def count_of_seeds(count: int) -> str:
    """``1 seed``, ``2 seeds`` and so on."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def verdict_text(judgement: Judgement) -> str:
    """The verdict as it is printed, with what limits it.

    Example:
        >>> claim = Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps")
        >>> scores = {"A": {0: Scores({"test/exact": 0.9})}}
        >>> verdict_text(judge(claim, scores, Looks(plan=(0, 1, 2, 3, 4))))
        'undecided (1 of 5 seeds)'
        >>> verdict_text(judge(claim, scores, Looks()))
        'undecided (no plan)'
    """
    return f"{judgement.verdict} ({limit})" if (limit := _limit(judgement)) else judgement.verdict


def line_of(claim: Claim) -> float:
    """The value on whose good side the interval must lie: the margin, minus the margin for non-inferiority."""
    if claim.kind == "non_inferiority":
        return -claim.margin
    if claim.kind == "exact" and claim.baseline is not None:
        return 0.0
    return claim.margin


def _limit(judgement: Judgement) -> str:
    if judgement.planned == 0:
        return "no plan"
    if judgement.void:
        return judgement.void
    if not judgement.on_plan:
        return "not the planned seeds"
    if judgement.seeds < judgement.planned:
        return f"{judgement.seeds} of {judgement.planned} seeds"
    if judgement.gate == "failed" and judgement.claim.gate is not None:
        return judgement.claim.gate.text
    return f"look {judgement.look}" if judgement.look > 1 else ""


def _on_plan(seeds: Sequence[int], plan: Sequence[int]) -> bool:
    """Whether the seeds are planned ones only, or all planned ones and more."""
    return set(seeds) <= set(plan) or set(plan) <= set(seeds)


def _p(judgement: Judgement) -> float:
    return 1.0 if judgement.p is None or judgement.gate == "failed" else judgement.p


def _decided(judgement: Judgement, values: np.ndarray, scores: ScoresByArm, seeds: Sequence[int]) -> Judgement:
    """The judgement of a claim whose planned seeds are there: interval, verdict and p."""
    claim, error, line = judgement.claim, error_of_look(judgement.look), line_of(judgement.claim)
    if claim.kind == "exact" and judgement.gate == "failed":
        return judgement
    if claim.kind == "exact":
        exact: Verdict = "supported" if (values == line).all() else "not supported"
        return replace(judgement, interval=mean_interval(values, error), interval_over="seeds", verdict=exact)
    over: Literal["seeds", "items"]
    if _says_little(claim, scores, seeds, values):
        over, interval = "items", _pooled(claim, scores, seeds, error)
    else:
        over, interval = "seeds", mean_interval(values, error)
    if interval is None:
        note = "the seeds leave nothing to judge by: they are alike, or at the metric's bound; more items would decide"
        return replace(judgement, p=1.0, note=note)
    verdict = _verdict(interval, line, meets_from_below=_meets_from_below(claim))
    p = _p_value(values, claim) if over == "seeds" else error if verdict == "supported" else 1.0
    found = replace(judgement, interval=interval, interval_over=over, p=min(1.0, p * 2 ** (judgement.look - 1)))
    if judgement.gate == "failed":
        return found
    note = _undecided_note(values, line, judgement.look) if verdict == "undecided" else ""
    return replace(found, verdict=verdict, note=note)


def _verdict(interval: Interval, line: float, *, meets_from_below: bool) -> Verdict:
    low, high = interval
    if meets_from_below:
        low, high, line = -high, -low, -line
    if low > line:
        return "supported"
    return "not supported" if high < line else "undecided"


def _p_value(values: np.ndarray, claim: Claim) -> float:
    """How probable seeds at least as far on the good side of the line are, if the truth lies on it."""
    sign = -1.0 if _meets_from_below(claim) else 1.0
    return p_above(sign * values, sign * line_of(claim))


def _metric(name: str, needed_by: str, scores: ScoresByArm, arm: str, seed: int) -> float:
    metrics = scores[arm][seed].metrics
    if name not in metrics:
        raise KeyError(f"{needed_by} needs the metric {name!r}, which arm {arm!r} did not report")
    return float(metrics[name])


def _gate(gate: Gate | None, scores: ScoresByArm, seeds: Sequence[int]) -> Literal["", "passed", "failed"]:
    """Whether the rival has learned, in every seed; a value that is not a number has not."""
    if gate is None:
        return ""
    values = [_metric(gate.metric, "a gate", scores, gate.arm, seed) for seed in seeds]
    passes = [value > gate.bound if gate.direction == "higher" else value < gate.bound for value in values]
    return "passed" if all(passes) else "failed"


def _is_comparison(claim: Claim) -> bool:
    return claim.kind in ("superiority", "non_inferiority")


def _gain_sign(claim: Claim) -> float:
    return -1.0 if _is_comparison(claim) and claim.direction == "lower" else 1.0


def _meets_from_below(claim: Claim) -> bool:
    return claim.kind == "threshold" and claim.direction == "lower"


def _rival(claim: Claim) -> str | None:
    """The arm whose value is subtracted."""
    return None if claim.kind == "threshold" else claim.baseline


def _quantity(claim: Claim, scores: ScoresByArm, seed: int) -> float:
    needed_by, rival = f"claim {claim.id!r}", _rival(claim)
    value = _metric(claim.metric, needed_by, scores, claim.arm, seed)
    return (
        value if rival is None else _gain_sign(claim) * (value - _metric(claim.metric, needed_by, scores, rival, seed))
    )


def _undecided_note(values: np.ndarray, line: float, look: int) -> str:
    """How many seeds would probably decide, and what that costs."""
    contains = f"the interval contains {line:g}"
    if is_alike(values):
        return contains
    error = error_of_look(look + 1)
    needed = seeds_to_decide(values, line, error)
    amount = f"more than {MOST_SEEDS}" if needed is None else f"about {needed}"
    cost = f"they would be look {look + 1}, judged by a {100 - 200 * error:g} % interval"
    return f"{contains}; {amount} seeds would probably decide it, and {cost}"


def _items(claim: Claim, scores: ScoresByArm, arm: str, seed: int) -> np.ndarray | None:
    values = scores[arm][seed].items.get(claim.metric)
    return None if values is None else np.asarray(values, dtype=np.float64)


def _hits(claim: Claim, scores: ScoresByArm, seeds: Sequence[int], arm: str) -> tuple[int, int] | None:
    """How many pooled items of an arm are 1, of how many; ``None`` unless all of them are 0 or 1."""
    per_seed = [items for seed in seeds if (items := _items(claim, scores, arm, seed)) is not None]
    if len(per_seed) < len(seeds):
        return None
    pooled = np.concatenate(per_seed)
    return (int(pooled.sum()), len(pooled)) if len(pooled) and np.isin(pooled, (0.0, 1.0)).all() else None


def _says_little(claim: Claim, scores: ScoresByArm, seeds: Sequence[int], values: np.ndarray) -> bool:
    """Whether t has nothing to go by: equal seeds, or every arm within two items of the bound of its metric."""
    if is_alike(values, _scale(claim, scores, seeds)):
        return True
    arms = [claim.arm, *([rival] if (rival := _rival(claim)) else [])]
    counts = [_hits(claim, scores, seeds, arm) for arm in arms]
    return all(count is not None and min(count[0], count[1] - count[0]) <= ITEMS_FROM_BOUND for count in counts)


def _scale(claim: Claim, scores: ScoresByArm, seeds: Sequence[int]) -> float:
    """The largest size of the metric, over the arms that the claim compares."""
    arms = [claim.arm, *([rival] if (rival := _rival(claim)) else [])]
    return max(abs(_metric(claim.metric, f"claim {claim.id!r}", scores, arm, seed)) for arm in arms for seed in seeds)


def _pooled(claim: Claim, scores: ScoresByArm, seeds: Sequence[int], error: float) -> Interval | None:
    """Exact interval over the items of all seeds, or ``None``; for a gain, the two arms share the error."""
    ours, rival = _hits(claim, scores, seeds, claim.arm), _rival(claim)
    if ours is None:
        return None
    if rival is None:
        return share_interval(*ours, error)
    theirs = _hits(claim, scores, seeds, rival)
    if theirs is None:
        return None
    (low, high), (rival_low, rival_high) = share_interval(*ours, error / 2), share_interval(*theirs, error / 2)
    ends = _gain_sign(claim) * (low - rival_high), _gain_sign(claim) * (high - rival_low)
    return min(ends), max(ends)


def _interval_over_items(claim: Claim, scores: ScoresByArm, seeds: Sequence[int]) -> Interval | None:
    """Interval of the judged quantity over held-out items, paired over items; ``None`` where items are missing.

    Items at one position are averaged over the seeds first, which is right whether or not the seeds share them.
    """
    per_seed = []
    for seed in seeds:
        items, rival = _items(claim, scores, claim.arm, seed), _rival(claim)
        if items is None:
            return None
        if rival is not None:
            others = _items(claim, scores, rival, seed)
            if others is None or len(others) != len(items):
                return None
            items = _gain_sign(claim) * (items - others)
        per_seed.append(items)
    if len({len(items) for items in per_seed}) > 1 or len(per_seed[0]) < 2:
        return None
    mean_items = np.mean(per_seed, axis=0)
    return None if np.isnan(mean_items).any() else mean_interval(mean_items)
