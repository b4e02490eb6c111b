"""Who looks at two images: the comparator, which says in words what differs, and the judge, which gives a score.

The comparator speaks during a dialogue; it never gives a number and never reveals code. The judge speaks once, at the
end. Both are asked with the reference first, at temperature 0, and each pair is asked once. Three kinds: from pixels
without a model; a served vision-language model; one of transformers in this process. What a model answers is read
strictly; an answer that cannot be read is asked for once more, and then it is a score of 0 with its reason, never the
end of a run.

``oracle_remarks`` compares what two programs drew by their records: reading the reference's artists is label leakage,
allowed for self-made tests alone, and hence its name.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from tenfold.core.pages import inside
from tenfold.core.types import Message
from tenfold.eval.charts import ChartRecord
from tenfold.eval.visual import Similarity, as_image, background, compare, resized
from tenfold.policies.chat_server import ChatServer, ChatServerError

COMPARE = (
    "You are a visual comparison analyst. The first image is the reference, the second one was generated. Describe how "
    "the second differs from the first, aspect by aspect: layout, text, colours, chart type or components, missing or "
    "extra elements. Never give code, and never give a score."
)
JUDGE = (
    "You compare images. The first image is the reference, the second one was generated. Rate how alike they are in "
    "type, layout, text, data or content, colour and clarity, from 0 (nothing alike) to 100 (the same). Answer with "
    'nothing but a JSON object: {"score": N}'
)
MOST_REMARKS = 2000
"""Characters of a comparator's remarks."""


class Looker(Protocol):
    """A model that sees images and answers in words."""

    def look(self, images: Sequence[np.ndarray], instruction: str, max_tokens: int) -> str:
        """Its answer about images [h, w, 3] in [0, 1], in their order.

        Raises:
            LookingFailed: it cannot answer.
        """
        ...


class LookingFailed(Exception):
    """A model that could not be asked; one sentence."""


class VisualComparator(Protocol):
    """Says in words what differs."""

    def compare(self, reference: np.ndarray, generated: np.ndarray) -> str:
        """Remarks about two images [h, w, 3] in [0, 1]."""
        ...


class VisualJudge(Protocol):
    """Gives a score."""

    def judge(self, reference: np.ndarray, generated: np.ndarray) -> "Judged":
        """How alike two images [h, w, 3] in [0, 1] are."""
        ...


@dataclass(frozen=True)
class Judged:
    """A score.

    Args:
        score: in [0, 1].
        failure: why there is none, in a sentence; then the score is 0.
    """

    score: float
    failure: str = ""


# ------------------------------------------------------------------------------------------------ models that look


@dataclass
class ServedLooker:
    """A vision-language model behind OpenAI's wire format; images go along as PNG."""

    server: ChatServer

    def look(self, images: Sequence[np.ndarray], instruction: str, max_tokens: int) -> str:
        """See :class:`Looker`."""
        message = MessageOfParts("user", [*map(image_part, images), {"type": "text", "text": instruction}])
        try:
            return self.server.generate([cast(Message, message)], 1, 0.0, max_tokens)[0]
        except ChatServerError as error:
            raise LookingFailed(str(error)) from None


@dataclass(frozen=True)
class MessageOfParts:
    """A message whose content is parts, as servers take it."""

    role: str
    content: list[dict[str, Any]]


def image_part(image: np.ndarray) -> dict[str, Any]:
    """An image [h, w, 3] in [0, 1] as a part of a message to a server."""
    return {"type": "image_url", "image_url": {"url": inside("png", png_of(image))}}


@dataclass
class LocalLooker:
    """A vision-language model of transformers in this process.

    Args:
        model: such as ``LlavaForConditionalGeneration``.
        processor: its own, with a chat template.
    """

    model: Any
    processor: Any

    def look(self, images: Sequence[np.ndarray], instruction: str, max_tokens: int) -> str:
        """See :class:`Looker`."""
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": instruction}]
        return answer_of(self.model, self.processor, [{"role": "user", "content": content}], images, max_tokens)


