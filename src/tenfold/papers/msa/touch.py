"""MSA's tab: tell fewer or more of a vignette's sentences, and see the program and its posteriors move.

The programs are those that were written by hand; no language model is needed. They run in the sandbox.
"""

import html
from collections.abc import Sequence
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Number, Tab, Ticks, figure
from tenfold.envs.programs import Posterior, ProgramSandbox, Unsatisfiable, infer
from tenfold.papers.msa.vignette import Vignette, vignettes

PARTICLES = 1000
TOLD, ALL = "#1f6f8b", "#8a8f98"


def named(name: str) -> Vignette:
    """The vignette that comes with the library under a name."""
    found = {vignette.name: vignette for vignette in vignettes()}
    if name not in found:
        raise UserError(f"vignette is {name!r}; allowed: {', '.join(found)}")
    return found[name]


def program_telling(vignette: Vignette, told: Sequence[str]) -> str:
    """The gold program without the conditions of the sentences that are not told.

    Args:
        vignette: with a gold program, in which each sentence is the comment above its condition.
        told: sentences of the vignette.

    Raises:
        UserError: a sentence is not the vignette's.

    Example:
        >>> relay = named("ski-relay")
        >>> program_telling(relay, relay.conditions) == relay.gold_program
        True
        >>> "condition" in program_telling(relay, [])
        False
    """
    for sentence in told:
        if sentence not in vignette.conditions:
            raise UserError(f"{sentence!r} is no sentence of {vignette.name}")
    hushed = {f"# {sentence}" for sentence in vignette.conditions if sentence not in told}
    lines = vignette.gold_program.splitlines(keepends=True)
    kept = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.strip() not in hushed and before.strip() not in hushed
    ]
    return "".join(kept)


def act(name: str, told: Sequence[str], seed: int) -> str:
    """Background, program and posteriors of what is told, beside those of everything.

    Args:
        name: of the vignette.
        told: its sentences that are told.
        seed: of all draws.
    """
    vignette = named(name)
    program = program_telling(vignette, told)
    with ProgramSandbox() as programs:
        try:
            ours = infer(program, n=PARTICLES, seed=int(seed), max_seconds=20, runner=programs)
            whole = infer(vignette.gold_program, n=PARTICLES, seed=int(seed), max_seconds=20, runner=programs)
        except Unsatisfiable as error:
            raise UserError(f"what is told cannot have happened: {error}") from None
    questions = zip(vignette.query_names, vignette.queries, strict=True)
    listed = "".join(f"<li>{html.escape(query.text)} <b>{_answer(ours, name)}</b></li>" for name, query in questions)
    picture = figure(draw(vignette, ours, whole), "posterior of each question, of what is told and of everything")
    return (
        f"<p>{html.escape(vignette.background)}</p><ol>{listed}</ol>{picture}"
        f"<p>{len(told)} of {len(vignette.conditions)} sentences told; {html.escape(ours.method)}, "
        f"{ours.accepted} of {ours.attempts} particles accepted.</p><pre>{html.escape(program)}</pre>"
    )


def draw(vignette: Vignette, ours: Posterior, whole: Posterior) -> Any:
    """For each question the posterior of what is told, filled, and of everything, as an outline."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(3.0 * len(vignette.queries), 2.4), layout="constrained")
    for axes, query in zip(drawn.subplots(1, len(vignette.queries), squeeze=False)[0], ours.queries, strict=True):
        low, high = vignette.ranges[query]
        edges = [low + (high - low) * step / 20 for step in range(21)]
        kept = {"bins": edges, "weights": ours[query].weights, "color": TOLD, "alpha": 0.6, "label": "what is told"}
        axes.hist(ours[query].samples, **kept)
        outline = {"bins": edges, "weights": whole[query].weights, "color": ALL, "histtype": "step", "lw": 1.5}
        axes.hist(whole[query].samples, **outline, label="all sentences")
        axes.set(title=query, xlim=(low, high), yticks=[])
        axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return drawn


def _answer(posterior: Posterior, query: str) -> str:
    found = posterior[query]
    return f"{found.mean():.0f} ± {found.sd():.0f}"


TAB = Tab(
    title="MSA",
    about="A situation in words, the program that stands for it, and what the program then believes. Take sentences "
    "away: their conditions leave the program, and the posteriors move. The programs were written by hand; models "
    "write such programs with tenfold answer msa.",
    button="Infer",
    fields={
        "vignette": Choice("Vignette", [vignette.name for vignette in vignettes()]),
        "told": Ticks("Sentences that are told", "vignette", lambda name: list(named(name).conditions)),
        "seed": Number("Seed", 0, 0, 99),
    },
    act=act,
)
