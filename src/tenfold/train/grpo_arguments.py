"""trl's GRPO configuration from our settings alone: what they decide, and what no setting decides, said by name."""

from typing import Any

from tenfold.train.settings import GRPOSettings
from tenfold.train.trl_run import OPEN

# What no setting decides and ``extra`` may change, as GRPO was published.
OPEN_OF_GRPO = OPEN | {
    "use_bias_correction_kl": False,
    "delta": None,
    "multi_objective_aggregation": "sum_then_normalize",
    "top_entropy_quantile": 1.0,
    "off_policy_mask_threshold": None,
    "use_adaptive_entropy": False,
    "cast_lm_head_to_fp32": False,
}


def grpo_arguments(settings: GRPOSettings) -> dict[str, Any]:
    """The fields of trl's ``GRPOConfig`` that a setting decides."""
    return {
        "num_generations": settings.num_generations,
        "steps_per_generation": settings.gradient_accumulation * settings.updates_per_generation,
        "num_iterations": settings.num_iterations,
        "max_completion_length": settings.max_completion_length,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "mask_truncated_completions": settings.mask_truncated,
        "loss_type": settings.loss_type,
        "scale_rewards": settings.scale_rewards,
        "reward_weights": list(settings.reward_weights) or None,
        "epsilon": settings.epsilon,
        "epsilon_high": settings.epsilon_high or None,
        "importance_sampling_level": settings.importance_sampling_level,
        "beta": settings.beta,
        "entropy_coef": settings.entropy_coefficient,
        "disable_dropout": True,
        "remove_unused_columns": False,  # rewards read them
        "use_vllm": False,
    }
