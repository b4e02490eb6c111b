"""Group-relative policy optimization (GRPO) on trl, with completions from :func:`tenfold.policies.rollout`.

    A_ij = r_ij - mean_j r_ij  (over the group j of prompt i; divided by a deviation on request)
    loss = - mean of min(ratio A, clip(ratio, 1 - eps, 1 + eps) A)  + beta KL  - entropy_coefficient H
    KL of a sampled token: exp(d) - d - 1 with d = log reference - log p

:class:`RolloutGRPOTrainer` is for users of trl; :func:`grpo` is one training in one cell of a run, exact to continue.
``rollout_func`` is experimental in trl; :meth:`RolloutGRPOTrainer._rollout` is the only thing here that fits it.

Different from trl's ``GRPOTrainer``: the noise of sampling is keyed by (seed, round, prompt, sample), so that resuming,
several processes and other prompts change no completion; a stop string ends a completion as the end-of-sequence token
does, where trl would count it as truncated; tokens of an environment are left out of the loss; rewards read the text
that was sampled, with all but a final end-of-sequence token; a reward that is not a number is an error; the reference
for the KL divergence is a copy of the initial model, not a model loaded anew by its name; the divergence is not
multiplied by the ratio (trl's default since DeepSeek-V3.2), for the publications here do not; what trl could do and
this cannot is refused by name; with a served engine the model may be sharded (FSDP2, ZeRO-3). The loss above is trl's;
another one takes its place where a :class:`~tenfold.train.policy_loss.PolicyLoss` is named. Not covered: sampling from
a sharded model, images.
"""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import add_fused_lm_head

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Environment, Prompt, Trajectory
from tenfold.policies import Policy, Sampling, rollout
from tenfold.train.features import PromptOf, WithFeatures
from tenfold.train.grpo_arguments import OPEN_OF_GRPO, grpo_arguments
from tenfold.train.grpo_refusals import (
    check_cycle,
    check_data,
    check_loss,
    require_nothing_of_trls_loss,
    require_served,
    require_unsharded,
    require_whole_cycles,
    require_whole_groups,
)
from tenfold.train.policy_loss import PolicyLoss, PolicyLossInputs
from tenfold.train.scoring import (
    RewardFunction,
    check_rewards,
    completion_text,
    finite,
    said_text,
    without_variance,
)
from tenfold.train.served_engine import ServedEngine, served_engine
from tenfold.train.settings import GRPOSettings
from tenfold.train.sharding import prepared_reference
from tenfold.train.trl_run import (
    Evaluate,
    Watcher,
    bare,
    draw_rows,
    load_by_model_names,
    make_lora,
    make_optimizer,
    quiet,
    shared_arguments,
    weights_alone_change,
    with_extra,
)

# What a model may be given beside tokens, in trl's names.
FEATURES = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)

EnvironmentOf = Callable[[Sequence[Mapping[str, Any]]], Environment]
"""The environment of one round of generation from the dataset's rows of its prompts, in their order."""


