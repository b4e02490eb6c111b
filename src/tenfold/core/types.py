"""The types that flow between recipes, the runner and the report. Nothing here imports torch.

A recipe returns :class:`Scores` for one (arm, seed) cell; the runner judges each :class:`Claim` over the
seeds and writes a :class:`Report`. Metric names are ``group/name`` and unique within a paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ClaimKind = Literal["superiority", "non_inferiority", "threshold", "exact"]
Direction = Literal["higher", "lower"]
Verdict = Literal["supported", "not supported", "undecided"]


@dataclass(frozen=True)
class Scores:
    """What one arm with one seed measured.

    Args:
        metrics: final value of each metric, ``group/name`` to number; every arm of a recipe reports the
            metrics that its claims need.
        items: for some of those metrics the value on each held-out item, from which the interval over
            items is taken when there are too few seeds.
        curves: learning curves, name to ``(step, value)`` pairs in increasing step.
        samples: JSON-able material for the recipe's figures (boards, texts), never large.
    """

    metrics: Mapping[str, float]
    items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper, as data that a run can judge.

    Args:
        id: short and unique within the paper.
        text: the claim in a sentence.
        kind: ``superiority`` and ``non_inferiority`` compare ``arm`` with ``baseline``; ``threshold``
            compares ``arm`` with ``margin``; ``exact`` asks that every seed equals ``margin`` (or, when a
            baseline is named, that every seed equals the baseline's value).
        metric: the metric's ``group/name``.
        split: the data on which the metric is taken.
        arm: the arm the claim is about.
        baseline: the arm it is compared with; ``None`` for ``threshold``, optional for ``exact``.
        direction: whether larger values of the metric are better.
        margin: superiority: least gain; non-inferiority: largest tolerated loss (not negative);
            threshold and exact: the value itself.
        budget: what was held equal between the arms, in words.
    """

    id: str
    text: str
    kind: ClaimKind
    metric: str
    split: str
    arm: str
    baseline: str | None
    direction: Direction
    margin: float
    budget: str


@dataclass(frozen=True)
class Judgement:
    """A claim with what the run says about it.

    Args:
        claim: the claim.
        effect: mean over seeds of the judged quantity, in the metric's own sign.
        interval: 95 % interval of ``effect``: over seeds from three on, else over held-out items when the
            recipe gives them, else ``None``.
        interval_over: what the interval is taken over.
        seeds: the number of seeds that entered.
        verdict: see ``core.claims``.
        note: why undecided, and how many seeds would probably decide it; empty otherwise.
    """

    claim: Claim
    effect: float
    interval: tuple[float, float] | None
    interval_over: Literal["seeds", "items", "nothing"]
    seeds: int
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that a finished or partly finished run knows: what ``report.html`` and ``report.json`` are made of.

    Args:
        paper: folder name of the paper.
        preset: name of the preset the configuration started from.
        seeds: the seeds asked for.
        scores: arm to seed to scores, finished cells only.
        judgements: one for each claim whose arms are finished for at least one seed.
        facts: command, commit, tree_clean, date, hardware, versions, seconds, as in ``run.json``.
        config: the resolved configuration as plain data.
    """

    paper: str
    preset: str
    seeds: Sequence[int]
    scores: Mapping[str, Mapping[int, Scores]]
    judgements: Sequence[Judgement]
    facts: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A figure that a recipe adds to the report.

    Args:
        name: file name without suffix, unique within the report.
        title: heading above it.
        caption: what is to be seen, in a sentence or two.
        figure: a ``matplotlib.figure.Figure``.
    """

    name: str
    title: str
    caption: str
    figure: Any
