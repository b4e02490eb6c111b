"""What the report of RRVF shows: both domains, learning, the parts of the reward, and dialogues with what they drew."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report
from tenfold.papers.rrvf.seeing import programs
from tenfold.study.pictures import (
    INK,
    Finished,
    colours,
    draw_bars,
    draw_curves,
    finish,
    finished,
    first,
    has_curve,
    mean_of,
    named,
    panels,
)

PARTS = ("vision", "format", "tool")
SHOWN_ARMS = 3
"""Arms whose dialogues are drawn, at most."""


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; what no finished cell has is left out."""
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    found = [_domains(cells, colour_of), _passing(cells, colour_of)]
    trained = {arm: of_arm for arm, of_arm in cells.items() if has_curve({arm: of_arm}, "train/reward/vision")}
    if trained:
        found += [_learning(trained, colour_of), _reward_parts(trained, colour_of), _health(trained, colour_of)]
    two_turns = {arm: of_arm for arm, of_arm in trained.items() if has_curve({arm: of_arm}, "train/ran/turn_2")}
    if two_turns:
        found.append(_turns(two_turns, colour_of))
    # Those with the most turns say most; among equals the order of the recipe.
    by_turns = sorted(trained or cells, key=lambda arm: -len(first(cells[arm]).samples["dialogues"][0]["turns"]))
    for arm in by_turns[:SHOWN_ARMS]:
        found.append(_dialogues(arm, first(cells[arm]).samples["dialogues"]))
    return found


def _domains(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2, width=4.8, height=4.6)
    for axes, domain, title in ((left, "test", "the domain of the labels"), (right, "shifted", "the new domain")):
        draw_bars(axes, cells, f"{domain}/exact", colour_of)
        axes.set(title=title, xlabel="exact programs", xlim=(0, 1))
        finish(axes)
    right.set_yticklabels([])
    caption = (
        "Share of held-out images whose program was written exactly. Bars: mean over seeds; dots: single seeds. On the "
        "left many labels win; on the right there are none, and new_domain alone has seen its images."
    )
    return Picture("domains", "Exact programs", caption, figure)


def _passing(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, middle, right),) = panels(3, width=3.6, height=4.6, share_y=True)
    for axes, metric, title in (
        (left, "test/similarity", "similarity of all answers"),
        (middle, "test/execution", "share that runs"),
        (right, "test/similarity_of_passing", "similarity of those that run"),
    ):
        draw_bars(axes, cells, metric, colour_of)
        axes.set(title=title, xlim=(0, 1))
        finish(axes)
    caption = (
        "Sampled answers in the domain of the labels. In the paper's own tables much of the gain is that more programs "
        "run; so the similarity of those that run is shown by itself."
    )
    return Picture("passing", "All cases, and passing cases alone", caption, figure)


def _learning(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2)
    draw_curves(left, cells, named("train/reward/vision"), colour_of)
    left.set(xlabel="steps", ylabel="R_vision of the last render")
    draw_curves(right, cells, named("train/entropy"), colour_of)
    right.set(xlabel="steps", ylabel="entropy of a word, nats")
    for axes in (left, right):
        finish(axes, legend=axes is left)
    caption = "Sampled dialogues of training. R_vision of different domains is not comparable: noise has no program."
    return Picture("learning", "Learning from images", caption, figure)


def _reward_parts(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, (row,) = panels(3, width=3.4)
    for axes, part in zip(row, PARTS, strict=True):
        draw_curves(axes, cells, named(f"train/reward/{part}"), colour_of)
        axes.set(xlabel="steps", title=f"R_{part}")
        finish(axes, legend=axes is row[0])
    caption = "The three parts of the reward over training, before their weights, for what was said, not what was paid."
    return Picture("reward", "Parts of the reward", caption, figure)


def _health(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2)
    draw_curves(left, cells, named("train/without_variance"), colour_of)
    left.set(xlabel="steps", ylabel="share of groups without variance", ylim=(-0.03, 1.03))
    draw_curves(right, cells, named("train/ran/turn_1"), colour_of)
    right.set(xlabel="steps", ylabel="first turns that run", ylim=(-0.03, 1.03))
    for axes in (left, right):
        finish(axes, legend=axes is left)
    caption = (
        "Left: groups whose rewards are all equal teach nothing; for one constant reward that is all of them. Right: "
        "a first turn that stops running has been given up."
    )
    return Picture("health", "What to look at when it does not learn", caption, figure)


def _turns(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2, share_y=True)
    for axes, turn in ((left, 1), (right, 2)):
        draw_curves(axes, cells, named(f"train/similarity/turn_{turn}"), colour_of)
        axes.set(xlabel="steps", title=f"turn {turn}", ylabel="similarity" if turn == 1 else "")
        finish(axes, legend=axes is left)
    pairs = []
    for arm, of_arm in cells.items():
        before, after = (mean_of(of_arm, f"test/{name}similarity") for name in ("first_turn_", ""))
        pairs.append(f"{arm} {before:.2f} then {after:.2f}")
    first_turn = ", ".join(pairs)
    caption = (
        "Only the last render is scored, unless an arm says otherwise; so a policy may spend its first turn on a "
        f"measurement. Sampled answers to held-out images, first turn and last: {first_turn}."
    )
    return Picture("turns", "First turn and last", caption, figure)


def _dialogues(arm: str, dialogues: Sequence[Mapping[str, Any]]) -> Picture:
    caption = (
        "Target on the left, then each turn: what it drew, its program, its score, and what was remarked. Red titles "
        "are the worst of a domain; an empty frame is a program that does not run."
    )
    return Picture(f"dialogues-{arm}", f"Dialogues ({arm})", caption, draw_dialogues(dialogues))


def draw_dialogues(dialogues: Sequence[Mapping[str, Any]]) -> Any:
    """A figure with a row for each dialogue: target, and the render of each turn with its words and score."""
    turns = len(dialogues[0]["turns"])
    figure, grid = panels(1 + turns, len(dialogues), width=2.6, height=1.5)
    for row, dialogue in zip(grid, dialogues, strict=True):
        target = np.asarray(dialogue["pixels"], dtype=np.uint8)
        colour = "#b03a5b" if dialogue["worst"] else INK
        _show(row[0], target, f"{dialogue['domain']}: {dialogue['true']}", colour)
        for axes, turn in zip(row[1:], dialogue["turns"], strict=True):
            ran = turn["number"] >= 0
            image = programs().images[turn["number"]] if ran else None
            _show(axes, image, f"{turn['program']}  {turn['score']:.2f}", INK)
            if turn["remarks"]:
                axes.set_xlabel(turn["remarks"], fontsize=6.5)
    return figure


def _show(axes: Any, image: np.ndarray | None, title: str, colour: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=6.5, color=colour)
    if image is not None:
        axes.imshow(image, interpolation="nearest")
