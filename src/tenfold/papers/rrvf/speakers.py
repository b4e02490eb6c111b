"""Who speaks in the loop: a vision-language model, served or of transformers, a text file, or a policy of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tenfold.core.config import from_yaml
from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.envs.render.chart_language import LONGEST, SIZE
from tenfold.eval.visual import resized
from tenfold.papers.rrvf.config import Config
from tenfold.papers.rrvf.dialogues import converse
from tenfold.papers.rrvf.looking import Judged, MessageOfParts, answer_of, image_part
from tenfold.papers.rrvf.loop import LoopResult, LoopTurn, Said
from tenfold.papers.rrvf.recipe import ARMS, Seeing, weights_of
from tenfold.papers.rrvf.seeing import ALL_WORDS, NUM_REMARKS, Images, programs
from tenfold.papers.rrvf.stages import load_saved
from tenfold.policies.chat_server import ChatServer, ChatServerError
from tenfold.policies.small_vision import PAD
from tenfold.rewards.visual import Rendered, parts_of


@dataclass
class ServedSpeaker:
    """A vision-language model behind OpenAI's wire format.

    Args:
        server: where.
        temperature: of sampling.
        max_tokens: most tokens of a turn.
    """

    server: ChatServer
    temperature: float = 0.0
    max_tokens: int = 1024

    def __call__(self, said: Sequence[Said]) -> str:
        """The next turn.

        Raises:
            UserError: the server does not answer.
        """
        messages = [cast(Message, MessageOfParts(_role(each), _parts(each))) for each in said]
        try:
            return self.server.generate(messages, 1, self.temperature, self.max_tokens)[0]
        except ChatServerError as error:
            raise UserError(f"model: {error}") from None


def _role(said: Said) -> str:
    """Most servers know no tool without an identity, so that a response is the user's."""
    return "user" if said.role == "tool" else said.role


def _parts(said: Said) -> list[dict[str, Any]]:
    images = [] if said.image is None else [image_part(said.image)]
    return [*images, {"type": "text", "text": said.text}]


@dataclass
class LocalSpeaker:
    """A vision-language model of transformers in this process.

    Args:
        model: such as ``LlavaForConditionalGeneration``.
        processor: its own, with a chat template.
        max_tokens: most tokens of a turn.
    """

    model: Any
    processor: Any
    max_tokens: int = 1024

    def __call__(self, said: Sequence[Said]) -> str:
        """The next turn, the most probable one."""
        messages, images = [], []
        for each in said:
            content: list[dict[str, Any]] = []
            if each.image is not None:
                content.append({"type": "image"})
                images.append(each.image)
            messages.append({"role": _role(each), "content": [*content, {"type": "text", "text": each.text}]})
        return answer_of(self.model, self.processor, messages, images, self.max_tokens)


@dataclass
class ScriptedSpeaker:
    """Says recorded turns, one after the other.

    Args:
        turns: what is said.
    """

    turns: Sequence[str]
    said: int = 0

    def __call__(self, said: Sequence[Said]) -> str:
        """The next turn; an empty one when there are no more."""
        self.said += 1
        return self.turns[self.said - 1] if self.said <= len(self.turns) else ""


def read_turns(file: Path) -> list[str]:
    """The turns of a text file, with a line of dashes between them.

    Raises:
        UserError: there is no such file, or nothing in it.
    """
    if not file.is_file():
        raise UserError(
            f"model = {str(file)!r}: does not exist; allowed: an address, a model's folder, a run, a text file"
        )
    turns = [turn.strip() for turn in file.read_text(encoding="utf-8").split("\n---\n")]
    if not any(turns):
        raise UserError(f"model = {str(file)!r}: holds no turns")
    return turns


def load_vision_model(name: str, device: torch.device) -> tuple[Any, Any]:
    """A vision-language model of transformers and its processor.

    Raises:
        UserError: they cannot be loaded; where torchvision is missing, that is said.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(name)
        model = AutoModelForImageTextToText.from_pretrained(name, dtype="auto")
    except ImportError as error:
        if "torchvision" in str(error).lower():
            raise UserError(
                f"model = {name!r}: its processor needs torchvision, of the same build as torch: "
                "pip install 'tenfold[qwen_vl]'"
            ) from error
        raise
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"model = {name!r}: cannot be loaded as a vision-language model ({first})") from error
    return model.eval().to(device), processor


# ------------------------------------------------------------------------------------------------ the policy of a run


def trained_dialogue(run: Path, arm: str, image: np.ndarray, device: torch.device) -> LoopResult:
    """What a trained policy of a run of this study makes of an image, brought to 24 pixels.

    Args:
        run: the run's directory.
        arm: whose policy; empty for ``words``.
        image: [h, w, 3] in [0, 1].
        device: where it is computed.

    Raises:
        UserError: the run has no such policy.
    """
    arm = arm or "words"
    if arm not in ARMS:
        raise UserError(f"arm = {arm!r}: allowed: {', '.join(ARMS)}")
    folders = sorted((run / "cells" / arm).glob("seed-*/model"))
    if not folders:
        raise UserError(f"{run} holds no finished policy of the arm {arm}")
    config: Config = from_yaml(Config, run / "config.yaml")
    does = ARMS[arm].does
    comparators = does.comparators if isinstance(does, Seeing) else ()
    images = Images(np.array([-1]), resized(image, SIZE, SIZE)[None])
    model = load_saved(config, folders[0], device)
    said = converse(model, images, 1, comparators, -torch.ones(1, (len(comparators) + 1) * LONGEST))
    words = [ALL_WORDS[word] for word in said.words[0, 1:].tolist()]
    turns, width = [], LONGEST + NUM_REMARKS  # a turn and the remarks behind it
    for number in range(len(comparators) + 1):
        first = number * width
        code = " ".join(word for word in words[first : first + LONGEST] if word != PAD)
        remarks = " ".join(word for word in words[first + LONGEST : first + width] if word != PAD)
        found, is_last = int(said.found[0, number]), number == len(comparators)
        drawn = None if found < 0 else (programs().images[found] * 255 + 0.5).astype(np.uint8)
        score = float(said.similarity[0, number]) if found >= 0 else None
        error = "" if found >= 0 else "the program does not run"
        turns.append(LoopTurn(code, code, drawn, error, "" if is_last else remarks, score, is_last))
    weights = weights_of(config)
    parts = parts_of(Rendered(turns[-1].similarity, [turn.similarity for turn in turns[:-1]]), weights)
    return LoopResult(tuple(turns), parts, parts.total(weights), Judged(parts.vision, turns[-1].error))
