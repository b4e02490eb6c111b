"""RRVF's idea alone (arXiv 2507.20766): what a turn says, what a dialogue earns, and the loss.

    turn      <think>…</think> and either <tool_call>{"name": …, "arguments": {…}}</tool_call> or <answer>…</answer>
    reward    R = w_vision R_vision + w_format R_format + w_tool R_tool            (tenfold.rewards.visual)
    advantage A_ij = (R_ij - mean_j R_ij) / (std_j R_ij + eps)                      over the dialogues j of image i
    loss      - sum A log p / number of the policy's words  - bonus H

The code of the paper was never published; the tags are those of its overview figure, and the framework it names.
Checking a render against an image is easier than writing the code that draws it; so the check can be the reward.

Shapes: B images, G dialogues of each, N = B * G, T words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tenfold.rewards.visual import Rendered, VisualWeights, parts_of

LONGEST_ANSWER = 16_000
"""Characters; longer ones are malformed, for a long answer may fool a judge."""


@dataclass(frozen=True)
class Call:
    """The policy wants something rendered.

    Args:
        tool: its name.
        code: the only argument.
    """

    tool: str
    code: str


@dataclass(frozen=True)
class Answer:
    """The policy's last program."""

    code: str


@dataclass(frozen=True)
class Malformed:
    """A turn that is neither; ``reason`` in a few words."""

    reason: str


Action = Call | Answer | Malformed


def parse_turn(text: str, tools: Mapping[str, str], *, strict: bool = True) -> Action:
    """What a turn says.

    Args:
        text: the turn.
        tools: name of a tool to the name of its only argument.
        strict: a turn without thoughts before it, or with words around its blocks, is malformed.

    Example:
        >>> tools = {"render": "code"}
        >>> parse_turn('<think>a</think><tool_call>{"name": "render", "arguments": {"code": "x"}}</tool_call>', tools)
        Call(tool='render', code='x')
        >>> parse_turn("<think>a</think><answer>y</answer>", tools)
        Answer(code='y')
        >>> parse_turn("<think>a<answer>y</answer>", tools)
        Malformed(reason='<think> is not closed')
    """
    for tag in ("think", "tool_call", "answer"):
        opened, closed = text.count(f"<{tag}>"), text.count(f"</{tag}>")
        if opened > closed:
            return Malformed(f"<{tag}> is not closed")
        if closed > opened:
            return Malformed(f"</{tag}> closes nothing")
        if opened > 1:
            return Malformed(f"<{tag}> comes {opened} times")
    rest = text
    if "<think>" in text:
        before, _, rest = text.partition("<think>")
        if before.strip() and strict:
            return Malformed("words stand before the thoughts")
        rest = rest.partition("</think>")[2]
    elif strict:
        return Malformed("there are no thoughts")
    if "<tool_call>" in rest and "<answer>" in rest:
        return Malformed("a call and an answer")
    for tag, read in (("tool_call", lambda inner: _call(inner, tools)), ("answer", _answer)):
        if f"<{tag}>" in rest:
            before, _, behind = rest.partition(f"<{tag}>")
            inner, closed_by, after = behind.partition(f"</{tag}>")
            if not closed_by:
                return Malformed(f"</{tag}> stands before <{tag}>")
            if strict and (before.strip() or after.strip()):
                return Malformed(f"words stand around <{tag}>")
            return read(inner)
    return Malformed("neither a call nor an answer")


def _call(inner: str, tools: Mapping[str, str]) -> Action:
    try:
        call = json.loads(inner)
    except (ValueError, RecursionError):
        return Malformed("the call is no JSON")
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
        return Malformed("the call has no name and arguments")
    if not isinstance(call.get("name"), str) or call["name"] not in tools:
        return Malformed(f"there is no tool {call.get('name')!r}")
    code = call["arguments"].get(tools[call["name"]])
    if not isinstance(code, str) or len(call["arguments"]) != 1:
        return Malformed(f"the call needs one argument, {tools[call['name']]}")
    if not code.strip():
        return Malformed("the call is empty")
    return Call(call["name"], code) if len(code) <= LONGEST_ANSWER else Malformed("the call is too long")


