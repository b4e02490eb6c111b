"""Teaching a vision-language model from images alone: ``tenfold train rrvf``. Images of a folder, no code.

Any vision-language model of transformers whose image tokens have the mask and positions of text (LLaVA and its kin);
its processor expands the tokens of an image, which are counted before anything is sampled, and its pixels go along as
features of the prompt. A dialogue is one trajectory of :func:`tenfold.policies.rollout`: a call ends a turn, the
environment renders, compares and answers in words, which are masked from the loss.

Different from chat as it is served: a tool response is appended as it is, without a template's marks between turns.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Prompt, Reply, Turn
from tenfold.envs.render.renderer import Renderer
from tenfold.eval.visual import as_image, resized
from tenfold.papers.rrvf.looking import VisualComparator, VisualJudge
from tenfold.papers.rrvf.loop import Domain, LoopTurn, response_of, schema_of
from tenfold.papers.rrvf.method import Answer, Call, parse_turn
from tenfold.policies import Policy
from tenfold.rewards.visual import Parts, Rendered, VisualWeights, parts_of
from tenfold.train.grpo import grpo
from tenfold.train.settings import GRPOSettings

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
PART_NAMES = ("vision", "format", "tool")


def images_in(folder: Path) -> list[Path]:
    """The images of a folder and its folders that can be read; others are told in a warning.

    Raises:
        UserError: there is no such folder, or no image in it that can be read.
    """
    if not folder.is_dir():
        raise UserError(f"images is {str(folder)!r}, which is no folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError(f"images is {str(folder)!r}, which holds no images; read are {', '.join(SUFFIXES)}")
    readable, reasons = [], []
    for path in found:
        try:
            as_image(path)
        except UserError as error:
            reasons.append(str(error))
        else:
            readable.append(path)
    if not readable:
        raise UserError(f"images is {str(folder)!r}, none of whose {len(found)} images can be read: {reasons[0]}")
    if reasons:
        warnings.warn(f"{len(reasons)} of {len(found)} images are left out: {reasons[0]}", stacklevel=2)
    return readable


def labelled(files: Sequence[Path], domain: Domain) -> Dataset:
    """Images whose code lies beside them, in a file of the same name: a column ``file``, and the answer to learn.

    An answer has no thoughts, for nobody has written any.

    Raises:
        UserError: no image has code beside it, or code cannot be read.
    """
    rows = []
    for file in files:
        code = file.with_suffix(domain.suffix)
        if code.is_file():
            try:
                rows.append({"file": str(file), "completion": f"<answer>{code.read_text(encoding='utf-8')}</answer>"})
            except UnicodeDecodeError as error:
                raise UserError(f"{code}: cannot be read as UTF-8") from error
    if not rows:
        raise UserError(
            f"images: none of {len(files)} has its code beside it; needed: {files[0].stem}{domain.suffix} for "
            f"{files[0].name}"
        )
    if len(rows) < len(files):
        warnings.warn(
            f"{len(files) - len(rows)} of {len(files)} images have no code beside them, and are left out", stacklevel=2
        )
    return Dataset.from_list(rows)


@dataclass
class PromptMaker:
    """Makes the prompt of a row: what the policy is told, and the image's pixels.

    Args:
        processor: of the model, with a chat template.
        model: that is taught; its image token is counted.
        domain: what is drawn.
        side: most pixels of an image's longer side.
        room: tokens that must be left for what is said.
    """

    processor: Any
    model: Any
    domain: Domain
    side: int = 512
    room: int = 0

    def __call__(self, policy: Policy, row: Mapping[str, Any]) -> Prompt:
        """The prompt of a row with a column ``file``.

        Raises:
            UserError: the prompt leaves no room, or has no tokens of an image.
        """
        from PIL import Image

        image = as_image(row["file"])
        scale = min(1.0, self.side / max(image.shape[:2]))
        small = resized(image, *(max(1, round(scale * size)) for size in image.shape[:2]))
        picture = Image.fromarray((small * 255 + 0.5).astype(np.uint8))
        content = [{"type": "image"}, {"type": "text", "text": f"{schema_of(self.domain)}\n{self.domain.task}"}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        given = dict(self.processor(text=[text], images=[picture], return_tensors="pt"))
        ids = tuple(given.pop("input_ids")[0].tolist())
        given.pop("attention_mask", None)
        self._check(ids, policy, row)
        features = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        return Prompt(ids, key=str(row["file"]), features=features)

    def _check(self, ids: tuple[int, ...], policy: Policy, row: Mapping[str, Any]) -> None:
        token = getattr(self.model.config, "image_token_id", None)
        if token is not None and token not in ids:
            raise UserError(f"{row['file']}: the processor's chat template put no image into the prompt")
        if policy.context is not None and len(ids) + self.room > policy.context:
            raise UserError(
                f"{row['file']}: a prompt of {len(ids)} tokens leaves no room for {self.room} in a context of "
                f"{policy.context}; allowed: smaller images (side), or fewer tokens (max_tokens)"
            )


@dataclass
class VisualEnvironment:
    """Renders calls and answers, and says what differs after a call.

    Args:
        files: the image of each prompt, in their order.
        renderer: draws code; asked from several threads.
        comparator: says what differs.
        judge: scores renders.
        domain: what is drawn.
        max_turns: turns after which a dialogue ends.
        strict: whether turns must have thoughts and nothing around their blocks.
    """

    files: Sequence[str]
    renderer: Renderer
    comparator: VisualComparator
    judge: VisualJudge
    domain: Domain
    max_turns: int = 4
    strict: bool = True
    stop: tuple[str, ...] = ("</tool_call>", "</answer>")

    def open(self, prompt: int, sample: int) -> "_Dialogue":
        """A session for one dialogue."""
        return _Dialogue(self, as_image(self.files[prompt]))


@dataclass
class _Dialogue:
    """One dialogue's state."""

    environment: VisualEnvironment
    reference: np.ndarray
    turns: int = 0

    def respond(self, turn: Turn) -> Reply | None:
        """Remarks after a call; the end after an answer, or anything that keeps no format."""
        e = self.environment
        self.turns += 1
        action = parse_turn(turn.text, {e.domain.tool: e.domain.argument}, strict=e.strict)
        if not isinstance(action, Call | Answer):
            return Reply(end=True, tool_calls=[{"kind": "malformed", "similarity": None, "error": action.reason}])
        result = e.renderer.render(action.code)
        similarity, remarks = None, ""
        if result.image is not None:
            drawn = as_image(result.image)
            similarity = e.judge.judge(self.reference, drawn).score
            remarks = e.comparator.compare(self.reference, drawn) if isinstance(action, Call) else ""
        kind = "call" if isinstance(action, Call) else "answer"
        call = {"kind": kind, "similarity": similarity, "error": result.error}
        if kind == "answer" or self.turns >= e.max_turns:
            return Reply(end=True, tool_calls=[call])
        told = response_of(LoopTurn("", error=_plain(result.error), remarks=_plain(remarks)))
        return Reply(text=f"\n{told}\n", tool_calls=[call])

    def close(self) -> None:
        """Nothing is held."""


