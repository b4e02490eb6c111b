"""How near answers are: to a gold program's posterior, or to people. The two are not the same.

R² is between mean judgments over (vignette, question) pairs; Wasserstein-1 between pooled samples of a question, then
averaged. Intervals resample vignettes, and with people also participants.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.programs import Marginal, Posterior
from tenfold.eval.distributions import bootstrap_interval, r_squared, wasserstein_1

COLUMNS = ("participant", "vignette", "query", "click", "value")
GOLD_FILE = Path(__file__).parent / "vignettes" / "gold.npz"
GOLD_SAMPLES, GOLD_SEED, GOLD_STEP = 10_000, 0, 0.1


@dataclass(frozen=True)
class Agreement:
    """How near two sets of judgments are.

    Args:
        r2: of mean judgments; NaN for fewer than three questions.
        wasserstein: mean over questions, in units of the scale.
        r2_interval: 95 %.
        wasserstein_interval: 95 %.
        questions: pairs of vignette and question that both sides have.
    """

    r2: float
    wasserstein: float
    r2_interval: tuple[float, float]
    wasserstein_interval: tuple[float, float]
    questions: int


Judgments = Mapping[str, Mapping[str, np.ndarray]]
"""Vignette to query to samples of equal weight."""


def gold_posteriors() -> dict[str, dict[str, np.ndarray]]:
    """The stored posteriors of the gold programs, sorted samples."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(GOLD_FILE) as stored:
        for name in stored.files:
            vignette, query = name.split("/")
            found.setdefault(vignette, {})[query] = stored[name] * GOLD_STEP
    return found


def of_posteriors(posteriors: Mapping[str, Posterior], samples: int = 2000) -> dict[str, dict[str, np.ndarray]]:
    """Posteriors as samples of equal weight."""
    return {
        name: {query: posterior[query].resample(samples) for query in posterior.queries}
        for name, posterior in posteriors.items()
    }


def agreement(ours: Judgments, theirs: Judgments, *, seed: int = 0) -> Agreement:
    """Compare two sets of judgments on what both have.

    Raises:
        UserError: they have nothing in common.
    """
    shared = {name: [q for q in ours[name] if q in theirs[name]] for name in ours if name in theirs}
    shared = {name: queries for name, queries in shared.items() if queries}
    if not shared:
        raise UserError(
            f"no question in common; ours: {', '.join(ours) or 'none'}; theirs: {', '.join(theirs) or 'none'}"
        )
    rows = [
        [(ours[name][q].mean(), theirs[name][q].mean(), wasserstein_1(ours[name][q], theirs[name][q])) for q in queries]
        for name, queries in shared.items()
    ]

    def pick(index: np.ndarray) -> np.ndarray:
        return np.array([row for i in index for row in rows[i]])

    def r2(index: np.ndarray) -> float:
        chosen = pick(index)
        return r_squared(chosen[:, 0], chosen[:, 1]) if len(chosen) > 2 else float("nan")

    def distance(index: np.ndarray) -> float:
        return float(pick(index)[:, 2].mean())

    everything = np.arange(len(rows))
    return Agreement(
        r2(everything),
        distance(everything),
        bootstrap_interval(r2, len(rows), seed=seed) if len(rows) > 1 else (float("nan"), float("nan")),
        bootstrap_interval(distance, len(rows), seed=seed),
        len(pick(everything)),
    )


@dataclass(frozen=True)
class People:
    """Judgments of people.

    Args:
        clicks: participant to vignette to query to values.
    """

    clicks: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

    def pooled(self, participants: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
        """All clicks of some participants, all of them by default; one who is named twice counts twice."""
        chosen: dict[str, dict[str, list[float]]] = {}
        for participant in self.clicks if participants is None else participants:
            for vignette, queries in self.clicks[participant].items():
                for query, values in queries.items():
                    chosen.setdefault(vignette, {}).setdefault(query, []).extend(values)
        return {v: {q: np.array(values) for q, values in queries.items()} for v, queries in chosen.items()}

    def split_half(self, seed: int = 0) -> Agreement | None:
        """Half of the participants against the other half: what a model can at best be asked for."""
        order = [list(self.clicks)[i] for i in np.random.default_rng(seed).permutation(len(self.clicks))]
        if len(order) < 2:
            return None
        half = len(order) // 2
        return agreement(self.pooled(order[:half]), self.pooled(order[half:]))


def load_people(path: str | Path) -> People:
    """A long table: participant, vignette, query, click, value.

    Raises:
        UserError: with the line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"human data is {str(path)!r}, which does not exist; allowed: a CSV file")
    clicks: dict[str, dict[str, dict[str, list[float]]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(f"{path}: has no column {missing[0]}; needed: {', '.join(COLUMNS)}")
        seen = set()
        for row in reader:
            key = tuple(row[column] for column in COLUMNS[:-1])
            where = f"{path}:{reader.line_num}"
            if None in key or "" in key:
                raise UserError(f"{where}: a field is empty; needed: {', '.join(COLUMNS)}")
            if key in seen:
                raise UserError(f"{where}: the same participant, vignette, query and click stand there twice")
            seen.add(key)
            try:
                value = float(row["value"])
            except (TypeError, ValueError):
                value = float("nan")
            if not np.isfinite(value):
                raise UserError(f"{where}: value is {row['value']!r}; allowed: a number")
            participant, vignette, query, _ = key
            clicks.setdefault(participant, {}).setdefault(vignette, {}).setdefault(query, []).append(value)
    if not clicks:
        raise UserError(f"{path}: has no rows")
    return People(clicks)


def against_people(ours: Judgments, people: People, *, resamples: int = 300, seed: int = 0) -> Agreement:
    """Agreement with people, with intervals over participants and vignettes at once."""
    whole = agreement(ours, people.pooled())
    names = list(people.clicks)
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        pooled = people.pooled([names[i] for i in generator.integers(len(names), size=len(names))])
        chosen = [name for name in ours if name in pooled]
        if not chosen:
            continue
        drawn = [chosen[i] for i in generator.integers(len(chosen), size=len(chosen))]
        rows = [
            (ours[name][q].mean(), pooled[name][q].mean(), wasserstein_1(ours[name][q], pooled[name][q]))
            for name in drawn
            for q in ours[name]
            if q in pooled[name]
        ]
        table = np.array(rows)
        found.append((r_squared(table[:, 0], table[:, 1]) if len(table) > 2 else np.nan, table[:, 2].mean()))
    bounds = np.nanquantile(np.array(found), [0.025, 0.975], axis=0)
    (r_low, w_low), (r_high, w_high) = bounds.tolist()
    return Agreement(whole.r2, whole.wasserstein, (r_low, r_high), (w_low, w_high), whole.questions)


def store_gold() -> None:
    """Write the gold posteriors anew; for whoever changes a gold program."""
    from tenfold.envs.programs import InThisProcess, infer
    from tenfold.papers.msa.vignette import vignettes

    stored = {}
    for vignette in vignettes():
        posterior = infer(
            vignette.gold_program,
            n=GOLD_SAMPLES,
            seed=GOLD_SEED,
            max_attempts=10**9,
            max_seconds=600,
            queries=vignette.query_names,
            runner=InThisProcess(),
        )
        for query in posterior.queries:
            marginal: Marginal = posterior[query]
            samples = np.sort(marginal.resample(GOLD_SAMPLES, GOLD_SEED))
            stored[f"{vignette.name}/{query}"] = np.rint(samples / GOLD_STEP).astype(np.int32)
    np.savez_compressed(GOLD_FILE, allow_pickle=False, **stored)
