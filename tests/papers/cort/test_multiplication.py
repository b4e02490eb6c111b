"""The toy task: disjoint splits, traces that say what they claim, and sizes that a tiny policy can read."""

import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.config import HabitsConfig
from tenfold.papers.cort.detectors import delayed_computation, result_distrust
from tenfold.papers.cort.formats import final_answer, parse_program
from tenfold.papers.cort.method import COMPUTE, GENERAL, TRUST
from tenfold.policies import character_tokenizer


def traces(num=300, **habits):
    found = multiplication.problems(num, "train", 0)
    told = multiplication.base_traces(found, HabitsConfig(**habits), 0)
    return [(problem, pieces, "".join(text for text, _ in pieces)) for problem, pieces in zip(found, told, strict=True)]


def test_no_pair_is_in_two_parts():
    pairs = {}
    for part, num in (("train", 5000), ("validation", 600), ("test", 600)):
        for seed in (0, 1):
            for problem in multiplication.problems(num, part, seed):
                assert pairs.setdefault((problem.left, problem.right), part) == part
    with pytest.raises(UserError, match="train problems = 9999: there are"):
        multiplication.problems(9999, "train", 0)


def test_programs_and_outputs_are_right_and_outputs_are_not_said():
    for problem, pieces, text in traces():
        if len(pieces) > 1:
            (said, _), (output, is_said), *_ = pieces
            assert not is_said and output == f"```output\n{problem.answer}\n```\n"
            assert eval(parse_program(said).removeprefix("print")) == int(problem.answer)
            assert final_answer(text) == problem.answer


def test_habits_are_as_frequent_as_asked():
    told = traces(2000, slip=0.0, direct=0.0, general=0.3, verify=0.4, verify_after_general=1.0, distrust=0.7)
    with_code = [text for _, pieces, text in told if len(pieces) > 1]
    assert len(with_code) / len(told) == pytest.approx(0.3 + 0.7 * 0.4, abs=0.04)
    assert all(map(delayed_computation, with_code)), "without slips what is verified is what was found"
    assert sum(map(result_distrust, with_code)) / len(with_code) == pytest.approx(0.7, abs=0.04)
    assert sum(text.startswith(GENERAL.text) for _, _, text in told) / len(told) == pytest.approx(0.3, abs=0.04)


def test_hints_are_in_the_language_and_rare():
    told = [text for _, _, text in traces(2000)]
    assert sum(COMPUTE.text in text for text in told) / len(told) == pytest.approx(0.15, abs=0.03)
    assert 0.01 < sum(TRUST.text in text for text in told) / len(told) < 0.1


def test_slips_spoil_what_is_found_by_hand_alone():
    answers = [
        final_answer(text) == problem.answer
        for problem, _, text in traces(1000, direct=0, verify=0, general=0, slip=0.3)
    ]
    assert sum(answers) / 1000 == pytest.approx(0.7**2, abs=0.05)
    text, value = multiplication.working(multiplication.Problem(99, 98), numpy_generator(0), slip=0.0)
    assert value == 99 * 98 and text.endswith("=9702.")


def test_everything_is_in_the_vocabulary():
    tokenizer = character_tokenizer(multiplication.ALPHABET, special=multiplication.SPECIAL)
    for problem, _, text in traces():
        ids = tokenizer.encode(problem.prompt + text)
        assert tokenizer.unk_token_id not in ids and len(ids) < 130
        assert tokenizer.decode(ids) == problem.prompt + text
