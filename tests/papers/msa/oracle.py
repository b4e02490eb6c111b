"""A stand-in for a language model that knows the gold programs: it writes each stage's text from them."""

import ast
import re

from tenfold.papers.msa.prompts import scenario
from tenfold.papers.msa.vignette import vignettes

KNOWN = {scenario(vignette): vignette for vignette in vignettes()}


def parse_of(vignette):
    """Sentences and questions with the expressions of the gold program."""
    model = next(
        node
        for node in ast.parse(vignette.gold_program).body
        if isinstance(node, ast.FunctionDef) and node.name == "model"
    )
    conditions = [
        ast.unparse(statement.value.args[0])
        for statement in model.body
        if isinstance(statement, ast.Expr) and getattr(statement.value.func, "id", "") == "condition"
    ]
    queries = [ast.unparse(value) for value in model.body[-1].value.values]
    return conditions, queries


def parse_text(vignette):
    conditions, queries = parse_of(vignette)
    lines = [f"# {sentence}\ncondition({code})" for sentence, code in zip(vignette.conditions, conditions, strict=True)]
    lines += [
        f"# {query.text}\nquery{i + 1} = {code}"
        for i, (query, code) in enumerate(zip(vignette.queries, queries, strict=True))
    ]
    return "<PARSE>\n" + "\n".join(lines) + "\n</PARSE>"


def background_text(vignette):
    """Every function of the program, after those it names."""
    tree = ast.parse(vignette.gold_program)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name != "model"]
    names = {node.name for node in functions}
    lines = []
    for node in functions:
        needed = sorted(
            {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in names and n.id != node.name}
        )
        lines.append(f"{node.name}: {', '.join(needed)}")
    return "<BACKGROUND>\n" + vignette.background + "</BACKGROUND>\n<GRAPH>\n" + "\n".join(lines) + "\n</GRAPH>"


def program_text(vignette):
    return f"Here it is.\n<PROGRAM>\n{vignette.gold_program}</PROGRAM>"


class Oracle:
    """Answers each stage; ``changes`` holds functions of the text of a stage, by its name."""

    def __init__(self, **changes):
        self.changes = changes
        self.asked = []

    def generate(self, messages, n, temperature, max_tokens):
        self.asked.append(([(m.role, m.content) for m in messages], n, temperature))
        last = next(m.content for m in messages if m.role == "user")
        vignette = next(
            v for text, v in KNOWN.items() if last.rsplit("<SCENARIO>\n", 1)[-1].startswith(text) or last.endswith(text)
        )
        stage = self.stage(last)
        texts = {
            "parse": parse_text,
            "background": background_text,
            "program": program_text,
            "score": lambda vignette: "Score: 8",
            "direct": lambda vignette: str({name: [40, 50, 60, 50, 50] for name in vignette.query_names}).replace(
                "'", '"'
            ),
        }
        text = texts[stage](vignette)
        change = self.changes.get(stage)
        return [change(text, i) if change else text for i in range(n)]

    @staticmethod
    def stage(text):
        for stage, start in (
            ("parse", "Translate"),
            ("background", "First describe"),
            ("program", "Write the whole"),
            ("score", "Below is"),
            ("direct", "Read the scenario"),
        ):
            if text.startswith(start):
                return stage
        raise AssertionError(re.sub(r"\s+", " ", text[:80]))
