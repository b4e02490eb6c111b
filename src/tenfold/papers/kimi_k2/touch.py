"""Kimi K2's tab: the stress test of a run, replayed step by step, with the clip and without.

Nothing is trained here: what is drawn is what the run logged.
"""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.touch import Number, Tab, figure, first_finished

ARMS = {"muon": "#b3402a", "muonclip": "#1f6f8b"}
LOGIT, CLIPPED = "stress/qk_clip/max_logit", "stress/qk_clip/heads_clipped"
Curve = list[tuple[float, float]]


def stress_curves(run: Path, arm: str) -> tuple[dict[str, Curve], int]:
    """The curves of an arm's stress test by name, and the seed.

    Raises:
        UserError: no seed of the arm is finished, or it logged no largest logit.
    """
    cell, seed = first_finished(run, arm)
    whole = Cell(arm=arm, seed=seed, directory=cell, is_main=False)
    whole.parts({path.parent.name: 0 for path in sorted(cell.glob("*/metrics.jsonl"))})
    curves = whole.curves()
    if LOGIT not in curves:
        raise UserError(f"{run}: the arm {arm} logged no {LOGIT}")
    return curves, seed


def act(run: Path, pictures: int) -> Iterator[str]:
    """The largest logit over the steps, in so many pictures, each of which goes on where the last one ended.

    Args:
        run: a run directory with plain Muon and MuonClip.
        pictures: how many.
    """
    from tenfold.core.directory import RunDirectory

    tau = float(RunDirectory.open(run).config()["stress"]["tau"])
    found = {arm: stress_curves(run, arm) for arm in ARMS}
    last = max(step for curves, _ in found.values() for step, _ in curves[LOGIT])
    limits = (0.0, last), (0.0, 1.1 * max(value for curves, _ in found.values() for _, value in curves[LOGIT]))
    seeds = ", ".join(f"{arm} seed {seed}" for arm, (_, seed) in found.items())
    for number in range(1, int(pictures) + 1):
        until = last * number / int(pictures)
        parts = {
            arm: {name: [point for point in curve if point[0] <= until] for name, curve in curves.items()}
            for arm, (curves, _) in found.items()
        }
        picture = figure(draw(parts, tau, limits), "largest attention logit over the steps of the stress test")
        said = "".join(f"<li>{html.escape(sentence(arm, curves, tau))}</li>" for arm, curves in parts.items())
        yield f"<p>Up to step {until:.0f} of {last:.0f} ({html.escape(run.name)}: {seeds})</p>{picture}<ul>{said}</ul>"


def sentence(arm: str, curves: dict[str, Curve], tau: float) -> str:
    """Where an arm is now, in words.

    Example:
        >>> sentence("muonclip", {LOGIT: [(1, 10.0), (2, 24.0)], CLIPPED: [(1, 0.0), (2, 3.0)]}, tau=20.0)
        'muonclip: largest logit 24.0, that is 1.20 tau; heads were clipped in 1 of 2 logged steps.'
    """
    if not curves[LOGIT]:
        return f"{arm}: nothing is logged yet."
    largest = curves[LOGIT][-1][1]
    clipped = [value > 0 for _, value in curves.get(CLIPPED, [])]
    share = f"heads were clipped in {sum(clipped)} of {len(clipped)} logged steps" if clipped else "nothing is clipped"
    return f"{arm}: largest logit {largest:.1f}, that is {largest / tau:.2f} tau; {share}."


def draw(
    parts: dict[str, dict[str, Curve]], tau: float, limits: tuple[tuple[float, float], tuple[float, float]]
) -> Any:
    """Largest logit of each arm over steps, and the line of tau."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.5, 3.0), layout="constrained")
    axes = drawn.subplots()
    for arm, curves in parts.items():
        steps, values = [step for step, _ in curves[LOGIT]], [value for _, value in curves[LOGIT]]
        axes.plot(steps, values, color=ARMS[arm], label=arm)
    axes.axhline(tau, color="#8a8f98", lw=1, ls="--", label="tau")
    axes.set(xlim=limits[0], ylim=limits[1], xlabel="step", ylabel="largest attention logit")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    return drawn


TAB = Tab(
    title="Kimi K2",
    about="Attention logits under a learning rate that is far too high, with QK-Clip and without: a run, replayed.",
    button="Replay",
    fields={"pictures": Number("Pictures", 8, 1, 20)},
    act=act,
    study="kimi_k2",
    arms=tuple(ARMS),
)
