"""The same language model without programs: it answers each question with five numbers, at once or after thinking."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.types import Message
from tenfold.envs.programs import Posterior
from tenfold.papers.msa.pipeline import Participant, Result, pool
from tenfold.papers.msa.prompts import DIRECT, THINKING, scenario
from tenfold.papers.msa.vignette import Vignette
from tenfold.policies import LMBackend, Recorder
from tenfold.policies.chat_server import ChatServerError
from tenfold.policies.text_backends import BackendError

CLICKS = 5
DIRECT_KINDS = {False: "direct", True: "chain of thought"}


@dataclass
class DirectLM:
    """Asks for numbers.

    Args:
        lm: the language model.
        thinks: with leave to think first.
        temperature: of sampling.
        max_tokens: most tokens of an answer.
    """

    lm: LMBackend
    thinks: bool = False
    temperature: float = 0.7
    max_tokens: int = 1024

    def run(self, vignette: Vignette, participants: int = 10, seed: int = 0) -> Result:
        """Answer a vignette; the result is of the same type as the pipeline's."""
        recorder = Recorder(self.lm)
        found = [self._participant(recorder, vignette) for _ in range(participants)]
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return Result(
            vignette, DIRECT_KINDS[self.thinks], found, pool(found, CLICKS, seed), settings, seed, recorder.calls
        )

    def _participant(self, lm: LMBackend, vignette: Vignette) -> Participant:
        instructions = DIRECT.format(thinking=THINKING if self.thinks else "")
        messages = [Message("user", f"{instructions}\n\n{scenario(vignette)}")]
        try:
            (said,) = lm.generate(messages, 1, self.temperature, self.max_tokens)
            return Participant(posterior=as_clicks(read_numbers(said, vignette), vignette))
        except (BackendError, ChatServerError) as error:
            return Participant(problem=f"the model: {error}")
        except ValueError as error:
            return Participant(problem=f"answer: {error}")


def read_numbers(text: str, vignette: Vignette) -> dict[str, list[float]]:
    """Five numbers a query from the last JSON object in a text.

    Raises:
        ValueError: there is none, or it lacks a query, or a number lies outside of its range.
    """
    plain = _last_object(text)
    numbers = {}
    for name, (low, high) in vignette.ranges.items():
        values = plain.get(name)
        values = [values] if isinstance(values, (int, float)) and not isinstance(values, bool) else values
        if not isinstance(values, list) or not values:
            raise ValueError(f"there are no numbers for {name}")
        for value in values:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or not low <= value <= high:
                raise ValueError(f"{name} has {str(value)[:30]!r}; allowed: {low:g} to {high:g}")
        numbers[name] = [float(value) for value in values][:CLICKS]
    return numbers


def _last_object(text: str) -> Mapping[str, Any]:
    decoder = json.JSONDecoder()
    for start in sorted((i for i, letter in enumerate(text) if letter == "{"), reverse=True):
        try:
            found, _ = decoder.raw_decode(text[start:])
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    raise ValueError("there is no JSON object in it")


def as_clicks(numbers: Mapping[str, list[float]], vignette: Vignette) -> Posterior:
    """Numbers as samples of equal weight, fewer than five repeated in turn."""
    samples = {name: np.array([values[i % len(values)] for i in range(CLICKS)]) for name, values in numbers.items()}
    return Posterior(samples, np.full(CLICKS, 1 / CLICKS), method="asked", attempts=CLICKS, accepted=CLICKS)