class RolloutGRPOTrainer(GRPOTrainer):
    """trl's ``GRPOTrainer`` that samples with :func:`tenfold.policies.rollout`.

    Args:
        model: a causal model of transformers.
        reward_funcs: see :data:`RewardFunction`.
        args: trl's configuration; its temperature, top_p, lengths and ``num_generations`` are used.
        processing_class: the tokenizer.
        stop: strings that end a turn.
        environment: answers at the end of each turn.
        max_prompt_length: longer prompts lose their beginning; 0 for no limit.
        rollout_batch_size: completions that are sampled at the same time; 0 for all of a round.
        deterministic: ask the environment in synchronous rounds, as for :func:`tenfold.policies.rollout`.
        count_replies: the environment's tokens count toward ``max_completion_length``, see ``Sampling``.
        mask_replies: leave the environment's tokens out of the loss; off is for showing what that does.
        policy_loss: in place of trl's loss, whose ``loss_type`` and clip range then mean nothing; ``None`` for trl's.
        prompt_of: makes the prompt of a row, with a key and features; by default the column ``prompt`` is encoded,
            which rewards read in any case. Features go into sampling and into the loss, so all prompts of a batch have
            features of the same names and sizes.
        engine: servers that sample; by default the trained model does, which must then be whole on each process.
        **options: as for ``GRPOTrainer``.

    Raises:
        UserError: if two rewards share a name, their weights are not as many, a process would get parts of groups,
            checkpoints would not fall on the generation cycle, or the configuration asks for what is not served,
            for a part of trl's loss beside ``policy_loss``, or for shorter prompts beside ``prompt_of``.

    Example:
        >>> RolloutGRPOTrainer.__mro__[1].__name__
        'GRPOTrainer'
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Sequence[RewardFunction],
        args: GRPOConfig,
        *,
        processing_class: Any,
        stop: tuple[str, ...] = (),
        environment: EnvironmentOf | None = None,
        max_prompt_length: int = 0,
        rollout_batch_size: int = 0,
        deterministic: bool = False,
        count_replies: bool = False,
        mask_replies: bool = True,
        policy_loss: PolicyLoss | None = None,
        prompt_of: PromptOf | None = None,
        engine: ServedEngine | None = None,
        **options: Any,
    ) -> None:
        if prompt_of is not None and max_prompt_length:
            raise UserError(
                f"max_prompt_length = {max_prompt_length}: must be 0 with prompt_of, whose prompts are whole"
            )
        self.prompt_of, self.engine = prompt_of, engine
        self.environment_of, self.max_prompt_length = environment, max_prompt_length
        self.rollout_batch_size, self.mask_truncated = rollout_batch_size, args.mask_truncated_completions
        self.sampling = Sampling(args.max_completion_length, args.temperature, args.top_p, stop, count_replies)
        self.deterministic, self.mask_replies = deterministic, mask_replies
        self.rows: list[dict[str, Any]] = []
        self.features: Sequence[Mapping[str, Any]] = []  # of the rows whose probabilities are computed next
        self.policy_loss, beta = policy_loss, args.beta
        if policy_loss is not None:
            require_nothing_of_trls_loss(args)
            # trl asks its reference where its beta is not 0; what that is multiplied by is the loss's affair.
            beta = float(policy_loss.needs_reference)
        check_rewards(reward_funcs, args.reward_weights)
        require_served(args, options)
        require_whole_groups(args)
        require_whole_cycles(args)
        # trl would load the reference by the model's name, and tell a stop string's end from a truncation by its token.
        # With new adapters the reference is the model without them.
        reference = copy.deepcopy(model) if beta and options.get("peft_config") is None else None
        ours = copy.copy(args)
        ours.beta, ours.mask_truncated_completions = 0.0, False
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
            super().__init__(
                model,
                [finite(reward) for reward in reward_funcs],
                ours,
                processing_class=processing_class,
                rollout_func=type(self)._rollout_for,
                **options,
            )
        self.args.beta, self.beta = args.beta, beta
        if (engine := self.engine) is None:
            require_unsharded(self.accelerator)
        else:
            engine.attach(self)
        if reference is not None:
            add_fused_lm_head(bare(reference), temperature=self.temperature)
            self.ref_model = prepared_reference(reference.eval(), self.accelerator)

    @staticmethod
    def _rollout_for(prompts: list[Any], trainer: "RolloutGRPOTrainer") -> dict[str, Any]:
        """trl's ``rollout_func``."""
        return trainer._rollout(prompts)

    def _rollout(self, prompts: list[Any]) -> dict[str, Any]:
        """Completions of this process's prompts, each of which is there once for each of its samples."""
        was_training = self.model.training
        num_samples = self.num_generations if was_training else self.num_generations_eval
        if len(prompts) % num_samples:
            batch = f"per_device_eval_batch_size = {len(prompts)}"
            raise UserError(f"{batch}: must be a multiple of num_generations_eval = {num_samples}, for whole groups")
        first, rows = prompts[::num_samples], self.rows[::num_samples]
        wrapped = (
            nullcontext(self.model)
            if self.engine
            else unwrap_model_for_generation(
                self.model_wrapped, self.accelerator, gather_deepspeed3_params=self.args.ds3_gather_for_generation
            )
        )
        with wrapped as model, self.accelerator.autocast():
            policy = Policy(model.eval(), self.processing_class)
            encoded = [self._encode(policy, prompt, row) for prompt, row in zip(first, rows, strict=True)]
            trajectories = rollout(
                policy if self.engine is None else self.engine.policy,
                encoded,
                self.sampling,
                num_samples=num_samples,
                seed=self.args.seed,
                keys=self._keys(first, encoded, was_training),
                environment=self.environment_of(rows) if self.environment_of else None,
                batch_size=self.rollout_batch_size or len(prompts),
                deterministic=self.deterministic,
            )
            model.train(was_training)
        self.features = [trajectory.features for trajectory in trajectories]
        return {
            "prompt_ids": [list(trajectory.prompt_ids) for trajectory in trajectories],
            "completion_ids": [trajectory.token_ids for trajectory in trajectories],
            "logprobs": [trajectory.log_probs for trajectory in trajectories],
            "env_mask": [self._mask(trajectory) for trajectory in trajectories],
            "trajectory": trajectories,
        }

    def _keys(
        self, prompts: Sequence[Any], encoded: Sequence[Prompt], in_training: bool
    ) -> list[tuple[int | str, ...]]:
        """What tells the noise of each prompt apart; the number of processes plays no part."""
        if not in_training:
            return [
                ("evaluation", repr(prompt), *([repr(one.key)] if one.key else []))  # images with equal words differ
                for prompt, one in zip(prompts, encoded, strict=True)
            ]
        # A round may begin within a step: trl counts rounds in pieces.
        moment = (self.state.global_step, self._step % self.args.gradient_accumulation_steps)
        first = self.accelerator.process_index * len(prompts)
        return [(*moment, first + i) for i in range(len(prompts))]

    def _encode(self, policy: Policy, prompt: Any, row: Mapping[str, Any]) -> Prompt:
        if self.prompt_of is not None:
            return self.prompt_of(policy, row)
        token_ids = policy.encode(prompt, start=True) if isinstance(prompt, str) else policy.chat(prompt)
        if self.max_prompt_length:
            token_ids = token_ids[-self.max_prompt_length :]
        return Prompt(tuple(token_ids))

    def _mask(self, trajectory: Trajectory) -> list[int]:
        """1 for the tokens that enter the loss."""
        left_out = self.mask_truncated and trajectory.stop_reason == "length"
        return [int((sampled or not self.mask_replies) and not left_out) for sampled in trajectory.loss_mask]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.rows = inputs
        scored = super()._generate_and_score_completions(inputs)
        if self.engine is not None:
            self.engine.require_alike(self._metrics["train" if self.model.training else "eval"])
        if any(self.features):
            scored["features"] = self.features  # trl shuffles and splits what is in here with the completions
        return scored

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **options: Any) -> Any:
        if any(self.features):
            model = WithFeatures(model, self.features)
        return super()._get_per_token_logps_and_entropies(model, *args, **options)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: Any
    ) -> Tensor:
        """Rewards of all processes [N, F], from the text that was sampled; NaN where a reward does not apply."""
        trajectories, policy = [row["trajectory"] for row in inputs], Policy(self.model, self.processing_class)
        texts: list[Any] = [completion_text(one, policy.tokenizer, policy.end_ids) for one in trajectories]
        inputs = [
            {**row, "said": said_text(one, policy.tokenizer, policy.end_ids)}
            for row, one in zip(inputs, trajectories, strict=True)
        ]
        if not isinstance(prompts[0], str):
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rewards_NF = super()._calculate_rewards(inputs, prompts, texts, completion_ids_list)
        self._note(trajectories, rewards_NF)
        return rewards_NF

    def _note(self, trajectories: Sequence[Trajectory], rewards_NF: Tensor) -> None:
        """Log what was sampled; trl's own counts take the end by a stop string for a truncation."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        num_samples = self.num_generations if self.model.training else self.num_generations_eval
        weights_F = self.reward_weights.to(rewards_NF.device)
        metrics["groups/without_variance"].append(without_variance(rewards_NF, weights_F, num_samples))
        facts = torch.tensor(
            [
                [sum(trajectory.loss_mask), trajectory.stop_reason == "length", len(trajectory.tool_calls)]
                for trajectory in trajectories
            ],
            dtype=torch.float32,
            device=self.accelerator.device,
        )
        lengths, truncated, tool_calls = self.accelerator.gather(facts).T
        ended = lengths[truncated == 0]
        for kind, values in (("", lengths), ("terminated_", ended)):
            for name in ("mean", "min", "max"):
                value = getattr(values, name)().item() if len(values) else math.nan
                metrics[f"completions/{name}_{kind}length"][-1] = value
        metrics["completions/clipped_ratio"][-1] = truncated.mean().item()
        if self.environment_of is not None:
            metrics["completions/tool_calls"].append(tool_calls.mean().item())
            for trajectory in trajectories:
                for name, part in trajectory.reward_parts.items():
                    self._log_metric(f"environment/{name}", part)

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """The piece's part of a step's loss: trl's, or the one that was given."""
        self.features = inputs.get("features", ())
        if self.policy_loss is None:
            return super()._compute_loss(model, inputs)
        given, aux_loss = self._policy_loss_inputs(model, inputs)
        loss, metrics = self.policy_loss.function(given)
        self._note_means(metrics, given.mask_BT)
        assert given.entropies_BT is not None
        self._note_means({"entropy": given.entropies_BT}, given.mask_BT)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * aux_loss / given.pieces
            self._note_means({"aux_loss": aux_loss}, given.mask_BT)
        return loss

    def _policy_loss_inputs(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[PolicyLossInputs, Tensor]:
        """What a loss may know of one piece; and the balance of a mixture of experts, absent in other models."""
        completion_mask = inputs["completion_mask"]
        mask_BT = (completion_mask * inputs.get("tool_mask", 1)).bool()
        log_probs_BT, entropies_BT, aux_loss = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], completion_mask], dim=1),
            logits_to_keep=completion_mask.shape[1],
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,
            **{name: inputs.get(name) for name in FEATURES},
        )
        num_items, pieces = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes, 1
        if self.model.training:
            pieces = self.current_gradient_accumulation_steps
            # trl counts the tokens of the round of generation, which may feed several steps.
            num_items = num_items * pieces / self.args.steps_per_generation
        given = PolicyLossInputs(
            log_probs_BT,
            sampler_log_probs_BT=inputs["sampling_per_token_logps"],
            advantages_B=inputs["advantages"],
            mask_BT=mask_BT,
            num_items=num_items,
            old_log_probs_BT=inputs.get("old_per_token_logps"),
            reference_log_probs_BT=inputs.get("ref_per_token_logps"),
            entropies_BT=entropies_BT,
            pieces=pieces,
            step=self.state.global_step,
        )
        return given, aux_loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        loaded = not self.is_fsdp_enabled and load_by_model_names(model or self.model, Path(resume_from_checkpoint))
        if not loaded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _note_means(self, metrics: Mapping[str, Tensor], mask_BT: Tensor) -> None:
        """Log means over all processes: of values of tokens over the mask, of other values over all of them."""
        for name, values in metrics.items():
            count = torch.tensor(float(values.numel()), device=values.device)
            if values.shape == mask_BT.shape:
                values, count = values * mask_BT, mask_BT.sum().float()
            totals = self.accelerator.reduce(torch.stack([values.detach().sum(), count]), reduction="sum")
            mean = totals[0] / totals[1].clamp(min=1.0)
            self._metrics["train" if self.model.training else "eval"][name].append(mean.item())


