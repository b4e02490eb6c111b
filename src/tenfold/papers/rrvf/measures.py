"""What is measured on held-out images of both domains: most probable and sampled answers; all, and passing ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tenfold.core.seeding import torch_generator
from tenfold.envs.render.chart_language import LONGEST, PLAIN, Look
from tenfold.papers.rrvf.dialogues import Comparator, Dialogues, converse
from tenfold.papers.rrvf.seeing import ALL_WORDS, Images, images_of, programs, similarities
from tenfold.papers.rrvf.stages import Study
from tenfold.policies.small_vision import PAD, SmallVisionForCausalLM

SHOWN = 6
"""Dialogues that are stored for the report."""


def measure(
    study: Study, model: SmallVisionForCausalLM, comparators: Sequence[Comparator]
) -> tuple[dict[str, float], dict[str, list[float]], list[dict[str, Any]]]:
    """Metrics, the value of some of them on each item, and dialogues to show."""
    metrics: dict[str, float] = {}
    items: dict[str, list[float]] = {}
    shown: list[dict[str, Any]] = []
    for domain, look in (("test", PLAIN), ("shifted", study.new_domain)):
        images = held_out(study, look)
        greedy = converse(model, images, 1, comparators, _most_probable(len(images.numbers), comparators))
        sampled = converse(model, images, study.config.world.sampled, comparators, _by_chance(study, comparators))
        of_domain, of_items = _metrics(images, greedy, sampled)
        metrics |= {f"{domain}/{name}": value for name, value in of_domain.items()}
        items |= {f"{domain}/{name}": values for name, values in of_items.items()}
        shown += dialogues_to_show(images, greedy, domain)
    return metrics, items, shown


def held_out(study: Study, look: Look) -> Images:
    """The held-out programs as a domain draws them; equal for all arms of a seed."""
    return images_of(study.held_out, look, study.seed, "held out")


def _most_probable(count: int, comparators: Sequence[Comparator]) -> torch.Tensor:
    return -torch.ones(count, (len(comparators) + 1) * LONGEST)


def _by_chance(study: Study, comparators: Sequence[Comparator]) -> torch.Tensor:
    w = study.config.world
    shape = w.held_out * w.sampled, (len(comparators) + 1) * LONGEST
    return torch.rand(shape, generator=torch_generator(study.seed, "sampled answers"))


def _metrics(images: Images, greedy: Dialogues, sampled: Dialogues) -> tuple[dict[str, float], dict[str, list[float]]]:
    exact_N = (greedy.found[:, -1] == images.numbers).astype(float)
    scores, ran = sampled.similarity, sampled.found >= 0
    each = len(images.numbers)
    truth = similarities(images, np.arange(each), images.numbers)
    metrics = {
        "exact": float(exact_N.mean()),
        "greedy_similarity": float(greedy.similarity[:, -1].mean()),
        "similarity": float(scores[:, -1].mean()),
        "execution": float(ran[:, -1].mean()),
        "similarity_of_passing": float(scores[ran[:, -1], -1].mean()) if ran[:, -1].any() else 0.0,
        "similarity_of_the_truth": float(truth.mean()),
        "first_turn_similarity": float(scores[:, 0].mean()),
        "first_turn_execution": float(ran[:, 0].mean()),
    }
    items = {
        "exact": exact_N.tolist(),
        "similarity": scores[:, -1].reshape(each, -1).mean(1).tolist(),
        "execution": ran[:, -1].reshape(each, -1).mean(1).tolist(),
    }
    return metrics, items


def dialogues_to_show(images: Images, said: Dialogues, domain: str) -> list[dict[str, Any]]:
    """The first dialogues, and the worst ones: target, and each turn with its program, remarks and score."""
    worst = np.argsort(said.similarity[:, -1], kind="stable")[: SHOWN // 2]
    chosen = [*range(min(SHOWN // 2, len(images.numbers))), *worst.tolist()]
    found = []
    for place in chosen:
        true = programs().charts[images.numbers[place]]
        found.append(
            {
                "domain": domain,
                "worst": place in worst,
                "true": " ".join(true.words()),
                "pixels": (images.pixels[place] * 255 + 0.5).astype(int).tolist(),
                "turns": _turns(said, place),
            }
        )
    return found


def _turns(said: Dialogues, place: int) -> list[dict[str, Any]]:
    """What was said in each turn, what was drawn, and what was remarked after it."""
    words = [ALL_WORDS[word] for word in said.words[place, 1:].tolist()]
    turns, width = [], LONGEST
    first = 0
    for turn in range(said.found.shape[1]):
        end = first + width
        next_turn = end + (len(words) - said.found.shape[1] * width) // max(1, said.found.shape[1] - 1)
        is_last = turn == said.found.shape[1] - 1
        turns.append(
            {
                "program": " ".join(word for word in words[first:end] if word != PAD),
                "remarks": "" if is_last else " ".join(word for word in words[end:next_turn] if word != PAD),
                "number": int(said.found[place, turn]),
                "score": float(said.similarity[place, turn]),
            }
        )
        first = next_turn
    return turns
