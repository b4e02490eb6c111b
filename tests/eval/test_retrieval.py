"""Recall and hit rate on searches that can be counted by hand."""

import pytest

from tenfold.core.errors import UserError
from tenfold.eval.retrieval import hit_rate, recall

FOUND = [["a", "b", "c"], ["a"], [], ["d", "d"]]
WANTED = [["a", "c", "x", "y"], ["a"], ["a"], ["d", "d", "e"]]


def test_shares_are_averaged_over_questions():
    assert recall(FOUND, WANTED) == pytest.approx((2 / 4 + 1 + 0 + 1 / 2) / 4)
    assert hit_rate(FOUND, WANTED) == 3 / 4


@pytest.mark.parametrize("share", [recall, hit_rate])
@pytest.mark.parametrize(("found", "wanted"), [([], []), ([["a"]], []), ([["a"]], [[]])])
def test_what_is_refused(share, found, wanted):
    with pytest.raises(UserError, match="allowed: equally many of both"):
        share(found, wanted)
