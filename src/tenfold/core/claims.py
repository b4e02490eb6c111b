"""Verdicts: what the seeds of a run say about a claim.

Every claim is judged by a 95 % interval of one quantity, paired over the seeds that both arms finished:

    superiority      gain = arm - baseline (baseline - arm where lower is better)   supported iff  lower bound >  margin
    non_inferiority  the same gain                                                  supported iff  lower bound > -margin
    threshold        the metric itself                                              supported iff  lower bound >  margin
    exact            the metric itself, or arm - baseline                           supported iff every seed hits it

*Not supported* iff the other bound lies beyond the same line, else *undecided*. Where lower is better, a
threshold is met from below. With fewer than three seeds the verdict is undecided, and the interval is over
held-out items where the recipe kept them. The interval is Student's t: with its lower bound alone, at most
2.5 % of claims without an effect are called supported, however many seeds there are.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tenfold.core.types import Claim, Judgement, Scores, Verdict

SEEDS_FOR_A_VERDICT = 3
CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 100

ScoresByArm = Mapping[str, Mapping[int, Scores]]


def judge_all(claims: Sequence[Claim], scores: ScoresByArm) -> tuple[Judgement, ...]:
    """Judge each claim whose arms have a finished seed in common.

    Args:
        claims: the claims of a recipe.
        scores: arm to seed to scores, finished cells only.
    """
    return tuple(judge(claim, scores) for claim in claims if common_seeds(claim, scores))


def judge(claim: Claim, scores: ScoresByArm) -> Judgement:
    """Judge one claim.

    Args:
        claim: the claim.
        scores: arm to seed to scores; seeds that only one of the claim's arms has do not enter.

    Returns:
        The judgement. ``effect`` and ``interval`` are the gain in the good direction for ``superiority`` and
        ``non_inferiority``, and the metric's own value for ``threshold`` and ``exact``.

    Raises:
        KeyError: an arm did not report the claim's metric.
        ValueError: the arms have no seed in common.

    Example:
        >>> claim = Claim("a", "A beats B.", "superiority", "test/exact", "test", "A", "B", "higher", 0.0, "steps")
        >>> scores = {arm: {k: Scores({"test/exact": base + k / 100}) for k in range(3)}
        ...           for arm, base in (("A", 0.5), ("B", 0.2))}
        >>> judge(claim, scores).verdict
        'supported'
    """
    seeds = common_seeds(claim, scores)
    if not seeds:
        raise ValueError(f"claim {claim.id!r}: its arms have no finished seed in common")
    values = np.array([_quantity(claim, scores, seed) for seed in seeds])
    if np.isnan(values).any():
        missing = ", ".join(str(seed) for seed, value in zip(seeds, values, strict=True) if math.isnan(value))
        note = f"{claim.metric} is not a number for seed {missing}"
        return Judgement(claim, math.nan, None, "nothing", len(seeds), "undecided", note)
    effect = float(values.mean())
    if len(seeds) < SEEDS_FOR_A_VERDICT:
        interval = _interval_over_items(claim, scores, seeds)
        note = f"a verdict needs at least {SEEDS_FOR_A_VERDICT} seeds"
        return Judgement(
            claim, effect, interval, "nothing" if interval is None else "items", len(seeds), "undecided", note
        )
    interval = mean_interval(values)
    verdict: Verdict
    if claim.kind == "exact":
        verdict = "supported" if (values == line_of(claim)).all() else "not supported"
    else:
        verdict = _verdict(interval, line_of(claim), meets_from_below=_meets_from_below(claim))
    note = _undecided_note(values, line_of(claim)) if verdict == "undecided" else ""
    return Judgement(claim, effect, interval, "seeds", len(seeds), verdict, note)


def common_seeds(claim: Claim, scores: ScoresByArm) -> list[int]:
    """The seeds, in increasing order, that all arms of the claim have finished."""
    seeds = set(scores.get(claim.arm, {}))
    if claim.baseline is not None:
        seeds &= set(scores.get(claim.baseline, {}))
    return sorted(seeds)


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean.

    Args:
        values: at least two numbers, [n].

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    if np.ptp(array) == 0:  # the mean of equal numbers may differ from them by rounding
        return float(array[0]), float(array[0])
    error = array.std(ddof=1) / math.sqrt(len(array))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1) * error)
    mean = float(array.mean())
    return mean - half, mean + half


def seeds_to_decide(values: Sequence[float] | np.ndarray, line: float) -> int | None:
    """How many seeds would probably (4 times in 5) put the interval on one side of ``line``.

    Takes the observed mean and standard deviation for the true ones: power of the t test, by the noncentral t.

    Args:
        values: the quantity for each seed so far, [n].
        line: the value that the interval must not contain.

    Returns:
        A number above ``n``, or ``None`` when 100 seeds would not do.

    Example:
        >>> seeds_to_decide([0.0, 0.1, 0.2], line=0.0)
        10
    """
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    deviation = array.std(ddof=1)
    if deviation == 0.0:
        return None
    candidates = np.arange(len(array) + 1, MOST_SEEDS + 1)
    needed = stats.t.ppf((1 + CONFIDENCE) / 2, candidates - 1)
    shift = abs(array.mean() - line) / deviation * np.sqrt(candidates)
    enough = candidates[stats.nct.sf(needed, candidates - 1, shift) >= POWER]
    return int(enough[0]) if len(enough) else None


def count_of_seeds(count: int) -> str:
    """``1 seed``, ``2 seeds`` and so on."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def verdict_text(judgement: Judgement) -> str:
    """The verdict as it is printed; with too few seeds it says how many there were.

    Example:
        >>> claim = Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps")
        >>> verdict_text(judge(claim, {"A": {0: Scores({"test/exact": 0.9})}}))
        'undecided (1 seed)'
    """
    few = judgement.verdict == "undecided" and judgement.seeds < SEEDS_FOR_A_VERDICT
    return f"undecided ({count_of_seeds(judgement.seeds)})" if few else judgement.verdict


