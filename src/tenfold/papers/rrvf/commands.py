"""RRVF's own verb: ``loop`` draws one image by dialogue."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.text import Text

from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.eval.visual import as_image
from tenfold.papers.rrvf.looking import (
    LocalLooker,
    ModelComparator,
    ModelJudge,
    PixelComparator,
    PixelJudge,
    ServedLooker,
)
from tenfold.papers.rrvf.loop import Loop, LoopResult, opened_renderer
from tenfold.papers.rrvf.page import page_of
from tenfold.papers.rrvf.speakers import (
    LocalSpeaker,
    ScriptedSpeaker,
    ServedSpeaker,
    load_vision_model,
    read_turns,
    trained_dialogue,
)
from tenfold.policies.chat_server import ChatServer
from tenfold.rewards.visual import PRESETS
from tenfold.train.distributed import compute_device

Target = Annotated[Path, tyro.conf.Positional]


def loop(
    image: Target,
    model: str,
    name: str = "",
    renderer: Literal["chart", "web", "svg", "shapes"] = "chart",
    looks: Literal["pixels", "model"] = "pixels",
    max_turns: int = 4,
    weights: Literal["default", "deepeyes", "rrvf_note"] = "default",
    show_renders: bool = False,
    strict: bool = True,
    arm: str = "",
    out: Path = Path("loop.html"),
) -> None:
    """Draw an image by dialogue: reason, render, look, revise; print the turns and write a page.

    Args:
        image: a file; of an animation the first picture.
        model: who speaks: an address such as http://127.0.0.1:8000/v1, a model's folder, a run of this study (its
            policy writes the chart language at 24 pixels), or a text file with turns between lines of dashes.
        name: the model's name at the server.
        renderer: what draws the code.
        looks: who says what differs and scores: pixels alone, or the same model that speaks.
        max_turns: most turns.
        weights: a preset of the reward.
        show_renders: show the model its own renders beside the remarks.
        strict: a turn must begin with thoughts and hold nothing but its blocks.
        arm: whose policy of a run speaks; words by default.
        out: the page that is written.
    """
    reference = as_image(image)
    if (Path(model) / "run.json").is_file():
        result = trained_dialogue(Path(model), arm, reference, compute_device("auto"))
    else:
        if arm:
            raise UserError(f"arm = {arm!r}: acts where model is a run of this study")
        speaker, looker = _speaker(model, name)
        if looks == "model" and looker is None:
            raise UserError("looks = 'model': recorded turns cannot look; allowed: pixels")
        with opened_renderer(renderer) as drawn_by:
            seen_by_model = looks == "model"
            result = Loop(
                drawn_by,
                ModelComparator(looker) if seen_by_model else PixelComparator(),
                ModelJudge(looker) if seen_by_model else PixelJudge(),
                domain=renderer,
                max_turns=max_turns,
                weights=PRESETS[weights],
                return_render_image=show_renders,
                strict=strict,
            ).run(reference, speaker)
    show(result)
    write_atomically(out, page_of(result, reference, f"Drawing {image.name}"))
    print(f"wrote {out}")


def _speaker(model: str, name: str) -> tuple[Any, Any]:
    """Who speaks, and who can look; the latter is none for recorded turns."""
    if model.startswith(("http://", "https://")):
        if not name:
            raise UserError("name = '': a server needs the name of a model")
        server = ChatServer(model, name)
        return ServedSpeaker(server), ServedLooker(server)
    if Path(model).is_dir() or not Path(model).suffix:
        loaded = load_vision_model(model, compute_device("auto"))
        return LocalSpeaker(*loaded), LocalLooker(*loaded)
    return ScriptedSpeaker(read_turns(Path(model))), None


def show(result: LoopResult) -> None:
    """Print the turns and the parts of the reward."""
    console = Console()
    for number, turn in enumerate(result.turns, 1):
        score = "" if turn.similarity is None else f"   similarity {turn.similarity:.3f}"
        console.print(Text(f"turn {number}: {'answer' if turn.is_answer else 'call'}{score}", style="bold"))
        for text in (turn.code or turn.text[:500], turn.error, turn.remarks):
            if text:
                console.print(Text("  " + text.replace("\n", "\n  ")))
    parts = result.parts
    print(f"vision {parts.vision:.3f}   format {parts.format:.3f}   tool {parts.tool:.3f}   sum {result.total:.3f}")
    if result.judged.failure:
        print(result.judged.failure)
