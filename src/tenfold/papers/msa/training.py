"""Trains the one network of a seed on the mixture, and counts what training knows without reading."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.files import to_json, write_atomically
from tenfold.core.seeding import key_to_seed
from tenfold.optim import Muon, muon_param_groups
from tenfold.optim.schedules import warmup_cosine
from tenfold.papers.msa.config import Config, TrainingConfig
from tenfold.papers.msa.network import Network
from tenfold.papers.msa.rows import IGNORED, WAYS, Batch, Mixture, Told, training_situations
from tenfold.papers.msa.situations import Question, Situation, prior_answer, wins_minus_losses
from tenfold.papers.msa.wording import INDEX, NUMBERS, STEP, VOCABULARY
from tenfold.study.stages import made_once
from tenfold.train.distributed import device_of
from tenfold.train.loop import LoopConfig, train

CONTEXT = 384


@dataclass(frozen=True)
class Counting:
    """The median answer of training by wins minus losses, of one person or between two; nothing else is read.

    Args:
        medians: ``"1:wins"`` for ranks and ``"2:difference"`` for pairs, to the numbers of an answer.
    """

    medians: dict[str, list[float]]

    def answer(self, situation: Situation, question: Question) -> tuple[float, ...]:
        """Its answer; the prior's where training has no such count."""
        return tuple(self.medians.get(count_key(situation, question), prior_answer(question)))


def count_key(situation: Situation, question: Question) -> str:
    """What counting knows of a question."""
    counts = [wins_minus_losses(situation, person) for person in question.people]
    return f"{len(counts)}:{counts[0] if len(counts) == 1 else counts[0] - counts[1]}"


def count(told: Sequence[Told]) -> Counting:
    """The medians over training situations."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for each in told:
        for question, numbers in zip(each.situation.questions, each.labels.answers, strict=True):
            found[count_key(each.situation, question)].append(numbers)
    return Counting({key: np.median(rows, axis=0).tolist() for key, rows in sorted(found.items())})


@dataclass(frozen=True)
class Learned:
    """What training leaves.

    Args:
        network: in evaluation mode.
        counting: the same labels, without a network.
    """

    network: Network
    counting: Counting


def learned_once(config: Config, cell: Cell) -> Learned:
    """The network of a seed, trained once for all arms."""
    return made_once(
        cell,
        "network",
        lambda stage: fit(config, stage),
        save=_save,
        load=lambda folder: _load(config, folder, device_of(cell)),
    )


def fresh(config: Config, seed: int) -> Network:
    """The network before training."""
    n = config.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "network"))
        return Network(len(VOCABULARY), n.width, n.layers, n.heads, CONTEXT)


def loss_of(logits_BSV: Tensor, batch: Batch, blur: float) -> Tensor:
    """The weighted sum of cross-entropies; a number aims at its neighbours too, so that near misses cost less.

    Args:
        logits_BSV: of the next word at each position.
        batch: with the targets.
        blur: standard deviation, in points, of the Gaussian that a number aims at; 0 for the number alone.

    Example:
        >>> from tenfold.papers.msa.rows import Row, padded
        >>> batch = padded([Row().give(["rank", "of", "ann"]).write(["#50"])])
        >>> logits = torch.full((1, 4, len(VOCABULARY)), -20.0)
        >>> logits[0, 2, INDEX["#52"]] = 0.0
        >>> [round(loss_of(logits, batch, blur).item()) for blur in (0.0, 4.0)]
        [20, 16]
    """
    is_target_BS = batch.targets != IGNORED
    log_shares_KV = logits_BSV[is_target_BS].log_softmax(-1)
    aims_KV = _aims(blur).to(log_shares_KV)[batch.targets[is_target_BS]]
    return -(aims_KV * log_shares_KV).sum(-1) @ batch.weights[is_target_BS].to(log_shares_KV.dtype)


def losses_of_ways(
    model: nn.Module, mixture: Mixture, training: TrainingConfig, step: int, slots: range
) -> dict[str, Tensor]:
    """The loss of each way of being asked, on some slots of a step's batch.

    Slots hold more target words or fewer. What they hold counts by its share of the whole batch, so that the mean over
    all parts of a batch is the mean over its words, however they fall on processes.
    """
    first, device = (step - 1) * training.batch_size, next(model.parameters()).device
    losses = {}
    for way in WAYS:
        weight = mixture.weight(way, first, first + training.batch_size)
        batch = mixture.batch(way, first + slots.start, first + slots.stop).to(device)
        summed = loss_of(model(batch.words, batch.sight), batch, training.blur)
        losses[way] = summed * (training.batch_size / len(slots)) / weight
    return losses


@cache
def _aims(blur: float) -> Tensor:
    """What each word aims at, [V, V]: itself, and a number its neighbours too."""
    aims_VV = torch.eye(len(VOCABULARY))
    if blur:
        values = torch.arange(len(NUMBERS)) * float(STEP)
        block = torch.exp(-(((values[:, None] - values) / blur) ** 2) / 2)
        first = INDEX[NUMBERS[0]]
        numbers = slice(first, first + len(NUMBERS))
        aims_VV[numbers, numbers] = block / block.sum(-1, keepdim=True)
    return aims_VV


def fit(config: Config, cell: Cell) -> Learned:
    """Train from the newest checkpoint on."""
    w, t = config.world, config.training
    told = training_situations(w.num_training, w.label_particles, cell.seed)
    mixture = Mixture(told, t.words, cell.seed)

    def step_function(model: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        losses = losses_of_ways(model, mixture, t, step, slots)
        loss = torch.stack(list(losses.values())).mean()
        return loss, carry, {f"train/{way}": one.detach() for way, one in losses.items()}

    def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
        return [Muon(muon_param_groups(model, t.rate, 0.0), lr=t.rate)]

    trained = train(
        fresh(config, cell.seed),
        optimizers,
        step_function,
        LoopConfig(t.steps, t.batch_size, log_every=t.log_every, checkpoint_every=t.checkpoint_every),
        cell,
        schedule=lambda step: warmup_cosine(step, total_steps=t.steps, warmup_steps=t.warmup_steps, floor=0.0),
    )
    assert isinstance(trained.model, Network)
    return Learned(trained.model.cpu(), count(told))


def _save(learned: Learned, folder: Path) -> None:
    save_file(learned.network.state_dict(), folder / "network.safetensors")
    write_atomically(folder / "counting.json", to_json(learned.counting.medians) + "\n")


def _load(config: Config, folder: Path, device: torch.device) -> Learned:
    network = fresh(config, 0)
    network.load_state_dict(load_file(folder / "network.safetensors"))
    medians = json.loads((folder / "counting.json").read_text(encoding="utf-8"))
    return Learned(network.to(device).eval(), Counting(medians))