def line_of(claim: Claim) -> float:
    """The value on whose good side the interval must lie: the margin, minus the margin for non-inferiority."""
    if claim.kind == "non_inferiority":
        return -claim.margin
    if claim.kind == "exact" and claim.baseline is not None:
        return 0.0
    return claim.margin


def _metric(claim: Claim, scores: ScoresByArm, arm: str, seed: int) -> float:
    metrics = scores[arm][seed].metrics
    if claim.metric not in metrics:
        raise KeyError(f"claim {claim.id!r} needs the metric {claim.metric!r}, which arm {arm!r} did not report")
    return float(metrics[claim.metric])


def _is_comparison(claim: Claim) -> bool:
    return claim.kind in ("superiority", "non_inferiority")


def _gain_sign(claim: Claim) -> float:
    return -1.0 if _is_comparison(claim) and claim.direction == "lower" else 1.0


def _meets_from_below(claim: Claim) -> bool:
    return claim.kind == "threshold" and claim.direction == "lower"


def _quantity(claim: Claim, scores: ScoresByArm, seed: int) -> float:
    value = _metric(claim, scores, claim.arm, seed)
    if claim.baseline is None or claim.kind == "threshold":
        return value
    return _gain_sign(claim) * (value - _metric(claim, scores, claim.baseline, seed))


def _verdict(interval: tuple[float, float], line: float, *, meets_from_below: bool) -> Verdict:
    low, high = interval
    if meets_from_below:
        low, high, line = -high, -low, -line
    if low > line:
        return "supported"
    return "not supported" if high < line else "undecided"


def _undecided_note(values: np.ndarray, line: float) -> str:
    needed = seeds_to_decide(values, line)
    amount = f"more than {MOST_SEEDS}" if needed is None else f"about {needed}"
    return f"the interval contains {line:g}; {amount} seeds would probably decide it"


def _interval_over_items(claim: Claim, scores: ScoresByArm, seeds: Sequence[int]) -> tuple[float, float] | None:
    """Interval of the judged quantity over held-out items, paired over items; ``None`` where items are missing.

    Items at one position are averaged over the seeds first, which is right whether or not the seeds share them.
    """
    per_seed = []
    for seed in seeds:
        values = scores[claim.arm][seed].items.get(claim.metric)
        if values is None:
            return None
        items = np.asarray(values, dtype=np.float64)
        if claim.baseline is not None and claim.kind != "threshold":
            baseline_values = scores[claim.baseline][seed].items.get(claim.metric)
            if baseline_values is None or len(baseline_values) != len(items):
                return None
            items = _gain_sign(claim) * (items - np.asarray(baseline_values, dtype=np.float64))
        per_seed.append(items)
    if len({len(items) for items in per_seed}) > 1 or len(per_seed[0]) < 2:
        return None
    mean_items = np.mean(per_seed, axis=0)
    return None if np.isnan(mean_items).any() else mean_interval(mean_items)
