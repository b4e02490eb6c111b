"""The pipeline: from a vignette and a language model to posteriors, with the programs behind them.

    result = MSA(backend).run(vignette, participants=10, seed=0)
    result.posterior["query1"].mean()

Each simulated participant is one run of all stages; their distributions are pooled. A result is plain data: it says for
each question its posterior or why there is none, holds every candidate of every stage, and every call of the model, so
that :func:`replay` repeats it bit for bit without a model.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.core.errors import UserError
from tenfold.envs.programs import Posterior, Runner, pooled
from tenfold.papers.msa.prompts import Example, load_examples, scenario
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.stages import StageFailed, Work, background_stage, parse_stage, program_stage
from tenfold.papers.msa.vignette import Vignette, read_vignette
from tenfold.policies import LMBackend, Recorder, ScriptedBackend
from tenfold.policies.chat_server import ChatServerError
from tenfold.policies.text_backends import BackendError

VERSION = 1


@dataclass
class Participant:
    """One run of all stages.

    Args:
        stages: as they were run, JSON-able.
        program: that was kept; empty if none.
        graph: concepts with those they depend on, in order; empty without that stage.
        posterior: of the program; ``None`` if a stage failed.
        problem: which stage failed, and why.
    """

    stages: list[dict[str, Any]] = field(default_factory=list)
    program: str = ""
    graph: list[tuple[str, list[str]]] = field(default_factory=list)
    posterior: Posterior | None = None
    problem: str = ""


@dataclass
class Result:
    """What a pipeline, or a baseline, answers.

    Args:
        vignette: that was asked.
        kind: ``msa``, ``msa without background``, ``direct`` or ``chain of thought``.
        participants: one by one.
        posterior: pooled; ``None`` if nobody succeeded.
        settings: of the pipeline, JSON-able.
        seed: of everything.
        calls: of the model, as :class:`~tenfold.policies.Recorder` keeps them.
    """

    vignette: Vignette
    kind: str
    participants: list[Participant]
    posterior: Posterior | None
    settings: dict[str, Any]
    seed: int
    calls: list[dict[str, Any]]

    @property
    def problems(self) -> list[str]:
        """Why participants have no answer, in order."""
        return [participant.problem for participant in self.participants if participant.problem]

    def to_plain(self) -> dict[str, Any]:
        """The whole result as JSON-able data; what took how long is left out, so that equal runs are equal."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "vignette": self.vignette.to_plain(),
            "settings": self.settings,
            "seed": self.seed,
            "posterior": _timeless(self.posterior),
            "participants": [
                {**asdict(each), "posterior": _timeless(each.posterior)} for each in map(_shallow, self.participants)
            ],
            "calls": self.calls,
        }

    def to_json(self) -> str:
        """The result as text; equal runs give equal texts."""
        return json.dumps(self.to_plain(), indent=1, sort_keys=True) + "\n"


def _shallow(participant: Participant) -> Participant:
    return (
        Participant(participant.stages, participant.program, participant.graph, None, participant.problem)
        if (participant.posterior is None)
        else participant
    )


def _timeless(posterior: Posterior | None) -> dict[str, Any] | None:
    return None if posterior is None else posterior.to_plain() | {"seconds": 0.0}


@dataclass
class MSA:
    """The model synthesis architecture.

    Args:
        lm: the language model.
        runner: where programs run, such as a :class:`~tenfold.envs.programs.ProgramSandbox`.
        examples: few-shot examples; those that come with the library by default.
        settings: of the pipeline.
    """

    lm: LMBackend
    runner: Runner
    examples: Sequence[Example] = field(default_factory=load_examples)
    settings: Settings = field(default_factory=Settings)

    def run(self, vignette: Vignette, participants: int = 10, seed: int = 0) -> Result:
        """Answer a vignette.

        Args:
            vignette: with its questions.
            participants: runs of all stages.
            seed: of the order of examples, and of inference.

        Raises:
            UserError: no participants.
        """
        if participants < 1:
            raise UserError(f"participants = {participants}: must be at least 1")
        recorder = Recorder(self.lm)
        found = [self._participant(recorder, vignette, (seed, number)) for number in range(participants)]
        kind = "msa" if self.settings.has_background else "msa without background"
        return Result(
            vignette, kind, found, pool(found, self.settings.samples, seed), asdict(self.settings), seed, recorder.calls
        )

    def _participant(self, lm: LMBackend, vignette: Vignette, key: tuple[int | str, ...]) -> Participant:
        work = Work(vignette, lm, self.examples, self.settings, self.runner, key)
        work.blocks["SCENARIO"] = scenario(vignette)
        participant = Participant()
        try:
            parse, placeholders = parse_stage(work)
            if self.settings.has_background:
                graph = background_stage(work, placeholders)
                participant.graph = [(concept.name, list(concept.depends_on)) for concept in graph]
            participant.program, participant.posterior = program_stage(work, parse, placeholders)
        except StageFailed as failed:
            participant.problem = str(failed)
        except (BackendError, ChatServerError) as error:
            participant.problem = f"the model: {error}"
        participant.stages = [stage.to_plain() for stage in work.stages]
        return participant


def pool(participants: Sequence[Participant], samples: int, seed: int) -> Posterior | None:
    """Equal numbers of samples from each participant who has an answer."""
    answered = [participant.posterior for participant in participants if participant.posterior is not None]
    return pooled(answered, samples, seed) if answered else None


def read_record(text: str, where: str = "record") -> dict[str, Any]:
    """A record that :meth:`Result.to_json` wrote.

    Raises:
        UserError: it is none.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no JSON ({error})") from None
    if not isinstance(plain, dict) or not {"version", "vignette", "settings", "seed", "calls", "kind"} <= plain.keys():
        raise UserError(f"{where}: is no record of a run; `tenfold answer msa` writes one with --out")
    if plain["version"] != VERSION:
        raise UserError(f"{where}: version is {plain['version']}; allowed: {VERSION}")
    return plain


def replay(plain: dict[str, Any], runner: Runner) -> Result:
    """Run a record again, with its model's words and without its model."""
    from tenfold.papers.msa.baselines import DIRECT_KINDS, DirectLM

    vignette = read_vignette(plain["vignette"], where="record: vignette")
    lm = ScriptedBackend.of_calls(plain["calls"])
    count = len(plain["participants"])
    if plain["kind"] in DIRECT_KINDS.values():
        thinks = plain["kind"] == DIRECT_KINDS[True]
        return DirectLM(lm, thinks, **plain["settings"]).run(vignette, count, plain["seed"])
    return MSA(lm, runner, settings=Settings(**plain["settings"])).run(vignette, count, plain["seed"])
