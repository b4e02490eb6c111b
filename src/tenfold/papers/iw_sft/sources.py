"""Where each value of the ``paper`` preset comes from. "LLM code": the authors' repository emmyqin/iw_sft (iw_sft.sh);
"control code": their repository emmyqin/iw_sft_control; both belong to arXiv 2507.12856."""

from collections.abc import Mapping

TASKS = ("s1k", "d4rl")

_UNUSED = "unstated: ours (not used by this task)"
_ARMS = ("bc", "sft", "iw_sft", "iw_sft_mean", "sft_quality", "iw_sft_quality", "awr", "iql")

_STAGE = ("steps", "batch_size", "warmup_steps", "rate_floor", "log_every", "evaluate_every", "checkpoint_every")
_CONTROL = (
    "env_id",
    "files",
    "num_trajectories",
    "percentiles",
    "score_low",
    "score_high",
    "num_test",
    "num_validation",
    "sample_actions",
)
_POLICY = ("kind", "num_components", "hidden_size", "layers")
_BASELINES = (
    "value_steps",
    "value_rate",
    "expectile",
    "discount",
    "target_decay",
    "awr_temperature",
    "largest_weight",
)
_TEXTS = (
    "model",
    "width",
    "layers",
    "train_file",
    "test_file",
    "num_traces",
    "num_test",
    "digits",
    "sloppy_share",
    "max_new_tokens",
)
_SFT = (
    "steps",
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "max_length",
    "mixed_precision",
    "gradient_checkpointing",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep_checkpoints",
)
_OPTIMIZER = (
    "name",
    "learning_rate",
    "schedule",
    "warmup_steps",
    "warmup_fraction",
    "weight_decay",
    "beta1",
    "beta2",
    "epsilon",
    "momentum",
    "tau",
    "max_grad_norm",
)
_LORA = ("rank", "alpha", "dropout", "target_modules")


