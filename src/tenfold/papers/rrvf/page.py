"""The page of one dialogue: the image, and turn by turn the code, its render, the remarks and the score."""

from html import escape

import numpy as np

from tenfold.core.pages import inside
from tenfold.papers.rrvf.looking import png_of
from tenfold.papers.rrvf.loop import LoopResult, LoopTurn

SHOWN_PIXELS = 320
"""Of the longer side of a picture; smaller ones are enlarged without smoothing."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #16181d; background: #fff; max-width: 1080px; padding: 0 1rem }
body { margin: 2rem auto }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 0 0 .4rem }
.row { display: grid; grid-template-columns: 340px minmax(0, 1fr); gap: 1.2rem; padding: 1.2rem 0 }
.row { border-top: 1px solid #d5d8dc }
img { width: 320px; height: auto; image-rendering: pixelated; border: 1px solid #d5d8dc }
img.large { image-rendering: auto }
pre { background: #f4f5f6; padding: .6rem .8rem; overflow-x: auto; white-space: pre-wrap; margin: .3rem 0 }
.none { width: 320px; height: 120px; border: 1px dashed #b03a5b; display: grid; place-items: center; color: #b03a5b }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
"""


def page_of(result: LoopResult, image: np.ndarray, title: str) -> str:
    """An HTML page that needs nothing else.

    Args:
        result: the dialogue.
        image: what was to be drawn, [h, w, 3] in [0, 1].
        title: at its head, as plain text.
    """
    rows = "\n".join(_row(number, turn) for number, turn in enumerate(result.turns, 1))
    parts = result.parts
    why = f"<p>{escape(result.judged.failure)}</p>" if result.judged.failure else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style>
<h1>{escape(title)}</h1>
<div class="row"><div><h2>Image</h2>{_picture(image)}</div><div><h2>Reward</h2>
<table><tr><th>part</th><th>value</th></tr>
<tr><td>vision: similarity of the last render</td><td>{parts.vision:.3f}</td></tr>
<tr><td>format</td><td>{parts.format:.3f}</td></tr>
<tr><td>tool: renders on the way</td><td>{parts.tool:.3f}</td></tr>
<tr><td>weighted sum</td><td>{result.total:.3f}</td></tr></table>{why}</div></div>
{rows}
</html>
"""


def _row(number: int, turn: LoopTurn) -> str:
    kind = "answer" if turn.is_answer else "call"
    score = "" if turn.similarity is None else f", similarity {turn.similarity:.3f}"
    drawn = f'<div class="none">{escape(turn.error or "nothing was drawn")}</div>'
    if turn.image is not None:
        drawn = _picture(turn.image.astype(np.float32) / 255)
    code = f"<h2>Code</h2><pre>{escape(turn.code)}</pre>" if turn.code else f"<pre>{escape(turn.text[:4000])}</pre>"
    remarks = f"<h2>Remarks</h2><pre>{escape(turn.remarks)}</pre>" if turn.remarks else ""
    return f'<div class="row"><div><h2>Turn {number}: {kind}{score}</h2>{drawn}</div><div>{code}{remarks}</div></div>'


def _picture(image: np.ndarray) -> str:
    large = ' class="large"' if max(image.shape[:2]) > SHOWN_PIXELS else ""
    return f'<img{large} alt="" src="{inside("png", png_of(image))}">'
