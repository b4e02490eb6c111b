"""A model over many vignettes: the pipeline and its rivals side by side, where stages fail, and a page to look at.

Each result is written as a record of its own as soon as it is there, and one that is there already is not made again,
so that a survey that was stopped goes on.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.files import write_atomically
from tenfold.core.pages import inside, page_environment, svg_of
from tenfold.envs.programs import Posterior, Runner
from tenfold.papers.msa.baselines import DirectLM
from tenfold.papers.msa.evaluation import Agreement, agreement, of_posteriors
from tenfold.papers.msa.method import Concept, drawn
from tenfold.papers.msa.pipeline import MSA, Result, read_record
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.vignette import Vignette
from tenfold.policies import LMBackend

STAGES = ("parse", "background and graph", "program", "the model", "answer")
WAYS = ("msa", "msa without background", "direct", "chain of thought")
PAGE = Path(__file__).parent / "survey.html.j2"


@dataclass(frozen=True)
class Survey:
    """Records of all ways over all vignettes.

    Args:
        records: way to vignette to the record of its result.
    """

    records: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def posteriors(self, way: str) -> dict[str, Posterior]:
        """What a way answered, by vignette; those without an answer are left out."""
        return {
            name: Posterior.from_plain(record["posterior"])
            for name, record in self.records[way].items()
            if record["posterior"]
        }

    def failures(self, way: str) -> dict[str, float]:
        """Share of all participants of a way who ended at each stage, and who ended with an answer."""
        ends: Counter[str] = Counter()
        for record in self.records[way].values():
            for participant in record["participants"]:
                ends[participant["problem"].partition(":")[0] or "answered"] += 1
        total = max(sum(ends.values()), 1)
        return {end: ends[end] / total for end in ("answered", *STAGES)}

    def agreements(self, gold: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Agreement | None]:
        """Each way against the gold posteriors, on the vignettes it answered."""
        found: dict[str, Agreement | None] = {}
        for way in self.records:
            ours = of_posteriors(self.posteriors(way))
            found[way] = agreement(ours, gold) if set(ours) & set(gold) else None
        return found


def survey(
    lm_of: Callable[[], LMBackend],
    vignettes: Sequence[Vignette],
    runner: Runner,
    folder: Path,
    *,
    settings: Settings,
    participants: int,
    seed: int = 0,
    ways: Sequence[str] = WAYS,
    told: Callable[[str], None] = print,
) -> Survey:
    """Ask a model about vignettes in several ways.

    Args:
        lm_of: makes the model; called for each result, so that a record does not depend on those before it.
        vignettes: to be answered.
        runner: where programs run.
        folder: for the records, ``WAY/VIGNETTE.json``.
        settings: of the pipeline.
        participants: of each result.
        seed: of everything that is drawn here.
        ways: some of :data:`WAYS`.
        told: is given a line for each new result.
    """
    records: dict[str, dict[str, Any]] = {way: {} for way in ways}
    for vignette in vignettes:
        for way in ways:
            file = folder / way.replace(" ", "-") / f"{vignette.name}.json"
            if not file.is_file():
                result = _answered(lm_of(), way, vignette, runner, settings, participants, seed)
                write_atomically(file, result.to_json())
                told(f"{vignette.name}, {way}: {_outcome(result)}")
            records[way][vignette.name] = read_record(file.read_text(encoding="utf-8"), str(file))
    return Survey(records)


def _answered(
    lm: LMBackend, way: str, vignette: Vignette, runner: Runner, settings: Settings, participants: int, seed: int
) -> Result:
    rivals = {"direct": False, "chain of thought": True}
    if way in rivals:
        return DirectLM(lm, thinks=rivals[way]).run(vignette, participants, seed)
    settings = replace(settings, has_background=way == WAYS[0])
    return MSA(lm, runner, settings=settings).run(vignette, participants, seed)


def _outcome(result: Result) -> str:
    answered = len(result.participants) - len(result.problems)
    first = f"; {result.problems[0][:100]}" if result.problems else ""
    return f"{answered} of {len(result.participants)} answered{first}"


def page(found: Survey, vignettes: Sequence[Vignette], gold: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """The survey as one HTML page: programs with conditions, graphs, posteriors beside gold and rivals."""
    sections = [_section(found, vignette, gold.get(vignette.name, {})) for vignette in vignettes]
    return (
        page_environment(PAGE.parent)
        .get_template(PAGE.name)
        .render(
            sections=sections,
            agreements=found.agreements(gold),
            failures={way: found.failures(way) for way in found.records},
            ends=("answered", *STAGES),
        )
    )


def _section(found: Survey, vignette: Vignette, gold: Mapping[str, np.ndarray]) -> dict[str, Any]:
    records = {way: records[vignette.name] for way, records in found.records.items() if vignette.name in records}
    whole = records.get(WAYS[0], {"participants": []})
    kept = next((each for each in whole["participants"] if each["program"]), None)
    return {
        "vignette": vignette,
        "program": kept["program"] if kept else "",
        "conditions": kept["posterior"]["conditions"] if kept else [],
        "graph": _image(draw_graph([Concept(name, tuple(needed)) for name, needed in kept["graph"]])) if kept else "",
        "posteriors": _image(draw_posteriors(vignette, records, gold)),
        "refused": _refused(whole),
    }


def _refused(record: Mapping[str, Any]) -> dict[str, str] | None:
    """The first program that was refused, or mended."""
    for participant in record["participants"]:
        for stage in participant["stages"]:
            for candidate in stage["candidates"]:
                if stage["name"] == "program" and candidate["problem"]:
                    return {"text": candidate["text"][:4000], "problem": candidate["problem"]}
    return None


def draw_graph(graph: Sequence[Concept]) -> Any:
    """Concepts in columns by their depth, with arrows from what they depend on."""
    from matplotlib.figure import Figure

    depth = drawn(graph)
    rows: Counter[int] = Counter()
    place = {}
    for concept in graph:
        column = depth[concept.name]
        place[concept.name] = (column, -rows[column] - 0.35 * (column % 2))
        rows[column] += 1
    columns = 1 + max(depth.values(), default=0)
    figure = Figure(figsize=(1.9 * columns + 0.6, 0.5 * max(rows.values(), default=1) + 0.8), layout="constrained")
    axes = figure.subplots()
    for concept in graph:
        for name in concept.depends_on:
            arrow = {"arrowstyle": "-|>", "color": "#8a8f98", "shrinkA": 22, "shrinkB": 24}
            axes.annotate("", xy=place[concept.name], xytext=place[name], arrowprops=arrow)
    for name, (x, y) in place.items():
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "#1f6f8b"}
        axes.text(x, y, name, ha="center", va="center", fontsize=8, bbox=box, parse_math=False)
    lowest = min((y for _, y in place.values()), default=0)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(lowest - 0.6, 0.6))
    axes.axis("off")
    return figure


def draw_posteriors(
    vignette: Vignette, records: Mapping[str, Mapping[str, Any]], gold: Mapping[str, np.ndarray]
) -> Any:
    """For each question the gold posterior, and what each way says, as quantiles."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * len(vignette.queries), 0.34 * len(records) + 1.4), layout="constrained")
    grid = figure.subplots(1, len(vignette.queries), squeeze=False)[0]
    labels = ["gold program", *records]
    for axes, query in zip(grid, vignette.query_names, strict=True):
        for row, label in enumerate(labels):
            samples = gold.get(query) if not row else _samples(records[label], query)
            if samples is not None and len(samples):
                low, median, high = np.quantile(samples, [0.1, 0.5, 0.9])
                colour = "#16181d" if not row else "#1f6f8b" if row == 1 else "#8a8f98"
                axes.plot([low, high], [row, row], color=colour, lw=2)
                axes.plot([median], [row], "o", color=colour, ms=5)
        axes.set(xlim=vignette.ranges[query], title=query, yticks=range(len(labels)), ylim=(len(labels) - 0.5, -0.5))
        axes.set_yticklabels(labels if axes is grid[0] else [], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _samples(record: Mapping[str, Any], query: str) -> np.ndarray | None:
    if not record["posterior"]:
        return None
    return np.array(Posterior.from_plain(record["posterior"])[query].resample(2000))


def _image(figure: Any) -> str:
    return inside("svg+xml", svg_of(figure))
