"""A language model on the multi-turn tasks of BFCL: played, checked, stored task by task, and set beside floors.

The model gets the tools as TypeScript in the system message and answers with text and calls in Kimi K2's format;
results of calls come back as messages of the user, for not every chat template has a role for tools. A turn of the user
ends where the model says something without a call. What does not fit the model's context counts as failed.

Two floors stand beside the score: doing nothing, and the look-ups alone, which are the gold calls that change no state.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.files import cut_torn_line, to_json, write_atomically
from tenfold.core.statistics import share_interval
from tenfold.core.types import Message
from tenfold.envs.bfcl import BFCLInstance, BFCLTask, PythonCall, check_calls, gold_calls, load_bfcl
from tenfold.envs.tool_calls import MARKS, ToolCall, read_turn, to_typescript, write_calls, write_result
from tenfold.policies.chat_server import ChatServerError
from tenfold.policies.text_backends import BackendError, LMBackend

FORTY = tuple(range(0, 200, 5))
"""Places, among a category's 200 tasks, of the list on which small models are compared: every fifth one."""
INSTRUCTIONS = """You are an agent with tools. Do what the user asks by calling them, and say so when it is done.
Write calls as in this example; numbers count all calls of the conversation from 0:
{example}
Results come in the next message. These are your tools:

{tools}"""
_EXAMPLE = ToolCall("name_of_tool", {"argument": "value"}, 0)
RESULTS, SETTINGS = "dialogues.jsonl", "settings.json"


