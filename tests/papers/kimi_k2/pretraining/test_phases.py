"""The published phases: their ends are exact, their joints continuous, their lengths those of the report."""

import pytest

from tenfold.optim import phased
from tenfold.papers.kimi_k2.pretraining.phases import BATCH_TOKENS, PUBLISHED, in_steps


def rate(step):
    return phased(step, phases=in_steps())


def test_the_lengths_are_those_of_the_report():
    assert pytest.approx(67e6, rel=0.005) == BATCH_TOKENS
    lengths = [steps for steps, _, _ in in_steps()]
    assert lengths[0] == 500
    assert sum(lengths[1:3]) == pytest.approx(231_000, rel=1e-3)  # 15.5T tokens
    assert sum(phase.tokens for phase in PUBLISHED) == 15.5e12 + 460e9


def test_each_phase_ends_at_its_published_rate():
    step, ends = 0, []
    for steps, _, end in in_steps():
        step += steps
        ends.append(rate(step))
        assert ends[-1] == end
        assert rate(step + 1) == pytest.approx(rate(step), rel=2e-3), "a jump at the joint"
    assert ends[:3] == [2e-4, 2e-4, 2e-5] and ends[-1] == 7e-6
    assert rate(step + 10_000) == 7e-6


def test_the_anneal_is_one_line_over_both_of_its_phases():
    begin, middle, end = (sum(steps for steps, _, _ in in_steps()[:count]) for count in (3, 4, 5))
    slopes = [(rate(middle) - rate(begin)) / (middle - begin), (rate(end) - rate(middle)) / (end - middle)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
