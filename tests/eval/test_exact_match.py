"""Normalised exact match."""

import pytest

from tenfold.eval.exact_match import exact_match, normalized


@pytest.mark.parametrize(
    ("answer", "form"),
    [("The  Eiffel Tower!", "eiffel tower"), ("an apple a day", "apple day"), ("U.S.", "us"), ("theatre", "theatre")],
)
def test_the_normal_form(answer, form):
    assert normalized(answer) == form


def test_an_answer_of_nothing_but_articles_is_compared_as_it_is():
    assert exact_match("A", "A") and exact_match("a", "A") and not exact_match("A", "the") and not exact_match("", "A")
