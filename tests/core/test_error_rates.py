"""How often a claim without an effect is called supported: simulations of the rule, and the table in the documentation.

All draws are keyed, so the rates are the same at every run.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from tenfold.core.claims import error_of_look, judge
from tenfold.core.statistics import mean_interval
from tenfold.core.types import Claim, Looks, Scores

METRIC = "test/gain"
TRIALS = 40_000
CLAIM = Claim("c", "A claim.", "threshold", METRIC, "test", "method", None, "higher", 0.0, "equal steps")
DOCUMENT = Path(__file__).parents[2] / "docs" / "verdicts.md"


def lows(values, error):
    """Lower bounds of the interval of each row, [trials], as ``mean_interval`` gives them for one."""
    from scipy.special import stdtrit

    count = values.shape[1]
    half = stdtrit(count - 1, 1 - error) * values.std(1, ddof=1) / np.sqrt(count)
    return values.mean(1) - half


def normal(trials, seeds, key=0):
    return np.random.default_rng(key).normal(size=(trials, seeds))


def lognormal(trials, seeds, key=0):
    """Mean 0, the long tail on the bad side: few seeds mostly miss it, and look better than they are."""
    draws = np.random.default_rng(key).lognormal(0.0, 1.0, (trials, seeds))
    return np.exp(0.5) - draws


def test_the_simulated_bound_is_that_of_the_rule():
    values = normal(50, 6)
    for look in (1, 3):
        error = error_of_look(look)
        assert lows(values, error) == pytest.approx([mean_interval(row, error)[0] for row in values])
    judged = [judge(CLAIM, {"method": {k: Scores({METRIC: v}) for k, v in enumerate(row)}}, Looks(tuple(range(6))))
              for row in values]  # fmt: skip
    assert [one.verdict == "supported" for one in judged] == (lows(values, error_of_look(1)) > 0).tolist()


@pytest.mark.parametrize("seeds", [5, 6, 8, 12])
def test_at_the_plan_at_most_26_in_a_thousand_are_supported(seeds):
    assert (lows(normal(TRIALS, seeds), error_of_look(1)) > 0).mean() <= 0.026


@pytest.mark.parametrize("step", [1, 2, 5])
def test_over_any_path_of_looks_up_to_thirty_seeds_at_most_five_percent_are(step):
    values, found = normal(TRIALS, 30), np.zeros(TRIALS, bool)
    for look, seeds in enumerate(range(5, 31, step), start=1):
        found |= lows(values[:, :seeds], error_of_look(look)) > 0
    assert 0.025 < found.mean() <= 0.05
    if step == 1:
        assert f"it was {100 * found.mean():.1f} %" in DOCUMENT.read_text(encoding="utf-8")


def test_looking_on_without_counting_is_what_the_rule_prevents():
    values, found = normal(TRIALS, 30), np.zeros(TRIALS, bool)
    for seeds in range(5, 31):
        found |= lows(values[:, :seeds], error_of_look(1)) > 0
    assert f"it would be {100 * found.mean():.1f} %" in DOCUMENT.read_text(encoding="utf-8")


def test_over_several_plans_on_fresh_seeds_at_most_five_percent_are():
    counted, fresh = np.zeros(TRIALS, bool), np.zeros(TRIALS, bool)
    for plan in range(1, 5):
        values = normal(TRIALS, 5, plan)
        counted |= lows(values, error_of_look(plan)) > 0
        fresh |= lows(values, error_of_look(1)) > 0
    assert counted.mean() <= 0.05
    assert fresh.mean() == pytest.approx(1 - 0.975**4, abs=0.005), "four plans without counting"


RATES = {"normal": normal, "lognormal, the tail on the bad side": lognormal}
SEEDS = (3, 5, 6, 8, 12, 20)


def test_the_table_of_the_documentation_is_what_the_simulation_gives():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, draw in RATES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
        written = [float(cell) for cell in re.findall(r"([\d.]+) %", row)]
        measured = [100 * (lows(draw(TRIALS, seeds, seeds), error_of_look(1)) > 0).mean() for seeds in SEEDS]
        assert written == pytest.approx(measured, abs=0.06), name
