"""Dialogues of the small policy: an image, a program, remarks, a program; sampled in groups that share their image.

A turn has six places and remarks have five. What a short program leaves of its turn is filled with padding, which is
part of the context like any other word, so that positions are equal in all rows, here and in
:func:`tenfold.policies.rollout`, where :class:`DrawingEnvironment` fills up. Learned is only what was sampled.

Shapes: B images, G samples of each, N = B * G, T words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.core.types import Reply, Turn
from tenfold.envs.render.chart_language import END, LONGEST
from tenfold.papers.rrvf.seeing import NUM_REMARKS, WORD_IDS, Images, programs, similarities
from tenfold.policies.small_vision import BOS, PAD, SmallVisionForCausalLM

Comparator = Callable[[Images, np.ndarray, np.ndarray], np.ndarray]
"""(references, reference of each candidate [N], candidates [N]) to word ids [N, 5]."""


@dataclass(frozen=True, eq=False)
class Dialogues:
    """What was said and drawn.

    Args:
        words: word ids behind the image, ``<bos>`` first, int64 [N, 1 + T].
        sampled: which of the T words behind ``<bos>`` the policy chose, bool [N, T].
        found: the program of each turn, -1 where it does not run, [N, turns].
        similarity: of each turn's render to the reference, 0 where there is none, [N, turns].
    """

    words: Tensor
    sampled: Tensor
    found: np.ndarray
    similarity: np.ndarray


def num_words(turns: int) -> int:
    """Words of a dialogue behind ``<bos>``.

    Example:
        >>> num_words(1), num_words(2)
        (6, 17)
    """
    return turns * LONGEST + (turns - 1) * NUM_REMARKS


@torch.no_grad()
def converse(
    model: SmallVisionForCausalLM, images: Images, samples: int, comparators: Sequence[Comparator], noise_NS: Tensor
) -> Dialogues:
    """Sample dialogues.

    Args:
        model: in evaluation mode or without dropout.
        images: B references.
        samples: G of each.
        comparators: one between each two turns; none for one turn.
        noise_NS: what words are drawn by, uniform in [0, 1), S words of the policy; negative for the most probable.
    """
    device = next(model.parameters()).device
    of = np.repeat(np.arange(len(images.numbers)), samples)
    cache = model.looked_at(as_pixels(images.pixels, device), samples)
    given_N1 = torch.full((len(of), 1), WORD_IDS[BOS], device=device)
    words, sampled, found, similarity = [given_N1], [], [], []
    for turn in range(len(comparators) + 1):
        first = turn * LONGEST
        said_NT, chosen_NT = _speak(model, cache, words[-1], noise_NS[:, first : first + LONGEST].to(device))
        found.append(np.array([programs().read(row) for row in said_NT.tolist()]))
        similarity.append(similarities(images, of, found[-1]))
        words.append(said_NT)
        sampled.append(chosen_NT)
        if turn < len(comparators):
            remarks_NT = torch.from_numpy(comparators[turn](images, of, found[-1])).to(device)
            model.said(said_NT[:, -1:], cache)  # the last word of a turn was not fed yet
            words.append(remarks_NT)
            sampled.append(torch.zeros_like(remarks_NT, dtype=torch.bool))
    return Dialogues(torch.cat(words, 1), torch.cat(sampled, 1), np.stack(found, 1), np.stack(similarity, 1))


def _speak(model: SmallVisionForCausalLM, cache: object, given_NT: Tensor, noise_NS: Tensor) -> tuple[Tensor, Tensor]:
    """A turn: its words [N, 6], and which of them were chosen; the last word is not fed."""
    ended_N = torch.zeros(len(given_NT), dtype=torch.bool, device=given_NT.device)
    words, chosen = [], []
    for step in range(LONGEST):
        logits_NV = model.said(given_NT, cache)[:, -1]  # type: ignore[arg-type]
        word_N = _drawn(logits_NV, noise_NS[:, step]).masked_fill(ended_N, WORD_IDS[PAD])
        words.append(word_N)
        chosen.append(~ended_N)
        ended_N = ended_N | (word_N == WORD_IDS[END])
        given_NT = word_N[:, None]
    return torch.stack(words, 1), torch.stack(chosen, 1)


def _drawn(logits_NV: Tensor, noise_N: Tensor) -> Tensor:
    """A word for each row by its noise; the most probable where the noise is negative."""
    below_NV = logits_NV.float().softmax(-1).cumsum(-1)
    # The last sum may lie below 1 by rounding, and noise above it.
    by_chance_N = (below_NV < noise_N[:, None]).sum(-1).clamp(max=logits_NV.shape[-1] - 1)
    return torch.where(noise_N < 0, logits_NV.argmax(-1), by_chance_N)


def as_pixels(images: np.ndarray, device: torch.device) -> Tensor:
    """Images [B, h, w, 3] as a model takes them, [B, 3, h, w]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def turn_words(number: int) -> list[int]:
    """The six places of a turn that writes a program."""
    words = [WORD_IDS[word] for word in programs().charts[number].words()]
    return words + [WORD_IDS[PAD]] * (LONGEST - len(words))


class DrawingEnvironment:
    """The same dialogues through :func:`tenfold.policies.rollout`: remarks between turns, an end after the last.

    Args:
        images: the reference of each prompt, in their order.
        comparators: one between each two turns.

    Example:
        >>> DrawingEnvironment(Images(np.zeros(1), np.ones((1, 24, 24, 3))), []).stop
        ()
    """

    stop: tuple[str, ...] = ()

    def __init__(self, images: Images, comparators: Sequence[Comparator]) -> None:
        self.images, self.comparators = images, comparators

    def open(self, prompt: int, sample: int) -> "_Drawing":
        """A session for one dialogue."""
        return _Drawing(self, prompt)


class _Drawing:
    """One dialogue's state: how many turns were said."""

    def __init__(self, environment: DrawingEnvironment, prompt: int) -> None:
        self.environment, self.prompt, self.turns, self.read = environment, prompt, 0, 0

    def respond(self, turn: Turn) -> Reply | None:
        """Padding and remarks; after the last turn nothing."""
        said = turn.token_ids[self.read :]
        found, of = np.array([programs().read(said)]), np.array([self.prompt])
        score = float(similarities(self.environment.images, of, found)[0])
        parts = {f"similarity_{self.turns + 1}": score}
        call = {"turn": self.turns + 1, "program": int(found[0]), "similarity": score}
        if self.turns == len(self.environment.comparators):
            return Reply(end=True, tool_calls=[call], reward_parts=parts)
        remarks = self.environment.comparators[self.turns](self.environment.images, of, found)[0].tolist()
        added = [WORD_IDS[PAD]] * (LONGEST - len(said)) + remarks
        self.turns += 1
        self.read = len(turn.token_ids) + len(added)
        return Reply(token_ids=added, tool_calls=[call], reward_parts=parts)

    def close(self) -> None:
        """Nothing is held."""
