"""What is true of a saved reasoner, as the README.md beside its weights: what it is and reads, where it is from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tenfold
from tenfold.core.damage import read_json
from tenfold.core.directory import RunDirectory, is_run
from tenfold.core.wording import readable
from tenfold.data.sudoku import Box
from tenfold.papers.hrm.architecture import ReasonerConfig

KINDS = {
    "hrm": "a Hierarchical Reasoning Model (two networks, two states; arXiv 2506.21734)",
    "trm": "a Tiny Recursive Model (one network, two states)",
    "urm": "a recursive model with one network and one state",
    "plain": "a feed-forward network, the baseline of the comparison",
}
_FRONT = """---
library_name: tenfold
tags:
- puzzles
---
"""


def card(config: ReasonerConfig, box: Box | None, num_parameters: int, folder: str = "FOLDER") -> str:
    """The card of a reasoner of which nothing but itself is known.

    Args:
        config: its architecture.
        box: rows and columns of a box of the Sudokus that it reads; ``None`` for other puzzles.
        num_parameters: of the model.
        folder: where it lies, for the example.

    Example:
        >>> print(card(ReasonerConfig(), (3, 3), 27_275_266).splitlines()[8])
        This is a Hierarchical Reasoning Model (two networks, two states; arXiv 2506.21734) with 27,275,266 parameters.
    """
    side = None if box is None else box[0] * box[1]
    reads = f"grids of {config.sequence_length} tokens out of {config.vocab_size}"
    if side is not None:
        reads = f"Sudokus of {side}x{side} cells with boxes of {box[0]}x{box[1]}"  # type: ignore[index]
    lines = [
        _FRONT,
        "# A recursive reasoner",
        "",
        f"This is {KINDS[config.kind]} with {num_parameters:,} parameters.",
        f"It reads {reads}, and nothing else: it is no language model.",
        f"It thinks in up to {config.halt_max_steps} segments.",
        f"It was saved by tenfold {tenfold.__version__}. An answer can be wrong; check it against the rules.",
        "",
        "```python",
        "from tenfold.papers.hrm.reasoner import Reasoner",
        "",
        f'reasoner = Reasoner.from_pretrained("{folder}")',
    ]
    if side is not None:
        lines.append(f'print(reasoner.solve(["{"." * side**2}"])[0].board)')
    return "\n".join([*lines, "```", ""])


def origin(run: Path, arm: str, seed: int) -> str:
    """Where a model of a run comes from, as a further section of its card; empty for what lies in no run."""
    cell = run / "cells" / arm / f"seed-{seed}"
    if is_run(run) and (cell / "model").is_dir():
        directory = RunDirectory(run)
        facts = directory.facts()
        metrics = dict(directory.scores(arm, seed).metrics) if directory.is_finished(arm, seed) else {}
        trained = f"Arm `{arm}`, seed {seed}, of a run with the preset `{facts['preset']}` on {facts['hardware']}"
        source = facts["commit"] or f"tenfold {facts['versions']['tenfold']}"
        state = "" if facts["tree_clean"] is not False else ", with uncommitted changes"
        lines = [f"{trained}, from the source {source}{state}:", "", "```bash", str(facts["command"]), "```"]
        return _section(lines, metrics)
    if (run / "training.yaml").is_file() and (run / "model").is_dir():
        scores = run / "scores.json"
        metrics = read_json(scores, "train again with the same command") if scores.is_file() else {}
        return _section(["Trained on puzzles of the user's own by `tenfold train hrm`."], metrics)
    return ""


def _section(lines: list[str], metrics: Mapping[str, Any]) -> str:
    shown = ["", "## Where it is from", "", *lines, ""]
    measured = {name: value for name, value in metrics.items() if name.startswith("test/")}
    if measured:
        shown += [
            "Measured on held-out puzzles of that training, with one seed:",
            "",
            "| metric | value |",
            "|---|---|",
        ]
        shown += [f"| `{name}` | {readable(value)} |" for name, value in measured.items()]
    return "\n".join([*shown, ""])
