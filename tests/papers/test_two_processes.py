"""The smoke of every study on two processes (gloo, CPU), by ``accelerate launch``, gives the numbers of one process."""

from fnmatch import fnmatch

import pytest

from tenfold.core import discovery

STUDIES = discovery.studies()
ROUNDING = "a rounding error decides which token is sampled, and what follows from it"
APART = (
    # A study, the names of its numbers, how far from those of one process they may be (None: anywhere), and why.
    ("universal_pretraining", "noniterated/*", None, "each process generates random computation of its own"),
    ("sem", "*/reinforcement/*", None, ROUNDING),
    ("sem", "*/test/*", None, ROUNDING),
    ("sem", "*/start/*", None, ROUNDING),
    ("sem", "*", 1e-2, "Newton-Schulz in bfloat16 enlarges rounding errors"),
    ("cort", "*/test/*", None, ROUNDING),
    ("cort", "*/base*/*", None, ROUNDING),
    ("iw_sft", "*/values/*", 1e-2, "the asymmetric loss weighs a difference by its sign"),
    ("kimi_k2/agentic", "*/test/[!s]*", None, ROUNDING),
    ("kimi_k2/agentic", "*/test/success", None, ROUNDING),
    ("kimi_k2/agentic", "*/test/score", None, ROUNDING),
    ("kimi_k2/agentic", "grpo/*", None, ROUNDING),
    ("kimi_k2/agentic", "k2*", None, ROUNDING),
    ("kimi_k2/agentic", "*/training_graphs/*", None, ROUNDING),
    ("kimi_k2/agentic", "*/more_failures/*", None, ROUNDING),
    ("kimi_k2", "*/stress/*", 1e-1, "logits explode there on purpose, and rounding errors with them"),
)

pytestmark = [pytest.mark.alone, pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)]


@pytest.fixture
def runs(study, by_one_and_two_processes):
    return by_one_and_two_processes(study.name)


def losses_and_metrics(run):
    """Values by name, ``arm/metric`` or ``arm/curve``, without what depends on the clock; stages have curves alone."""
    found = {}
    for arm, scores in run["arms"].items():
        found |= {f"{arm}/{name}": [[0, value]] for name, value in scores["metrics"].items() if not is_timed(name)}
        found |= losses_of(arm, scores["curves"])
    for stage, curves in run["stages"].items():
        found |= losses_of(stage, curves)
    return found


def is_timed(name):
    return name.startswith("cost/")


def losses_of(place, curves):
    return {f"{place}/{name}": points for name, points in curves.items() if name.endswith("loss")}


def tolerance(study, name):
    """Relative: of losses 1e-4; of metrics, which count answers and fill bins, 1e-2."""
    promised = (allowed for of, names, allowed, _ in APART if of == study and fnmatch(name, names))
    return next(promised, 1e-4 if name.endswith("loss") else 1e-2)


def test_both_processes_have_the_scores_of_which_one_report_is_written(runs):
    first, second = (run["arms"] for run in runs.two)
    for arm, scores in first.items():
        for part in ("metrics", "items"):
            ours, theirs = ({k: v for k, v in of[part].items() if not is_timed(k)} for of in (scores, second[arm]))
            assert ours == theirs, (arm, part)
        assert scores["samples"] == second[arm]["samples"], arm
    assert (runs.folder / "report.html").is_file()
    assert {path.parents[1].name for path in runs.folder.rglob("scores.json")} == set(first)


def test_two_processes_measure_what_one_does_at_the_same_steps(runs):
    for arm, scores in runs.one["arms"].items():
        assert list(runs.two[0]["arms"][arm]["metrics"]) == list(scores["metrics"]), arm
    one, two = steps_of(runs.one), steps_of(runs.two[0])
    assert one == two and any(name.endswith("train/loss") for name in one)


def steps_of(run):
    return {name: [step for step, _ in points] for name, points in losses_and_metrics(run).items()}


def test_two_processes_have_the_losses_and_metrics_of_one(study, runs):
    two = losses_and_metrics(runs.two[0])
    for name, points in losses_and_metrics(runs.one).items():
        allowed = tolerance(study.name, name)
        if allowed is not None:
            expected = [value if value is None else pytest.approx(value, abs=1e-5, rel=allowed) for _, value in points]
            assert [value for _, value in two[name]] == expected, name
