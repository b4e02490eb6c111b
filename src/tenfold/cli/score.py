"""``tenfold score chart REFERENCE.py CANDIDATE.py`` and ``tenfold score image A.png B.png``: how alike two are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tenfold.core.errors import UserError

USAGE = "allowed: tenfold score chart REFERENCE.py CANDIDATE.py, or tenfold score image A.png B.png"


@dataclass(frozen=True)
class ChartCommand:
    """Compare what two Matplotlib programs draw, by ChartMimic's low-level measures."""

    reference: Annotated[Path, tyro.conf.Positional]
    """The program that draws what was wanted."""
    candidate: Annotated[Path, tyro.conf.Positional]
    """The program that was written."""
    colours: Literal["all", "published"] = "all"
    """How colours are read. all: every artist's in the end; published: as ChartMimic's code counts them."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ImageCommand:
    """Compare the pixels of two images; blank is 0 and identical is 1."""

    reference: Annotated[Path, tyro.conf.Positional]
    """What was wanted."""
    candidate: Annotated[Path, tyro.conf.Positional]
    """What was drawn; it is brought to the reference's size."""
    json: bool = False
    """Print one JSON object."""


def main(arguments: Sequence[str]) -> int:
    """Score one pair."""
    if not arguments or arguments[0] not in ("chart", "image"):
        if arguments and arguments[0] in ("-h", "--help"):
            print(f"{__doc__}\ntenfold score chart --help and tenfold score image --help tell the options.")
            return 0
        raise UserError(f"tenfold score cannot do {' '.join(arguments[:1]) or 'nothing'!r}; {USAGE}")
    if arguments[0] == "chart":
        command = tyro.cli(ChartCommand, args=arguments[1:], prog="tenfold score chart")
        _print(_chart_scores(command), command.json)
    else:
        from tenfold.eval.visual import compare

        image = tyro.cli(ImageCommand, args=arguments[1:], prog="tenfold score image")
        _print(compare(image.reference, image.candidate), image.json)
    return 0


def _chart_scores(command: ChartCommand) -> dict[str, float]:
    from tenfold.envs.render.recorder import ChartRecorder, record_of
    from tenfold.eval.charts import ChartRecord, compare_charts

    sources = []
    for name, file in (("reference", command.reference), ("candidate", command.candidate)):
        if not file.is_file():
            raise UserError(f"{name} is {str(file)!r}, which does not exist")
        sources.append(file.read_text(encoding="utf-8", errors="replace"))
    with ChartRecorder() as recorder:
        reference = record_of(recorder, sources[0], f"reference {command.reference}")
        candidate = recorder.record(sources[1])
    if candidate.error:
        print(f"the candidate draws nothing: {candidate.error}")
    return compare_charts(
        ChartRecord(**reference.fields(command.colours)),
        ChartRecord(**candidate.fields(command.colours)),
        published_colours=command.colours == "published",
    )


def _print(scores: dict[str, float], as_json: bool) -> None:
    if as_json:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        print(f"{name:10} {value:.4f}")
