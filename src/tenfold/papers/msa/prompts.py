"""What is asked of the language model at each stage, in words of our own that say what the paper's prompts say.

A few-shot example holds the blocks of all stages in one order: scenario, parse, background, graph, program. A stage
sees each example up to the block that it must write. No example of the target's domain is ever shown, and the order is
shuffled at each call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Message
from tenfold.papers.msa.method import Concept, Parse
from tenfold.papers.msa.vignette import Vignette, read_vignette

EXAMPLES = Path(__file__).parent / "examples"
BLOCKS = ("SCENARIO", "PARSE", "BACKGROUND", "GRAPH", "PROGRAM")

EXPERT = """\
You are an expert in probabilistic programming, and you know how the world works. You write models in plain Python with
this vocabulary, and nothing else of Python's libraries:
flip(p) gaussian(mean, sd) uniform(lo, hi) beta(a, b) gamma(shape, rate) exponential(rate) poisson(rate)
randint(lo, hi) categorical(probs, values) geometric(p)
@mem above a function that draws: one value for each binding of its arguments
condition(truth), factor(log_weight), observe(f(x), value, noise)
mean(list), any_previous_time(event, t, inclusive), rank_among(f, entity, n) which counts fresh others below the entity
Forbidden: import, class, try, with, attributes other than list and dict methods, names that begin with an underscore.
Write general models, not ones built for the people who happen to be named. A condition is a call with a meaning, one
for each sentence. Vague words, such as "strong" or "did not sleep", become functions whose thresholds the model sets
later, unless the text gives an exact number. Never ask whether a continuous quantity is exactly equal to a number.
Define everything before it is used."""

PARSE = """\
Translate the scenario. For each observed sentence copy the sentence as a comment, and below it write exactly one line
condition(...); join two statements of one sentence with "and". For each question copy it as a comment and write one
line queryN = ... below. The functions you call do not exist yet: choose good names, and define nothing. Things and
people are texts. Answers lie on the range that the question names; a probability is 100 times a truth.
Answer between <PARSE> and </PARSE>."""

BACKGROUND = """\
First describe the causal structure that one needs to reason about this scenario: all that is said bears on it. Use
common sense for frequencies, probabilities and units. Then list the concepts of the model, one a line, as
name: what it depends on, separated by commas. Dependencies come first, and every function that the parse calls is
there. Write the description between <BACKGROUND> and </BACKGROUND>, and the list between <GRAPH> and </GRAPH>."""

PROGRAM = """\
Write the whole program: a function model(). Define every function that the parse calls{following}; add further hidden
quantities where they are needed. Copy the conditions and the queries of the parse word for word, with their comments,
and add no conditions. End with one return of a dictionary with query1, query2, and so on.
Comment the units. Answer between <PROGRAM> and </PROGRAM>."""

FOLLOWING = ", following the background and the graph"

REPAIR = """\
The program has an error: {reason}
Write the whole program again, with this mended, between <PROGRAM> and </PROGRAM>."""

SCORE_PARSE = """\
Below is a scenario with a translation of its sentences into code. Judge only whether the meaning of each sentence has
survived; functions need not exist yet. Be harsh where a key part of a sentence is lost. Answer with one number from 0
to 10."""

SCORE_BACKGROUND = """\
Below is a scenario with a causal description and a list of concepts. Judge whether the description is right by common
sense, whether each concept comes after those it depends on, and whether key dependencies are complete. Give a low
number where anything is out of order or missing, and be rather too harsh. Answer with one number from 0 to 10."""

DIRECT = """\
Read the scenario and answer each question with five numbers on the range that it names: five judgments that show how
sure you are, all close together if you are sure. 0 means the first end of the scale, and the largest number the other:
asked who will win, 0 means surely not the one who is named first, 100 surely. {thinking}Answer with one JSON object,
such as {{"query1": [60, 65, 70, 70, 80]}}."""
THINKING = "Think step by step first, and give the JSON object at the end. "


@dataclass(frozen=True)
class Example:
    """A worked example.

    Args:
        vignette: what it is about; its domain decides for whom it may be shown.
        parse: its conditions and queries.
        background: a causal description.
        graph: concepts.
        program: of all of it.
    """

    vignette: Vignette
    parse: Parse
    background: str
    graph: tuple[Concept, ...]
    program: str

    def blocks(self) -> dict[str, str]:
        """Each block's text by its name, in the order of the stages."""
        return {
            "SCENARIO": scenario(self.vignette),
            "PARSE": parse_text(self.parse),
            "BACKGROUND": self.background.strip(),
            "GRAPH": graph_text(self.graph),
            "PROGRAM": self.program.strip(),
        }


