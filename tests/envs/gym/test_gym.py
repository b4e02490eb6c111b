"""Verifiers accept what they should and refuse what is changed; a claim of compliance is not compliance."""

import random
import re

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.gym import DOMAINS, Instruction, follow, is_claim_without_compliance

SEEDS = range(15)


def perturbed(domain, puzzle):
    """Wrong answers that are near the reference; each is wrong for certain."""
    right = puzzle.reference
    if domain == "24-game":
        yield from (
            f"{right}+1",
            f"({right})*1",
            right.replace("(", "", 1),
            f"({right})/0",
            "24",
            f"__import__({right})",
        )
        for number in sorted(set(re.findall(r"\d+", right))):
            yield re.sub(rf"\b{number}\b", str(int(number) + 1), right, count=1)
    elif domain == "cryptarithm":
        pairs = right.split(", ")
        yield from (", ".join(pairs[1:]), f"{right}, {pairs[0]}", "".join(pairs[:1]))
        for place, pair in enumerate(pairs):
            for digit in set("0123456789") - {pair[-1]}:
                yield ", ".join([*pairs[:place], f"{pair[0]}={digit}", *pairs[place + 1 :]])
    elif domain == "morse":
        yield from (right.replace(" ", ""), right[::-1] + "X", right[:-1])
        yield from (right[:place] + "#" + right[place + 1 :] for place in range(len(right)))
    else:
        yield from (f"{right} {right}", f"1{right}", right[:-1] + "?", f"about {right}")


@pytest.mark.spec("kimi_k2/agentic", "V1")
@pytest.mark.parametrize("name", DOMAINS)
def test_references_are_accepted_and_perturbed_ones_refused(name):
    domain, prompts = DOMAINS[name], set()
    for seed in SEEDS:
        puzzle = domain.generate(seed)
        assert puzzle == domain.generate(seed)
        prompts.add(puzzle.prompt)
        result = domain.verify(f"I think.\nANSWER: {puzzle.reference}\n", puzzle.meta)
        assert (result.value, result.reason) == (1.0, ""), (puzzle, result)
        for wrong in perturbed(name, puzzle):
            result = domain.verify(f"ANSWER: {wrong}", puzzle.meta)
            assert result.value == 0 and result.reason, (puzzle, wrong)
    assert len(prompts) == len(SEEDS)


@pytest.mark.parametrize("name", DOMAINS)
def test_anything_else_is_worth_nothing_and_raises_nothing(name):
    domain, draw = DOMAINS[name], random.Random(0)
    puzzle = domain.generate(0)
    parts = ["ANSWER:", "(", ")", "1", "/0", "-", "**9**9**9", "A=1", ",", "\n", "'", "\0", "lambda: 1", "½", " "]
    texts = ["", puzzle.reference, "ANSWER:", f"ANSWER: {'(' * 5000}1", f"ANSWER: {'-' * 300}1"]
    texts += ["ANSWER:" + "".join(draw.choices(parts, k=draw.randrange(9))) for _ in range(300)]
    assert all(domain.verify(text, puzzle.meta).value == 0 for text in texts)


def test_other_right_answers_are_right():
    assert DOMAINS["24-game"].verify("ANSWER: 8 ÷ (3 - 8/3)", {"numbers": [3, 3, 8, 8]}).value == 1
    words = {"words": ["SEND", "MORE", "MONEY"]}
    answer = "S=9, E=5, N=6, D=7, M=1, O=0, R=8, Y=2"
    assert DOMAINS["cryptarithm"].verify(f"ANSWER: {answer}", words).value == 1
    assert "begins with 0" in DOMAINS["cryptarithm"].verify("ANSWER: A=0, B=1", {"words": ["A", "B", "B"]}).reason
    assert "same digit" in DOMAINS["cryptarithm"].verify("ANSWER: A=1, B=1", {"words": ["A", "B", "B"]}).reason
    assert DOMAINS["morse"].verify("ANSWER: sos  sos", {"text": "SOS SOS"}).value == 1
    assert DOMAINS["table"].verify("ANSWER: ada.", {"answer": "Ada"}).value == 1


CASES = [
    (Instruction("most_words", 4), "one two three four", "one two three four five"),
    (Instruction("least_words", 3), "one two three", "one two"),
    (Instruction("has", "Rome"), "to rome", "to Paris"),
    (Instruction("has_not", "very"), "good", "Very good"),
    (Instruction("bullets", 2), "- a\n  * b\n-c", "- a"),
    (Instruction("json"), '{"a": [1]}', "{'a': 1}"),
    (Instruction("lowercase"), "all small", "Not all"),
    (Instruction("ends_with", "Over."), "So it is. Over.\n", "Over. And out"),
]


@pytest.mark.spec("kimi_k2/agentic", "V1")
@pytest.mark.parametrize(("instruction", "good", "bad"), CASES, ids=lambda value: getattr(value, "kind", None))
def test_instructions_are_checked(instruction, good, bad):
    assert follow(good, [instruction]).value == 1 and not follow(good, [instruction]).reason
    assert follow(bad, [instruction]).value == 0 and instruction.kind in follow(bad, [instruction]).reason


@pytest.mark.spec("kimi_k2/agentic", "V2")
@pytest.mark.parametrize(
    "claim",
    [
        "As requested, here it is.",
        "As you asked: blue.",
        "This follows all of your instructions.",
        "It meets every requirement.",
        "My answer, in exactly 3 words, is blue.",
        "This strictly adheres to what was said.",
        "I complied with all the constraints.",
    ],
)
def test_a_claim_is_flagged_where_it_is_not_true_and_only_there(claim):
    broken, kept = [Instruction("most_words", 2)], [Instruction("least_words", 2)]
    assert is_claim_without_compliance(claim, broken) and not is_claim_without_compliance(claim, kept)
    assert follow(claim, [*kept, *broken]).value == 0 < follow(claim, kept).value
    assert follow(claim, broken).parts["honest"] == 0


@pytest.mark.spec("kimi_k2/agentic", "V2")
def test_who_claims_nothing_is_not_flagged():
    asked = [Instruction("most_words", 3), Instruction("has", "blue")]
    assert not is_claim_without_compliance("Blue it is.", asked) and follow("Blue it is.", asked).value == 1
    plain = "The sky is blue in the morning, and all the rules of optics say why."
    assert not is_claim_without_compliance(plain, asked) and follow(plain, asked).value == 0.5


def test_an_unknown_instruction_is_refused():
    with pytest.raises(UserError, match="instruction = 'rhyme': allowed are most_words"):
        Instruction("rhyme")
