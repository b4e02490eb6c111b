"""Where each value of the ``paper`` preset comes from. "K2": arXiv 2507.20534; "K1.5": arXiv 2501.12599."""

from collections.abc import Mapping

from tenfold.study.sources import source_table

TASKS = ("small-world",)

_SMALL_WORLD = {
    "dialogues": {
        "number": "K2, 3.1.1: tens of thousands of trajectories",
        "failures": "unstated: ours (failures are injected, at rates that are not given)",
        "passing": "unstated: ours (only trajectories that meet their rubric are kept)",
    },
    "objective": {
        "tau": "unstated: ours (K2, 3.2.3 has the symbol; no value is given)",
        "normalize": "K1.5, equation 3: the gradient's scale",
        "ptx_weight": "unstated: ours (K2, 3.2.3: an auxiliary loss; its weight is not given)",
        "budget": "K2, 3.2.3: a budget of tokens by type of task; no value is given",
        "penalty": "K2, 3.2.3: truncated responses are penalised; no value is given",
    },
}

SOURCES: Mapping[str, Mapping[str, str]] = {"small-world": source_table(_SMALL_WORLD)}
"""Task to field to source; the values themselves are in ``config.paper``, and what is not named here is ours."""
