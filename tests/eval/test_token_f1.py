"""Token F1 against values counted by hand and against SQuAD's definition written out."""

from collections import Counter

import pytest

from tenfold.eval.answer_text import normalized
from tenfold.eval.exact_match import exact_match
from tenfold.eval.token_f1 import token_f1


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("Eiffel Tower", "the Eiffel Tower!", 1.0),
        ("big red dog", "red dog", 0.8),  # P = 2/3, R = 1
        ("red", "red red dog", 0.5),  # one "red" is shared: P = 1, R = 1/3
        ("red red red", "red dog", 0.4),  # P = 1/3, R = 1/2
        ("cat", "dog", 0.0),
        ("", "dog", 0.0),
        ("the", "a", 0.0),
        ("yes", "yes", 1.0),
        ("Yes!", "yes", 1.0),
        ("yes it is", "yes", 0.0),
        ("no", "no way", 0.0),
        ("noanswer", "noanswer", 1.0),
        ("noanswer at all", "noanswer", 0.0),
        ("no", "yes", 0.0),
    ],
)
def test_values_counted_by_hand(answer, reference, score):
    assert token_f1(answer, reference) == pytest.approx(score)
    assert token_f1(reference, answer) == pytest.approx(score), "it has no direction"


def test_the_best_alias_counts():
    assert token_f1("the big apple", ["New York City", "Big Apple", "NYC"]) == 1
    assert token_f1("New York", ["NYC", "New York City"]) == pytest.approx(0.8)
    assert token_f1("yes indeed", ["yes", "indeed yes"]) == 1, "the rule for yes holds for the alias that is yes"
    assert token_f1("anything", []) == 0


def test_the_definition_of_squad_written_out():
    """P and R from the multiset of shared words, as SQuAD's script has it."""
    words = ["red", "dog", "the", "Dog!", "blue", "a"]
    texts = [" ".join(words[(i * k) % 6] for k in range(1, n + 1)) for i in range(1, 6) for n in range(1, 5)]
    for answer in texts:
        for reference in texts:
            said, wanted = normalized(answer).split(), normalized(reference).split()
            shared = sum((Counter(said) & Counter(wanted)).values())
            precision, recall = shared / max(1, len(said)), shared / max(1, len(wanted))
            expected = 2 * precision * recall / (precision + recall) if shared else 0.0
            assert token_f1(answer, reference) == pytest.approx(expected)
            if exact_match(answer, reference) and normalized(answer):
                assert token_f1(answer, reference) == 1
