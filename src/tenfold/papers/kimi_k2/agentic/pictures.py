"""What the agentic study shows: success by arm, the course of the reinforcement, dialogues with state and rubric."""

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.kimi_k2.agentic.arms import ARMS
from tenfold.study.pictures import (
    Finished,
    Piece,
    coloured_lines,
    colours,
    draw_bars,
    draw_curves,
    draw_text,
    finish,
    finished,
    first,
    has_curve,
    named,
    one_panel,
    panels,
)

COLOURS = colours(list(ARMS))
PIECES = {"world": "#1f6f8b", "state": "#8a8f98"}
_CHARACTERS = 96
_SHOWN = (
    ("test/success", "sampled, held-out graphs"),
    ("test/greedy", "greedy, held-out graphs"),
    ("more_failures/success", "sampled, more failures"),
)


def draw(report: Report, method: str) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: of a run.
        method: the arm whose dialogues are shown, if it is finished.
    """
    cells = finished(report)
    if not cells:
        return []
    pictures = [_success(cells)]
    if has_curve(cells, "reinforcement/validation/success"):
        pictures.append(_course(cells))
    for arm in dict.fromkeys(arm for arm in (method, next(iter(cells))) if arm in cells):
        pictures.append(_dialogues(arm, first(cells[arm])))
    return pictures


def _success(cells: Finished) -> Picture:
    figure, grid = panels(3, share_y=True, width=3.4)
    for axes, (metric, title) in zip(grid[0], _SHOWN, strict=True):
        draw_bars(axes, cells, metric, COLOURS)
        axes.set(title=title, xlabel="share of successes", xlim=(0, 1.02))
        finish(axes)
    return Picture(
        "success",
        "Success by arm",
        "Share of test tasks whose goal was reached and truly reported: sampled at temperature 1, greedily, and with "
        "more calls that are answered with busy than in training. Greedy decoding takes the mode of what was taught, "
        "which hides habits that less than half of the dialogues have. A dot is a seed.",
        figure,
    )


def _course(cells: Finished) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, named("reinforcement/validation/success"), COLOURS)
    axes.set(xlabel="updates", ylabel="share of successes, sampled", ylim=(-0.02, 1.02))
    finish(axes, legend=True)
    return Picture(
        "reinforcement",
        "Success over the reinforcement",
        "Validation tasks with graphs of the training, sampled. All start from the policy that was taught all "
        "dialogues. Thin: one seed; thick: mean.",
        figure,
    )


def _dialogues(arm: str, scores: Scores) -> Picture:
    lines: list[list[Piece]] = []
    for example in scores.samples["examples"]:
        item = "lost" if example["is_lost"] else f"in {example['status']}"
        failed = f"; fails: {', '.join(example['failed'])}" if example["failed"] else ""
        verdict = f"item {item}, goal {example['goal']}, score {example['score']:g}{failed}"
        lines += [[("heading", verdict[:_CHARACTERS])], *coloured_lines([("state", example["prompt"])], _CHARACTERS)]
        pieces = [(kind, text) for kind, text in example["pieces"]]
        lines += [*coloured_lines(pieces, _CHARACTERS), []]
    return Picture(
        f"dialogues-{arm}",
        f"Dialogues of {arm}",
        "Test tasks, sampled. Bold: what the item is, and what the rubric says. Grey: the prompt, which does not tell "
        "where the item is, and in brackets the item's status after each call. Black: the agent; blue: the world.",
        draw_text(lines, _CHARACTERS, PIECES),
    )
