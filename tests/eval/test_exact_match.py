"""Normalised exact match."""

import itertools
import unicodedata

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.eval.answer_text import MARKS, STEPS, normalized
from tenfold.eval.characters import plain_characters
from tenfold.eval.exact_match import exact_match, squad_match
from tenfold.eval.token_f1 import token_f1


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


@pytest.mark.parametrize(
    "references", [None, True, [None], ["3", float("nan")], {"3": 4}, [["3"]], 10**6000, [-(10**6000)]], ids=range(8)
)
def test_a_reference_that_is_neither_text_nor_number_is_refused(references):
    with pytest.raises(UserError, match="must be a text or a finite number, or several of them"):
        exact_match("3", references)


@pytest.mark.parametrize("references", [3, 3.0, [3], ["4", 3], np.int64(3), np.float32(3), np.array([4, 3]), "3"])
def test_a_number_is_its_text(references):
    assert exact_match("3", references) and token_f1("3", references) == 1 and not exact_match("5", references)
    assert exact_match(str(10**400), 10**400)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("1/2", "12"), ("-3 degrees", "3 degrees"), ("$1.5", "$15"), ("(3)", "-3"), ("x>3", "x<3"), ("3^2", "32"),
        ("1:30", "130"), ("C++", "C"), ("C#", "C"), ("A+", "A-"), ("AB-", "AB"), ("1914-1918", "19141918"), ("5!", "5"),
        ("10,00", "1,000"), ("(3,5)", "(35)"), ("(3,5)", "[3,5]"), ("f(3)", "f3"), ("50%", "50"), ("5'10\"", "510"),
        ("2*3", "23"), ("2·3", "23"), ("-x", "x"), ("|x|", "x"), ("x²", "x2"), ("€5", "$5"), ("3.10.2", "3.1.2"),
        ("Python 3.10", "Python 3.1"), ("vitamin A", "vitamin"), ("5 m/s", "5 ms"), ("x!=3", "x=3"), ("90°", "90"),
        ("1 2", "12"), ("F-16", "F16"), ("A*", "A"), ("f'", "f"), ("부산", "서울"), ("दिल्ली", "दलल"),
        ("!x", "x"), ("~x", "x"), ("~3", "3"), ("a&b", "ab"), ("1&2", "12"), ("x-0", "x0"), ("!(a)", "a"),
        ("-0.5", "0.5"), ("!true", "true"),
    ],
)  # fmt: skip
def test_what_makes_answers_differ_stays(answer, reference):
    assert not exact_match(answer, reference) and not exact_match(reference, answer)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("5.0", "5"), ("$29.00", "29"), (".5", "0.5"), ("+5", "5"), ("(3)", "3"), ("(3, 5)", "(3,5)"),
        ("50 per cent", "50%"), ("x = 3", "x=3"), ("Paris (France)", "Paris, France"), ("kidney(s)", "kidneys"),
        ("twenty-one", "twentyone"), ("COVID-19", "covid19"), ("AT&T", "ATT"), ("**Paris**", "Paris"),
        ("July 4, 1776", "July 4 1776"), ("1,234.50", "1234.5"), ("3.50 dollars", "3.5 dollars"), ("A.", "a"),
        ("1914–1918", "1914-1918"), ("don’t", "dont"), ("“Paris”", "Paris"), ("서울。", "서울"), ("「서울」", "서울"),
        ("−5", "-5"), (unicodedata.normalize("NFD", "서울"), "서울"), ("５．０", "5"), ("Ｐａｒｉｓ", "paris"),
        ("３½", "3 1/2"), ("24 ㎡", "24 m²"), ("١٢", "12"), ("¿Qué?", "qué"), ("ﾃｽﾄ", "テスト"),
        ("10\u202f000", "10,000"), ("Par\u00adis\u200b", "Paris"), ("《서울》", "서울"), ("दिल्ली।", "दिल्ली"),
        ("the letter 'a' is", "the letter a is"), ("*A*", "A"),
        ("-0", "0"), ("-0.0", "0"), ("−0", "0"), ("a & b", "a&b"), ("-0 degrees", "0 degrees"),
    ],
)  # fmt: skip
def test_what_says_the_same_is_equal(answer, reference):
    assert exact_match(answer, reference) and exact_match(reference, answer)


def test_squads_reading_stays_as_published_under_its_own_name():
    for answer, reference in [("1/2", "12"), ("$1.5", "15"), ("x>3", "x<3"), ("C++", "the c"), ("A", "the")]:
        assert exact_match(answer, reference, "squad") and squad_match(answer, reference)
        assert not exact_match(answer, reference)
    assert not squad_match("5.0", "5") and not squad_match("“Paris”", "Paris")
    with pytest.raises(UserError, match="normalisation = 'loose': must be one of careful, squad"):
        exact_match("3", "3", "loose")


def test_words_are_normalised_as_squad_has_it():
    """Where no number or lone letter stands; the two differ in commas, and in articles that no word follows."""
    generator = numpy_generator(0, "words")
    words, marks = ["rome", "The", "an", "A", "tower", "don't", "U.S.", "Eiffel"], ["", "", ".", "!", "?", '"', " -- "]
    for _ in range(500):
        chosen = [*generator.choice(words, size=generator.integers(1, 5)), "end"]
        text = " ".join(word + str(generator.choice(marks)) for word in chosen)
        assert normalized(text) == normalized(text, "squad"), text


def decorated(number, generator):
    """A number in one of the ways that change nothing."""
    text = f"{number:,}" if generator.integers(2) else str(number)
    text = text.translate(str.maketrans("0123456789-", "０１２３４５６７８９−")) if generator.integers(2) else text
    ways = ["{}", " {} ", "{}.", "({})", "“{}”", "${}", "{}.0", "**{}**", "{}.00", "「{}」", "the {}"]
    if "-" in text or "−" in text:
        ways.remove("({})")  # a difference, to who reads it as a formula
    return str(generator.choice(ways)).format(text)


def test_numbers_are_equal_exactly_where_their_values_are():
    generator = numpy_generator(1, "numbers")
    numbers = [*range(-12, 13), 1000, 100, -1000, 12345, 1234]
    for first, second in itertools.product(numbers, repeat=2):
        one, other = decorated(first, generator), decorated(second, generator)
        assert exact_match(one, other) is (first == second), (one, other)


def test_every_answer_is_equal_to_itself_and_equality_has_no_direction():
    generator = numpy_generator(2, "texts")
    letters = list("abA the서울12.5,-+*/()[]{}$%!:'\"?;_~|^=<>#&@\\½−（）²。「」 ")
    texts = ["".join(generator.choice(letters, size=generator.integers(1, 7))) for _ in range(400)]
    for text in texts:
        assert exact_match(text, text) and exact_match(text, unicodedata.normalize("NFD", text))
        assert plain_characters(plain_characters(text)) == plain_characters(text)
    for one, other in zip(texts, reversed(texts), strict=True):
        assert exact_match(one, other) is exact_match(other, one)


def test_the_tables_say_why():
    assert all(step.why and step.found for step in STEPS) and all(why for _, why in MARKS)
