"""Settings of the pipeline; the defaults are the paper's where a reader of it has told them."""

from dataclasses import dataclass
from typing import Literal

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How the pipeline asks, scores and infers.

    Args:
        k_parse: candidates of the parse.
        k_background: candidates of background and graph.
        k_program: candidates of the program.
        parse_temperature: of sampling.
        background_temperature: likewise.
        program_temperature: likewise.
        judges: ratings of a candidate, of which the mean is taken; 0 asks nobody.
        judge_temperature: of the ratings.
        repairs: how often an error is told to the model, which then writes the program again; the paper has none.
        max_tokens: most tokens of an answer.
        method: of inference.
        samples: of inference, for each participant.
        max_seconds: of inference, for each program.
        pilot_seconds: of a first try of each program.
        has_background: whether there is a stage of background and graph; without it the pipeline is the ablation.

    Example:
        >>> Settings().k_background
        8
    """

    k_parse: int = 1
    k_background: int = 8
    k_program: int = 1
    parse_temperature: float = 0.2
    background_temperature: float = 0.5
    program_temperature: float = 0.2
    judges: int = 1
    judge_temperature: float = 0.0
    repairs: int = 0
    max_tokens: int = 2048
    method: Literal["auto", "rejection", "likelihood_weighting", "smc", "mh"] = "auto"
    samples: int = 1000
    max_seconds: float = 30.0
    pilot_seconds: float = 2.0
    has_background: bool = True

    def __post_init__(self) -> None:
        for name in ("k_parse", "k_background", "k_program", "max_tokens", "samples"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 1")
        for name in ("judges", "repairs"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 0")
        for name in ("max_seconds", "pilot_seconds"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)}: must be above 0")