def grpo(
    policy: Policy,
    dataset: Dataset,
    rewards: Sequence[RewardFunction],
    settings: GRPOSettings,
    cell: Cell,
    *,
    environment: EnvironmentOf | None = None,
    deterministic: bool = False,
    count_replies: bool = False,
    mask_replies: bool = True,
    policy_loss: PolicyLoss | None = None,
    prompt_of: PromptOf | None = None,
    evaluate: Evaluate | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Policy:
    """Train ``policy`` from the newest complete checkpoint of ``cell`` (or from the start) to the last step.

    Args:
        policy: fresh, seeded by the caller; its model is trained in place (adapters are wrapped around it).
        dataset: rows with ``prompt``, text or messages, and what the rewards read.
        rewards: summed with ``settings.reward_weights``.
        settings: what is published about the training.
        cell: where to log and save, and whether to stop.
        environment: answers at the end of each turn of a completion.
        deterministic: ask it in synchronous rounds; on a CPU a run then repeats to the last bit; a slow
            tool is waited for.
        count_replies: its tokens count toward ``settings.max_completion_length``.
        mask_replies: leave its tokens out of the loss; off is for showing what that does.
        policy_loss: in place of the loss that the settings describe, which must then be at their defaults.
        prompt_of: makes the prompt of a row, see :class:`RolloutGRPOTrainer`.
        evaluate: ``(model, step) -> metrics``, called on the unwrapped model in evaluation mode.
        extra: further fields of trl's ``GRPOConfig``.

    Returns:
        The policy with the trained model in evaluation mode; a peft model where there are adapters.

    Raises:
        UserError: if the data lacks prompts, a setting or ``extra`` is not allowed, checkpoints would not fall on the
            generation cycle, the device is absent, or a checkpoint fits another launch.
        Interrupted: after a checkpoint, when the cell was asked to stop.
    """
    check_data(dataset)
    check_cycle(settings)
    if policy_loss is not None:
        check_loss(settings, extra or {})
    sequences = settings.prompts_per_step * settings.num_generations
    arguments = shared_arguments(settings, cell, settings.steps, sequences) | grpo_arguments(settings)
    prompts = settings.steps // settings.num_iterations * settings.prompts_per_step
    lora = make_lora(settings.lora, policy.model)
    engine = served_engine(settings.engine, policy, cell, has_adapters=lora is not None)
    cycle = settings.cycle * settings.engine.push_every
    watcher = Watcher(cell, settings, settings.steps, sequences, cycle, evaluate)
    config = with_extra(GRPOConfig, arguments, extra or {}, OPEN_OF_GRPO)
    with weights_alone_change(policy.model), quiet():
        trainer = RolloutGRPOTrainer(
            policy.model,
            rewards,
            config,
            processing_class=policy.tokenizer,
            stop=settings.stop,
            environment=environment,
            max_prompt_length=settings.max_prompt_length,
            rollout_batch_size=settings.rollout_batch_size,
            deterministic=deterministic,
            count_replies=count_replies,
            mask_replies=mask_replies,
            policy_loss=policy_loss,
            prompt_of=prompt_of,
            engine=engine,
            train_dataset=dataset.select(draw_rows(len(dataset), prompts, cell.seed)),
            callbacks=[watcher],
            optimizers=(make_optimizer(policy.model, settings.optimizer, settings.lora), None),
            peft_config=lora,
        )
        watcher.train(trainer)
    return watcher.trained(policy)
