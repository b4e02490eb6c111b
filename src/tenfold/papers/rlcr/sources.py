"""Where each value of the ``paper`` presets comes from. "code": the authors' repository damanimehul/RLCR; "paper":
arXiv 2507.16806."""

from collections.abc import Mapping

TASKS = ("hotpotqa", "big-math")

_UNUSED = "unstated: ours (not used by this task)"
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
_NO_WARM_START = (
    "code: RLCR starts from the base model; its SFT variant starts from a checkpoint of yours (policy.model)"
)

_TASK = {
    "kind": "paper: questions with answers",
    "train_file": "a path of yours: the published data, which are not shipped",
    "test_file": "a path of yours: the published data, which are not shipped",
    "num_validation": "unstated: ours (0: the authors choose nothing on a validation part)",
}
_HOTPOTQA = _TASK | {
    "layout": "code: HotpotQA, distractor setting, of ten paragraphs two dropped; 8 left",
    "system_prompt": "code: the long TABC prompt with seven guidelines; worded by us",
    "num_train": "code: 20,000",
    "num_test": "code: 500",
    "verifier": "code: exact match after SQuAD's normalisation",
}
_BIG_MATH = _TASK | {
    "layout": "code: Big-Math, answers that parse as a float, below 20 characters, solve rate between 0 and 0.75",
    "system_prompt": "code: the simple TABC prompt; worded by us",
    "num_train": "code: the script keeps 30,000 (paper: 15,000; half an epoch is trained)",
    "num_test": "unstated: ours (500)",
    "verifier": "code: math-verify",
}
_POLICY = {"model": "code: Qwen2.5-7B, the base model"} | dict.fromkeys(("width", "layers", "heads"), _UNUSED)
_REWARD = {
    "blocks": "code: tabc, analysis between answer and confidence",
    "rlvr_blocks": "code: ta, and a confidence that is asked for afterwards",
    "rule": "paper: the Brier score",
    "format_weight": "code: 0.5",
    "correctness_weight": "code: 0.5",
    "calibration_weight": "code: 0.5",
}
_TRAINING = {
    "num_generations": "code: 32",
    "gradient_accumulation": "code: 64 pieces",
    "updates_per_generation": "code: one update per batch",
    "num_iterations": "code: one update per batch",
    "stop": "code: none but the end-of-sequence token",
    "temperature": "code: 0.7",
    "top_p": "unstated: ours (1: the whole distribution)",
    "rollout_batch_size": "unstated: ours (a matter of memory)",
    "loss_type": "code: bnpo",
    "scale_rewards": "code: no division by the standard deviation",
    "reward_weights": "code: 0.5 each; the arms set them from reward.*",
    "epsilon": "code: 0.2",
    "epsilon_high": "code: as epsilon",
    "importance_sampling_level": "code: token",
    "beta": "code: 0, no reference model",
    "entropy_coefficient": "code: none",
    "mixed_precision": "code: bf16",
    "gradient_checkpointing": "unstated: ours (a matter of memory)",
    "log_every": "unstated: ours",
    "evaluate_every": "unstated: ours (0: no curve on a validation part)",
    "checkpoint_every": "unstated: ours",
    "keep_checkpoints": "unstated: ours",
}
_HOTPOTQA_TRAINING = _TRAINING | {
    "steps": "code: one epoch of 20,000 problems, 64 a step",
    "prompts_per_step": "code: 4 GPUs x 8 completions x 64 pieces / 32",
    "max_prompt_length": "code: 3,072",
    "max_completion_length": "code: 1,536",
    "mask_truncated": "code: truncated completions stay",
}
_BIG_MATH_TRAINING = _TRAINING | {
    "steps": "code: half an epoch of 30,000 problems, 72 a step",
    "prompts_per_step": "code: 6 GPUs x 6 completions x 64 pieces / 32",
    "max_prompt_length": "code: 1,024",
    "max_completion_length": "code: 4,096",
    "mask_truncated": "code: truncated completions are masked",
}
_ADAMW = {
    "name": "code: AdamW",
    "learning_rate": "unstated: ours (not used: the arm's rate counts)",
    "warmup_steps": "unstated: ours (0: the fraction counts)",
    "weight_decay": "unstated: ours (0)",
    "beta1": "unstated: ours (0.9)",
    "beta2": "unstated: ours (0.999)",
    "epsilon": "unstated: ours (1e-8)",
    "momentum": _UNUSED,
    "tau": _UNUSED,
    "max_grad_norm": "code: 1.0",
}
_HOTPOTQA_ADAMW = _ADAMW | {"schedule": "code: constant", "warmup_fraction": "code: 5 %"}
_BIG_MATH_ADAMW = _ADAMW | {"schedule": "code: linear", "warmup_fraction": "code: 20 %"}
_EVALUATION = {
    "max_new_tokens": "code: 4,096",
    "batch_size": "unstated: ours (a matter of memory)",
    "num_ballots": "unstated: ours (the whole test set)",
    "votes": "unstated: ours (8)",
    "vote_temperature": "unstated: ours (0.7, as in training)",
    "resampled": "unstated: ours (8)",
    "classifier_steps": "unstated: ours (0: the paper's, a 7B model of its own, does not fit beside the policy)",
}


def _of_task(
    task: Mapping[str, str], training: Mapping[str, str], optimizer: Mapping[str, str], rate: str
) -> dict[str, str]:
    groups: dict[str, Mapping[str, str]] = {
        "": {"ablation_steps": "unstated: ours (the ablations are trained for as long)"},
        "task": task,
        "policy": _POLICY,
        "warm_start": dict.fromkeys(("num_examples", "even_law", "odd_law"), _UNUSED),
        "warm_start.training": dict.fromkeys(_SFT, _NO_WARM_START),
        "warm_start.training.optimizer": dict.fromkeys(_OPTIMIZER, _NO_WARM_START),
        "warm_start.training.lora": dict.fromkeys(_LORA, _NO_WARM_START),
        "reward": _REWARD,
        "training": training,
        "training.optimizer": optimizer,
        "training.lora": dict.fromkeys(_LORA, "code: all weights are trained"),
        "rates": dict.fromkeys(("rlvr", "rlcr", "brier_only", "log_score"), rate),
        "evaluation": _EVALUATION,
    }
    return {
        f"{group}.{field}".lstrip("."): source for group, fields in groups.items() for field, source in fields.items()
    }


SOURCES: Mapping[str, Mapping[str, str]] = {
    "hotpotqa": _of_task(_HOTPOTQA, _HOTPOTQA_TRAINING, _HOTPOTQA_ADAMW, "code: 1e-6 in every run"),
    "big-math": _of_task(_BIG_MATH, _BIG_MATH_TRAINING, _BIG_MATH_ADAMW, "code: 5e-6 in every run"),
}
"""Task to field to source; the values themselves are in ``config.paper``."""