def _plain(text: str) -> str:
    """Foreign words that can spell no tag and no special token."""
    return text.replace("<", "‹").replace(">", "›")


@dataclass
class DialogueReward:
    """One part of the reward of dialogues, as trl takes it.

    Args:
        part: vision, format or tool.
        weights: of the reward.
    """

    part: str
    weights: VisualWeights
    __name__: str = field(init=False)

    def __post_init__(self) -> None:
        self.__name__ = self.part

    def __call__(self, trajectory: Sequence[Any], **columns: Any) -> list[float]:
        """The part, of each trajectory."""
        return [getattr(parts_of_dialogue(one.tool_calls, self.weights), self.part) for one in trajectory]


def parts_of_dialogue(calls: Sequence[Mapping[str, Any]], weights: VisualWeights) -> Parts:
    """The parts of a dialogue's reward from what its environment did; one without an answer keeps no format.

    Example:
        >>> done = [{"kind": "call", "similarity": 0.4}, {"kind": "answer", "similarity": 0.6}]
        >>> parts_of_dialogue(done, VisualWeights())
        Parts(vision=0.6, format=0.0, tool=0.5)
    """
    well_formed = bool(calls) and calls[-1]["kind"] == "answer"
    last = calls[-1]["similarity"] if well_formed else None
    earlier = [call["similarity"] for call in calls if call["kind"] == "call"]
    return parts_of(Rendered(last, earlier, well_formed), weights)


@dataclass(frozen=True)
class Teaching:
    """How a model is taught.

    Args:
        domain: what is drawn.
        weights: of the reward.
        max_turns: of a dialogue.
        side: most pixels of an image's longer side.
        strict: whether turns must have thoughts and nothing around their blocks.
    """

    domain: Domain
    weights: VisualWeights
    max_turns: int = 4
    side: int = 512
    strict: bool = True


def teach_from_images(
    model: Any,
    processor: Any,
    files: Sequence[Path],
    renderer: Renderer,
    looks: tuple[VisualComparator, VisualJudge],
    teaching: Teaching,
    settings: GRPOSettings,
    cell: Cell,
) -> Policy:
    """Train a vision-language model by GRPO on images alone, from the newest checkpoint on.

    Args:
        model: is trained in place, with adapters if the settings say so.
        processor: its own.
        files: the images.
        renderer: of the domain.
        looks: who compares, and who judges.
        teaching: what is drawn and paid.
        settings: of the training; its rewards are weighted by the teaching's weights.
        cell: where to log and save.
    """
    from dataclasses import replace

    w = teaching.weights
    weighted = replace(settings, reward_weights=(w.vision, w.format, w.tool))
    rows = Dataset.from_dict({"prompt": [teaching.domain.task] * len(files), "file": [str(file) for file in files]})
    make_prompt = PromptMaker(processor, model, teaching.domain, teaching.side, settings.max_completion_length)
    policy = Policy(model, processor.tokenizer)

    def environment(rows: Sequence[Mapping[str, Any]]) -> VisualEnvironment:
        shown = [row["file"] for row in rows]
        return VisualEnvironment(
            shown, renderer, *looks, teaching.domain, max_turns=teaching.max_turns, strict=teaching.strict
        )

    rewards: list[Callable[..., list[float]]] = [DialogueReward(part, w) for part in PART_NAMES]
    return grpo(
        policy, rows, rewards, weighted, cell, environment=environment, count_replies=True, prompt_of=make_prompt
    )
