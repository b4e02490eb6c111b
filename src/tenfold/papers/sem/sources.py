"""Where each value of the ``paper`` presets comes from.

"abstract": read there; "summary": read in reviews or summaries of arXiv 2505.07903; "ReSearch": the released code of
the declared baseline, taken where SEM is silent. The paper's full text could not be read, and most values are ours or
ReSearch's.
"""

from collections.abc import Mapping

TASKS = ("qwen2.5-7b", "qwen2.5-14b")

_UNUSED = "unstated: ours (not used here)"
_OURS = "unstated: ours"
_MEMORY = "unstated: ours (a matter of memory)"
_NO_WARM_START = "unstated: ours (no supervised training before is known of)"
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
_TASK = {
    "kind": "abstract: questions of MuSiQue and MMLU",
    "musique_train": "abstract: MuSiQue; a path of yours, not shipped",
    "mmlu_train": "abstract: MMLU; a path of yours, not shipped",
    "musique_test": "summary: MuSiQue is one of the benchmarks; a path of yours, not shipped",
    "mmlu_test": "summary: MMLU is one of the benchmarks; a path of yours, not shipped",
    "musique_share": "unstated: ours (the abstract says balanced; one half)",
    "num_known": _UNUSED,
    "num_test": "unstated: ours (1,000 of each source)",
    "num_validation": "unstated: ours (0)",
    "num_taught": _UNUSED,
    "num_train": "unstated: ours (all: the number of examples is not given)",
}
_POLICY = dict.fromkeys(("width", "layers", "heads", "context"), _UNUSED)
_WARM_START = dict.fromkeys(("num_examples", "known_share", "num_drafts", "search_same", "search_differ"), _UNUSED)
_SEARCH = {
    "index": "unstated: ours (SEM's retriever is unknown; a path of yours, or BM25 over the files' paragraphs)",
    "passages": "ReSearch: top 5",
    "max_searches": "unstated: ours (4)",
    "max_result_tokens": "unstated: ours (1,500)",
    "count_results": "ReSearch: the response's 8,192 tokens hold the results, too",
    "deterministic": "unstated: ours (searches run beside the sampling)",
}
_REWARD = {
    "tau": "unstated: ours (0.5; the threshold is not known)",
    "searched_but_known_reward": "summary: a good first answer that was searched earns 0",
    "a2_discount": "summary: the printed formula has no discount",
    "low_a2_discount": "unstated: ours (an ablation)",
    "search_cost": "summary: the printed formula has no cost",
    "search_below": "unstated: ours (a composition that is not the paper's)",
}
_RATE = "ReSearch: 1e-6"
_TRAINING = {
    "steps": "summary: 200",
    "prompts_per_step": "ReSearch: batches of 256",
    "num_generations": "ReSearch: 5",
    "gradient_accumulation": _MEMORY,
    "updates_per_generation": "ReSearch: mini-batches as large as the batch",
    "num_iterations": "unstated: ours (one pass)",
    "max_prompt_length": "ReSearch: 512",
    "max_completion_length": "ReSearch: 8,192",
    "stop": "ReSearch: </search>, which the environment adds",
    "temperature": "unstated: ours (1)",
    "top_p": "unstated: ours (1)",
    "rollout_batch_size": _MEMORY,
    "mask_truncated": "unstated: ours (they count, and earn 0)",
    "loss_type": "unstated: ours (bnpo)",
    "scale_rewards": "unstated: ours (by the group's deviation, as GRPO was published)",
    "reward_weights": "unstated: ours (set by the arm: the reward alone counts)",
    "epsilon": "unstated: ours (0.2)",
    "epsilon_high": "unstated: ours (as epsilon)",
    "importance_sampling_level": "unstated: ours (token)",
    "beta": "ReSearch: 0.001",
    "entropy_coefficient": "unstated: ours (none)",
    "mixed_precision": "unstated: ours (bf16)",
    "gradient_checkpointing": _MEMORY,
    "log_every": _OURS,
    "evaluate_every": _OURS,
    "checkpoint_every": _OURS,
    "keep_checkpoints": _OURS,
}
_EVALUATION = {
    "max_new_tokens": "ReSearch: 8,192, as in training",
    "temperature": "unstated: ours (1, as in training)",
    "samples": "unstated: ours (1)",
    "closed_book_samples": "unstated: ours (8)",
    "known_from": "unstated: ours (one half)",
    "batch_size": _MEMORY,
}


def _of_task(model: str) -> dict[str, str]:
    groups: dict[str, Mapping[str, str]] = {
        "task": _TASK,
        "policy": {"model": model} | _POLICY,
        "warm_start": _WARM_START,
        "search": _SEARCH,
        "reward": _REWARD,
        "training": _TRAINING,
        "training.optimizer": dict.fromkeys(_OPTIMIZER, "unstated: ours (AdamW; the arm's rate counts)"),
        "training.lora": dict.fromkeys(_LORA, "unstated: ours (all weights are trained)"),
        "rates": dict.fromkeys(("answer_reward", "sem", "sem_discount", "sem_confidence"), _RATE),
        "evaluation": _EVALUATION,
    }
    groups["warm_start.training"] = dict.fromkeys(_SFT, _NO_WARM_START)
    groups["warm_start.training.optimizer"] = dict.fromkeys(_OPTIMIZER, _NO_WARM_START)
    groups["warm_start.training.lora"] = dict.fromkeys(_LORA, _NO_WARM_START)
    return {f"{group}.{name}": source for group, fields in groups.items() for name, source in fields.items()}


SOURCES: Mapping[str, Mapping[str, str]] = {
    "qwen2.5-7b": _of_task("summary: the Qwen2.5 family; the size is ours"),
    "qwen2.5-14b": _of_task("summary: the Qwen2.5 family; the size is ours"),
}
"""Task to field to source; the values themselves are in ``config.paper``."""
