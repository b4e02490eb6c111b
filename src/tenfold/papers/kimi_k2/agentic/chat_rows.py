"""Trajectories as rows for training: chat messages with tool calls, and tokens with a mask.

``chat_row`` is what trl and chat templates of transformers take. ``token_row`` is for a policy that speaks Kimi K2's
format: its tokens, and which of them the agent said; what users and tools said is masked from the loss.
"""

from collections.abc import Mapping
from typing import Any

from tenfold.envs.tool_calls import ToolSpec, to_typescript
from tenfold.papers.kimi_k2.agentic.records import AgentTrajectory, Task


def chat_row(task: Task, trajectory: AgentTrajectory) -> dict[str, Any]:
    """``messages`` and ``tools`` of a chat, and what was judged.

    trl learns from the agent's messages alone with ``assistant_only_loss=True`` and a template that marks them.
    """
    assert trajectory.verdict is not None, "only judged trajectories are rows"
    return {
        "messages": list(trajectory.messages),
        "tools": [spec.to_openai() for spec in task.agent.tools],
        "task": task.id,
        "attempt": trajectory.attempt,
        "domain": task.agent.domain,
        "difficulty": task.difficulty,
        "score": trajectory.verdict.score,
    }


def segments(row: Mapping[str, Any], said: tuple[str, ...]) -> list[tuple[str, bool]]:
    """The dialogue as text, piece by piece, each with whether the agent said it.

    Tools are declared in TypeScript behind the system prompt. A piece ``<|im_assistant|>`` opens the agent's turn and
    is not its own; the ``<|im_end|>`` that closes it is.

    Args:
        row: of :func:`chat_row`.
        said: the agent's turns, with calls in Kimi K2's format.
    """
    turns, pieces = iter(said), []
    for message in row["messages"]:
        role, content = message["role"], message["content"]
        if role == "assistant":
            pieces += [("<|im_assistant|>", False), (f"{next(turns)}<|im_end|>", True)]
            continue
        if role == "system":
            content += "\n" + to_typescript([ToolSpec.from_openai(tool) for tool in row["tools"]])
        # What users and tools say spells no mark, or it could end their own turn.
        content = content if role == "system" else content.replace("<|", "< |")
        pieces.append((f"<|im_{role}|>{content}<|im_end|>", False))
    return pieces


def token_row(row: Mapping[str, Any], said: tuple[str, ...], tokenizer: Any) -> dict[str, list[int]]:
    """``input_ids`` and ``assistant_masks``, which trl's and tenfold's supervised trainers take.

    Args:
        row: of :func:`chat_row`.
        said: the agent's turns.
        tokenizer: of the policy.

    Returns:
        T ids and T flags, 1 for what the agent said.
    """
    ids: list[int] = []
    mask: list[int] = []
    for text, is_own in segments(row, said):
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids += piece
        mask += [int(is_own)] * len(piece)
    return {"input_ids": ids, "assistant_masks": mask}
