"""The tab of universal pre-training: a text, and what a model that saw random computation alone makes of its bytes."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Tab, Text, first_finished
from tenfold.models.causal_lm import load_causal_lm

ARMS = ("mixture", "lstm")
UNIFORM_BITS = 8.0
EXAMPLE = "abcabcabcabcabcabc 2+2=4 2+2=4 2+2=4 for i in range(3): print(i)"


@torch.no_grad()
def predictions(folder: Path, data: bytes) -> tuple[list[float], list[int]]:
    """What a model of bytes makes of a text.

    Args:
        folder: of the model.
        data: at least two bytes; no more than the model was made for.

    Returns:
        For each byte after the first the bits that it costs, and the byte that was most likely there.

    Raises:
        UserError: the text is too short or too long, or the folder holds no model.
    """
    model = load_causal_lm(folder)
    longest = int(getattr(model.config, "max_position_embeddings", 2048))
    if not 2 <= len(data) <= longest:
        raise UserError(f"the text has {len(data)} bytes; allowed: 2 to {longest}, for which the model was made")
    tokens = torch.tensor([list(data)])
    log_probs_TV = model(input_ids=tokens).logits[0, :-1, :256].float().log_softmax(-1)
    bits_T = -log_probs_TV.gather(1, tokens[0, 1:, None])[:, 0] / math.log(2)
    return bits_T.tolist(), log_probs_TV.argmax(-1).tolist()


def act(run: Path, arm: str, text: str) -> str:
    """Each byte in the colour of its bits, above the byte that the model expected there.

    Args:
        run: a run directory with both arms.
        arm: whose model, as pre-training left it.
        text: what is read.
    """
    if arm not in ARMS:
        raise UserError(f"arm is {arm!r}; allowed: {', '.join(ARMS)}")
    cell, seed = first_finished(run, arm)
    data = text.encode()
    bits, expected = predictions(cell / "pretraining" / "model", data)
    mean, second = math.fsum(bits) / len(bits), bits[len(bits) // 2 :]
    return (
        f"<p><b>{mean:.2f}</b> bits per byte, {math.fsum(second) / len(second):.2f} over the second half; a uniform "
        f"guess needs {UNIFORM_BITS:g}. The model was pre-trained on random computation alone and never saw a text. "
        f"Model: arm {html.escape(arm)}, seed {seed} of {html.escape(run.name)}.</p>"
        f"{bytes_html(data, bits, expected)}"
    )


def bytes_html(data: bytes, bits: Sequence[float], expected: Sequence[int]) -> str:
    """Bytes as little boxes: dark where a byte was dear, and below each the byte that was expected.

    Args:
        data: N bytes.
        bits: of the last N - 1.
        expected: in their places.
    """
    cells = f'<span class="byte"><b>{_shown(data[0])}</b><i>&nbsp;</i></span>'
    for byte, cost, guess in zip(data[1:], bits, expected, strict=True):
        share = min(cost / UNIFORM_BITS, 1.0)
        kind = "byte right" if byte == guess else "byte"
        cells += (
            f'<span class="{kind}" style="--share: {share:.2f}" title="{cost:.2f} bits"><b>{_shown(byte)}</b>'
            f"<i>{_shown(guess)}</i></span>"
        )
    return (
        f'<div class="bytes">{cells}</div><p>Above: the text; the darker, the more bits. Below: what was expected.</p>'
    )


def _shown(byte: int) -> str:
    if byte == 32:
        return "␣"
    return html.escape(chr(byte)) if 33 <= byte < 127 else f"{byte:02x}"


TAB = Tab(
    title="Universal pre-training",
    about="A text that you type, and what a model expects at each byte that has seen nothing but the output of random "
    "programs. It can learn from the text alone, while it reads.",
    button="Read",
    fields={"arm": Choice("Pre-trained on", ARMS), "text": Text("Text", EXAMPLE, lines=3)},
    act=act,
    study="universal_pretraining",
    arms=ARMS,
)