@dataclass(frozen=True)
class BFCLSettings:
    """What is evaluated.

    Args:
        model: who answers, as it is stored with the results.
        categories: of the benchmark.
        which: ``forty`` for every fifth task, ``all`` for every one.
        most_steps: answers of the model in one turn of the user.
        max_tokens: of one answer.
        temperature: of sampling; 0 is greedy.

    Raises:
        UserError: a number is out of range, or the choice of tasks is unknown.
    """

    model: str
    categories: tuple[str, ...] = ("base",)
    which: str = "forty"
    most_steps: int = 20
    max_tokens: int = 512
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.which not in ("forty", "all"):
            raise UserError(f"tasks = {self.which!r}: allowed are forty and all")
        for name in ("most_steps", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 1")

    def tasks(self) -> list[BFCLTask]:
        """The tasks, in the benchmark's order."""
        found = []
        for category in self.categories:
            of_category = load_bfcl([category])
            found += [of_category[place] for place in FORTY] if self.which == "forty" else of_category
        return found


@dataclass
class Dialogue:
    """One attempt at a task.

    Args:
        messages: what was said, the system's message first.
        turns: the calls of each turn of the user.
        reason: why it ended early; empty if it did not.
    """

    messages: list[Message]
    turns: list[list[ToolCall]]
    reason: str = ""


def evaluate(backend: LMBackend, settings: BFCLSettings, out: Path) -> dict[str, Any]:
    """All tasks, from where an earlier call with the same settings and folder stopped.

    Args:
        backend: the model.
        settings: what is evaluated.
        out: folder for the dialogues, the settings and the scores.

    Returns:
        Category to ``{"tasks", "solved", "share", "interval", "nothing", "look_ups", "not_fitting"}``.

    Raises:
        UserError: the folder has results of other settings, or the package is not installed.
        ChatServerError: the server does not answer; what is done is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    _require_same(settings, out)
    done = {row["id"]: row for row in read_dialogues(out)}
    with open(out / RESULTS, "a", encoding="utf-8") as lines:
        for task in settings.tasks():
            if task.id not in done:
                done[task.id] = _row(task, play(backend, task, settings))
                lines.write(json.dumps(done[task.id], ensure_ascii=False) + "\n")
                lines.flush()
    scores = {
        category: summary([row for row in done.values() if row["category"] == category])
        for category in settings.categories
    }
    write_atomically(out / "scores.json", to_json(scores) + "\n")
    return scores


def _require_same(settings: BFCLSettings, out: Path) -> None:
    text = to_json(asdict(settings)) + "\n"
    if (out / SETTINGS).exists() and (out / SETTINGS).read_text(encoding="utf-8") != text:
        raise UserError(f"out = {out}: has results of other settings; give another folder")
    write_atomically(out / SETTINGS, text)


def read_dialogues(out: Path) -> list[dict[str, Any]]:
    """The stored rows; a line that was torn when the program was killed is cut off."""
    path = out / RESULTS
    if not path.exists():
        return []
    cut_torn_line(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _row(task: BFCLTask, dialogue: Dialogue) -> dict[str, Any]:
    verdict = check_calls(task, dialogue.turns)
    return {
        "id": task.id,
        "category": task.category,
        "valid": verdict.valid and not dialogue.reason,
        "reason": dialogue.reason or verdict.reason,
        "turn": verdict.turn,
        "nothing": check_calls(task, [[] for _ in task.gold]).valid,
        "look_ups": check_calls(task, look_ups(task)).valid,
        "messages": [asdict(message) for message in dialogue.messages],
    }


def play(backend: LMBackend, task: BFCLTask, settings: BFCLSettings) -> Dialogue:
    """One attempt at a task; a dialogue that cannot go on keeps what it has.

    Args:
        backend: the model.
        task: to be solved.
        settings: limits.
    """
    instance = BFCLInstance(task)
    system = INSTRUCTIONS.format(example=write_calls([_EXAMPLE]), tools=to_typescript(task.tools))
    dialogue = Dialogue([Message("system", system)], [[] for _ in task.gold])
    for number, said in enumerate(task.user_turns):
        added = task.tools_from.get(number, ())
        news = f"\n\nThese tools are new:\n\n{to_typescript(added)}" if added else ""
        dialogue.messages.append(Message("user", plain(said) + news))
        for _ in range(settings.most_steps):
            try:
                (text,) = backend.generate(dialogue.messages, 1, settings.temperature, settings.max_tokens)
            except (BackendError, ChatServerError) as error:
                if isinstance(error, ChatServerError) and "context" not in str(error):
                    raise
                dialogue.reason = f"does not fit: {error}"
                return dialogue
            if not _answered(dialogue, text, number, instance):
                break
    return dialogue


def _answered(dialogue: Dialogue, text: str, number: int, instance: BFCLInstance) -> bool:
    """Take an answer of the model and carry out its calls; whether it called, or tried to."""
    turn = read_turn(text, first=sum(map(len, dialogue.turns)))
    dialogue.messages.append(Message("assistant", text))
    results = []
    for call in turn.calls:
        results.append(write_result(call, plain(instance.call(call))))
        dialogue.turns[number].append(call)
    results += [f"This was not a call: {fault.reason}." for fault in turn.faults]
    if results:
        dialogue.messages.append(Message("user", "\n".join(results)))
    return bool(results)


def plain(text: str) -> str:
    """A foreign text without the marks of calls, which it may not spell."""
    for mark in MARKS:
        text = text.replace(mark, mark.replace("<|", "< |"))
    return text


def look_ups(task: BFCLTask) -> list[list[PythonCall]]:
    """The gold calls of each turn that change no state."""
    instance = BFCLInstance(task)
    turns: list[list[PythonCall]] = []
    for gold in gold_calls(task):
        turns.append([])
        for call in gold:
            before = _state(instance)
            instance.call(call)
            if _state(instance) == before:
                turns[-1].append(call)
    return turns


def _state(instance: BFCLInstance) -> dict[str, Any]:
    """The public attributes of all objects, as the package's check of states compares them."""
    return {
        name: {key: copy.deepcopy(value) for key, value in vars(made).items() if not key.startswith("_")}
        for name, made in instance.objects.items()
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The score of one category with its exact 95 % interval, and the floors."""
    solved = sum(row["valid"] for row in rows)
    low, high = share_interval(solved, len(rows))
    return {
        "tasks": len(rows),
        "solved": solved,
        "share": solved / len(rows),
        "interval": [low, high],
        "nothing": sum(row["nothing"] for row in rows) / len(rows),
        "look_ups": sum(row["look_ups"] for row in rows) / len(rows),
        "not_fitting": sum(row["reason"].startswith("does not fit") for row in rows) / len(rows),
    }


def table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The scores as lines of text."""
    names = f"{'nothing':>8}{'look-ups':>10}{'too long':>10}"
    lines = [f"{'category':<14}{'tasks':>6}{'solved':>8}  {'95 % interval':<16}{names}"]
    for category, row in scores.items():
        low, high = row["interval"]
        lines.append(
            f"{category:<14}{row['tasks']:>6}{row['share']:>8.3f}  {f'{low:.3f} to {high:.3f}':<16}"
            f"{row['nothing']:>8.3f}{row['look_ups']:>10.3f}{row['not_fitting']:>10.3f}"
        )
    return "\n".join(lines)
