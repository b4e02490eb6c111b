"""What inference gives: weighted samples for each query, with the story of how they were found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.seeding import numpy_generator
from tenfold.envs.programs.inside.running import effective

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Unsatisfiable(Exception):
    """No particle met all conditions of a program.

    Args:
        message: one line that names the condition, and the other one with which it conflicts, by their sentences.
        conditions: the conditions in the order of the program; see :class:`Posterior`.
        conflict: numbers of the conditions that the message names.
    """

    def __init__(self, message: str, conditions: Sequence[Mapping[str, Any]], conflict: Sequence[int]) -> None:
        super().__init__(message)
        self.conditions, self.conflict = list(conditions), list(conflict)


@dataclass(frozen=True)
class Marginal:
    """Weighted samples of one query.

    Args:
        samples: [N].
        weights: [N], their sum is 1.

    Example:
        >>> Marginal(np.array([0.0, 10.0]), np.array([0.25, 0.75])).mean()
        7.5
    """

    samples: np.ndarray
    weights: np.ndarray

    def mean(self) -> float:
        """Expected value."""
        return float(self.samples @ self.weights)

    def sd(self) -> float:
        """Standard deviation."""
        return math.sqrt(max(float(np.square(self.samples - self.mean()) @ self.weights), 0.0))

    def expectation(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """Expected value of a function that takes and gives arrays [N]."""
        return float(np.asarray(function(self.samples), dtype=float) @ self.weights)

    def quantile(self, share: float) -> float:
        """The smallest sample below or at which at least this share of the weight lies."""
        order = np.argsort(self.samples, kind="stable")
        reached = np.cumsum(self.weights[order])
        place = int(np.searchsorted(reached, share - 1e-12))
        return float(self.samples[order][min(place, len(order) - 1)])

    def hist(self, bins: int = 20, range: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Weight in each bin [bins], and the edges [bins + 1]."""
        return np.histogram(self.samples, bins=bins, range=range, weights=self.weights)

    def resample(self, k: int, seed: int = 0) -> np.ndarray:
        """``k`` samples of equal weight, drawn with replacement."""
        return numpy_generator(seed, "resample").choice(self.samples, size=k, p=self.weights)


@dataclass(frozen=True)
class Posterior:
    """Samples for each query of a program.

    Args:
        samples: query to values [N].
        weights: [N], their sum is 1; shared by all queries.
        method: of inference, as it was chosen.
        reason: why that one.
        executor: ``vector`` or ``scalar``; behind the latter, in brackets, why.
        attempts: particles that were started.
        accepted: particles that met all conditions.
        complete: whether there are as many, accepted or effective, as were asked for.
        seconds: of wall time.
        conditions: for each condition ``line``, ``text``, ``sentence``, and how many particles ``reached`` and
            ``passed`` it.
    """

    samples: Mapping[str, np.ndarray]
    weights: np.ndarray
    method: str
    reason: str = ""
    executor: str = ""
    attempts: int = 0
    accepted: int = 0
    complete: bool = True
    seconds: float = 0.0
    conditions: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def __getitem__(self, query: str) -> Marginal:
        return Marginal(self.samples[query], self.weights)

    @property
    def queries(self) -> list[str]:
        """Names of the queries."""
        return list(self.samples)

    @property
    def acceptance(self) -> float:
        """Share of the particles that met all conditions."""
        return self.accepted / self.attempts if self.attempts else math.nan

    @property
    def effective_size(self) -> float:
        """Effective sample size, (Σw)² / Σw²."""
        with np.errstate(divide="ignore"):
            return effective(np.log(self.weights))

    def summary(self) -> list[dict[str, Any]]:
        """A row for each query: mean, standard deviation, 5 %, 50 % and 95 % quantile."""
        rows = []
        for query in self.queries:
            one = self[query]
            quantiles = {f"q{share}": one.quantile(share / 100) for share in (5, 50, 95)}
            rows.append({"query": query, "mean": one.mean(), "sd": one.sd(), **quantiles})
        return rows

    def out_of_range(self, ranges: Mapping[str, tuple[float, float]]) -> list[str]:
        """What is wrong with the scale of the answers, one line a query; empty if nothing.

        Args:
            ranges: query to the smallest and the largest value that was declared. An answer that lies within 0 to 1
                throughout, though 0 to 100 is declared, is a share where a percentage was wanted.
        """
        problems = []
        for query, (low, high) in ranges.items():
            if query not in self.samples:
                problems.append(f"query {query!r} has no answer")
                continue
            least, most = float(self.samples[query].min()), float(self.samples[query].max())
            if least < low - 1e-9 or most > high + 1e-9:
                problems.append(f"query {query!r} has values from {least:g} to {most:g}; declared: {low:g} to {high:g}")
            elif (low, high) == (0, 100) and 0 <= least < most <= 1:
                problems.append(f"query {query!r} lies within 0 to 1; declared: 0 to 100, so multiply it by 100")
        return problems

    def plot(self) -> "Figure":
        """A histogram of each query."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.2 * len(self.queries), 2.4), layout="constrained")
        for axes, query in zip(figure.subplots(1, len(self.queries), squeeze=False)[0], self.queries, strict=True):
            axes.hist(self.samples[query], bins=25, weights=self.weights, color="tab:blue")
            axes.set(title=query, yticks=[])
        return figure

    def to_plain(self) -> dict[str, Any]:
        """The posterior as JSON-able data."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["samples"] = {query: values.tolist() for query, values in self.samples.items()}
        return plain | {"weights": self.weights.tolist(), "conditions": [dict(row) for row in self.conditions]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Posterior":
        """The posterior that :meth:`to_plain` wrote."""
        samples = {query: np.array(values, dtype=float) for query, values in plain["samples"].items()}
        return cls(**{**plain, "samples": samples, "weights": np.array(plain["weights"], dtype=float)})


def pooled(posteriors: Sequence[Posterior], n: int, seed: int = 0) -> Posterior:
    """Equal numbers of samples from each of several posteriors of the same queries, ``n`` from each."""
    first = posteriors[0]
    parts: dict[str, list[np.ndarray]] = {query: [] for query in first.queries}
    for number, posterior in enumerate(posteriors):
        generator = numpy_generator(seed, "pool", number)
        index = generator.choice(len(posterior.weights), size=n, p=posterior.weights)
        for query in first.queries:
            parts[query].append(posterior.samples[query][index])
    samples = {query: np.concatenate(columns) for query, columns in parts.items()}
    total = n * len(posteriors)
    return Posterior(
        samples,
        np.full(total, 1.0 / total),
        method="pooled",
        reason=f"{n} samples from each of {len(posteriors)}",
        executor=first.executor,
        attempts=sum(posterior.attempts for posterior in posteriors),
        accepted=sum(posterior.accepted for posterior in posteriors),
        complete=all(posterior.complete for posterior in posteriors),
        seconds=sum(posterior.seconds for posterior in posteriors),
    )