def _unused(names: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(names, _UNUSED)


_S1K_WEIGHTING = {
    "weight_fn": "LLM code: the trajectory weight",
    "level": "LLM code: the trajectory weight",
    "log_ratio": "LLM code: mean over tokens",
    "temperature": "LLM code: 1.0",
    "weight_clip": "LLM code: [0, 16]",
    "normalize": "LLM code: no batch normalisation",
    "q_ema": "LLM code: q is the current policy",
    "ref": "LLM code: the frozen initial model",
    "quality_column": "LLM code: none",
    "quality": "unstated: ours (not used without a column)",
}
_S1K_TEXTS = _unused(("width", "layers", "digits", "sloppy_share")) | {
    "model": "LLM code: Qwen2.5-32B-Instruct",
    "train_file": "LLM code: s1K-1.1, 1,000 R1 traces; a path of yours",
    "test_file": "LLM code: evaluated by lm-evaluation-harness on AIME24, MATH500, GPQA-D; a path of yours here",
    "num_traces": "LLM code: 1,000; counted from the file",
    "num_test": "LLM code: AIME24 has 30 problems",
    "max_new_tokens": "LLM code: up to 32,768 generated tokens",
}
_S1K_SFT = {
    "steps": "unstated: ours (0: follows from epochs)",
    "epochs": "LLM code: 5",
    "batch_size": "LLM code: micro-batch 1 on 8 GPUs",
    "gradient_accumulation": "LLM code: 1",
    "max_length": "LLM code: block_size 22000",
    "mixed_precision": "LLM code: bf16",
    "gradient_checkpointing": "LLM code: on",
    "log_every": "unstated: ours",
    "evaluate_every": "unstated: ours (at the end)",
    "checkpoint_every": "unstated: ours",
    "keep_checkpoints": "unstated: ours",
}
_S1K_OPTIMIZER = {
    "name": "LLM code: Adam with decoupled decay",
    "learning_rate": "LLM code: 1e-5 (the arm's rate)",
    "schedule": "LLM code: cosine",
    "warmup_steps": "unstated: ours (0: the fraction counts)",
    "warmup_fraction": "LLM code: 5 %",
    "weight_decay": "LLM code: 1e-4",
    "beta1": "LLM code: 0.9",
    "beta2": "LLM code: 0.95",
    "epsilon": "unstated: ours",
    "momentum": _UNUSED,
    "tau": _UNUSED,
    "max_grad_norm": "unstated: ours",
}
_NO_STAGE_1 = "unstated: ours (no stage 1: the published start is the instruct model)"

_D4RL_WEIGHTING = {
    "weight_fn": "control code: the trajectory weight",
    "level": "control code: the trajectory weight",
    "log_ratio": "control code: mean over steps",
    "temperature": "control code: 10",
    "weight_clip": "control code: [0, 1000]",
    "normalize": "control code: divided by the batch's sum",
    "q_ema": "control code: 0.9",
    "ref": "control code: the cloned policy, from which fine-tuning starts",
    "quality_column": "control code: none; quality enters by the nested percentiles",
    "quality": "unstated: ours (not used without a column)",
}
_D4RL_CONTROL = {
    "env_id": "control code: halfcheetah, hopper, walker2d; the current Gymnasium version here",
    "files": "control code: D4RL v2 medium-replay; a path of yours",
    "num_trajectories": _UNUSED,
    "percentiles": "control code: nested 90 / 95 / 98",
    "score_low": "unstated: ours (0 and 1 show raw returns; give D4RL's reference returns)",
    "score_high": "unstated: ours (0 and 1 show raw returns; give D4RL's reference returns)",
    "num_test": "control code: 100 episodes at the end",
    "num_validation": "control code: 10 episodes while training",
    "sample_actions": "control code: the mean action",
}
_D4RL_POLICY = {
    "kind": "control code: unsquashed Normal with a tanh mean",
    "num_components": _UNUSED,
    "hidden_size": "control code: 256",
    "layers": "control code: 3",
}
_D4RL_CLONING = {
    "steps": "control code: 10,000",
    "batch_size": "control code: 128 trajectories",
    "warmup_steps": "unstated: ours (none in stage 1)",
    "rate_floor": "unstated: ours (constant in stage 1)",
    "log_every": "unstated: ours",
    "evaluate_every": "unstated: ours",
    "checkpoint_every": "unstated: ours",
}
_D4RL_FINE_TUNING = _D4RL_CLONING | {
    "steps": "control code: 2,000",
    "batch_size": "control code: 256 trajectories",
    "warmup_steps": "control code: 300",
    "rate_floor": "control code: cosine to 0",
}


def _s1k() -> dict[str, dict[str, str]]:
    return {
        "": {"study": "LLM code: traces in text"},
        "cloning": _unused(_STAGE),
        "fine_tuning": _unused(_STAGE),
        "weighting": _S1K_WEIGHTING,
        "rates": dict.fromkeys(_ARMS, "LLM code: 1e-5 in every run") | {"cloning": _UNUSED},
        "control": _unused(_CONTROL),
        "policy": _unused(_POLICY),
        "baselines": _unused(_BASELINES),
        "language": _S1K_TEXTS,
        "language.cloning": dict.fromkeys(_SFT, _NO_STAGE_1),
        "language.cloning.optimizer": dict.fromkeys(_OPTIMIZER, _NO_STAGE_1),
        "language.cloning.lora": dict.fromkeys(_LORA, _NO_STAGE_1),
        "language.fine_tuning": _S1K_SFT,
        "language.fine_tuning.optimizer": _S1K_OPTIMIZER,
        "language.fine_tuning.lora": dict.fromkeys(_LORA, "LLM code: all weights are trained"),
    }


def _d4rl() -> dict[str, dict[str, str]]:
    rates = dict.fromkeys(_ARMS, "control code: 4e-5 in stage 2") | {"cloning": "control code: 1e-3"}
    return {
        "": {"study": "control code: D4RL gym tasks"},
        "cloning": _D4RL_CLONING,
        "fine_tuning": _D4RL_FINE_TUNING,
        "weighting": _D4RL_WEIGHTING,
        "rates": rates,
        "control": _D4RL_CONTROL,
        "policy": _D4RL_POLICY,
        "baselines": dict.fromkeys(_BASELINES, "unstated: ours (the baselines' settings were not available)"),
        "language": _unused(_TEXTS),
        "language.cloning": _unused(_SFT),
        "language.cloning.optimizer": _unused(_OPTIMIZER),
        "language.cloning.lora": _unused(_LORA),
        "language.fine_tuning": _unused(_SFT),
        "language.fine_tuning.optimizer": _unused(_OPTIMIZER),
        "language.fine_tuning.lora": _unused(_LORA),
    }


def _flat(groups: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"{group}.{field}".lstrip("."): source for group, fields in groups.items() for field, source in fields.items()
    }


SOURCES: Mapping[str, Mapping[str, str]] = {"s1k": _flat(_s1k()), "d4rl": _flat(_d4rl())}
"""Task to field to source; the values themselves are in ``config.paper``."""
