"""Where each value of the ``paper`` presets comes from.

"abstract": read there; "summary": read in reviews or summaries of arXiv 2505.07903; "ReSearch": the released code of
the declared baseline, taken where SEM is silent. The paper's full text could not be read, and most values are ours or
ReSearch's.
"""

from collections.abc import Mapping

from tenfold.study.sources import source_table

TASKS = ("qwen2.5-7b", "qwen2.5-14b")

_RATE = "ReSearch: 1e-6"
_TABLE = source_table(
    {
        "task": {
            "kind": "abstract: questions of MuSiQue and MMLU",
            "musique_train": "abstract: MuSiQue; a path of yours, not shipped",
            "mmlu_train": "abstract: MMLU; a path of yours, not shipped",
            "musique_test": "summary: MuSiQue is one of the benchmarks; a path of yours, not shipped",
            "mmlu_test": "summary: MMLU is one of the benchmarks; a path of yours, not shipped",
            "musique_share": "unstated: ours (the abstract says balanced; one half)",
            "num_train": "unstated: ours (all: the number of examples is not given)",
        },
        "policy": {"model": "summary: the Qwen2.5 family; the size is ours"},
        "warm_start.training": {"steps": "unstated: ours (no supervised training before is known of)"},
        "search": {
            "index": "unstated: ours (SEM's retriever is unknown; a path of yours, or BM25 over the files' paragraphs)",
            "passages": "ReSearch: top 5",
            "count_results": "ReSearch: the response's 8,192 tokens hold the results, too",
        },
        "reward": {
            "tau": "unstated: ours (0.5; the threshold is not known)",
            "searched_but_known_reward": "summary: a good first answer that was searched earns 0",
            "a2_discount": "summary: the printed formula has no discount",
            "low_a2_discount": "unstated: ours (an ablation)",
            "search_cost": "summary: the printed formula has no cost",
            "rival": "unstated: ours (Search-R1's exact match; SEM's own baselines are naive RAG and ReSearch)",
            "normalisation": "ReSearch: SQuAD's, in its token F1",
            "search_below": "unstated: ours (a composition that is not the paper's)",
        },
        "training": {
            "steps": "summary: 200",
            "prompts_per_step": "ReSearch: batches of 256",
            "num_generations": "ReSearch: 5",
            "updates_per_generation": "ReSearch: mini-batches as large as the batch",
            "max_prompt_length": "ReSearch: 512",
            "max_completion_length": "ReSearch: 8,192",
            "stop": "ReSearch: </search>, which the environment adds",
            "scale_rewards": "unstated: ours (by the group's deviation, as GRPO was published)",
            "beta": "ReSearch: 0.001",
        },
        "rates": dict.fromkeys(("answer_reward", "sem", "sem_discount", "sem_confidence"), _RATE),
        "evaluation": {
            "max_new_tokens": "ReSearch: 8,192, as in training",
            "temperature": "unstated: ours (1, as in training)",
        },
    }
)
SOURCES: Mapping[str, Mapping[str, str]] = dict.fromkeys(TASKS, _TABLE)
"""Task to field to source; the values themselves are in ``config.paper``."""
