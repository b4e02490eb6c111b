"""MSA's own verbs: ``answer`` a vignette, ``infer`` from a program, ``replay`` a record, compare with ``people``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.envs.programs import Posterior, ProgramSandbox, Unsatisfiable
from tenfold.envs.programs import infer as infer_program
from tenfold.papers.msa.baselines import DirectLM
from tenfold.papers.msa.evaluation import against_people, agreement, gold_posteriors, load_people, of_posteriors
from tenfold.papers.msa.pipeline import MSA, Result, read_record
from tenfold.papers.msa.pipeline import replay as replay_record
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.survey import page
from tenfold.papers.msa.survey import survey as survey_of
from tenfold.papers.msa.vignette import load_vignette
from tenfold.papers.msa.vignette import vignettes as known_vignettes
from tenfold.policies import ChatServer, LMBackend, RolloutBackend, ScriptedBackend, load_policy
from tenfold.train.distributed import compute_device

Target = Annotated[Path, tyro.conf.Positional]
Way = Literal["msa", "direct", "chain_of_thought"]


def answer(
    vignette: Target,
    lm: str,
    model: str = "",
    way: Way = "msa",
    participants: int = 1,
    seed: int = 0,
    out: Path | None = None,
    settings: Settings = Settings(),  # noqa: B008 -- frozen
) -> None:
    """Answer the questions of a vignette: a posterior for each, and the program behind it, or why there is none.

    Args:
        vignette: a YAML file with background, conditions and queries.
        lm: who writes: an address such as http://127.0.0.1:8000/v1, a model's folder or GGUF file, or a recorded run.
        model: the model's name at the server.
        way: with a program, or with numbers at once or after thinking.
        participants: runs of all stages, which are pooled.
        seed: of everything that is drawn here.
        out: a file for the whole record, which ``replay`` takes.
        settings: of the pipeline.
    """
    asked = load_vignette(vignette)
    backend = backend_of(lm, model, seed)
    if way == "msa":
        with ProgramSandbox(seconds=settings.max_seconds) as programs:
            result = MSA(backend, programs, settings=settings).run(asked, participants, seed)
    else:
        result = DirectLM(backend, thinks=way == "chain_of_thought").run(asked, participants, seed)
    show(result)
    if out is not None:
        write_atomically(out, result.to_json())
        print(f"wrote {out}")


def backend_of(lm: str, model: str = "", seed: int = 0) -> LMBackend:
    """A language model from what the command line says of it."""
    if lm.startswith(("http://", "https://")):
        if not model:
            raise UserError("model = '': a server needs the name of a model")
        return ChatServer(lm, model)
    if lm.endswith(".json"):
        path = Path(lm)
        if not path.is_file():
            raise UserError(
                f"lm is {lm!r}, which does not exist; allowed: an address, a model's folder, a recorded run"
            )
        return ScriptedBackend.of_calls(read_record(path.read_text(encoding="utf-8"), lm)["calls"])
    return RolloutBackend(load_policy(lm, device=compute_device("auto")), seed)


def infer(
    program: Target,
    method: Literal["auto", "rejection", "likelihood_weighting", "smc", "mh"] = "auto",
    n: int = 1000,
    seed: int = 0,
    max_seconds: float = 30.0,
    soften: float = 0.0,
    plot: Path | None = None,
) -> None:
    """The posterior of a program's queries; no language model is needed.

    Args:
        program: a file with a function model().
        method: of inference.
        n: particles to be accepted.
        seed: of all draws.
        max_seconds: of inference.
        soften: scale of comparisons that become factors; 0 leaves them hard.
        plot: a file for a picture.
    """
    if not program.is_file():
        raise UserError(f"program is {str(program)!r}, which does not exist; allowed: a file with a function model()")
    source = program.read_text(encoding="utf-8")
    with ProgramSandbox(seconds=max_seconds) as programs:
        try:
            posterior = infer_program(source, method, n, seed, max_seconds=max_seconds, soften=soften, runner=programs)
        except Unsatisfiable as error:
            raise UserError(f"program: {error}") from None
    show_posterior(posterior)
    if plot is not None:
        posterior.plot().savefig(plot)
        print(f"wrote {plot}")


def replay(record: Target) -> None:
    """Run a recorded answer again, without its model, and check that it is the same to the last bit.

    Args:
        record: a file that ``answer --out`` wrote.
    """
    text = _read(record)
    plain = read_record(text, str(record))
    with ProgramSandbox(seconds=float(plain["settings"].get("max_seconds", 30.0))) as programs:
        result = replay_record(plain, programs)
    show(result)
    if result.to_json() != text:
        raise UserError(f"{record}: the run again gives something else; was it made by another version?")
    print("equal to the record, bit for bit")


def survey(
    out: Target,
    lm: str,
    model: str = "",
    participants: int = 1,
    seed: int = 0,
    vignettes: Path | None = None,
    settings: Settings = Settings(),  # noqa: B008 -- frozen
) -> None:
    """Ask a language model about all vignettes in all ways, and write the records and a page to look at.

    A survey that was stopped goes on where it was. The page tells where stages failed, and how far answers are from the
    gold programs, which are not people.

    Args:
        out: a folder for the records and ``survey.html``.
        lm: who writes; see ``answer``.
        model: the model's name at the server.
        participants: runs of all stages for each vignette.
        seed: of everything that is drawn here.
        vignettes: a folder of YAML files; those that come with the library by default.
        settings: of the pipeline.
    """
    asked = (
        known_vignettes() if vignettes is None else [load_vignette(path) for path in sorted(vignettes.glob("*.yaml"))]
    )
    if not asked:
        raise UserError(f"vignettes = {str(vignettes)!r}: has no YAML files")
    backend = backend_of(lm, model, seed)
    with ProgramSandbox(seconds=settings.max_seconds) as programs:
        found = survey_of(
            lambda: renewed(backend), asked, programs, out, settings=settings, participants=participants, seed=seed
        )
    gold = gold_posteriors()
    write_atomically(out / "survey.html", page(found, asked, gold))
    table = Table("way", "answered", "R²", "Wasserstein-1 to gold")
    for way, one in found.agreements(gold).items():
        numbers = (
            ("–", "–")
            if one is None
            else (_with(one.r2, one.r2_interval), _with(one.wasserstein, one.wasserstein_interval))
        )
        table.add_row(way, f"{found.failures(way)['answered']:.0%}", *numbers)
    Console().print(table)
    print(f"wrote {out / 'survey.html'}")


def renewed(backend: LMBackend) -> LMBackend:
    """The same model; a policy begins its noise anew, so that a result does not depend on those before it."""
    return replace(backend, calls=0) if isinstance(backend, RolloutBackend) else backend


def people(
    record: Target,
    human: Annotated[Path | None, tyro.conf.Positional] = None,
    gold: bool = False,
) -> None:
    """How near a recorded answer is to people, or to the gold program of a vignette.

    Args:
        record: a file that ``answer --out`` wrote, or a folder of such files.
        human: a CSV file with the columns participant, vignette, query, click and value.
        gold: compare with the gold programs that come with the library; they are not people.
    """
    if (human is None) != gold:
        raise UserError("human: give a CSV file of people's judgments, or --gold, and not both")
    files = sorted(record.glob("*.json")) if record.is_dir() else [record]
    records = [read_record(_read(file), str(file)) for file in files]
    posteriors = {
        plain["vignette"]["name"]: Posterior.from_plain(plain["posterior"]) for plain in records if plain["posterior"]
    }
    ours = of_posteriors(posteriors)
    table = Table("against", "questions", "R²", "Wasserstein-1")
    if human is not None:
        data = load_people(human)
        rows = {"people": against_people(ours, data), "people, half against half": data.split_half()}
    else:
        rows = {"gold programs (not people)": agreement(ours, gold_posteriors())}
    for name, found in rows.items():
        if found is not None:
            table.add_row(
                name,
                str(found.questions),
                _with(found.r2, found.r2_interval),
                _with(found.wasserstein, found.wasserstein_interval),
            )
    Console().print(table)


def _with(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _read(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"record is {str(path)!r}, which does not exist; `tenfold answer msa` writes one with --out")
    return path.read_text(encoding="utf-8")


def show(result: Result) -> None:
    """Print a result: problems, the first program, the answers."""
    console = Console(highlight=False)
    for participant in result.participants:
        if participant.program:
            console.print(Text(participant.program))
            break
    for problem in result.problems:
        console.print(Text(f"a participant has no answer: {problem}"))
    if result.posterior is None:
        console.print(Text("no question can be answered"))
        return
    questions = dict(zip(result.vignette.query_names, [query.text for query in result.vignette.queries], strict=True))
    show_posterior(result.posterior, questions)


def show_posterior(posterior: Posterior, questions: dict[str, str] | None = None) -> None:
    """Print a row for each query, and how inference went."""
    console = Console(highlight=False)
    table = Table("query", "mean", "sd", "5 %", "50 %", "95 %")
    for row in posterior.summary():
        name = Text((questions or {}).get(row["query"], row["query"]))
        table.add_row(name, *(f"{row[column]:.3g}" for column in ("mean", "sd", "q5", "q50", "q95")))
    console.print(table)
    how = (
        f"{posterior.method} ({posterior.reason}), {posterior.executor} executor"
        if posterior.executor
        else posterior.method
    )
    console.print(
        Text(
            f"{how}: {posterior.accepted} of {posterior.attempts} particles accepted, effective sample size "
            f"{posterior.effective_size:.0f}" + ("" if posterior.complete else "; the budget was spent before the end")
        )
    )
