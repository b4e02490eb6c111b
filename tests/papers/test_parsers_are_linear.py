"""Everything that reads what a model wrote takes time in proportion to its length, whatever the model repeats.

Processor time of four times the text is at most six times as much; where a parser looks back from every start it is
sixteen times. One set of texts for all parsers: what starts and never ends, what nests, runs of digits and blanks.
"""

import gc
import time
from contextlib import suppress

import pytest

from tenfold.core.errors import UserError
from tenfold.core.types import Turn
from tenfold.envs.bfcl import read_python_calls
from tenfold.envs.gym import DOMAINS, Instruction, follow
from tenfold.envs.tool_calls import from_typescript, read_turn
from tenfold.eval.answer_text import normalized
from tenfold.eval.exact_match import exact_match
from tenfold.eval.math_forms import form_of, is_prose, last_boxed, parts_of, stated_in, without_unit
from tenfold.eval.math_values import equal_answers
from tenfold.eval.multiple_choice import chosen_option
from tenfold.eval.token_f1 import token_f1
from tenfold.papers.cort.detectors import delayed_computation, result_distrust, segments, without_outputs
from tenfold.papers.cort.environment import CodeEnvironment, LoopSettings
from tenfold.papers.cort.formats import STOP, final_answer, is_failure, parse_program, replayed_program
from tenfold.papers.cort.measures import purpose_of
from tenfold.papers.cort.method import CodeReward, is_right, same_answer
from tenfold.papers.cort.proposers import Heuristic
from tenfold.papers.kimi_k2.agentic.judge import said_outcome
from tenfold.papers.kimi_k2.agentic.rephrasing import chunks_of, facts_kept
from tenfold.papers.rrvf.looking import read_score, without_code
from tenfold.papers.rrvf.method import parse_turn
from tenfold.papers.sem.decided import _CONFIDENCE
from tenfold.papers.sem.grammar import _READ, _Read, parse
from tenfold.papers.sem.measures import rule_judge
from tenfold.papers.sem.method import Gold
from tenfold.policies import character_tokenizer
from tenfold.rewards import FORMATS, parse_tagged, text_of
from tenfold.rewards.visual import code_of

pytestmark = pytest.mark.alone

SIZE = 2500
LEAST_SECONDS = 1.5e-3
"""Nothing is compared below it: it is what a linear parser takes at least, and a quadratic one many times over."""

CHOICES = ("Paris", "London", "a city")


def read_mathematics(text):
    """All that is done before the parser of formulas, which has a deadline of its own."""
    form = form_of(text)
    is_prose(form.latex), stated_in(form.text), without_unit(form.latex), parts_of(form.latex)


def read_tags(text):
    for blocks in FORMATS:
        parse_tagged(text, blocks, loose=True)


class Loud:
    """An executor whose programs print their length at once."""

    status = "ok"

    def open(self):
        return self

    def run(self, code, **options):
        self.output, self.num_characters = str(len(code)), len(code)
        return self

    def close(self):
        pass


TOKENIZER = character_tokenizer(special=(STOP,))


def through_the_tool_loop(text):
    """The turns of a policy that says this, each up to its stop string, where programs run and where none may."""
    for settings in (LoopSettings(), LoopSettings(max_tool_calls=0), LoopSettings(state="replay")):
        loop = CodeEnvironment(Loud(), TOKENIZER, settings).open(0, 0)
        *turns, last = text.split(STOP)
        for turn in turns:
            loop.respond(Turn(turn + STOP, STOP, (), [], []))
        loop.respond(Turn(last, None, (), [], []))
        loop.close()


def read_declarations(text):
    for given in (text, f"namespace functions {{ {text}", f"namespace functions {{ type a = (_: {{x: {text}"):
        with suppress(UserError):
            from_typescript(given)


def read_calls_in_python(text):
    for given in (text, f"[a(x='{text}')]", f"a({text}"):
        with suppress(UserError):
            read_python_calls(given)


GYM = {name: domain.generate(0).meta for name, domain in DOMAINS.items()}


def read_answers_of_the_gym(text):
    for name, meta in GYM.items():
        DOMAINS[name].verify(text, meta), DOMAINS[name].verify(f"ANSWER: {text}", meta)
    follow(text, [Instruction("bullets", 1), Instruction("json"), Instruction("most_words", 1)])


PARSERS = {
    "normalized": normalized,
    "exact_match": lambda text: exact_match(text, "Paris"),
    "token_f1": lambda text: token_f1(text, "서울 Paris"),
    "multiple_choice": lambda text: chosen_option(text, CHOICES),
    "mathematics": read_mathematics,
    "equal_answers": lambda text: equal_answers(text, ["7 apples"]),
    "boxes": lambda text: (last_boxed(text), final_answer("</think>" + text)),
    "tags": read_tags,
    "messages": lambda text: text_of([{"role": "assistant", "content": text}] * 2),
    "cort segments": lambda text: (segments(text), without_outputs(text)),
    "cort detectors": lambda text: (delayed_computation(text), result_distrust(text), purpose_of(text, 10**6)),
    "cort proposer": Heuristic().propose,
    "cort programs": lambda text: (parse_program(text), is_failure(text), replayed_program([(text, text)], text)),
    "cort tool loop": through_the_tool_loop,
    "cort rewards": lambda text: (is_right(text, "4"), same_answer(text, "4"), CodeReward()([""], [text])),
    "rrvf turns": lambda text: (parse_turn(text, {"t": "c"}), parse_turn(text, {"t": "c"}, strict=False)),
    "rrvf answers": lambda text: (code_of(text), read_score(text), without_code(text)),
    "sem grammar": lambda text: parse(text, ["<result>r</result>", text]),
    "sem confidence": lambda text: _CONFIDENCE.sub("", text),
    "tool calls": lambda text: (read_turn(text), read_turn("<|tool_calls_section_begin|>" + text, first=0)),
    "tool declarations": read_declarations,
    "calls in Python": read_calls_in_python,
    "gym": read_answers_of_the_gym,
    "kimi k2 reports": lambda text: (said_outcome(text), facts_kept(text, text), chunks_of(text, 7)),
    "sem judge": lambda text: rule_judge("", text, Gold(("Paris",))),
}
"""What reads completions, or answers that were cut out of them."""

