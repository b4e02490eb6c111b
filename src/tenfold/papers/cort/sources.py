"""Where each value of the ``paper`` presets comes from. "paper": arXiv 2506.09820; "code": the authors' repository
ChengpengLi1003/CoRT. A task is one of the five published stages; what a stage does not use says so."""

from collections.abc import Mapping

TASKS = (
    "prompt-hint-sft-32b",
    "hint-engineering-sft-32b",
    "hint-engineering-rft-32b",
    "sft-1.5b",
    "rl-1.5b",
)

_UNUSED = "unstated: ours (not used by this stage)"
_MEMORY = "unstated: ours (a matter of memory)"
_OURS = "unstated: ours"
_SFT_FIELDS = (
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
_OPTIMIZER_FIELDS = (
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
_LORA_FIELDS = ("rank", "alpha", "dropout", "target_modules")
_NO_BASE = "paper: training starts from the released model, no base is trained"

_DATA = {
    "prompt-hint-sft-32b": "paper: STILL-3's 820 problems; a path of yours, not shipped",
    "hint-engineering-sft-32b": "paper: AIME before 2024; a path of yours, not shipped",
    "hint-engineering-rft-32b": "paper: STILL-3's problems; a path of yours, not shipped",
    "sft-1.5b": "paper: 800 AIME before 2024, 2,280 MATH of level 5, 7,000 Numina; a path of yours, not shipped",
    "rl-1.5b": "paper: 1,000 problems with avg@8 = 1/8 out of 20,000 of NuminaMath-1.5; a path of yours, not shipped",
}
_EXAMPLES = {
    "prompt-hint-sft-32b": "paper: 800 traces",
    "hint-engineering-sft-32b": "paper: 30 traces",
    "hint-engineering-rft-32b": "paper: 830 examples, 30 of them hinted by hand",
    "sft-1.5b": "paper: about 10,000 problems (answered by the 32B models there, by the 1.5B model itself here: ours)",
    "rl-1.5b": "paper: the stage before it, about 10,000 problems (answered by the 1.5B model itself: ours)",
}
_EPOCHS = {
    "prompt-hint-sft-32b": "paper: 17 epochs",
    "hint-engineering-sft-32b": "paper: 40 epochs",
    "hint-engineering-rft-32b": "paper: 17 epochs",
    "sft-1.5b": "paper: 6 epochs",
    "rl-1.5b": "paper: 6 epochs, of the stage before it",
}
_LARGE = TASKS[:3]


def _task(task: str) -> dict[str, str]:
    return {
        "kind": "paper: problems with answers",
        "train_file": _DATA[task],
        "test_file": "paper: AIME24, 30 problems; a path of yours, not shipped",
        "num_test": "code: 30 problems",
        "num_validation": "unstated: ours (0: checkpoints are compared on the test sets there)",
        "grade": "code: Math-Verify",
    }


def _policy(task: str) -> dict[str, str]:
    size = "32B" if task in _LARGE else "1.5B"
    return {"model": f"paper: DeepSeek-R1-Distill-Qwen-{size}"} | dict.fromkeys(
        ("width", "layers", "heads", "context"), _UNUSED
    )


def _loop(task: str) -> dict[str, str]:
    is_rl = task == "rl-1.5b"
    rounds = "paper: 15 rounds (the released script trains with 12)" if is_rl else "code: 15 rounds in evaluation"
    return {
        "state": "paper: a Jupyter-like environment (the released code replays)",
        "max_tool_calls": f"{rounds}; the last round has no tool",
        "count_outputs": "code: the response length counts outputs",
        "echo_last_expression": "code: standard output alone",
        "deterministic": "unstated: ours (the time of programs is hidden)",
        "seconds": "paper: 5 s" if is_rl else "code: 30 s, the default of inference",
        "output_characters": "code: 400 + 400",
        "max_sessions": _OURS,
        "allow_unsafe": "unstated: ours (programs are isolated)",
    }


def _traces(task: str) -> dict[str, str]:
    return {
        "num_problems": "unstated: ours (at least 820, the size of STILL-3)",
        "num_examples": _EXAMPLES[task],
        "num_hinted": "unstated: ours (29, at most one less than the examples)" if task == TASKS[1] else "paper: 30",
        "rft_samples": "unstated: ours (4; the paper says several)",
        "num_steps": "unstated: ours (2; the paper gives no rule)",
        "max_new_tokens": "unstated: ours (16,000, as in the reinforcement)",
        "temperature": "paper: 0.6",
        "top_p": "paper: 0.95",
        "only_right": "paper: wrong answers are dropped",
    }


def _sft(task: str) -> dict[str, str]:
    batch = "paper: 96" if task in _LARGE else "paper: 128"
    return {
        "steps": f"{_EPOCHS[task]} (the number follows)",
        "epochs": _EPOCHS[task],
        "batch_size": batch,
        "gradient_accumulation": _MEMORY,
        "max_length": "unstated: ours (no limit)",
        "mixed_precision": "unstated: ours (bf16)",
        "gradient_checkpointing": _MEMORY,
        "log_every": _OURS,
        "evaluate_every": _OURS,
        "checkpoint_every": _OURS,
        "keep_checkpoints": _OURS,
    }


def _rate(task: str) -> str:
    return "paper: 1e-5" if task in _LARGE else "paper: 7e-6"


_ADAMW = {
    "name": "unstated: ours (AdamW)",
    "schedule": "unstated: ours (constant)",
    "warmup_steps": "unstated: ours (0)",
    "warmup_fraction": "unstated: ours (0)",
    "weight_decay": "unstated: ours (0)",
    "beta1": "unstated: ours (0.9)",
    "beta2": "unstated: ours (0.999)",
    "epsilon": "unstated: ours (1e-8)",
    "momentum": _UNUSED,
    "tau": _UNUSED,
    "max_grad_norm": "code: 1.0, the framework's default",
}
_GRPO = {
    "steps": "code: 30 epochs of 1,000 problems as an upper bound; the peak is near step 100",
    "prompts_per_step": "code: mini-batches of 64 prompts",
    "num_generations": "code: 8",
    "gradient_accumulation": _MEMORY,
    "updates_per_generation": "code: batches of 128 prompts in mini-batches of 64",
    "num_iterations": "code: one pass",
    "max_prompt_length": "code: 1,024",
    "max_completion_length": "code: 16,000",
    "stop": "code: the stop string belongs to the tool loop",
    "temperature": "code: 0.6",
    "top_p": "code: 0.95",
    "rollout_batch_size": _MEMORY,
    "mask_truncated": "unstated: ours (truncated completions stay)",
    "loss_type": "code: mean over the tokens of the mask",
    "scale_rewards": "code: the group's standard deviation (plus 1e-6 there, 1e-4 in trl)",
    "reward_weights": "paper: 1 and w; set from reward.*",
    "epsilon": "code: 0.2",
    "epsilon_high": "code: as epsilon",
    "importance_sampling_level": "code: token",
    "beta": "code: 0.001",
    "entropy_coefficient": "code: 0.001, the framework's default",
    "mixed_precision": "unstated: ours (bf16)",
    "gradient_checkpointing": _MEMORY,
    "log_every": _OURS,
    "evaluate_every": _OURS,
    "checkpoint_every": "code: every 20 rounds of two steps",
    "keep_checkpoints": _OURS,
}
_EVALUATION = {
    "max_new_tokens": "paper: 32,768",
    "samples": "paper: avg@16 on AIME24",
    "temperature": "paper: 0.6",
    "top_p": "paper: 0.95",
    "batch_size": _MEMORY,
    "budgets": "paper: 4k to 32k",
}
_TUNED = ("prompt_hint", "hint_engineering", "random_hints", "truncated", "rft", "no_tool")


def _of_task(task: str) -> dict[str, str]:
    adamw = _ADAMW | {"learning_rate": "unstated: ours (not used: the arm's rate counts)"}
    all_weights = dict.fromkeys(_LORA_FIELDS, "unstated: ours (all weights are trained)")
    groups: dict[str, Mapping[str, str]] = {
        "task": _task(task),
        "policy": _policy(task),
        "base": {"num_problems": _UNUSED},
        "base.habits": dict.fromkeys(
            ("general", "direct", "verify", "verify_after_general", "distrust", "trust", "slip"), _UNUSED
        ),
        "loop": _loop(task),
        "traces": _traces(task),
        "sft": _sft(task),
        "sft.optimizer": adamw,
        "sft.lora": all_weights,
        "grpo": _GRPO,
        "grpo.optimizer": adamw,
        "grpo.lora": all_weights,
        "reward": {"code_weight": "paper: 0.1", "penalize_no_code": "code: no program counts as failing"},
        "rates": dict.fromkeys(_TUNED, _rate(task))
        | {name: "code: 1e-6" for name in ("no_tool_rl", "rl", "rl_from_base", "rl_from_base_unmasked")},
        "evaluation": _EVALUATION,
    }
    for part in ("programs", "thinking"):
        groups[f"base.{part}"] = dict.fromkeys(_SFT_FIELDS, _NO_BASE)
        groups[f"base.{part}.optimizer"] = dict.fromkeys(_OPTIMIZER_FIELDS, _NO_BASE)
        groups[f"base.{part}.lora"] = dict.fromkeys(_LORA_FIELDS, _NO_BASE)
    return {f"{group}.{field}": source for group, fields in groups.items() for field, source in fields.items()}


SOURCES: Mapping[str, Mapping[str, str]] = {task: _of_task(task) for task in TASKS}
"""Task to field to source; the values themselves are in ``config.paper``."""
