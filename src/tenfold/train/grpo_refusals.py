"""What GRPO on trl refuses before anything is built: what it would ignore, lose, or share out unevenly.

The functions named ``check`` read our settings and data, those named ``require`` trl's ``GRPOConfig``, which users of
the trainer make themselves. Each raises ``UserError`` with the field, its value and what is allowed.
"""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.train.distributed import num_launched
from tenfold.train.settings import GRPOSettings
from tenfold.train.sharding import sharding_of

# What :func:`tenfold.policies.rollout` does not do and would ignore, with the values that ask for nothing.
NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "top_k": (0, None),
    "min_p": (None, 0.0),
    "repetition_penalty": (1.0,),
    "generation_kwargs": (None, {}),
    "chat_template_kwargs": (None, {}),
    "cache_implementation": (None,),
    "use_vllm": (False,),
    "use_transformers_paged": (False,),
    "use_transformers_continuous_batching": (False,),
    "sync_ref_model": (False,),
}
# What describes trl's loss alone, with the values that ask for nothing; where another loss is named they would not act.
OF_TRLS_LOSS: dict[str, tuple[Any, ...]] = {
    "beta": (0.0,),
    "entropy_coef": (0.0,),
    "use_adaptive_entropy": (False,),
    "delta": (None,),
    "top_entropy_quantile": (1.0,),
    "off_policy_mask_threshold": (None,),
}
# The same where trl's default asks for something and ours for nothing: only beside our settings does a value say that
# it was meant.
SWITCHED_OFF_OF_TRLS_LOSS: dict[str, tuple[Any, ...]] = {"use_bias_correction_kl": (False,)}
# The same among our settings.
SETTINGS_OF_TRLS_LOSS = (
    "loss_type",
    "epsilon",
    "epsilon_high",
    "importance_sampling_level",
    "beta",
    "entropy_coefficient",
    "engine.importance_cap",
)


def check_data(dataset: Dataset) -> None:
    """Data has rows with a prompt."""
    if not len(dataset):
        raise UserError("dataset: 0 rows; at least 1 is needed")
    if "prompt" not in dataset.column_names:
        raise UserError(f"dataset: columns {', '.join(dataset.column_names)}; needed: prompt")


def check_cycle(settings: GRPOSettings) -> None:
    """A checkpoint between two rounds of generation would lose completions that are still to be used."""
    for name in ("steps", "checkpoint_every"):
        value = getattr(settings, name)
        if value % settings.cycle:
            raise UserError(
                f"{name} = {value}: must be a multiple of updates_per_generation * num_iterations = {settings.cycle}"
            )
    pushes = settings.cycle * settings.engine.push_every
    if settings.checkpoint_every % pushes:
        raise UserError(
            f"checkpoint_every = {settings.checkpoint_every}: must be a multiple of {pushes} steps, from one push of "
            "the weights to the next (engine.push_every), for a resumed run begins with a push"
        )
    round_prompts = settings.prompts_per_step * settings.updates_per_generation
    if round_prompts % num_launched():
        raise UserError(
            f"prompts_per_step * updates_per_generation = {round_prompts}: must be a multiple of "
            f"{num_launched()} process(es), each of which samples whole groups"
        )


def check_loss(settings: GRPOSettings, extra: Mapping[str, Any]) -> None:
    """Where another loss is named, no setting describes trl's, nor does what is given beside the settings."""
    refuse_idle(settings, SETTINGS_OF_TRLS_LOSS, acts="policy_loss")
    _require_nothing_of_trls_loss(extra, SWITCHED_OFF_OF_TRLS_LOSS)


def require_whole_groups(args: Any) -> None:
    """Each process samples whole groups; trl allows parts of groups when the processes together have whole ones."""
    completions = args.per_device_train_batch_size * args.steps_per_generation
    if completions % args.num_generations:
        raise UserError(
            f"per_device_train_batch_size * steps_per_generation = {completions}: must be a multiple of "
            f"num_generations = {args.num_generations}, for each process samples whole groups"
        )


def require_whole_cycles(args: Any) -> None:
    """trl keeps no completions in a checkpoint: what would still be used of them is lost, and it says nothing."""
    if args.save_strategy == "no":
        return
    cycle = args.steps_per_generation * args.num_iterations
    pieces = args.save_steps * args.gradient_accumulation_steps
    if args.save_strategy != "steps" or pieces % cycle:
        raise UserError(
            f"save_strategy = {args.save_strategy.value!r} with save_steps = {args.save_steps}: save_steps * "
            f"gradient_accumulation_steps must be a multiple of steps_per_generation * num_iterations = {cycle}"
        )


def require_nothing_of_trls_loss(args: Any) -> None:
    """Where another loss is named, the configuration asks for nothing that trl's alone would do."""
    _require_nothing_of_trls_loss({name: getattr(args, name) for name in OF_TRLS_LOSS}, OF_TRLS_LOSS)


def _require_nothing_of_trls_loss(values: Mapping[str, Any], of_trls_loss: Mapping[str, tuple[Any, ...]]) -> None:
    for name, nothing in of_trls_loss.items():
        if name in values and values[name] not in nothing:
            raise UserError(f"{name} = {values[name]!r}: belongs to trl's loss, which policy_loss replaces")


def require_unsharded(accelerator: Any) -> None:
    """Sampling in process runs the whole model on every process."""
    kind = sharding_of(accelerator)
    if kind:
        raise UserError(
            f"engine.name = in_process: the model is sharded over processes ({kind}), and sampling needs it whole; "
            "allowed: served"
        )


def require_served(args: Any, options: Mapping[str, Any]) -> None:
    """Nothing is asked of sampling that rollouts would ignore; tools come in by the environment."""
    for name, nothing in NOT_SERVED.items():
        if getattr(args, name) not in nothing:
            raise UserError(f"{name} = {getattr(args, name)!r}: rollouts do not serve it; allowed: {nothing[0]!r}")
    for name in ("tools", "environment_factory"):
        if options.get(name) is not None:
            raise UserError(f"{name}: tools and environments come in by environment = …; {name} must be None")
