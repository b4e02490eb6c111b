"""RLCR's tab: a question, the answer, the stated confidence, and the reliability diagram that it belongs to."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenfold.core.config import from_yaml
from tenfold.core.directory import RunDirectory
from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Tab, Text, figure, first_finished
from tenfold.papers.rlcr.answering import answer
from tenfold.papers.rlcr.arms import ARMS, examiner_of
from tenfold.papers.rlcr.config import Config
from tenfold.papers.rlcr.masked_addition import answer_probabilities
from tenfold.policies import load_policy
from tenfold.study.questions import Question

SHOWN = ("rlcr", "rlvr")
QUESTION = re.compile(r"[0-9?]\+[0-9?]=")


def act(run: Path, arm: str, asked: str) -> str:
    """What the policy answers, how sure it says it is, how sure it may be, and how far its confidences can be trusted.

    Args:
        run: a run directory of the preset on masked addition.
        arm: whose policy.
        asked: a sum with or without hidden operands, such as ``3+?=``.
    """
    config = from_yaml(Config, run / "config.yaml")
    if config.task.kind != "masked_addition":
        raise UserError(f"{run.name} asks no masked sums; allowed: a run of the presets smoke or laptop")
    if arm not in SHOWN:
        raise UserError(f"arm is {arm!r}; allowed: {', '.join(SHOWN)}")
    prompt = "".join(asked.split())
    prompt += "" if prompt.endswith("=") else "="
    if not QUESTION.fullmatch(prompt):
        raise UserError(f"the question is {asked!r}; allowed: two digits or question marks with a +, such as 3+?=")
    cell, seed = first_finished(run, arm)
    law = answer_probabilities(prompt)
    best = max(range(10), key=lambda digit: law[digit])
    examiner = examiner_of(config, ARMS[arm])
    said = answer(load_policy(cell / "model"), [Question(prompt, (str(best),), "asked")], examiner, config.evaluation)
    parsed = said.parsed[0]
    chance = examiner.chance(Question(prompt, (str(best),), "asked"), parsed.answer)
    answered = html.escape(f"{prompt} {parsed.answer or 'no answer'}")
    stated = "no confidence" if parsed.confidence is None else f"a confidence of {parsed.confidence:.2f}"
    rows = RunDirectory.open(run).scores(arm, seed).samples["reliability"]
    picture = figure(draw(rows, parsed.confidence), "share of right answers over the stated confidence")
    return (
        f"<p><b>{answered}</b>, with {stated}. This answer is right with "
        f"probability {chance:.2f}; the best one is {best}, with {law[best]:.2f}.</p>{picture}<p>The diagram is that "
        f"of the test questions; the line is this answer's confidence. Arm {html.escape(arm)}, seed {seed} of "
        f"{html.escape(run.name)}.</p>"
    )


def draw(rows: Sequence[Sequence[float]], confidence: float | None) -> Any:
    """A reliability diagram, with a line at a confidence.

    Args:
        rows: number of answers, mean confidence and share of right ones, of each bin.
        confidence: of the answer at hand; ``None`` for no line.
    """
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(3.6, 3.6), layout="constrained")
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="#8a8f98", lw=0.8, ls="--")
    total = sum(size for size, _, _ in rows)
    for size, mean, share in rows:
        axes.scatter([mean], [share], s=600 * size / total, color="#1f6f8b", alpha=0.6)
    if confidence is not None:
        axes.axvline(confidence, color="#b3402a")
    axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), xlabel="stated confidence", ylabel="share of right answers")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


TAB = Tab(
    title="RLCR",
    about="A sum modulo 10 whose operands may be hidden, so that nobody can be sure. RLCR's policy learned to say how "
    "sure it is; that of the binary reward (rlvr) did not.",
    button="Ask",
    fields={"arm": Choice("Trained with", SHOWN), "asked": Text("Question", "3+?=")},
    act=act,
    study="rlcr",
    arms=SHOWN,
)