def answer_of(
    model: Any, processor: Any, messages: Sequence[dict[str, Any]], images: Sequence[np.ndarray], max_tokens: int
) -> str:
    """The most probable answer of a vision-language model of transformers.

    Args:
        model: such as ``LlavaForConditionalGeneration``.
        processor: its own, with a chat template.
        messages: of the conversation; a part ``{"type": "image"}`` for each image, in their order.
        images: [h, w, 3] in [0, 1].
        max_tokens: most tokens of the answer.
    """
    import torch

    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    given = processor(text=text, images=[picture_of(each) for each in images], return_tensors="pt").to(model.device)
    with torch.no_grad():
        said = model.generate(**given, max_new_tokens=max_tokens, do_sample=False)
    answer: str = processor.tokenizer.decode(said[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return answer


def picture_of(image: np.ndarray) -> Any:
    """An image [h, w, 3] in [0, 1] as PIL's."""
    from PIL import Image

    return Image.fromarray((image * 255 + 0.5).astype(np.uint8))


def png_of(image: np.ndarray) -> bytes:
    """An image [h, w, 3] in [0, 1] as a PNG."""
    stream = io.BytesIO()
    picture_of(image).save(stream, format="PNG")
    return stream.getvalue()


# ----------------------------------------------------------------------------------------------- comparator and judge


@dataclass
class ModelComparator:
    """A comparator that is a model; each pair is asked once.

    Args:
        looker: who is asked.
        max_tokens: of an answer.
    """

    looker: Looker
    max_tokens: int = 400
    _said: dict[str, str] = field(default_factory=dict)

    def compare(self, reference: np.ndarray, generated: np.ndarray) -> str:
        """See :class:`VisualComparator`; without an answer it says so and the dialogue goes on."""
        key = pair_key(reference, generated)
        if key not in self._said:
            try:
                said = self.looker.look([reference, generated], COMPARE, self.max_tokens)
            except LookingFailed as error:
                return f"No remarks: {error}"
            self._said[key] = without_code(said)[:MOST_REMARKS] or "No remarks."
        return self._said[key]


@dataclass
class ModelJudge:
    """A judge that is a model; each pair is asked once, or twice where the first answer cannot be read.

    Args:
        looker: who is asked.
        max_tokens: of an answer.
        failures: pairs without a score so far.
    """

    looker: Looker
    max_tokens: int = 40
    failures: int = 0
    _said: dict[str, Judged] = field(default_factory=dict)

    def judge(self, reference: np.ndarray, generated: np.ndarray) -> Judged:
        """See :class:`VisualJudge`."""
        key = pair_key(reference, generated)
        if key in self._said:
            return self._said[key]
        failure = ""
        for _ in range(2):
            try:
                said = self.looker.look([reference, generated], JUDGE, self.max_tokens)
            except LookingFailed as error:
                failure = f"the judge could not be asked: {error}"
                break
            score = read_score(said)
            if score is not None:
                self._said[key] = Judged(score)
                return self._said[key]
            failure = f"the judge gave no score: {' '.join(said.split())[:80]!r}"
        self.failures += 1
        judged = Judged(0.0, failure)
        if failure.startswith("the judge gave"):  # a server that is down may be up again
            self._said[key] = judged
        return judged


def read_score(said: str) -> float | None:
    """The score in [0, 1] of an answer that is a JSON object with a whole number from 0 to 100; else none.

    Example:
        >>> read_score('{"score": 85}'), read_score("85"), read_score('{"score": 120}'), read_score('{"score": true}')
        (0.85, None, None, None)
    """
    text = said.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    score = found.get("score") if isinstance(found, dict) and set(found) == {"score"} else None
    if isinstance(score, bool) or not isinstance(score, int) or not 0 <= score <= 100:
        return None
    return score / 100


def without_code(said: str) -> str:
    """An answer without its fenced blocks: a comparator gives no code, whatever it was asked.

    Example:
        >>> without_code("The title differs.\\n```python\\nplot()\\n```\\nSo do colours.")
        'The title differs.\\n\\nSo do colours.'
    """
    return "".join(said.split("```")[::2]).strip()


def pair_key(reference: np.ndarray, generated: np.ndarray) -> str:
    """What a pair of images is known by, in this order."""
    digest = hashlib.sha256()
    for image in (reference, generated):
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray((image * 255 + 0.5).astype(np.uint8)).tobytes())
    return digest.hexdigest()


# -------------------------------------------------------------------------------------------------------- from pixels


@dataclass(frozen=True)
class PixelJudge:
    """The default judge: the composite similarity of pixels, no model."""

    similarity: Similarity = field(default_factory=Similarity)

    def judge(self, reference: np.ndarray, generated: np.ndarray) -> Judged:
        """See :class:`VisualJudge`."""
        return Judged(compare(reference, generated, self.similarity)["total"])


@dataclass(frozen=True)
class PixelComparator:
    """Sentences from pixels: what colours are missing or extra, how much is drawn, and where images differ most."""

    def compare(self, reference: np.ndarray, generated: np.ndarray) -> str:
        """See :class:`VisualComparator`.

        Example:
            >>> white = np.ones((30, 30, 3), np.float32)
            >>> drawn = white.copy()
            >>> drawn[:10, :10] = (0.9, 0.1, 0.1)
            >>> print(PixelComparator().compare(drawn, white))
            colours: red is missing
            amount: less is drawn than in the reference
            layout: the largest difference is at the top left
        """
        a, b = as_image(reference), resized(as_image(generated), *reference.shape[:2])
        remarks = [*_colour_remarks(a, b), *_amount_remarks(a, b), *_place_remarks(a, b)]
        return "\n".join(remarks) or "no difference is seen"


_NAMED = {
    "red": (0.84, 0.15, 0.16),
    "orange": (1.0, 0.5, 0.05),
    "yellow": (0.95, 0.9, 0.2),
    "green": (0.17, 0.63, 0.17),
    "blue": (0.12, 0.47, 0.71),
    "purple": (0.58, 0.4, 0.74),
    "pink": (0.89, 0.47, 0.76),
    "brown": (0.55, 0.34, 0.29),
    "black": (0.05, 0.05, 0.05),
    "grey": (0.5, 0.5, 0.5),
}
_PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
_LEAST_SHARE = 0.01


def _ink(image: np.ndarray) -> np.ndarray:
    drawn: np.ndarray = np.abs(image - background(image[None])[0]).max(-1) > 0.15
    return drawn


def _colours(image: np.ndarray) -> set[str]:
    """Names of colours that make up a share of what is drawn."""
    pixels = image[_ink(image)]
    if not len(pixels):
        return set()
    nearest = ((pixels[:, None] - np.array(list(_NAMED.values()))) ** 2).sum(-1).argmin(1)
    shares = np.bincount(nearest, minlength=len(_NAMED)) / len(pixels)
    return {name for name, share in zip(_NAMED, shares, strict=True) if share > _LEAST_SHARE}


def _colour_remarks(a: np.ndarray, b: np.ndarray) -> list[str]:
    wanted, found = _colours(a), _colours(b)
    words = [f"{name} is missing" for name in sorted(wanted - found)]
    words += [f"{name} is not in the reference" for name in sorted(found - wanted)]
    return [f"colours: {', '.join(words)}"] if words else []


def _amount_remarks(a: np.ndarray, b: np.ndarray) -> list[str]:
    wanted, found = float(_ink(a).mean()), float(_ink(b).mean())
    if found < 0.9 * wanted:
        return ["amount: less is drawn than in the reference"]
    return ["amount: more is drawn than in the reference"] if found > 1.1 * wanted + 1e-3 else []


def _place_remarks(a: np.ndarray, b: np.ndarray) -> list[str]:
    apart = np.abs(a - b).mean(-1)
    thirds = [np.array_split(each, 3, axis=1) for each in np.array_split(apart, 3, axis=0)]
    means = np.array([float(cell.mean()) if cell.size else 0.0 for row in thirds for cell in row])
    worst = int(means.argmax())
    return [f"layout: the largest difference is at the {_PLACES[worst]}"] if means[worst] > 0.01 else []


def oracle_remarks(reference: ChartRecord, generated: ChartRecord) -> str:
    """What two programs drew differently, by their records; the reference's record is a label.

    Example:
        >>> reference = ChartRecord(texts=("Sales",), calls=("bar",), colours=(("bar", "#ff0000"),))
        >>> print(oracle_remarks(reference, ChartRecord(texts=("Costs",), calls=("plot",))))
        text: 'Sales' is missing, 'Costs' is not in the reference
        type: bar is missing, plot is not in the reference
        colours: #ff0000 of bar is missing
    """
    if generated.error:
        return f"the program failed: {generated.error}"
    lines = [
        _differences("text", [repr(text) for text in reference.texts], [repr(text) for text in generated.texts]),
        _differences("type", reference.calls, generated.calls),
        _differences("colours", _spelled(reference), _spelled(generated)),
    ]
    if Counter(reference.layout) != Counter(generated.layout):
        lines.append(f"layout: the reference has {len(reference.layout)} axes, yours {len(generated.layout)}")
    return "\n".join(line for line in lines if line) or "no difference is seen"


def _spelled(record: ChartRecord) -> list[str]:
    return [f"{colour} of {call}" for call, colour in record.colours]


def _differences(aspect: str, wanted: Sequence[str], found: Sequence[str]) -> str:
    missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    words = [*_counted(missing, "missing"), *_counted(extra, "not in the reference")]
    return f"{aspect}: {', '.join(words)}" if words else ""


def _counted(names: Mapping[str, int], what: str) -> list[str]:
    return [f"{name} is {what}" + (f" {count} times" if count > 1 else "") for name, count in sorted(names.items())]
