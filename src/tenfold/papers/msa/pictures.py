"""The report's figures: errors by split, learning curves, and one situation told, programmed and answered."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from tenfold.core.types import Picture, Report
from tenfold.papers.msa.rows import Told
from tenfold.papers.msa.situations import LEVELS
from tenfold.papers.msa.ways import Answer, asked
from tenfold.papers.msa.wording import question_words
from tenfold.study import pictures

_COLUMNS, _LINES = 110, 60


def sample(situations: Sequence[Told], answers: Sequence[Answer], gold: Sequence[Any]) -> dict[str, Any]:
    """The first situation of a split with what an arm says of it, and the first program that failed."""
    told, answer = situations[0], answers[0]
    failed = next((each for each in answers if each.failure), None)
    return {
        "text": [" ".join(told.background), *(" ".join(sentence) for sentence in told.sentences)],
        "questions": [" ".join(question_words(question)) for question in asked(told)],
        "program": answer.program,
        "numbers": [list(numbers) for numbers in answer.numbers],
        "gold": [list(numbers) for numbers in gold[0]],
        "failed": None if failed is None else {"program": failed.program, "failure": failed.failure},
    }


def draw(report: Report, arms: Sequence[str], splits: Mapping[str, str]) -> list[Picture]:
    """All figures that there is something for."""
    cells, colour_of = pictures.finished(report), pictures.colours(arms)
    if not cells:
        return []
    return [_errors(cells, colour_of, splits), *_learning(report), *_situation(cells, colour_of), *_program(cells)]


def _errors(cells: pictures.Finished, colour_of: Mapping[str, str], splits: Mapping[str, str]) -> Picture:
    names = list(splits)
    figure, grid = pictures.panels(4, 2, width=3.4, height=2.7)
    for place, name in enumerate(names):
        axes = grid[place // 4][place % 4]
        pictures.draw_bars(axes, cells, f"{name}/w1", colour_of)
        axes.set(title=name, xlabel="Wasserstein-1")
        pictures.finish(axes)
    caption = (
        "Distance to the gold posterior, 0 to 100, smaller is better; mean over seeds, and single seeds. "
        + "; ".join(f"{name}: {text}" for name, text in splits.items())
    )
    return Picture("errors", "How far answers are from the gold posterior", caption + ".", figure)


def _learning(report: Report) -> list[Picture]:
    stages = [stage["network"].curves for stage in report.stages.values() if "network" in stage]
    if not stages or "train/synthesis" not in stages[0]:
        return []
    figure, grid = pictures.panels(2, width=4.6, height=3.2)
    for panel, ways in zip(grid[0], (("synthesis",), ("direct", "thought")), strict=True):
        for way, colour in zip(ways, pictures.PALETTE[len(ways) :], strict=False):
            for number, curves in enumerate(stages):
                steps, losses = zip(*curves[f"train/{way}"], strict=True)
                panel.plot(steps, losses, color=colour, lw=1, alpha=0.8, label=way if number == 0 else None)
        panel.set(xlabel="steps", ylabel="loss per target word", yscale="log" if len(ways) == 1 else "linear")
        pictures.finish(panel, legend=True)
    caption = (
        "One network, trained on a mixture with equal words for each way of being asked; a line is a seed. A number "
        "aims at its neighbours too, so that the loss of direct answers and thoughts ends well above 0."
    )
    return [Picture("learning", "What the network learns", caption, figure)]


def _situation(cells: pictures.Finished, colour_of: Mapping[str, str]) -> list[Picture]:
    samples = {arm: pictures.first(found).samples for arm, found in cells.items()}
    first = next(iter(samples.values()))
    count = len(first["questions"])
    figure, grid = pictures.panels(count, width=3.4, height=2.8)
    for place, question in enumerate(first["questions"]):
        axes = grid[0][place]
        for row, (arm, found) in enumerate([("gold posterior", None), *samples.items()]):
            numbers = first["gold"][place] if found is None else found["numbers"][place]
            colour = pictures.INK if found is None else colour_of[arm]
            axes.plot(numbers, [row] * len(numbers), "o-", color=colour, ms=4, lw=1)
        labels = ["gold posterior", *samples]
        axes.set(xlim=(-3, 103), title=question, yticks=range(len(labels)), yticklabels=labels if place == 0 else [])
        axes.invert_yaxis()
        pictures.finish(axes)
    told = " ".join(first["text"])
    levels = ", ".join(f"{100 * level:.0f}" for level in LEVELS)
    caption = f"Ranks by their quantiles ({levels} %), chances by one number. The situation: {told}"
    return [Picture("situation", "One situation, answered by all", caption, figure)]


def _program(cells: pictures.Finished) -> list[Picture]:
    found = []
    samples = [pictures.first(each).samples for each in cells.values()]
    written = next((each["program"] for each in samples if each["program"]), "")
    failed = next((each["failed"] for each in samples if each["failed"]), None)
    for name, title, text, caption in (
        (
            "program",
            "The program for that situation",
            written,
            "As the network wrote it; sentences stand above conditions.",
        ),
        (
            "failure",
            "A program that failed",
            failed["program"] if failed else "",
            f"Its situation gets the prior's answer: {failed['failure'] if failed else ''}.",
        ),
    ):
        if text:
            found.append(Picture(name, title, caption, _listing(text)))
    return found


def _listing(text: str) -> Any:
    """A figure of a program, a line of it as one text."""
    wrapped = (wrap(line, _COLUMNS, subsequent_indent=" " * 8, drop_whitespace=False) for line in text.splitlines())
    lines = [line for pieces in wrapped for line in pieces][:_LINES]
    figure, axes = pictures.one_panel(width=_COLUMNS * 0.075, height=len(lines) * 0.165 + 0.1)
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(lines), -0.5))
    for number, line in enumerate(lines):
        axes.text(0, number, line, family="monospace", fontsize=8, color=pictures.INK, parse_math=False, va="center")
    return figure
