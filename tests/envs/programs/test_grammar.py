"""The grammar accepts whole programs, and refuses what the validator refuses as far as a grammar can."""

import pytest
from llguidance import LLMatcher

from tenfold.envs.programs import ProgramRefused, validate
from tenfold.envs.programs.grammar import program_grammar

from .examples import COINS, FULL, TUG_OF_WAR, rare
from .test_executors import BRANCHING, LIFTED
from .test_validator import model


@pytest.fixture(scope="module")
def accepts():
    from llguidance import LLTokenizer, TokenizerWrapper

    class Bytes:
        eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
        tokens = (*(bytes([value]) for value in range(256)), b"<end>")

        def __call__(self, text):
            return list(text)

    tokenizer = LLTokenizer(TokenizerWrapper(Bytes()))
    grammar = LLMatcher.grammar_from_lark(program_grammar())

    def accepts(text):
        state, tokens = LLMatcher(tokenizer, grammar), list(text.encode())
        return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

    return accepts


@pytest.mark.parametrize("program", [COINS, FULL, TUG_OF_WAR, rare(0.1, 0.1, 0.1)])
def test_whole_programs_are_accepted(accepts, program):
    assert accepts(program)


@pytest.mark.parametrize("body", [*LIFTED.values(), *BRANCHING.values()])
def test_every_construct_of_the_executors_is_accepted(accepts, body):
    assert accepts("def model():" + body)


@pytest.mark.parametrize(
    "program",
    [
        "import os\n" + model("return {'x': 1}"),
        model("from os import path\nreturn {'x': 1}"),
        model("return {'x': ().__class__}"),
        model("return {'x': x.real}"),
        model("return {'x': '{0.__class__}'.format(1)}"),
        model("_observe = 1\nreturn {'x': 1}"),
        model("return {'x': __import__('os')}"),
        model("try:\n    x = 1\nexcept ValueError:\n    x = 2\nreturn {'x': x}"),
        model("class A:\n    pass\nreturn {'x': 1}"),
        model("global x\nreturn {'x': 1}"),
        model("with x:\n    pass\nreturn {'x': 1}"),
        model("def f():\n    yield 1\nreturn {'x': f()}"),
        model("x = b'1'\nreturn {'x': 1}"),
        model("return {'x': max(*[1, 2])}"),
        model("x = {}\nreturn {'x': dict(**x)}"),
        model("del x\nreturn {'x': 1}"),
        model("items = [].append\nreturn {'x': 1}"),
        "def model():\n  return {'x': 1}",
        "def model():\nreturn {'x': 1}",
        "Here is the program:\n" + model("return {'x': 1}"),
    ],
)
def test_what_the_validator_refuses_for_its_form_the_grammar_refuses(accepts, program):
    assert not accepts(program)
    if "  return" not in program:  # fewer spaces are Python all the same
        with pytest.raises(ProgramRefused):
            validate(program)


def test_what_only_the_validator_sees(accepts):
    undefined = model("return {'x': y}")
    assert accepts(undefined)
    with pytest.raises(ProgramRefused):
        validate(undefined)
