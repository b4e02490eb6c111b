"""Where each value of the ``paper`` presets comes from. "paper": arXiv 2506.09820; "code": the authors' repository
ChengpengLi1003/CoRT. A task is one of the five published stages."""

from collections.abc import Mapping

from tenfold.study.sources import source_table

TASKS = (
    "prompt-hint-sft-32b",
    "hint-engineering-sft-32b",
    "hint-engineering-rft-32b",
    "sft-1.5b",
    "rl-1.5b",
)

_NO_BASE = "paper: training starts from the released model, no base is trained"
_LARGE = TASKS[:3]

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


def _task(task: str) -> dict[str, str]:
    return {
        "kind": "paper: problems with answers",
        "train_file": _DATA[task],
        "test_file": "paper: AIME24, 30 problems; a path of yours, not shipped",
        "num_test": "code: 30 problems",
        "num_validation": "unstated: ours (0: checkpoints are compared on the test sets there)",
        "grade": "code: Math-Verify",
    }


def _loop(task: str) -> dict[str, str]:
    is_rl = task == "rl-1.5b"
    rounds = "paper: 15 rounds (the released script trains with 12)" if is_rl else "code: 15 rounds in evaluation"
    return {
        "state": "paper: a Jupyter-like environment (the released code replays)",
        "max_tool_calls": f"{rounds}; the last round has no tool",
        "count_outputs": "code: the response length counts outputs",
        "echo_last_expression": "code: standard output alone",
        "deterministic": "unstated: ours (off: the time of programs is hidden)",
        "seconds": "paper: 5 s" if is_rl else "code: 30 s, the default of inference",
        "output_characters": "code: 400 + 400",
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
    return {
        "steps": f"{_EPOCHS[task]} (the number follows)",
        "epochs": _EPOCHS[task],
        "batch_size": "paper: 96" if task in _LARGE else "paper: 128",
    }


def _rates(task: str) -> dict[str, str]:
    tuned = ("prompt_hint", "hint_engineering", "random_hints", "truncated", "rft")
    reinforced = ("no_tool_rl", "rl", "rl_from_base", "rl_from_base_unmasked")
    rate = "paper: 1e-5" if task in _LARGE else "paper: 7e-6"
    return dict.fromkeys(tuned, rate) | dict.fromkeys(reinforced, "code: 1e-6")


_CLIPPED = {"max_grad_norm": "code: 1.0, the framework's default"}
_GRPO = {
    "steps": "code: 30 epochs of 1,000 problems as an upper bound; the peak is near step 100",
    "prompts_per_step": "code: mini-batches of 64 prompts",
    "num_generations": "code: 8",
    "updates_per_generation": "code: batches of 128 prompts in mini-batches of 64",
    "num_iterations": "code: one pass",
    "max_prompt_length": "code: 1,024",
    "max_completion_length": "code: 16,000",
    "stop": "code: the stop string belongs to the tool loop",
    "temperature": "code: 0.6",
    "top_p": "code: 0.95",
    "loss_type": "code: mean over the tokens of the mask",
    "scale_rewards": "code: the group's standard deviation (plus 1e-6 there, 1e-4 in trl)",
    "reward_weights": "paper: 1 and w; set from reward.*",
    "epsilon": "code: 0.2",
    "epsilon_high": "code: as epsilon",
    "importance_sampling_level": "code: token",
    "beta": "code: 0.001",
    "entropy_coefficient": "code: 0.001, the framework's default",
    "checkpoint_every": "code: every 20 rounds of two steps",
}
_EVALUATION = {
    "max_new_tokens": "paper: 32,768",
    "samples": "paper: avg@16 on AIME24",
    "temperature": "paper: 0.6",
    "top_p": "paper: 0.95",
    "budgets": "paper: 4k to 32k",
}


def _of_task(task: str) -> dict[str, str]:
    return source_table(
        {
            "task": _task(task),
            "policy": {"model": f"paper: DeepSeek-R1-Distill-Qwen-{'32B' if task in _LARGE else '1.5B'}"},
            "base": {"programs.steps": _NO_BASE, "thinking.steps": _NO_BASE},
            "loop": _loop(task),
            "traces": _traces(task),
            "sft": _sft(task),
            "sft.optimizer": _CLIPPED,
            "grpo": _GRPO,
            "grpo.optimizer": _CLIPPED,
            "reward": {"code_weight": "paper: 0.1", "penalize_no_code": "code: no program counts as failing"},
            "rates": _rates(task),
            "evaluation": _EVALUATION,
        }
    )


SOURCES: Mapping[str, Mapping[str, str]] = {task: _of_task(task) for task in TASKS}
"""Task to field to source; the values themselves are in ``config.paper``. What it does not name is ours."""
