"""Instructions for policies that read words; ours, in the manner of the prompts of RLCR's code."""

from tenfold.core.errors import UserError
from tenfold.data.questions import Messages

_TAGS = {
    "think": "your reasoning in <think> </think>",
    "answer": "the final answer alone in <answer> </answer>",
    "analysis": "a look at how sure the answer is in <analysis> </analysis>",
    "confidence": "the probability that the answer is right, a number between 0 and 1, in <confidence> </confidence>",
}


def _order(*blocks: str) -> str:
    listed = ", then ".join(_TAGS[block] for block in blocks)
    return f"Solve the problem you are given. Write {listed}. Write nothing between or after these blocks."


_GUIDELINES = (
    "name the concrete places at which the solution may be wrong",
    "do not mend it there: the answer stands",
    "few doubts, or none, are fine where there are few",
    "list other answers that the problem admits",
    "be specific to this problem and this solution",
    "say what was missing or had to be assumed",
    "let the confidence follow from what you found",
)

SYSTEM_PROMPTS = {
    "tabc": _order("think", "answer", "analysis", "confidence"),
    "tabc_long": _order("think", "answer", "analysis", "confidence")
    + " In the analysis: "
    + "; ".join(_GUIDELINES)
    + ".",
    "tac": _order("think", "answer", "confidence"),
    "tbac": _order("think", "analysis", "answer", "confidence"),
    "ac": _order("answer", "confidence"),
    "ta": _order("think", "answer"),
    "sums": (
        "You add two digits and give the last digit of the sum. A ? hides a digit, which is 0 with probability 0.5, "
        "1 with 0.3, 2 with 0.1, and rarely another. Answer in the form "
        "<answer>7</answer><confidence>0.3</confidence>, where the confidence is the "
        "probability that your answer is right."
    ),
}
"""By the names that ``task.system_prompt`` takes, beside none and blocks; those of blocks by the blocks' name."""

BLOCKS = {name: name for name in SYSTEM_PROMPTS} | {"tabc_long": "tabc", "sums": "ac"}
"""The blocks that each of them asks for."""

FREE = ("none", "blocks")
"""Values of ``task.system_prompt`` that fit any blocks."""

POST_HOC = "\n\nBetween 0 and 100, my confidence that this answer is right is "
"""What asks a policy that was trained without confidences for one, after its answer."""


def render(problem: str | Messages, instructions: str) -> str | Messages:
    """The prompt of a problem: as it is, or a conversation with instructions.

    Args:
        problem: its text; or a conversation, which follows the instructions as it is.
        instructions: ``none`` or one of :data:`SYSTEM_PROMPTS`.

    Raises:
        UserError: if there are no such instructions.

    Example:
        >>> [message["role"] for message in render("1+1=", "tac")]
        ['system', 'user']
    """
    if instructions == "none":
        return problem
    _require_known(instructions)
    system = {"role": "system", "content": SYSTEM_PROMPTS[instructions]}
    if not isinstance(problem, str):
        return [system, *problem]
    return [system, {"role": "user", "content": f"\n\nPROBLEM: {problem}\n\n"}]


def require_same_blocks(system_prompt: str, blocks: str) -> None:
    """Refuse instructions that ask for other blocks than those that are rewarded: no completion could earn anything.

    Args:
        system_prompt: ``none``, ``blocks`` (the instructions for these very blocks), or one of :data:`SYSTEM_PROMPTS`.
        blocks: the form that is rewarded.

    Raises:
        UserError: if the two differ, or there are no such instructions.

    Example:
        >>> require_same_blocks("tabc_long", "tabc")
    """
    if system_prompt in FREE:
        return
    _require_known(system_prompt)
    if BLOCKS[system_prompt] != blocks:
        fitting = [name for name, asked in BLOCKS.items() if asked == blocks]
        allowed = ", ".join([*FREE, *fitting])
        raise UserError(f"system_prompt = {system_prompt}: asks for other blocks than {blocks}; allowed: {allowed}")


def _require_known(system_prompt: str) -> None:
    if system_prompt not in SYSTEM_PROMPTS:
        known = ", ".join([*FREE, *SYSTEM_PROMPTS])
        raise UserError(f"system_prompt = {system_prompt!r}: must be one of {known}")
