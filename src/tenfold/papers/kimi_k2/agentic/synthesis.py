"""A set of trajectories in one folder: tasks, attempts, verdicts, rows for training, and a page to look at it.

The folder has ``settings.json``, ``tools.json``, ``tasks.jsonl``, ``trajectories.jsonl`` (all of them, with verdicts),
``kept.jsonl`` (chat rows of those that passed) and ``report.html``. What is made is stored in parts of 20 tasks, each
whole or absent, so that a run that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tenfold.core.config import nearest
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.envs.tool_domains import Failures, domain_named, domain_names
from tenfold.papers.kimi_k2.agentic.chat_rows import chat_row
from tenfold.papers.kimi_k2.agentic.dialogue import AGENTS, run_dialogue
from tenfold.papers.kimi_k2.agentic.judge import PASSING_SCORE, judged
from tenfold.papers.kimi_k2.agentic.page import page
from tenfold.papers.kimi_k2.agentic.records import AgentTrajectory, Task
from tenfold.papers.kimi_k2.agentic.tasks import make_task

TASKS_OF_A_PART = 20


@dataclass(frozen=True)
class SynthesisSettings:
    """What a set is made of; the same settings give the same set.

    Args:
        domains: names; empty for all.
        tasks: of all domains together, which take turns.
        attempts: at each task.
        agent: a key of ``dialogue.AGENTS``.
        failures: that are injected.
        passing: the least score of a trajectory that is kept.
        seed: of everything.

    Raises:
        UserError: a number is out of range, or a name is unknown.
    """

    domains: tuple[str, ...] = ()
    tasks: int = 100
    attempts: int = 2
    agent: str = "mixture"
    failures: Failures = field(default_factory=lambda: Failures(busy=0.15, partial=0.05, edge=0.05))
    passing: float = PASSING_SCORE
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        for name in self.domains:
            domain_named(name)
        if len(set(self.domains)) < len(self.domains):
            raise UserError(f"domains = {', '.join(self.domains)}: each may be named once")
        for name, number in (("tasks", self.tasks), ("attempts", self.attempts)):
            if number < 1:
                raise UserError(f"{name} = {number}: must be at least 1")
        if not 0 < self.passing <= 1:
            raise UserError(f"passing = {self.passing}: must be above 0 and at most 1")
        if self.agent not in AGENTS:
            raise UserError(f"agent = {self.agent!r}: {nearest(self.agent, list(AGENTS))}")

    @property
    def all_domains(self) -> tuple[str, ...]:
        """The domains by name, all of them where none is named."""
        return self.domains or domain_names()


def synthesise(settings: SynthesisSettings, out: Path, tell: Callable[[str], None] = print) -> Path:
    """Make the set, or what is missing of it, and return the page.

    Args:
        settings: what is made.
        out: the folder; new, or one that was begun with the same settings.
        tell: gets a line for each part.

    Raises:
        UserError: the folder holds something else, or a set with other settings.
    """
    _begin(settings, out)
    for number in range(0, settings.tasks, TASKS_OF_A_PART):
        part = out / "parts" / f"{number // TASKS_OF_A_PART:05}.jsonl"
        if not part.is_file():
            numbers = range(number, min(number + TASKS_OF_A_PART, settings.tasks))
            write_atomically(part, "".join(f"{_json(row)}\n" for each in numbers for row in _made(settings, each)))
            tell(f"{numbers[-1] + 1} of {settings.tasks} tasks")
    return _finish(settings, out)


def read_set(out: Path) -> list[AgentTrajectory]:
    """All trajectories of a finished set, in order."""
    lines = (out / "trajectories.jsonl").read_text(encoding="utf-8").splitlines()
    return [AgentTrajectory.from_row(json.loads(line)) for line in lines]


def _begin(settings: SynthesisSettings, out: Path) -> None:
    said = json.loads(_json(asdict(settings)))
    path = out / "settings.json"
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: is there and is no set that was begun; allowed: a new folder")
        write_atomically(path, json.dumps(said, indent=2))
    earlier = json.loads(path.read_text())
    if earlier != said:
        names = [name for name in said if earlier.get(name) != said[name]]
        was, now = earlier.get(names[0]), said[names[0]]
        raise UserError(f"{out}: was begun with {names[0]} = {was}, and now it is {now}; give another --out")


def _made(settings: SynthesisSettings, number: int) -> list[dict[str, Any]]:
    """A task, and the attempts at it."""
    domains = settings.all_domains
    task = make_task(domains[number % len(domains)], number // len(domains), settings.seed)
    rows: list[dict[str, Any]] = [{"task": {**asdict(task), "agent": _agent_row(task)}}]
    for attempt in range(settings.attempts):
        trajectory = run_dialogue(task, AGENTS[settings.agent], attempt, settings.failures)
        trajectory = judged(task, trajectory, settings.passing)
        kept = trajectory.verdict is not None and trajectory.verdict.passed
        rows.append({"trajectory": trajectory.to_row(), "chat": chat_row(task, trajectory) if kept else None})
    return rows


def _agent_row(task: Task) -> dict[str, Any]:
    """The agent with its tools by name; they are declared once, in ``tools.json``."""
    return {"system_prompt": task.agent.system_prompt, "tools": [spec.name for spec in task.agent.tools]}


def _finish(settings: SynthesisSettings, out: Path) -> Path:
    """Put the parts together; done again, it writes the same."""
    tasks, trajectories, chats = [], [], []
    for part in sorted((out / "parts").iterdir()):
        for line in part.read_text(encoding="utf-8").split("\n")[:-1]:
            row = json.loads(line)
            if "task" in row:
                tasks.append(row["task"])
            else:
                trajectories.append(row["trajectory"])
                chats += [row["chat"]] if row["chat"] else []
    tools = [tool.spec for name in settings.all_domains for tool in domain_named(name).tools]
    declared = [{**spec.to_openai(), "domain": spec.domain, "semantics": spec.semantics} for spec in tools]
    write_atomically(out / "tools.json", json.dumps(declared, indent=1, ensure_ascii=False))
    for name, rows in (("tasks", tasks), ("trajectories", trajectories), ("kept", chats)):
        write_atomically(out / f"{name}.jsonl", "".join(f"{_json(row)}\n" for row in rows))
    write_atomically(out / "report.html", page(asdict(settings), tasks, trajectories))
    return out / "report.html"


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
