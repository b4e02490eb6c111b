"""Which answers are equal as mathematics: the spellings of people and models, and what looks equal and is not."""

import itertools

import pytest

from tenfold.core.seeding import numpy_generator
from tenfold.eval.math_forms import form_of, is_prose, last_boxed, parts_of, without_unit
from tenfold.eval.math_values import equal_answers

pytest.importorskip("math_verify")

OF_ALL_KINDS = [
    "(1,2)", "(1, 2)", "[0,1)", "(-2,1)", "-.5", "+5", "−3", "sqrt(2)", "√2", "yes", "서울", "\\$7", "?", "1 2 3",
    "\\text{Evelyn}", "\\left( 3, \\frac{\\pi}{2} \\right)", "p - q", "x \\in [-2,7]",
    "(-\\infty, 2) \\cup (3, \\infty)", "\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "1,-2", "10,000", "2516_8",
    "90^\\circ", "50\\%", "12:30", "3R^2", "5.4 \\text{ cents}", "(6,31,-1)", "15\\mbox{ cm}^2", "1 \\pm \\sqrt{19}",
    "C", "\\text{(C)}", "x^3+3x-6=0", "a < b", "11,\\! 111,\\! 111,\\! 100",
    "\\left[\\frac{\\pi}{2},\\frac{5 \\pi}{3} \\right]", "\\{1\\pm\\sqrt{5},-2\\}", "zoo", "\\frac{1}{",
    "\\begin{cases} 1 & x > 0 \\end{cases}", "1, 2, \\ldots, n", "IAJCB", "Yes, infinitely many", "1/0",
]  # fmt: skip


@pytest.mark.parametrize("answer", OF_ALL_KINDS)
def test_an_answer_is_equal_to_itself_however_it_is_framed(answer):
    for framed in (
        answer,
        f" {answer} ",
        f"${answer}$",
        f"\\boxed{{{answer}}}",
        f"\\boxed {{{answer}}}",
        f"**{answer}**",
    ):
        if "{" not in framed or framed.count("{") == framed.count("}"):
            assert equal_answers(framed, [answer]) and equal_answers(answer, ["-77", framed])
    for nothing in ("", " ", "$$", "."):
        assert not equal_answers(nothing, [nothing]), "what says nothing is no reference"


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("1728", "1331, 1728"), ("3", "2 or 3"), ("2 or 3", "3"), ("1 2 3 … 9", "9"), ("1 2 3 4 9", "9"),
        ("7 or 8 apples", "8"), ("\\frac{1}{2004!}", "\\frac{1}{2006!}"), ("\\frac{x}{2004!}", "\\frac{x}{2006!}"),
        ("10^{-20}", "10^{-30}"), ("0.0000001", "0.0000002"), ("4\\sqrt(2)", "4"), ("(2,1)", "(3,1)"),
        ("(1,2)", "[1,2]"), ("(1,2)", "(2,1)"), ("(-2,1)", "1,-2"), ("(1,234)", "1234"), ("1010_2", "1010_3"),
        ("0.33", "1/3"), ("xy+1", "1"), ("7 apples", "7 pears"), ("2 girls, 3 boys", "3"), ("5 cm", "5 m"),
        ("24x", "24"), ("24 x", "24"), ("5m", "5"), ("\\pm 2", "2"), ("x>3", "x<3"), ("0.\\overline{3}", "0.3"),
        ("-3", "3"), ("no", "yes"), ("부산", "서울"), ("east", "seat"), ("1,2", "1.2"), ("x^2", "x2"),
        ("[0,1)", "[0,1]"), ("p-q", "q-p"), ("614.519...", "614.519"), ("A", "B"), ("1,2", "12"),
        ("\\infty", "-\\infty"),
    ],
)  # fmt: skip
def test_what_looks_equal_and_is_not(answer, reference):
    assert not equal_answers(answer, [reference]) and not equal_answers(reference, [answer])


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("pi/2", "\\dfrac{\\pi}{2}"), ("-2*pi", "-2\\pi"), ("exp(16)", "e^{16}"), ("1.2e3", "1200"), ("5!", "120"),
        ("½", "1/2"), ("3 1/2", "3.5"), ("-3 1/2", "-3.5"), ("3½", "3.5"), ("(1, 2)", "(1,2)"), ("∞", "\\infty"),
        ("３", "3"), ("Yes", "yes"), ("24 m^2", "24"), ("24 m²", "24"), ("5 cm", "5"), ("24 square meters", "24"),
        ("1/2 hours", "0.5"), ("sqrt(2)", "√2"), ("2*sqrt(3)/3", "\\frac{2\\sqrt{3}}{3}"), ("{1,2}", "\\{2,1\\}"),
        ("2 and 1", "1, 2"), ("x=1 or x=2", "1,2"), ("$7", "7"), ("0.333333", "1/3"), ("0.\\overline{3}", "1/3"),
        ("0.1(6)", "1/6"), ("10 000", "10000"), ("10\\,000", "10{,}000"), ("±2", "-2, 2"), ("2**10", "1024"),
        ("ln(2)", "\\ln 2"), ("sin(x)", "\\sin x"), ("1<x<3", "(1,3)"), ("x>=3", "[3,\\infty)"), ("90°", "90 degrees"),
        ("theta", "\\theta"), ("50%", "0.5"), ("50 percent", "50\\%"), ("6.02e23", "6.02\\times10^{23}"),
        ("The answer is $\\text{Evelyn}$.", "\\text{Evelyn}"), ("It is \\(\\frac{1}{2}\\).", "0.5"),
        ("so \\boxed {7}.", "7"), ("[0,1)∪(1,2]", "[0,1)\\cup(1,2]"), ("서울。", "서울"), ("x−1", "x-1"), ("3, 3", "3"),
        ("a × b", "b a"), ("「7」", "7"),
    ],
)  # fmt: skip
def test_what_looks_different_and_is_equal(answer, reference):
    assert equal_answers(answer, [reference]) and equal_answers(reference, [answer])


