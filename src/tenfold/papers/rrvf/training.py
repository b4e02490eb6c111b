"""The two trainings of the small study: with labels, and from images alone. Both go on from the newest checkpoint.

What is learned from is drawn by (seed, what for, step, place), so that several processes, or a stop, change nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator, torch_generator
from tenfold.envs.render.chart_language import LONGEST, PLAIN, Look
from tenfold.papers.rrvf.config import Config
from tenfold.papers.rrvf.dialogues import Comparator, as_pixels, converse, num_words, turn_words
from tenfold.papers.rrvf.method import (
    Rewards,
    dialogue_rewards,
    group_advantages,
    policy_loss,
    share_without_variance,
)
from tenfold.papers.rrvf.seeing import VOCABULARY, WORD_IDS, Images, images_of, programs
from tenfold.policies.small_vision import BOS, PAD, SmallVisionForCausalLM, small_vision_policy
from tenfold.rewards.visual import VisualWeights
from tenfold.train.distributed import mean_over_processes
from tenfold.train.loop import LoopConfig, train

IGNORED = -100
"""What stands for a word that nothing is learned from."""


class OfGroups(nn.Module):
    """The model as trainings call it: logits of words behind the image of their group."""

    def __init__(self, model: SmallVisionForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_B3HW: Tensor, words_NT: Tensor) -> Tensor:
        """Logits [N, T, V]."""
        return self.model.logits_of_groups(pixels_B3HW, words_NT)


def fresh(config: Config, seed: int) -> SmallVisionForCausalLM:
    """The policy before any training; equal seeds give equal ones."""
    p = config.policy
    policy = small_vision_policy(
        VOCABULARY, width=p.width, layers=p.layers, heads=p.heads, seed=key_to_seed(seed, "policy")
    )
    assert isinstance(policy.model, SmallVisionForCausalLM)
    return policy.model


# -------------------------------------------------------------------------------------------------------- with labels


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """What is imitated in a step.

    Args:
        pixels: images [B, 24, 24, 3].
        words: ``<bos>`` and what follows it, [B, 1 + T].
        learned: which of the T words are learned, [B, T].
    """

    pixels: np.ndarray
    words: np.ndarray
    learned: np.ndarray


DemonstrationsOf = Callable[[np.random.Generator, int], Demonstrations]
"""So many of them, drawn by a generator."""


def unrelated(generator: np.random.Generator, count: int) -> Demonstrations:
    """Random programs beside images of others: the form, and nothing to see."""
    everything = len(programs().charts)
    shown, said = generator.integers(everything, size=(2, count))
    return _written(images_of(shown, PLAIN), said)


def labelled(numbers: np.ndarray) -> DemonstrationsOf:
    """Images of these programs beside the programs."""

    def draw(generator: np.random.Generator, count: int) -> Demonstrations:
        chosen = numbers[generator.integers(len(numbers), size=count)]
        return _written(images_of(chosen, PLAIN), chosen)

    return draw


def dialogues_about(numbers: np.ndarray, comparator: Comparator) -> DemonstrationsOf:
    """A spoilt program, what is remarked of it, and the program: made up from the same labels."""

    def draw(generator: np.random.Generator, count: int) -> Demonstrations:
        chosen = numbers[generator.integers(len(numbers), size=count)]
        images = images_of(chosen, PLAIN)
        spoilt = np.array([spoil(number, generator) for number in chosen])
        said = comparator(images, np.arange(count), spoilt)
        rows = []
        for first, words, last in zip(spoilt, said.tolist(), chosen, strict=True):
            rows.append([WORD_IDS[BOS], *turn_words(first), *words, *turn_words(last)])
        learned = np.ones((count, num_words(2)), dtype=bool)
        learned[:, LONGEST : num_words(2) - LONGEST] = False
        return Demonstrations(images.pixels, np.array(rows), learned)

    return draw


def spoil(number: int, generator: np.random.Generator) -> int:
    """A program that is like another but for one or two values, or its colour."""
    return int(generator.choice(_like(int(number))))


@lru_cache(maxsize=2048)
def _like(number: int) -> tuple[int, ...]:
    """Programs of the same kind with as many values that differ in one or two places."""
    chart, found = programs().charts[number], []
    for other, candidate in enumerate(programs().charts):
        if candidate.kind == chart.kind and len(candidate.values) == len(chart.values):
            pairs = zip((*candidate.values, candidate.colour), (*chart.values, chart.colour), strict=True)
            if 1 <= sum(a != b for a, b in pairs) <= 2:
                found.append(other)
    return tuple(found)


def _written(images: Images, numbers: np.ndarray) -> Demonstrations:
    words = np.array([[WORD_IDS[BOS], *turn_words(number)] for number in numbers])
    return Demonstrations(images.pixels, words, np.ones((len(numbers), LONGEST), dtype=bool))


def supervise(
    model: SmallVisionForCausalLM, demonstrations: DemonstrationsOf, what: str, steps: int, config: Config, cell: Cell
) -> SmallVisionForCausalLM:
    """Train with labels.

    Args:
        model: is trained in place.
        demonstrations: what is imitated.
        what: names the stream of random numbers.
        steps: of the optimizer.
        config: batch and rate.
        cell: where to log and save.
    """
    t = config.labels

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        shown = demonstrations(numpy_generator(cell.seed, what, step), t.batch_size)
        here, device = slice(slots.start, slots.stop), next(wrapped.parameters()).device
        words_NT = torch.from_numpy(shown.words[here]).to(device)
        learned = shown.learned & (shown.words[:, 1:] != WORD_IDS[PAD])  # padding is no word of the policy's
        logits_NTV = wrapped(as_pixels(shown.pixels[here], device), words_NT[:, :-1])
        targets_NT = words_NT[:, 1:].masked_fill(~torch.from_numpy(learned[here]).to(device), IGNORED)
        summed = cross_entropy(logits_NTV.flatten(0, 1), targets_NT.flatten(), ignore_index=IGNORED, reduction="sum")
        # The mean is over the words of the whole batch, however they fall on processes.
        return summed * (t.batch_size / len(slots)) / float(learned.sum()), carry, {}

    return _trained(model, step_function, steps, t.batch_size, t.rate, config, cell)


# -------------------------------------------------------------------------------------------------- from images alone

PaidFor = Callable[[Rewards, np.random.Generator], np.ndarray]
"""What training is paid: the rewards themselves, or those of a control, [N]."""


def as_earned(rewards: Rewards, generator: np.random.Generator) -> np.ndarray:
    """The rewards."""
    return rewards.total


def shuffled(rewards: Rewards, generator: np.random.Generator) -> np.ndarray:
    """Control: the same rewards, dealt out anew among all dialogues of the step."""
    return generator.permutation(rewards.total)


def constant(rewards: Rewards, generator: np.random.Generator) -> np.ndarray:
    """Control: 1 for everybody, which leaves nothing but the bonus for entropy."""
    return np.ones(len(rewards.total))


@dataclass(frozen=True)
class FromImages:
    """What is learned from images.

    Args:
        numbers: of the programs whose images are seen; the numbers themselves are not.
        look: of the domain.
        steps: of the optimizer.
        entropy: bonus at the first and at the last step.
        comparators: between turns.
        weights: of the reward.
        paid_for: the reward, or a control.
        first_turn_weight: share of R_vision that the first turn gets.
    """

    numbers: np.ndarray
    look: Look
    steps: int
    entropy: tuple[float, float]
    comparators: Sequence[Comparator] = ()
    weights: VisualWeights = VisualWeights()  # noqa: RUF009 -- frozen
    paid_for: PaidFor = as_earned
    first_turn_weight: float = 0.0

    def bonus(self, step: int) -> float:
        """Of a step, from 1 on.

        Example:
            >>> FromImages(np.arange(3), PLAIN, steps=3, entropy=(0.3, 0.1)).bonus(2)
            0.2
        """
        first, last = self.entropy
        return first + (last - first) * (step - 1) / max(1, self.steps - 1)


def reinforce(model: SmallVisionForCausalLM, task: FromImages, config: Config, cell: Cell) -> SmallVisionForCausalLM:
    """Train from images alone; one on-policy update for each step's dialogues.

    Args:
        model: is trained in place.
        task: what is seen and paid.
        config: images, samples, rate.
        cell: where to log and save.
    """
    c, turns = config.images, len(task.comparators) + 1

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        generator = numpy_generator(cell.seed, "images", step)
        numbers = task.numbers[generator.integers(len(task.numbers), size=c.images)][slots.start : slots.stop]
        images = images_of(numbers, task.look, cell.seed, "images", step, 0, first=slots.start)
        noise = [torch.rand(c.samples, turns * LONGEST, generator=_noise(cell.seed, step, slot)) for slot in slots]
        said = converse(_bare(wrapped), images, c.samples, task.comparators, torch.cat(noise))
        rewards = dialogue_rewards(said.similarity, said.found >= 0, task.weights, task.first_turn_weight)
        paid = task.paid_for(rewards, numpy_generator(cell.seed, "paid", step, slots.start))
        device = said.words.device
        paid_N = torch.from_numpy(paid).float().to(device)
        logits_NTV = wrapped(as_pixels(images.pixels, device), said.words[:, :-1])
        advantages_N = group_advantages(paid_N, c.samples)
        count = mean_over_processes(float(said.sampled.sum()), cell.device)
        loss, entropy = policy_loss(logits_NTV, said.words[:, 1:], said.sampled, advantages_N, task.bonus(step), count)
        measured = {"entropy": entropy, "without_variance": share_without_variance(paid_N, c.samples)}
        for name in ("total", "vision", "format", "tool"):
            measured[f"reward/{name}".replace("reward/total", "reward")] = _mean(getattr(rewards, name))
        for turn in range(turns):
            measured[f"ran/turn_{turn + 1}"] = _mean(said.found[:, turn] >= 0)
            measured[f"similarity/turn_{turn + 1}"] = _mean(said.similarity[:, turn])
        return loss, carry, {f"train/{name}": value.to(device) for name, value in measured.items()}

    return _trained(model, step_function, task.steps, c.images, c.rate, config, cell)


def _noise(seed: int, step: int, slot: int) -> torch.Generator:
    return torch_generator(seed, "words", step, slot)


def _mean(values: np.ndarray) -> Tensor:
    return torch.tensor(float(np.mean(values)))


def _bare(wrapped: nn.Module) -> SmallVisionForCausalLM:
    inner: Any = getattr(wrapped, "module", wrapped)
    model: SmallVisionForCausalLM = inner.model
    return model


# --------------------------------------------------------------------------------------------------------------- both


def _trained(
    model: SmallVisionForCausalLM,
    step_function: Any,
    steps: int,
    batch_size: int,
    rate: float,
    config: Config,
    cell: Cell,
) -> SmallVisionForCausalLM:
    trained = train(
        OfGroups(model),
        partial(_optimizers, rate=rate),
        step_function,
        LoopConfig(
            steps,
            batch_size,
            log_every=config.logging.log_every,
            evaluate_every=0,
            checkpoint_every=config.logging.checkpoint_every,
        ),
        cell,
    )
    assert isinstance(trained.model, OfGroups)
    return trained.model.model


def _optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW without weight decay; the gradient's norm is cut at 1."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    optimizer.register_step_pre_hook(lambda *_: _clip(parameters))
    return [optimizer]


def _clip(parameters: list[nn.Parameter]) -> None:
    nn.utils.clip_grad_norm_(parameters, 1.0)
