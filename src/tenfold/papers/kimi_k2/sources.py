"""Where each value of the ``paper`` preset comes from. "K2": arXiv 2507.20534; "ML": "Muon is Scalable for LLM
Training" (Moonlight), arXiv 2502.16982, by the same authors; "model": the configuration published with the weights."""

from collections.abc import Mapping

TASKS = ("k2",)

_NOT_PUBLISHED = "unstated: ours (no part of the published pre-training; left out)"
_PART = (
    "warmup_steps",
    "stable_steps",
    "decay_steps",
    "anneal_steps",
    "decay_floor",
    "anneal_floor",
    "batch_size",
    "weight_decay",
    "tau",
    "adamw_rate",
    "muon_rate",
    "muonclip_rate",
)
_DATA = {
    "source": "unstated: ours (the authors' text is not public; a path of yours)",
    "limit": "unstated: ours (no limit in practice; the authors had 15.5T tokens)",
    "held_out": "unstated: ours",
    "vocab_size": "model: 163840, of which bytes use the first 256",
    "context": "K2, 2.5: 4096; its last 60B tokens, with 32768, are trained at 4096 here",
    "validation_windows": "unstated: ours",
    "test_windows": "unstated: ours",
}
_DENSE_MODEL = dict.fromkeys(("width", "layers", "heads"), _NOT_PUBLISHED)
_EXPERT_MODEL = {
    "scale": "K2, Table 2 and 2.3; ranks, head sizes and dense layer: model",
    "bias_rate": "unstated: ours (1e-3, as ML, appendix C, in its first two stages)",
    "bias_form": "unstated: ours (ML, appendix C)",
    "control": "unstated: ours (off: a second training of this size)",
}
_EXPERTS = {
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
}
_OPTIMIZATION = {
    "beta1": "unstated: ours (0.9)",
    "beta2": "unstated: ours (0.95)",
    "momentum": "ML, section 2: 0.95",
    "ns_steps": "ML, 2.2: 5; 10 gave no better loss",
    "ns_dtype": "ML, 2.2: bfloat16 will do",
    "gradient_accumulation": "unstated: ours (follows from the machines)",
    "log_every": "unstated: ours",
    "evaluate_every": "unstated: ours",
    "checkpoint_every": "unstated: ours",
}


def _sources() -> dict[str, str]:
    left_out = dict.fromkeys(_PART, _NOT_PUBLISHED)
    groups = {
        "dense": left_out,
        "experts": _EXPERTS,
        "stress": left_out,
        "calm": left_out,
        "data": _DATA,
        "dense_model": _DENSE_MODEL,
        "expert_model": _EXPERT_MODEL,
        "optimization": _OPTIMIZATION,
    }
    return {f"{group}.{field}": source for group, fields in groups.items() for field, source in fields.items()}


SOURCES: Mapping[str, Mapping[str, str]] = {"k2": _sources()}
"""Task to field to source; the values themselves are in ``config.paper``."""
