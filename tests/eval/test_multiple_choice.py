"""Options are recognised in every form, and the option letter A is not taken for an article."""

import pytest

from tenfold.core.errors import UserError
from tenfold.eval.multiple_choice import chosen_option, multiple_choice
from tenfold.eval.token_f1 import token_f1

CHOICES = ["the heart", "A lung", "kidneys, both", "a liver"]
FORMS = ["{letter}", "({letter})", "{lower}", "({lower})", "{letter}.", "{letter})", "{letter}) {text}"]
FORMS += [
    "**{letter}**",
    "**{letter}. {text}**",
    "\\text{{{letter}}}",
    "$\\textbf{{({letter})}}$",
    "\\boxed{{{letter}}}",
    "{letter},",
]
FORMS += [
    "Option {letter}",
    "option ({lower})",
    "Choice {letter}: {text}",
    "{letter} {text}",
    "{letter}, {text}",
    "{letter} - {text}",
]
FORMS += [
    "（{letter}）",
    "{letter}번",
    "「{letter}」",
    "`{letter}`",
    "{letter}。",
    "“{text}”",
    "{letter}\n{text}",
    "__{letter}__",
]
FORMS += ["{letter}. {text}", "({letter}) {text}", "[{letter}]", "{letter}: {text}", " {letter} ", "{text}", "{text}."]
FORMS += [
    "*{letter}*",
    "_{letter}_",
    "*{letter}*.",
    "{letter};",
    "{letter}!",
    "'{letter}'",
    "*{letter}) {text}*",
    "*{text}*",
]


def said(form, letter):
    return form.format(letter=letter, lower=letter.lower(), text=CHOICES["ABCD".index(letter)])


@pytest.mark.spec("sem", "3")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gold", "ABCD")
def test_every_form_of_every_letter(gold, form):
    for letter in "ABCD":
        assert multiple_choice(said(form, letter), gold, CHOICES) == (letter == gold)
        assert chosen_option(said(form, letter), CHOICES) == letter


@pytest.mark.spec("sem", "3")
def test_token_f1_is_no_scorer_of_letters():
    """The trap: SQuAD's normalisation drops articles, so that a right A scores 0; and beside their text letters do."""
    assert token_f1("A", "A", "squad") == 0 and token_f1("B", "B", "squad") == token_f1("A", "A") == 1
    forms = ["{letter}", "({letter})", "{lower}", "{letter}. {text}", "{text}"]
    for letter in "ABCD":
        assert any(token_f1(said(form, letter), letter, "squad") < 1 for form in forms)
        assert any(token_f1(said(form, letter), letter) < 1 for form in forms)
        assert all(multiple_choice(said(form, letter), letter, CHOICES) for form in forms)


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [
        ("E", CHOICES, None),  # there is no fifth option
        ("", CHOICES, None),
        ("the answer is A", CHOICES, None),
        ("A lung", CHOICES, "B"),  # the text of an option, not the letter A
        ("a liver", CHOICES, "D"),
        ("lung", CHOICES, "B"),
        ("A) a liver", CHOICES, None),  # the letter and the text contradict each other
        ("A) some other muscle", CHOICES, "A"),
        ("AB", ["A", "B", "AB", "O"], "C"),  # blood groups
        ("O", ["A", "B", "AB", "O"], "D"),
        ("B. subtilis", ["E. coli", "S. aureus", "B. subtilis"], "C"),
        ("A. aeolicus", ["E. coli", "A. aeolicus"], "B"),
        ("+", ["-", "+"], "B"),  # the normalisation leaves nothing of either
        ("the", ["a", "the"], "B"),
        ("Dog", ["a dog", "the dog"], None),  # two options are the same to it
        ("the dog", ["a dog", "the dog"], "B"),
        ("Ａ", CHOICES, "A"),
        ("(A) (B)", CHOICES, None),
        ("(A) or (B)", CHOICES, None),
        ("A) or B)", CHOICES, None),
        ("A, B", CHOICES, None),
        ("A and B", CHOICES, None),
        ("A man with a heart", CHOICES, None),
        ("I think so", (), None),
        ("I think so", [str(number) for number in range(26)], None),
        ("B kidneys, both", CHOICES, None),
        ("Option E", CHOICES, None),
        ("an option", CHOICES, None),
        ("C", (), "C"),
        ("c) whatever", (), "C"),
        ("whatever", (), None),
        ("1", (), None),
        ("A; B", CHOICES, None),
        ("*A", (), None),
        ("A*", (), None),
        ("*A* or *B*", CHOICES, None),
    ],
)
def test_what_an_answer_chooses(answer, choices, letter):
    assert chosen_option(answer, choices) == letter


def test_references_may_be_several_and_have_any_form():
    assert multiple_choice("b", ["A", "(B)"], CHOICES) and multiple_choice("kidneys both", "kidneys, both", CHOICES)
    assert not multiple_choice("nothing", ["A", "B"], CHOICES)


def test_a_reference_that_is_no_option_is_named():
    with pytest.raises(UserError, match="references = 'E': must name one of the 4 options"):
        multiple_choice("A", "E", CHOICES)
    with pytest.raises(UserError, match="references = 'heart': must name a letter"):
        multiple_choice("A", "heart")
    with pytest.raises(UserError, match="choices: there are 27"):
        chosen_option("A", ["x"] * 27)
