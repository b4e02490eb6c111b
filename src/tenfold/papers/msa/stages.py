"""The stages of the pipeline: each asks the model for k candidates, scores them and keeps the best.

What a model writes is data here: text without its tags, a parse with too few lines, a program that will not run are
candidates of score 0, with the reason. A stage without a sound candidate ends the run of that participant, with the
reason of its best one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Message
from tenfold.envs.programs import Posterior, ProgramRefused, Runner, Unsatisfiable, infer
from tenfold.papers.msa import prompts
from tenfold.papers.msa.method import (
    Concept,
    Parse,
    Placeholder,
    Unsound,
    best,
    check_graph,
    check_parse,
    check_program,
    rating,
)
from tenfold.papers.msa.prompts import Example
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.vignette import Vignette
from tenfold.policies import LMBackend


@dataclass
class Candidate:
    """One answer of the model at a stage.

    Args:
        text: as it came.
        score: Φ.
        problem: why it is not sound; empty if it is.
        parsed: what was read from it, JSON-able.
    """

    text: str
    score: float = 0.0
    problem: str = ""
    parsed: Any = None


@dataclass
class StageResult:
    """A stage, whoever won it.

    Args:
        name: of the stage.
        candidates: in the order in which they came.
        chosen: index of the one that was kept; ``None`` if none is sound.
    """

    name: str
    candidates: list[Candidate] = field(default_factory=list)
    chosen: int | None = None

    @property
    def problem(self) -> str:
        """Why there is no sound candidate: the reason of the last one."""
        return "" if self.chosen is not None else (self.candidates[-1].problem if self.candidates else "no answer")

    def to_plain(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class StageFailed(Exception):
    """No candidate of a stage is sound.

    Args:
        result: with all candidates.
    """

    def __init__(self, result: StageResult) -> None:
        super().__init__(f"{result.name}: {result.problem}")
        self.result = result


@dataclass
class Work:
    """What one participant's run knows so far.

    Args:
        vignette: to be answered.
        lm: who is asked.
        examples: all there are; those of the vignette's domain are never shown.
        settings: of the pipeline.
        runner: where programs run.
        key: of every random choice.
    """

    vignette: Vignette
    lm: LMBackend
    examples: Sequence[Example]
    settings: Settings
    runner: Runner
    key: tuple[int | str, ...]
    blocks: dict[str, str] = field(default_factory=dict)
    stages: list[StageResult] = field(default_factory=list)

    def ask(self, instructions: str, last: str, n: int, temperature: float, *, expert: bool) -> list[str]:
        """``n`` answers of the model at a stage that writes up to the block ``last``."""
        messages = prompts.stage_messages(instructions, self.shown(last), last, self.blocks, expert=expert)
        return self.lm.generate(messages, n, temperature, self.settings.max_tokens)

    def shown(self, last: str) -> list[Example]:
        """The examples of a stage, shuffled; without backgrounds where there is no stage for them."""
        shown = prompts.shown(self.examples, self.vignette, *self.key, last)
        return shown if self.settings.has_background else [_without_background(example) for example in shown]

    def judge(self, rubric: str, blocks: dict[str, str]) -> float:
        """The mean rating of the judges; 1 where nobody is asked."""
        if not self.settings.judges:
            return 1.0
        messages = prompts.score_messages(rubric, {**self.blocks, **blocks})
        answers = self.lm.generate(messages, self.settings.judges, self.settings.judge_temperature, 64)
        return float(np.mean([rating(answer) for answer in answers]))


def _without_background(example: Example) -> Example:
    return Example(example.vignette, example.parse, "", (), example.program)


def between(text: str, tag: str) -> str:
    """What stands between a tag and its end; without the tags, a block of code; else all of it.

    Example:
        >>> between("Well. <PARSE>a</PARSE> Done.", "PARSE"), between("```python\\nb\\n```", "PARSE")
        ('a', 'b')
    """
    if found := re.search(rf"<{tag}>\s*\n?(.*?)(?:</{tag}>|\Z)", text, flags=re.DOTALL):
        text = found.group(1)
    if found := re.search(r"```(?:python)?[ \t]*\n(.*?)```", text, flags=re.DOTALL):
        text = found.group(1)
    return text.strip("\n").rstrip()


def selected(work: Work, name: str, candidates: list[Candidate]) -> Candidate:
    """Keep the best candidate, the first of equals.

    Raises:
        StageFailed: none is sound.
    """
    result = StageResult(name, candidates)
    work.stages.append(result)
    index = best([candidate.score for candidate in candidates])
    if candidates[index].problem:
        raise StageFailed(result)
    result.chosen = index
    return candidates[index]


def parse_stage(work: Work) -> tuple[Parse, list[Placeholder]]:
    """Stage 1: a condition for each sentence, an expression for each question."""
    settings = work.settings
    said = work.ask(prompts.PARSE, "PARSE", settings.k_parse, settings.parse_temperature, expert=True)
    candidates = [_scored(text, lambda text: _read_and_check_parse(work, text)) for text in said]
    if len(candidates) > 1:
        for candidate in candidates:
            if not candidate.problem:
                candidate.score = work.judge(prompts.SCORE_PARSE, {"PARSE": between(candidate.text, "PARSE")})
    kept = selected(work, "parse", candidates)
    parse = read_parse(between(kept.text, "PARSE"))
    work.blocks["PARSE"] = prompts.parse_text(parse)
    return parse, _read_and_check_parse(work, kept.text)


def _scored(text: str, check: Callable[[str], Any]) -> Candidate:
    """A candidate of score 1 if it is sound, else of 0 with the reason."""
    try:
        return Candidate(text, 1.0, parsed=_plain(check(text)))
    except Unsound as error:
        return Candidate(text, 0.0, " ".join(str(error).split()))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _read_and_check_parse(work: Work, text: str) -> list[Placeholder]:
    parse = read_parse(between(text, "PARSE"))
    return check_parse(parse, len(work.vignette.conditions), len(work.vignette.queries))


def read_parse(text: str) -> Parse:
    """The lines ``condition(...)`` and ``queryN = ...``, each with the comment above it.

    Example:
        >>> read_parse("# Ann won.\\ncondition(won('ann'))\\n# Who is best?\\nquery1 = rank('ann')").queries
        (('Who is best?', "rank('ann')"),)
    """
    conditions, queries, comment = [], [], ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("#"):
            comment = line.lstrip("# ").strip()
        elif found := re.fullmatch(r"condition\((.*)\)\s*;?", line):
            conditions.append((comment, found.group(1).strip()))
            comment = ""
        elif found := re.fullmatch(r"query\d+\s*=\s*(.*)", line):
            queries.append((comment, found.group(1).strip()))
            comment = ""
    return Parse(tuple(conditions), tuple(queries))


def background_stage(work: Work, placeholders: Sequence[Placeholder]) -> tuple[Concept, ...]:
    """Stages 2 and 3, in one call: what causes what in words, and the list of concepts."""
    settings = work.settings
    said = work.ask(prompts.BACKGROUND, "GRAPH", settings.k_background, settings.background_temperature, expert=True)
    candidates = [_scored(text, lambda text: _read_and_check_graph(text, placeholders)) for text in said]
    for candidate in candidates:
        if not candidate.problem:  # structure first: nobody rates what cannot be used
            blocks = {tag: between(candidate.text, tag) for tag in ("BACKGROUND", "GRAPH")}
            candidate.score = work.judge(prompts.SCORE_BACKGROUND, blocks)
    kept = selected(work, "background and graph", candidates)
    graph = read_graph(between(kept.text, "GRAPH"))
    work.blocks["BACKGROUND"] = between(kept.text, "BACKGROUND")
    work.blocks["GRAPH"] = prompts.graph_text(graph)
    return graph


def _read_and_check_graph(text: str, placeholders: Sequence[Placeholder]) -> tuple[Concept, ...]:
    if "<GRAPH>" not in text:
        raise Unsound("there is no <GRAPH>")
    graph = read_graph(between(text, "GRAPH"))
    check_graph(graph, placeholders)
    return graph


def read_graph(text: str) -> tuple[Concept, ...]:
    """Lines ``name: needed, needed``.

    Example:
        >>> read_graph("strength:\\n- wins: strength").__len__()
        2
    """
    graph = []
    for line in text.splitlines():
        name, colon, needed = line.strip().lstrip("-*0123456789. ").partition(":")
        if name.strip() or colon:
            parts = tuple(part.strip() for part in needed.split(",") if part.strip() not in ("", "none", "None", "-"))
            graph.append(Concept(name.strip(), parts))
    return tuple(graph)


def program_stage(work: Work, parse: Parse, placeholders: Sequence[Placeholder]) -> tuple[str, Posterior]:
    """Stages 4 and 5: the first program that is sound, runs and gives results; and its posterior."""
    settings = work.settings
    said = work.ask(_instructions(settings), "PROGRAM", settings.k_program, settings.program_temperature, expert=False)
    candidates: list[Candidate] = []
    for text in said:
        posterior = _tried(work, text, parse, placeholders, candidates)
        for _ in range(settings.repairs):
            if posterior is not None:
                break
            text = _repaired(work, candidates[-1])
            posterior = _tried(work, text, parse, placeholders, candidates)
        if posterior is not None:
            kept = selected(work, "program", candidates)
            return between(kept.text, "PROGRAM"), posterior
    selected(work, "program", candidates)  # raises
    raise AssertionError("no candidate is sound")


def _instructions(settings: Settings) -> str:
    return prompts.PROGRAM.format(following=prompts.FOLLOWING if settings.has_background else "")


def _tried(
    work: Work, text: str, parse: Parse, placeholders: Sequence[Placeholder], candidates: list[Candidate]
) -> Posterior | None:
    """Add a candidate; its posterior if it has one."""
    source = between(text, "PROGRAM")
    try:
        check_program(source, parse, placeholders)
        posterior = _inferred(work, source)
    except (Unsound, ProgramRefused, Unsatisfiable) as error:
        candidates.append(Candidate(text, 0.0, " ".join(str(error).split())))
        return None
    candidates.append(Candidate(text, 1.0))
    return posterior


def _inferred(work: Work, source: str) -> Posterior:
    """A pilot of two seconds, then the inference itself; answers must lie on the scale of their questions."""
    settings, seed = work.settings, key_to_seed(*work.key, "inference")
    queries = work.vignette.query_names
    infer(
        source,
        n=20,
        seed=seed,
        max_seconds=min(settings.pilot_seconds, settings.max_seconds),
        queries=queries,
        runner=work.runner,
    )
    posterior = infer(
        source,
        settings.method,
        settings.samples,
        seed,
        max_seconds=settings.max_seconds,
        queries=queries,
        runner=work.runner,
    )
    if problems := posterior.out_of_range(work.vignette.ranges):
        raise Unsound(problems[0])
    return posterior


def _repaired(work: Work, failed: Candidate) -> str:
    """The model's next try, with the error told."""
    settings = work.settings
    shown = work.shown("PROGRAM")
    messages = prompts.stage_messages(_instructions(settings), shown, "PROGRAM", work.blocks, expert=False)
    messages += [Message("assistant", failed.text), Message("user", prompts.REPAIR.format(reason=failed.problem))]
    return work.lm.generate(messages, 1, settings.program_temperature, settings.max_tokens)[0]
