"""A synthesised set as one HTML page: what was made, what was kept, and why the rest was rejected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.core.pages import page_environment

TEMPLATE = Path(__file__).parent / "page.html.j2"
MOST_SHOWN = 1000
"""Dialogues on the page; the files have all."""


def page(
    settings: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], trajectories: Sequence[Mapping[str, Any]]
) -> str:
    """The page.

    Args:
        settings: by name.
        tasks: rows of ``tasks.jsonl``.
        trajectories: rows of ``trajectories.jsonl``.
    """
    by_id = {task["id"]: task for task in tasks}
    shown = [_dialogue(by_id[row["task_id"]], row) for row in trajectories[:MOST_SHOWN]]
    return (
        page_environment(TEMPLATE.parent)
        .get_template(TEMPLATE.name)
        .render(
            settings=settings,
            num_tasks=len(tasks),
            num_trajectories=len(trajectories),
            num_kept=sum(row["verdict"]["passed"] for row in trajectories),
            reasons=_reasons(trajectories),
            tables=[
                ("domain", _shares(trajectories, lambda row: row["task_id"].rpartition("-")[0])),
                ("difficulty", _shares(trajectories, lambda row: by_id[row["task_id"]]["difficulty"])),
                ("user", _shares(trajectories, lambda row: by_id[row["task_id"]]["persona"]["name"])),
                ("agent", _shares(trajectories, lambda row: row["policy"])),
            ],
            outcomes=_outcomes(trajectories),
            dialogues=shown,
            choices={
                "domain": sorted({each["domain"] for each in shown}),
                "verdict": ["kept", "rejected"],
                "reason": sorted({reason for each in shown for reason in each["failed"]}),
            },
        )
    )


def _reasons(trajectories: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """How often each criterion failed in what was rejected, the most frequent first."""
    rejected = [row["verdict"] for row in trajectories if not row["verdict"]["passed"]]
    return Counter(reason for verdict in rejected for reason in verdict["failed"]).most_common()


def _shares(trajectories: Sequence[Mapping[str, Any]], group_of: Any) -> list[tuple[str, int, int]]:
    """Group, made and kept."""
    made: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for row in trajectories:
        made[group_of(row)] += 1
        kept[group_of(row)] += row["verdict"]["passed"]
    return [(group, made[group], kept[group]) for group in sorted(made)]


def _outcomes(trajectories: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, float]]:
    """Outcome of calls, its number, and its share of all of them."""
    counts = Counter(event["outcome"] for row in trajectories for event in row["tool_events"])
    return [(outcome, number, number / counts.total()) for outcome, number in counts.most_common()]


def _dialogue(task: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a trajectory."""
    criteria = {criterion["id"]: criterion["text"] for criterion in task["rubric"]["criteria"]}
    outcomes = iter(event["outcome"] for event in row["tool_events"])
    messages = []
    for message in row["messages"][1:]:
        calls = [call["function"] for call in message.get("tool_calls", ())]
        outcome = next(outcomes) if message["role"] == "tool" else ""
        messages.append({"role": message["role"], "content": message["content"], "calls": calls, "outcome": outcome})
    return {
        "id": task["id"],
        "domain": task["id"].rpartition("-")[0],
        "attempt": row["attempt"],
        "policy": row["policy"],
        "difficulty": task["difficulty"],
        "score": row["verdict"]["score"],
        "verdict": "kept" if row["verdict"]["passed"] else "rejected",
        "failed": row["verdict"]["failed"],
        "criteria": [(id, text, id in row["verdict"]["failed"]) for id, text in criteria.items()],
        "messages": messages,
        "reference": task["rubric"]["checkpoints"],
        "changes": row["changes"],
    }
