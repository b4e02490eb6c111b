"""The trainings of the study: supervised on dialogues in tokens, and reinforcement in the small world.

A :class:`Study` is one arm with one seed. Test tasks have graphs that no training sees; validation tasks and a second
test have new tasks on the graphs of the training.

Shapes: B dialogues, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.papers.kimi_k2.agentic.arms import Arm, Objective, Selection, everything, passed
from tenfold.papers.kimi_k2.agentic.config import Config
from tenfold.papers.kimi_k2.agentic.playing import validated
from tenfold.papers.kimi_k2.agentic.small_agents import SmallDialogue, make_dialogues
from tenfold.papers.kimi_k2.agentic.small_world import WORDS, SmallEnvironment, SmallTask, held_out_graphs, make_tasks
from tenfold.policies import Policy, tiny_policy
from tenfold.study.language import evaluated_as
from tenfold.study.stages import policy_made_once
from tenfold.study.tuning import at_rate
from tenfold.train.distributed import device_of
from tenfold.train.grpo import grpo
from tenfold.train.mirror_descent import SquaredLoss, with_ptx
from tenfold.train.policy_loss import PolicyLoss, PolicyLossInputs
from tenfold.train.response_control import Budgets
from tenfold.train.settings import GRPOSettings
from tenfold.train.sft import sft

CONTEXT = 128
NO_LOSS = -100
TASK_TYPE = "tools"
"""All tasks of the small world are of one type, as far as budgets go."""


@dataclass(frozen=True)
class Study:
    """One arm with one seed.

    Args:
        config: of the run.
        arm: what it does differently.
        cell: where it trains, with the seed.
    """

    config: Config
    arm: Arm
    cell: Cell

    def tasks(self, number: int, what: str, *, held_out: bool = False) -> list[SmallTask]:
        """Tasks of this seed.

        Args:
            number: of tasks.
            what: they are for.
            held_out: whether their graphs are those that no training sees.
        """
        graphs = held_out_graphs(self.cell.seed)[held_out]
        return make_tasks(graphs, number, self.cell.seed, what, self.config.dialogues.lost_share)

    def dialogues(self, number: int, what: str, *, held_out: bool = False) -> list[SmallDialogue]:
        """Dialogues of scripted agents, one for each task."""
        config = self.config.dialogues
        tasks = self.tasks(number, what, held_out=held_out)
        return make_dialogues(tasks, config.failures, config.careful_share, config.most_slip)


def build(config: Config, seed: int, device: str | torch.device = "cpu") -> Policy:
    """The policy before any training; equal seeds give equal weights."""
    network = config.network
    policy = tiny_policy(
        "-",  # an alphabet is needed; every word of the world is a token of its own
        WORDS,
        width=network.width,
        layers=network.layers,
        heads=network.heads,
        context=CONTEXT,
        seed=key_to_seed(seed, "policy"),
        neighbours=True,
    )
    policy.model.to(torch.device(device))  # type: ignore[arg-type]
    return policy


def start_of(study: Study, cell: Cell | None) -> Policy:
    """The policy after the supervised training of its arm.

    Args:
        study: one arm with one seed.
        cell: of the arm's own training; ``None`` where it starts from the shared one.
    """
    if study.arm.taught is None:
        return policy_made_once(study.cell, "unfiltered", lambda stage: taught(study, everything, stage))
    assert cell is not None
    return taught(study, study.arm.taught, cell)


def taught(study: Study, selection: Selection, cell: Cell) -> Policy:
    """A fresh policy after supervised training on what a selection leaves of the synthesised dialogues."""
    policy = build(study.config, cell.seed, device_of(cell))
    return sft(policy, as_rows(selected(study, selection), policy), study.config.supervised, cell)


def selected(study: Study, selection: Selection) -> list[SmallDialogue]:
    """What a selection leaves of the dialogues for the supervised training."""
    config = study.config.dialogues
    return selection(study.dialogues(config.number, "supervised"), config.passing)


def as_rows(dialogues: Sequence[SmallDialogue], policy: Policy) -> Dataset:
    """Dialogues in tokens; the loss is on what the agent says, not on the prompt and the world's answers."""
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for dialogue in dialogues:
        token_ids = policy.encode(dialogue.task.prompt)
        labels = [NO_LOSS] * len(token_ids)
        for text, is_said in dialogue.parts:
            ids = policy.encode(text)
            token_ids += ids
            labels += ids if is_said else [NO_LOSS] * len(ids)
        rows["input_ids"].append(token_ids)
        rows["labels"].append(labels)
    return Dataset.from_dict(rows)


