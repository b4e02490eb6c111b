"""Where each value of the ``paper`` presets comes from. "LLM code": the authors' repository emmyqin/iw_sft (iw_sft.sh);
"control code": their repository emmyqin/iw_sft_control; both belong to arXiv 2507.12856."""

from tenfold.study.sources import source_table

_STAGE_2 = ("bc", "sft", "iw_sft", "iw_sft_mean", "sft_quality", "iw_sft_quality", "awr")
_CONTROL_BASELINES = ("awr_temperature", "largest_weight", "value_steps", "value_rate", "expectile", "target_decay")

S1K = source_table(
    {
        "cloning": {"steps": "LLM code: no stage 1; the start is the instruct model"},
        "fine_tuning": {
            "epochs": "LLM code: 5",
            "batch_size": "LLM code: micro-batch 1 on 8 GPUs",
            "gradient_accumulation": "LLM code: 1",
            "max_length": "LLM code: block_size 22000",
            "mixed_precision": "LLM code: bf16",
            "gradient_checkpointing": "LLM code: on",
            "evaluate_every": "unstated: ours (0, because an answer may have 32,768 tokens: at the end)",
        },
        "fine_tuning.optimizer": {
            "name": "LLM code: Adam with decoupled decay",
            "schedule": "LLM code: cosine",
            "warmup_fraction": "LLM code: 5 %",
            "weight_decay": "LLM code: 1e-4",
            "beta1": "LLM code: 0.9",
            "beta2": "LLM code: 0.95",
        },
        "fine_tuning.lora": {"rank": "LLM code: all weights are trained"},
        "weighting": {
            "weight_fn": "LLM code: the trajectory weight",
            "level": "LLM code: the trajectory weight",
            "log_ratio": "LLM code: mean over tokens",
            "temperature": "LLM code: 1.0",
            "weight_clip": "LLM code: [0, 16]",
            "normalize": "LLM code: no batch normalisation",
            "q_ema": "LLM code: q is the current policy",
            "ref": "LLM code: the frozen initial model",
            "quality_column": "LLM code: none",
        },
        "rates": dict.fromkeys(_STAGE_2, "LLM code: 1e-5 in every run"),
        "policy": {"model": "LLM code: Qwen2.5-32B-Instruct"},
        "task": {
            "train_file": "LLM code: s1K-1.1, 1,000 R1 traces; a path of yours",
            "test_file": "LLM code: lm-evaluation-harness on AIME24, MATH500, GPQA-D; a path of yours here",
            "num_test": "LLM code: AIME24 has 30 problems",
            "max_new_tokens": "LLM code: up to 32,768 generated tokens",
        },
    }
)

D4RL = source_table(
    {
        "": {"loss_over": "control code: the mean over trajectories of the mean over steps, in both stages"},
        "cloning": {
            "steps": "control code: 10,000",
            "batch_size": "control code: 128 trajectories",
        },
        "fine_tuning": {
            "steps": "control code: 2,000",
            "batch_size": "control code: 256 trajectories",
            "warmup_steps": "control code: 300",
            "rate_floor": "control code: cosine to 0",
        },
        "weighting": {
            "weight_fn": "control code: the trajectory weight",
            "level": "control code: the trajectory weight",
            "log_ratio": "control code: mean over steps",
            "temperature": "control code: 10",
            "weight_clip": "control code: [0, 1000]",
            "normalize": "control code: divided by the batch's sum",
            "q_ema": "control code: 0.9",
            "ref": "control code: the cloned policy, from which fine-tuning starts",
            "quality_column": "control code: none; quality enters by the nested percentiles",
        },
        "rates": {"cloning": "control code: 1e-3"} | dict.fromkeys((*_STAGE_2, "iql"), "control code: 4e-5 in stage 2"),
        "policy": {
            "kind": "control code: unsquashed Normal with a tanh mean",
            "hidden_size": "control code: 256",
            "layers": "control code: 3",
        },
        "baselines": dict.fromkeys(
            (*_CONTROL_BASELINES, "discount"), "unstated: ours (the baselines' settings were not available)"
        ),
        "control": {
            "env_id": "control code: halfcheetah, hopper, walker2d; the current Gymnasium version here",
            "file": "control code: D4RL v2 medium-replay; a path of yours",
            "percentiles": "control code: nested 90 / 95 / 98",
            "score_low": "unstated: ours (0 and 1 show raw returns; give D4RL's reference returns)",
            "score_high": "unstated: ours (0 and 1 show raw returns; give D4RL's reference returns)",
            "num_test": "control code: 100 episodes at the end",
            "num_validation": "control code: 10 episodes while training",
            "sample_actions": "control code: the mean action",
        },
    }
)
