"""Policies of an experiment: built or loaded as its configuration says, asked with its prompts, measured in training.

Imports no torch at module level.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.data.questions import Messages

if TYPE_CHECKING:
    import torch

    from tenfold.core.cell import Cell
    from tenfold.policies import Policy
    from tenfold.train.settings import GRPOSettings, SFTSettings
    from tenfold.train.trl_run import Evaluate


@dataclass(frozen=True)
class PolicyConfig:
    """Who answers: a model that exists, or a tiny one made in code."""

    model: str = ""
    """Name or folder of a model that from_pretrained loads, or ``smollm2-135m``; empty for a tiny one made in code."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Loaded model: type of its weights, and so of gradients and moments. bfloat16 takes half the memory, but its
    seven bits lose updates below some 0.4 % of a weight, which is most of them at rates such as 1e-6."""
    width: int = 64
    """Tiny model: width of the residual stream."""
    layers: int = 3
    """Tiny model: number of transformer blocks."""
    heads: int = 4
    """Tiny model: number of attention heads of a block."""
    context: int = 256
    """Tiny model: most tokens of prompt and completion together."""

    def __post_init__(self) -> None:
        """Refuse sizes of a model that has its own."""
        if not self.model:
            refuse_idle(self, ("dtype",), acts="model")
        if self.model:
            refuse_idle(self, ("width", "layers", "heads", "context"), acts="model to nothing, for a tiny policy")


def build_policy(
    config: PolicyConfig,
    alphabet: str,
    special: Sequence[str] = (),
    *,
    seed: int,
    device: "str | torch.device" = "cpu",
) -> "Policy":
    """The policy before any training; equal seeds give equal weights.

    Args:
        config: which.
        alphabet: characters of a tiny policy.
        special: texts that are one token each for a tiny policy.
        seed: of its weights.
        device: where it goes, ``device_of(cell)`` of ``tenfold.train.distributed`` for one that is to be asked.

    Raises:
        UserError: the model cannot be loaded, or the sizes of a tiny one don't fit.

    Example:
        >>> build_policy(PolicyConfig(width=16, layers=1, heads=2), "0123456789+=", seed=0).context
        256
    """
    import torch

    from tenfold.policies import load_policy, tiny_policy

    if config.model:
        return load_policy(config.model, dtype=getattr(torch, config.dtype), device=device)
    policy = tiny_policy(
        alphabet,
        special,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        context=config.context,
        seed=seed,
    )
    policy.model.to(torch.device(device))  # type: ignore[arg-type]
    return policy


def estimate_of(
    policy: PolicyConfig,
    training: "GRPOSettings | SFTSettings",
    rows: int,
    reply_tokens: int = 0,
    *,
    examples: int = 0,
    also: "Sequence[GRPOSettings | SFTSettings]" = (),
) -> dict[str, Any]:
    """What training a loaded model takes, for the estimate of a recipe: see :mod:`tenfold.policies.sizes`.

    ``gpus`` in it has sentences about named GPUs, see :mod:`tenfold.study.gpus`; none for a model of unknown shape, and
    for a training whose steps depend on data that nobody has counted.

    Args:
        policy: of a model that is loaded.
        training: the hungriest one.
        rows: answers that an evaluation samples at the same time.
        reply_tokens: of such an answer with its prompt, and of what an environment adds to one in training.
        examples: rows of data, where a training is a number of epochs over them.
        also: further trainings that ``gpus`` is about.
    """
    from tenfold.policies.sizes import estimate_of_model
    from tenfold.train.settings import GRPOSettings

    tokens, reference = reply_tokens, False
    if isinstance(training, GRPOSettings):
        of_a_round = training.prompts_per_step * training.num_generations * training.updates_per_generation
        rows = max(rows, min(training.rollout_batch_size or of_a_round, of_a_round))
        tokens, reference = max(tokens, training.max_prompt_length + training.max_completion_length), training.beta > 0
    found: dict[str, Any] = estimate_of_model(
        policy.model,
        dtype=policy.dtype,
        rows=rows,
        tokens=tokens,
        cache_dtype="bfloat16" if training.mixed_precision == "bf16" else policy.dtype,
        adapters=training.lora.rank > 0,
        reference=reference,
    )
    sentences = [_on_gpus(policy, each, rows, tokens, examples) for each in (training, *also)]
    return found | {"gpus": [line for lines in sentences for line in lines]}


def _on_gpus(
    policy: PolicyConfig, training: "GRPOSettings | SFTSettings", rows: int, tokens: int, examples: int
) -> list[str]:
    """Sentences about named GPUs, where the shape of the model and the number of steps are known."""
    from tenfold.policies.sizes import BYTES_OF, shape_of
    from tenfold.study.gpus import Work, lines_about
    from tenfold.train.settings import GRPOSettings

    shape = shape_of(policy.model)
    if shape is None:
        return []
    if isinstance(training, GRPOSettings):
        batch, steps = training.prompts_per_step * training.num_generations, training.steps
        sampled = float(batch * steps // training.num_iterations * training.max_completion_length)
        length = max(tokens, 1)
    else:
        batch, sampled, length = training.batch_size, 0.0, training.max_length or tokens
        rows, steps = 0, training.total_steps(examples) if examples else training.steps
    if not steps or not length:
        return []
    work = Work(
        kind="one reinforcement" if sampled else "one fine-tuning",
        number_bytes=BYTES_OF[policy.dtype],
        batch=batch,
        pieces=training.gradient_accumulation,
        length=length,
        steps=steps,
        checkpointing=training.gradient_checkpointing,
        adapters=training.lora.rank > 0,
        reference=isinstance(training, GRPOSettings) and training.beta > 0,
        rows=rows,
        sampled=sampled,
        cache_number_bytes=BYTES_OF["bfloat16" if training.mixed_precision == "bf16" else policy.dtype],
    )
    return lines_about(shape, work)


def placed(policy: "Policy", cell: "Cell") -> "Policy":
    """The same policy, moved to where the cell computes: for one that was read before there was a cell.

    Args:
        policy: as it was built or loaded.
        cell: of the arm or stage that asks it.

    Example:
        >>> from pathlib import Path
        >>> from tenfold.core.cell import Cell
        >>> policy = build_policy(PolicyConfig(width=16, layers=1, heads=2), "01+=", seed=0)
        >>> placed(policy, Cell(arm="a", seed=0, directory=Path("run"), device="cpu")).device
        device(type='cpu')
    """
    from tenfold.train.distributed import device_of

    policy.model.to(device_of(cell))  # type: ignore[arg-type]
    return policy


def prompt_ids(policy: "Policy", prompt: str | Messages) -> list[int]:
    """The tokens of a prompt, as training encodes it: a text, or the messages of a chat."""
    if isinstance(prompt, str):
        return policy.encode(prompt, start=True)
    return policy.chat(prompt)


def require_prompts(policy: "Policy", prompts: Iterable[str | Messages], instructions: str = "") -> None:
    """Refuse prompts that the policy cannot be given, before anything is written.

    Args:
        policy: who is to answer.
        prompts: as they are put to it, numbered by rows from 1.
        instructions: the setting without which there is no system message, such as ``task.system_prompt = none``.

    Raises:
        UserError: with the row.

    Example:
        >>> require_prompts(build_policy(PolicyConfig(width=16, layers=1, heads=2), "01+=", seed=0), ["0+1="])
    """
    for number, prompt in enumerate(prompts, start=1):
        try:
            prompt_ids(policy, prompt)
        except UserError as error:
            has_system = not isinstance(prompt, str) and prompt[0]["role"] == "system"
            advice = f"; without instructions: {instructions}" if instructions and has_system else ""
            raise UserError(f"row {number}: {error}{advice}") from error


def evaluated_as(tokenizer: Any, measure: Callable[["Policy"], Mapping[str, float]]) -> "Evaluate":
    """A measure of a policy as ``sft`` and ``grpo`` call it within a training.

    Args:
        tokenizer: of the policy that is trained.
        measure: a policy to ``group/name`` and numbers; the first one is shown beside the progress.
    """
    from tenfold.policies import Policy

    def evaluate(model: Any, step: int) -> Mapping[str, float]:
        return measure(Policy(model, tokenizer))

    return evaluate
