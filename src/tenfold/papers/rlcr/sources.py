"""Where the values of the ``paper`` presets come from. "code": the authors' repository damanimehul/RLCR; "paper":
arXiv 2507.16806."""

from collections.abc import Mapping

from tenfold.study.sources import merged, source_table

TASKS = ("hotpotqa", "big-math")

_YOURS = "a path of yours: the published data, which are not shipped"
_BOTH = {
    "": {"ablation_steps": "unstated: ours (the ablations are trained for as long)"},
    "task": {
        "kind": "paper: questions with answers",
        "train_file": _YOURS,
        "test_file": _YOURS,
        "num_validation": "unstated: ours (0: the authors choose nothing on a validation part)",
    },
    "policy": {"model": "code: Qwen2.5-7B, the base model"},
    "warm_start.training": {
        "steps": "code: RLCR starts from the base model; its SFT variant starts from a checkpoint of yours "
        "(policy.model)"
    },
    "reward": {
        "blocks": "code: tabc, analysis between answer and confidence",
        "rlvr_blocks": "code: ta, and a confidence that is asked for afterwards",
        "rule": "paper: the Brier score",
        "format_weight": "code: 0.5",
        "correctness_weight": "code: 0.5",
        "calibration_weight": "code: 0.5",
    },
    "training": {
        "num_generations": "code: 32",
        "gradient_accumulation": "code: 64 pieces",
        "updates_per_generation": "code: one update per batch",
        "num_iterations": "code: one update per batch",
        "stop": "code: none but the end-of-sequence token",
        "temperature": "code: 0.7",
        "loss_type": "code: bnpo",
        "scale_rewards": "code: no division by the standard deviation",
        "epsilon": "code: 0.2",
        "epsilon_high": "code: as epsilon",
        "importance_sampling_level": "code: token",
        "beta": "code: 0, no reference model",
        "entropy_coefficient": "code: none",
        "mixed_precision": "code: bf16",
    },
    "training.optimizer": {"name": "code: AdamW", "max_grad_norm": "code: 1.0"},
    "training.lora": {"rank": "code: all weights are trained"},
    "evaluation": {
        "max_new_tokens": "code: 4,096",
        "num_ballots": "unstated: ours (the whole test set)",
        "vote_temperature": "unstated: ours (0.7, as in training)",
        "classifier_steps": "unstated: ours (0: the paper's, a 7B model of its own, does not fit beside the policy)",
    },
}
_HOTPOTQA = {
    "task": {
        "layout": "code: HotpotQA, distractor setting, of ten paragraphs two dropped; 8 left",
        "system_prompt": "code: the long TABC prompt with seven guidelines; worded by us",
        "num_train": "code: 20,000",
        "num_test": "code: 500",
        "verifier": "code: exact match after SQuAD's normalisation",
    },
    "training": {
        "steps": "code: one epoch of 20,000 problems, 64 a step",
        "prompts_per_step": "code: 4 GPUs x 8 completions x 64 pieces / 32",
        "max_prompt_length": "code: 3,072",
        "max_completion_length": "code: 1,536",
        "mask_truncated": "code: truncated completions stay",
    },
    "training.optimizer": {"schedule": "code: constant", "warmup_fraction": "code: 5 %"},
    "rates": dict.fromkeys(("rlvr", "rlcr", "brier_only", "log_score"), "code: 1e-6 in every run"),
}
_BIG_MATH = {
    "task": {
        "layout": "code: Big-Math, answers that parse as a float, below 20 characters, solve rate between 0 and 0.75",
        "system_prompt": "code: the simple TABC prompt; worded by us",
        "num_train": "code: the script keeps 30,000 (paper: 15,000; half an epoch is trained)",
        "verifier": "code: math-verify",
    },
    "training": {
        "steps": "code: half an epoch of 30,000 problems, 72 a step",
        "prompts_per_step": "code: 6 GPUs x 6 completions x 64 pieces / 32",
        "max_prompt_length": "code: 1,024",
        "max_completion_length": "code: 4,096",
        "mask_truncated": "code: truncated completions are masked",
    },
    "training.optimizer": {"schedule": "code: linear", "warmup_fraction": "code: 20 %"},
    "rates": dict.fromkeys(("rlvr", "rlcr", "brier_only", "log_score"), "code: 5e-6 in every run"),
}

SOURCES: Mapping[str, Mapping[str, str]] = {
    "hotpotqa": source_table(merged(_BOTH, _HOTPOTQA)),
    "big-math": source_table(merged(_BOTH, _BIG_MATH)),
}
"""Task to field to source; what no entry names is unstated, and ours. The values are in ``config.paper``."""