UNITS = [
    "3", "0.", "1+", "1 + ", "6*7=", "6*7=42 ", "1,234,", "1,", "1.", " ", "\n", "\t\n", "a", "A ", "the ", "I. ", "(",
    "((a)", "[0,", ")", "{", "}", "\\", "\\boxed{", "\\boxed {", "\\frac{", "\\sqrt(", "\\text{a", "\\(", "$", "$x",
    "**", "*", "_", "`", "```", "```\n", "```python\n", "```output\n", "```python\n1\n```\n",
    "```output\n42\n```\nWait, ", "`\n", "``` \n", "  ```python\n", "```python\n`\n",
    "Wait, ", "Let me check. ", "Wait, 6*7=42. ", "<", "<answer>", "</answer>", "<think>",
    "</think>", "</think><answer>", "<answer></answer>", "<think></think><answer>a</answer>", "<search>q</search>",
    "<result>r</result>", "</confidence>", "<confidence>1", "<confidence>1</confidence> ", "</answer> <confidence>",
    "서울", "서울은 ", "½", "²", "。", "「", "-", "- ", "--a", "a-", "%", " %", "per cent ", "1 000 ", "e5", "1e5 ",
    "or ", "1 or ", "pi ", "cm ", "m^2 ", "answer is ", "!", "?", ".", ":", ";", "'", '"', "/", "1/2 ", "3 1/2 ",
    "\u0301", "\u200b", "<|", "<|tool_call_begin|>", "<|tool_call_begin|>functions.a:0<|tool_call_argument_begin|>",
    "<|tool_call_begin|>functions.a:0<|tool_call_argument_begin|>{}<|tool_call_end|>", "null|", "//", "// @a 1\n",
    "Array<", "{x:", "ANSWER:", "follow ", "as you ", "in exactly 1", "A=", "OUTCOME: ",
]  # fmt: skip
"""Repeated to the whole length; and behind a beginning, before an end, that they may belong to."""
AROUND = [
    ("", ""), ("0.", ""), ("```python\n", "\n```\n"), ("```output\n42\n```\n", ""), ("</think>\\boxed{", "}"),
    ("A", "B"), ("<answer>", "</answer>"), ("1+1=", ""), ("</think>", "<answer>"), ("<confidence>", "</confidence>"),
    ("6*7=42. 42+1=43. ", "\n```python\n1\n```\n```output\n43\n```\n"),
]  # fmt: skip


def texts(size):
    """Each unit behind and before what it may belong to, in turn; and each beginning and end around a run."""
    for number, unit in enumerate(UNITS):
        before, after = AROUND[number % len(AROUND)]
        yield f"{before!r}, {unit!r}, {after!r}", f"{before}{unit * (size // len(unit))}{after}"
    for before, after in AROUND:
        for filling in ("3", " ", "\n"):
            yield f"{before!r}, {filling!r}, {after!r}", f"{before}{filling * size}{after}"


def seconds(parser, text):
    """Processor time of this process."""
    begin = time.process_time()
    parser(text)
    return time.process_time() - begin


def is_slow(parser, short, long):
    """Whether the long text takes more than six times as long, three times in a row."""
    for number in range(3):
        end = "." * number  # so that no cache answers
        if seconds(parser, long + end) <= 6 * max(LEAST_SECONDS, seconds(parser, short + end)):
            return False
    return True


@pytest.mark.parametrize("name", PARSERS)
def test_four_times_the_text_takes_no_more_than_six_times_as_long(name):
    parser, pairs = PARSERS[name], zip(texts(SIZE), texts(4 * SIZE), strict=True)
    gc.disable()  # a collection costs as much as ten texts
    try:
        slow = [what for (what, short), (_, long) in pairs if is_slow(parser, short, long)]
    finally:
        gc.enable()
    assert not slow, "\n".join(slow)


def test_what_is_kept_of_completions_is_bounded():
    kept = _Read(most_characters=100)
    for number in range(50):
        kept.keep((f"{number:030}",), f"response {number}", 30)
        assert kept.num_characters <= 100 and kept.get((f"{number:030}",)) == f"response {number}"
    kept.keep(("x" * 101,), "too long", 101)
    assert kept.get(("x" * 101,)) is None and kept.num_characters == 90
    assert kept.get((f"{48:030}",)) is not None and kept.get((f"{40:030}",)) is None, "the oldest go first"
    for number in range(20):
        parse(str(number) * 1_000_000)
    assert _READ.num_characters <= _READ.most_characters