def test_a_unit_may_be_left_out_but_a_letter_may_be_a_variable():
    assert equal_answers("5", ["5\\text{ cm}"]) and equal_answers("24 m", ["24"]) and not equal_answers("24", ["24 m"])


def spellings(numerator, denominator):
    """One number, in ways that are equal."""
    sign = "-" if numerator < 0 else ""
    n, d = abs(numerator), denominator
    ways = [
        f"{sign}{n}/{d}",
        f"{sign}\\frac{{{n}}}{{{d}}}",
        f"${sign}\\dfrac{{{n}}}{{{d}}}$",
        f"\\boxed{{{sign}{n}/{d}}}",
    ]
    ways += [
        f"{sign}{n * 3}/{d * 3}".replace("-", "−"),
        f"x = {sign}{n}/{d}",
        f"{sign}{n}/{d} cm",
        f"the answer is {sign}{n}/{d}",
    ]
    if n > d and n % d:
        ways.append(f"{sign}{n // d} {n % d}/{d}")
    if 1000 % d == 0:
        ways += [f"{sign}{n / d:.3f}", f"{sign}{n / d:.6e}", f"{sign}{n / d:.3f}".replace("0.", ".", 1)]
    return ways


def test_numbers_are_equal_exactly_where_their_values_are():
    generator = numpy_generator(0, "numbers")
    values = [
        (int(n), int(d))
        for n, d in zip(generator.integers(-60, 60, 12), generator.choice([1, 2, 4, 5, 7, 8], 12), strict=True)
    ]
    for (first, second), place in zip(
        itertools.product(values, repeat=2), generator.integers(0, 1000, 144), strict=True
    ):
        ours, theirs = spellings(*first), spellings(*second)
        one, other = ours[place % len(ours)], theirs[place % len(theirs)]
        if " cm" in one or " cm" in other or "answer" in one:
            continue  # words beside words say more than their numbers
        assert equal_answers(one, [other]) is (first[0] * second[1] == second[0] * first[1]), (one, other)
    for value in values[:4]:
        for one, other in itertools.product(spellings(*value)[:-1], repeat=2):
            assert "cm" in one + other or "answer" in one + other or equal_answers(one, [other]), (one, other)


def test_lists_sets_and_pairs_are_equal_part_by_part():
    generator = numpy_generator(1, "lists")
    for _ in range(30):
        numbers = [str(number) for number in generator.permutation(20)[: generator.integers(2, 5)]]
        shuffled = [str(number) for number in generator.permutation(numbers)]
        other = [*numbers[:-1], str(int(numbers[-1]) + 20)]
        assert equal_answers(", ".join(shuffled), [",".join(numbers)]) and not equal_answers(
            ", ".join(other), [",".join(numbers)]
        )
        assert equal_answers(" or ".join(shuffled), [f"\\{{{', '.join(numbers)}\\}}"])
        assert equal_answers(f"({', '.join(shuffled)})", [f"({','.join(numbers)})"]) is (shuffled == numbers)
        assert not equal_answers(", ".join(numbers[:-1]), [", ".join(numbers)]) and not equal_answers(
            numbers[-1], [",".join(numbers)]
        )