def supervised_loss(model: nn.Module, rows: Any) -> Tensor:
    """Mean cross-entropy of what the agents say, in nats per token; a scalar with a gradient.

    Args:
        model: causal.
        rows: with ``input_ids`` and ``labels``.
    """
    device = next(model.parameters()).device
    sequences = [torch.tensor(ids) for ids in rows["input_ids"]]
    targets = [torch.tensor(ids) for ids in rows["labels"]]
    input_BT = nn.utils.rnn.pad_sequence(sequences, batch_first=True).to(device)
    label_BT = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=NO_LOSS).to(device)
    logits_BTV = model(input_ids=input_BT, use_cache=False).logits[:, :-1]
    return nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), label_BT[:, 1:].flatten(), ignore_index=NO_LOSS
    )


def reinforced(study: Study, policy: Policy, cell: Cell) -> Policy:
    """Reinforcement by the objective of the arm, with the rubric's score as the reward."""
    config, objective = study.config, study.arm.objective
    assert objective is not None
    settings = settings_of(config, objective)
    rounds = settings.steps // settings.num_iterations
    tasks = study.tasks(rounds * settings.prompts_per_step, "reinforcement")
    rows = Dataset.from_dict({"prompt": [task.prompt for task in tasks], "task": list(range(len(tasks)))})
    validation = study.tasks(config.evaluation.num_validation, "validation")
    return grpo(
        policy,
        rows,
        [rubric_reward(config, objective)],
        settings,
        cell,
        environment=lambda asked: SmallEnvironment([tasks[row["task"]] for row in asked], config.dialogues.failures),
        deterministic=True,
        policy_loss=loss_of(study, policy, objective) if objective.is_squared else None,
        evaluate=evaluated_as(policy.tokenizer, partial(validated, config=config, tasks=validation, seed=cell.seed)),
    )


def settings_of(config: Config, objective: Objective) -> GRPOSettings:
    """The reinforcement at the rate of the arm; what describes GRPO's loss is left out of K2's."""
    settings = at_rate(config.reinforcement, getattr(config.rates, objective.rate))
    if objective.is_squared:
        default = GRPOSettings()
        settings = replace(settings, **{name: getattr(default, name) for name in OF_GRPO})
    if objective.has_budget:
        settings = replace(settings, max_completion_length=config.objective.budget + 1)
    return settings


OF_GRPO = (
    "loss_type",
    "scale_rewards",
    "epsilon",
    "epsilon_high",
    "importance_sampling_level",
    "beta",
    "entropy_coefficient",
)
"""Settings of the reinforcement that K2's objective has no use for."""


def rubric_reward(config: Config, objective: Objective) -> Any:
    """The rubric's score as a reward for trl; beyond a budget it is the penalty."""
    length = config.objective.budget if objective.has_budget else CONTEXT
    budgets = Budgets({TASK_TYPE: length}, penalty=config.objective.penalty)

    def rubric(prompts: Any, completions: Any, trajectory: Any, **columns: Any) -> list[float]:
        rewards = []
        for said in trajectory:
            _, penalty = budgets.held(said.sampled_ids, TASK_TYPE)
            rewards.append(penalty or said.reward_parts.get("score", 0.0))
        return rewards

    return rubric


def loss_of(study: Study, policy: Policy, objective: Objective) -> PolicyLoss:
    """K2's objective, with the supervised loss on kept dialogues where the arm has it."""
    config = study.config.objective
    squared = SquaredLoss(config.tau, config.normalize).policy_loss
    if not objective.has_texts:
        return squared
    rows = as_rows(selected(study, passed), policy)

    def with_texts(inputs: PolicyLossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = squared.function(inputs)
        drawn = numpy_generator(study.cell.seed, "texts", inputs.step).integers(len(rows), size=config.ptx_batch)
        texts = supervised_loss(policy.model, rows[drawn.tolist()])
        return with_ptx(loss, texts / inputs.pieces, config.ptx_weight), {**metrics, "ptx/loss": texts.detach()}

    return PolicyLoss(with_texts)