def _answer(inner: str) -> Action:
    code = inner.strip()
    if code.startswith("```") and code.endswith("```") and "\n" in code:
        code = code[3:-3].partition("\n")[2].strip()
    if not code:
        return Malformed("the answer is empty")
    return Answer(code) if len(code) <= LONGEST_ANSWER else Malformed("the answer is too long")


@dataclass(frozen=True, eq=False)
class Rewards:
    """What N dialogues earn, and its parts, each [N]."""

    total: np.ndarray
    vision: np.ndarray
    format: np.ndarray
    tool: np.ndarray


def dialogue_rewards(
    similarity: np.ndarray, ran: np.ndarray, weights: VisualWeights, first_turn_weight: float = 0.0
) -> Rewards:
    """Rewards of dialogues whose turns all draw; the last is the answer, those before it are calls.

    Args:
        similarity: of each turn's render, [N, turns].
        ran: whether it rendered, [N, turns].
        weights: of the parts.
        first_turn_weight: share of R_vision that is paid for the first turn's render instead of the last one's.

    Example:
        >>> both = dialogue_rewards(np.array([[0.4, 0.6]]), np.array([[True, True]]), VisualWeights(enough_calls=1))
        >>> both.vision.tolist(), both.format.tolist(), both.tool.tolist(), both.total.round(2).tolist()
        ([0.6], [0.0], [1.0], [0.68])
    """
    rows = []
    for scores, runs in zip(similarity.tolist(), ran.tolist(), strict=True):
        turns: Sequence[float | None] = [score if run else None for score, run in zip(scores, runs, strict=True)]
        parts = parts_of(Rendered(turns[-1], turns[:-1]), weights)
        vision = (1 - first_turn_weight) * parts.vision + first_turn_weight * (turns[0] or 0.0)
        rows.append((vision, parts.format, parts.tool))
    vision_N, format_N, tool_N = np.array(rows).T
    total_N = weights.vision * vision_N + weights.format * format_N + weights.tool * tool_N
    return Rewards(total_N, vision_N, format_N, tool_N)


def group_advantages(rewards_N: Tensor, samples: int, eps: float = 1e-4) -> Tensor:
    """(R - mean) / (std + eps) of each group of ``samples`` rewards, [N]; 0 in a group of equal ones.

    Example:
        >>> [round(each, 2) for each in group_advantages(torch.tensor([1.0, 0.0, 1.0, 1.0]), 2).tolist()]
        [0.71, -0.71, 0.0, 0.0]
    """
    rewards_BG = rewards_N.view(-1, samples)
    centred_BG = rewards_BG - rewards_BG.mean(1, keepdim=True)
    return (centred_BG / (rewards_BG.std(1, keepdim=True) + eps)).flatten()


def share_without_variance(rewards_N: Tensor, samples: int) -> Tensor:
    """Share of groups whose rewards are all equal: they teach nothing."""
    rewards_BG = rewards_N.view(-1, samples)
    return (rewards_BG.std(1) < 1e-6).float().mean()


def policy_loss(
    logits_NTV: Tensor,
    words_NT: Tensor,
    sampled_NT: Tensor,
    advantages_N: Tensor,
    bonus: float,
    count: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss on policy, and the mean entropy of the policy's words; remarks and padding play no part.

    Args:
        logits_NTV: of each word.
        words_NT: what was said.
        sampled_NT: which of them the policy chose.
        advantages_N: of each dialogue.
        bonus: for each nat of entropy.
        count: what sums over words are divided by; by default the policy's words here. Of several processes each gives
            their mean number, so that the mean is over the words of all.
    """
    log_probs_NTV = logits_NTV.float().log_softmax(-1)
    chosen_NT = log_probs_NTV.gather(-1, words_NT[..., None]).squeeze(-1)
    entropy_NT = -(log_probs_NTV.exp() * log_probs_NTV).sum(-1)
    count = max(1.0, float(sampled_NT.sum()) if count is None else count)
    entropy = (entropy_NT * sampled_NT).sum() / count
    loss = -(advantages_N[:, None] * chosen_NT * sampled_NT).sum() / count - bonus * entropy
    return loss, entropy.detach()