def test_random_texts_break_nothing_and_are_equal_to_themselves():
    generator = numpy_generator(2, "texts")
    pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\\",
        ",",
        " ",
        "1",
        "23",
        "x",
        "pi",
        "sqrt",
        "\\frac",
        "$",
        "%",
        "or",
        "is",
        "−",
        "½",
        "^",
        "_",
        "e3",
        ".",
    ]
    for _ in range(300):
        text = "".join(generator.choice(pieces, size=generator.integers(1, 9)))
        form = form_of(text)
        parts_of(form.latex), without_unit(form.latex), is_prose(form.latex)
        assert equal_answers(text, [text]) is bool(form.latex)


def test_boxes():
    assert last_boxed("\\boxed{1} and \\boxed {{2}}") == "{2}" and last_boxed("\\boxed{\\boxed{3}}") == "3"
    assert last_boxed("\\boxed{1") is None and last_boxed("boxed{1}") is None


CHANGED = [
    "not {}", "isn't {}", "never {}", "is not equal to {}", "The answer is not {}",
    "It is not true that the answer is {}",
    "{} is wrong", "{} is not the answer", "no {}", "either {}", "neither {}", "at least {}", "\\text{{at least }}{}",
    "at most ${}$", "more than {}", "no more than {}", "greater than \\({}\\)", "less than or equal to {}", "over {}",
    "up to {}", "{} or more", "{} apples or more", "{} at most", "the maximum of {}", "about {}",
    "The answer is about {}.",
    "approximately {}", "{} or so", "~{}", "≈{}", "x ≈ {}", "≥ {}", "≥ {} apples", "x ≠ {}", "x =/= {} apples", "> {}",
    "{} million", "{} squared", "{} and a half", "{} too many", "minus {}", "half of {}", "the square root of {}",
    "at least {} cm", "anything but {}", "{}+", "약 {}", "{} 이상", "{}개 이하", "{}이 아니다", "{}이 아닙니다", "{}억",
    "hardly {}", "barely {}", "unlikely {}", "{} approximately", "{} (approx.)", "{} roughly", "{} give or take",
    "{}배",
]  # fmt: skip
UNCHANGED = [
    "{} apples", "it is {}", "The answer is {}.", "It's not 4. The answer is {}", "He needs {} more apples", "x = {}",
    "The area under the curve is {}", "The least common multiple is {}", "The least value is {}",
    "the maximum is ${}$", "a total of {}",
    "The number of nonzero roots is {}", "They meet at least once, so it is {}", "exactly {}", "답은 {}입니다", "{}명",
]  # fmt: skip


@pytest.mark.parametrize("number", ["3", "12", "0.5", "1,000", "3/4", "7", "20"])
def test_words_around_a_number_make_it_another_statement_or_leave_it(number):
    for words in CHANGED:
        said = words.format(number)
        assert not equal_answers(said, [number]) and not equal_answers(number, [said]), said
        assert not equal_answers(f"\\boxed{{{said}}}", [number]) and equal_answers(said, [said]), said
    for words in UNCHANGED:
        assert equal_answers(words.format(number), [number]), words.format(number)


@pytest.mark.parametrize("times", ["x", "X", "×", "·", "⋅", "✕", "*", "\\times", "\\cdot", " x ", " × ", " \\times "])
@pytest.mark.parametrize("power", ["10^{}", "10^{{{}}}", "10**{}", "10 ^ {}"])
def test_powers_of_ten_are_numbers_however_times_is_written(times, power):
    for mantissa, exponent, value in (("1.2", 3, "1200"), ("-1.2", 3, "-1200"), ("5", -2, "0.05")):
        spaced = times + " " if times in ("\\times", "\\cdot") else times
        said = f"{mantissa}{spaced}{power.format(exponent)}"
        assert equal_answers(said, [value]) and equal_answers(value, [f"${said}$"]), said
        assert not equal_answers(said, [mantissa]) and not equal_answers(said, [f"{value}7"]), said
    assert equal_answers("1.2 x 10³", ["1200"]) and not equal_answers("3x", ["3"])
