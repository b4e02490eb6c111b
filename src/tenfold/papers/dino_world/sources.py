"""Where each value of the ``paper`` preset comes from. The full text was not available: "paper (secondary)" was read in
a summary of arXiv 2507.19468 or on its public abstract page; "deltatok" in the code of its published re-implementation,
amazon-far/deltatok; "DINO-WM" in the code of gaoyuezhou/dino_wm, whose planning set-up DINO-world reuses."""

from collections.abc import Mapping

from tenfold.study.sources import Groups, merged, source_table

TASKS = ("video", "wall", "maze")

_TRAINING = {
    "steps": "paper (secondary), Training: 300k at 224 pixels (50k more at 448 follow)",
    "batch_size": "paper (secondary), Training: 1024 clips",
    "warmup": "deltatok: 5000",
    "rate_floor": "paper (secondary), Training: constant after the warm-up",
    "beta_first": "deltatok: smooth-L1 with beta 0.1 throughout",
    "beta_last": "deltatok: 0.1",
    "first_share": "deltatok: one beta",
    "weight_decay": "deltatok: 0.4",
    "clip": "deltatok: none",
}
_PREDICTOR = {
    "mlp_ratio": "deltatok: 4",
    "layer_scale": "deltatok: 1e-5",
    "context_proj": "unstated: ours (with it the sizes come out as published)",
    "residual_output": "paper (secondary), Predictor: the features themselves",
    "action_norm": "paper (secondary), Action conditioning: MLP(LN([q, a]))",
    "init_std": "deltatok: 0.02",
}
_GAPS = {
    "frames": "paper (secondary), Training: T = 8",
    "shortest": "deltatok: 1/25 s",
    "longest": "deltatok: 1/3 s",
}
_COMMON: Groups = {
    "encoder": {
        "model": "paper (secondary), Encoder: DINOv2 ViT-B/14 with registers",
        "standardise": "paper (secondary), Encoder: features as they are",
        "patch": "paper (secondary), Encoder: 14",
    },
    "balls": {"size": "paper (secondary), Training: 224 pixels"},
    "predictor": _PREDICTOR,
    "dino_wm": {
        "depth": "DINO-WM: 6",
        "heads": "DINO-WM: 16",
        "head_dim": "DINO-WM: 64",
        "mlp_width": "DINO-WM: 2048",
        "history": "DINO-WM: 3",
        "action_embedding": "DINO-WM: 10",
        "dropout": "DINO-WM: 0.1",
    },
    "clips": _GAPS,
    "training": _TRAINING,
    "evaluation": {
        "context": "deltatok: 4 frames",
        "spacing": "paper (secondary), Dense forecasting: short is about 200 ms",
        "ahead": "deltatok: 3 steps, about 0.6 s",
    },
    "control": {
        "frames": "paper (secondary), Action conditioning: T = 4",
        "episodes": "paper (secondary), Action conditioning: 512",
    },
    "control.video": _GAPS,
    "control.video_training": _TRAINING,
    "control.training": {
        "beta_first": "deltatok: 0.1",
        "beta_last": "deltatok: 0.1",
        "first_share": "deltatok: one beta",
        "steps": "unstated: ours (published are 25 epochs)",
    },
    "planner": {
        "samples": "DINO-WM: 300",
        "elites": "DINO-WM: 30",
        "iterations": "DINO-WM: 10 for Wall and PointMaze",
        "horizon": "DINO-WM: 5",
        "deviation": "DINO-WM: 1",
    },
    "rates": {
        "dino_world": "paper (secondary), Training: 1e-4",
        "video": "paper (secondary), Training: 1e-4",
        "dino_wm": "unstated: ours (DINO-WM's own is 5e-4)",
    },
}


def _size(blocks: str, width: str, heads: str) -> Groups:
    return {"predictor": {"blocks": blocks, "width": width, "heads": heads}}


_GIANT = _size(*(f"paper (secondary), Predictor: {value}" for value in ("40", "1536", "24")))
_BASE = _size(*(f"deltatok: {value}" for value in ("12", "768", "12")))

SOURCES: Mapping[str, Mapping[str, str]] = {
    task: source_table(merged(_COMMON, _GIANT if task == "video" else _BASE)) for task in TASKS
}
"""Task to field to source; what is not named here is ours."""
