"""Token F1 against values counted by hand and against SQuAD's definition written out."""

from collections import Counter

import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
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
        ("-3", "3", 0.0),
        ("3.14", "314", 0.0),
        ("-3 degrees", "3 degrees", 0.5),
        ("5.0 metres", "5 metres", 1.0),
        ("서울은", "서울", 0.8),
        ("이순신이", "이순신", 6 / 7),
        ("부산", "서울", 0.0),
        ("서울。", "「서울」", 1.0),
        ("세종 대왕", "세종대왕", 1.0),
        ("東京です", "東京", 2 / 3),
        ("Seoul 서울", "서울", 0.8),
        ("예", "예술", 0.0),
        ("아니요", "아니요.", 1.0),
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
            said, wanted = normalized(answer, "squad").split(), normalized(reference, "squad").split()
            shared = sum((Counter(said) & Counter(wanted)).values())
            precision, recall = shared / max(1, len(said)), shared / max(1, len(wanted))
            expected = 2 * precision * recall / (precision + recall) if shared else 0.0
            assert token_f1(answer, reference, "squad") == pytest.approx(expected)
            if exact_match(answer, reference) and normalized(answer):
                assert token_f1(answer, reference) == 1


def test_tokens_are_chosen_by_script_or_by_option():
    assert token_f1("서울은", "서울", tokens="words") == token_f1("서울은", "서울", "squad") == 0
    assert token_f1("서울은", "서울", "squad", "characters") == 0.8
    assert token_f1("tiber", "tired") == 0 and token_f1("tiber", "tired", tokens="characters") == pytest.approx(0.8)
    with pytest.raises(UserError, match="tokens = 'letters': must be one of script, words, characters"):
        token_f1("a", "a", tokens="letters")


def test_a_particle_behind_a_korean_answer_costs_less_than_half():
    """Each with the particles that follow such a word; and of two names without a common syllable neither scores."""
    names = {"서울": "은을에도", "부산": "은이과에", "이순신": "이은의", "한강": "이을에서", "대한민국": "은의에서"}
    for name, particles in names.items():
        for particle in [*particles, "으로", "에서"]:
            assert 0.5 <= token_f1(name + particle, name) < 1 and not exact_match(name + particle, name)
        for other in names:
            if not set(name) & set(other):
                assert token_f1(name, other) == 0


def test_f1_lies_between_0_and_1_and_is_1_for_equal_answers():
    generator = numpy_generator(0, "texts")
    letters = list("ab the서울東12.5,-/()%½。 ")
    texts = ["".join(generator.choice(letters, size=generator.integers(1, 9))) for _ in range(300)]
    for one, other in zip(texts, reversed(texts), strict=True):
        for tokens in ("script", "words", "characters"):
            score = token_f1(one, other, tokens=tokens)
            assert 0 <= score <= 1 and score == token_f1(other, one, tokens=tokens)
            assert token_f1(one, one, tokens=tokens) == bool(normalized(one))