def load_examples() -> list[Example]:
    """The examples that come with the library."""
    return [
        _example(yaml.safe_load(path.read_text(encoding="utf-8")), path.stem)
        for path in sorted(EXAMPLES.glob("*.yaml"))
    ]


def _example(plain: dict[str, Any], name: str) -> Example:
    vignette = read_vignette(plain["vignette"], name, name)
    conditions = zip(vignette.conditions, plain["parse"]["conditions"], strict=True)
    queries = zip([query.text for query in vignette.queries], plain["parse"]["queries"], strict=True)
    graph = tuple(Concept(concept, tuple(needed)) for concept, needed in plain["graph"].items())
    return Example(vignette, Parse(tuple(conditions), tuple(queries)), plain["background"], graph, plain["program"])


def scenario(vignette: Vignette) -> str:
    """A vignette as a model reads it."""
    lines = ["Background:", vignette.background, "Observations:", *(f"- {each}" for each in vignette.conditions)]
    lines.append("Questions:")
    for name, query in zip(vignette.query_names, vignette.queries, strict=True):
        lines.append(f"- {name} ({query.range[0]:g} to {query.range[1]:g}): {query.text}")
    return "\n".join(lines)


def parse_text(parse: Parse) -> str:
    """A parse as a model writes it."""
    lines = [f"# {sentence}\ncondition({text})" for sentence, text in parse.conditions]
    lines += [f"# {text}\nquery{i + 1} = {code}" for i, (text, code) in enumerate(parse.queries)]
    return "\n".join(lines)


def graph_text(graph: Sequence[Concept]) -> str:
    """A graph as a model writes it."""
    return "\n".join(f"{concept.name}: {', '.join(concept.depends_on)}".rstrip() for concept in graph)


def tagged(blocks: dict[str, str], last: str) -> str:
    """Blocks between their tags, up to and with one of them."""
    names = BLOCKS[: BLOCKS.index(last) + 1]
    return "\n".join(f"<{name}>\n{blocks[name]}\n</{name}>" for name in names if blocks.get(name))


def shown(examples: Sequence[Example], vignette: Vignette, *key: int | str) -> list[Example]:
    """The examples for a vignette: none of its domain, in an order that the key decides."""
    allowed = [example for example in examples if example.vignette.domain != vignette.domain]
    order = numpy_generator(*key, "examples").permutation(len(allowed))
    return [allowed[i] for i in order]


def stage_messages(
    instructions: str, examples: Sequence[Example], last: str, target: dict[str, str], *, expert: bool
) -> list[Message]:
    """The conversation of a stage.

    Args:
        instructions: of the stage.
        examples: to be shown, up to the block ``last``.
        last: the block that the stage must write; of two, the second.
        target: the blocks that the target has so far.
        expert: with the system message.
    """
    parts = [instructions]
    parts += [f"Example {i + 1}\n{tagged(example.blocks(), last)}" for i, example in enumerate(examples)]
    parts.append(f"Now this one\n{tagged(target, last)}")
    system = [Message("system", EXPERT)] if expert else []
    return [*system, Message("user", "\n\n".join(parts))]


def score_messages(rubric: str, blocks: dict[str, str]) -> list[Message]:
    """What a judge is asked, without a system message."""
    return [Message("user", f"{rubric}\n\n{tagged(blocks, BLOCKS[-1])}")]
