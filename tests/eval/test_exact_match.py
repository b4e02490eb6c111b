"""Normalised exact match."""

import pytest

from tenfold.core.errors import UserError
from tenfold.eval.answer_text import normalized
from tenfold.eval.exact_match import exact_match


@pytest.mark.parametrize(
    ("answer", "form"),
    [("The  Eiffel Tower!", "eiffel tower"), ("an apple a day", "apple day"), ("U.S.", "us"), ("theatre", "theatre")],
)
def test_the_normal_form(answer, form):
    assert normalized(answer) == form


def test_an_answer_of_nothing_but_articles_is_compared_as_it_is():
    assert exact_match("A", "A") and exact_match("a", "A") and not exact_match("A", "the") and not exact_match("", "A")


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("1.5", "15", False), ("-3", "3", False), ("3.0", "30", False), (".5", "5", False), ("1,000", "1000", True),
        ("-3", "-3", True), ("42.", "42", True), ("the 42", "42", True), ("nan", "NaN", True), ("U.S.", "US", True),
    ],
)  # fmt: skip
def test_numbers_keep_sign_and_decimal_point(answer, reference, same):
    assert exact_match(answer, reference) is same and exact_match(reference, answer) is same


@pytest.mark.parametrize("references", [3, None, [3], ["3", 4]])
def test_a_reference_that_is_no_text_is_refused(references):
    with pytest.raises(UserError, match="must be a text, or several; of a number, its text"):
        exact_match("3", references)
