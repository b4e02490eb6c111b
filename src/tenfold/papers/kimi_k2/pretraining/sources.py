"""Where each value of the ``paper`` preset comes from. "K2": arXiv 2507.20534; "ML": "Muon is Scalable for LLM
Training" (Moonlight), arXiv 2502.16982, by the same authors; "model": the configuration published with the weights."""

from collections.abc import Mapping

from tenfold.study.sources import source_table

TASKS = ("k2",)

_K2 = {
    "experts": {
        "warmup_steps": "K2, 2.5: 500",
        "stable_steps": "K2, 2.5: 10T tokens at 67M a step",
        "decay_steps": "K2, 2.5: 5.5T tokens at 67M a step",
        "anneal_steps": "K2, 2.5: 400B and 60B tokens at 67M a step",
        "decay_floor": "K2, 2.5: from 2e-4 to 2e-5",
        "anneal_floor": "K2, 2.5: to 7e-6",
        "batch_size": "K2, 2.5: 67M tokens, as windows of 4096",
        "weight_decay": "K2, 2.5: 0.1 throughout",
        "tau": "K2, 2.1: 100, never changed",
        "adamw_rate": "ML, 2.2: the update's RMS is matched so that AdamW and Muon share a rate",
        "muon_rate": "K2, 2.5: 2e-4, as for MuonClip",
        "muonclip_rate": "K2, 2.5: 2e-4",
    },
    "data": {
        "source": "unstated: ours (the authors' text is not public; a path of yours)",
        "limit": "unstated: ours (no limit in practice; the authors had 15.5T tokens)",
        "vocab_size": "model: 163840, of which bytes use the first 256",
        "context": "K2, 2.5: 4096; its last 60B tokens, with 32768, are trained at 4096 here",
    },
    "expert_model": {
        "scale": "K2, Table 2 and 2.3; ranks, head sizes and dense layer: model",
        "bias_rate": "unstated: ours (1e-3, as ML, appendix C, in its first two stages)",
        "bias_form": "unstated: ours (ML, appendix C)",
        "control": "unstated: ours (off: a second training of this size)",
    },
    "optimization": {
        "beta1": "unstated: ours (0.9)",
        "beta2": "unstated: ours (0.95)",
        "momentum": "ML, section 2: 0.95",
        "nesterov": "K2, algorithm 1: the momentum itself is orthogonalised (ML, footnote 1: one step ahead)",
        "ns_steps": "ML, 2.2: 5; 10 gave no better loss",
        "ns_dtype": "ML, 2.2: bfloat16 will do",
        "gradient_accumulation": "unstated: ours (follows from the machines)",
    },
}

SOURCES: Mapping[str, Mapping[str, str]] = {"k2": source_table(_K2)}
"""Task to field to source; the values themselves are in ``config.paper``, and what is not named here is ours."""
