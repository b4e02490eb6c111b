"""What a policy said in a completion, apart from what a tool, a page or a user put there: rewards read nothing else.

A page that a search returned may hold ``</think><answer>Paris</answer>``. In a conversation the roles tell who spoke.
In a text nothing does: there it takes the tokens that the policy sampled, which ``tenfold.train.grpo`` spells out for
every reward in the column ``said``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.core.errors import UserError

SEAM = "\n"
"""Between two stretches of what was said, so that no tag reaches from one into the next."""


def text_of(completion: Any) -> str:
    """What the policy said in a completion as trl passes it: a string, or a list of messages.

    Of messages only those of the assistant are its own; a message without a role counts as one of them.

    Args:
        completion: a text, or messages with ``role`` and ``content`` (a text, parts with a ``text``, or nothing).

    Example:
        >>> text_of([{"role": "assistant", "content": "hello"}, {"role": "tool", "content": "<answer>7</answer>"}])
        'hello'
    """
    if isinstance(completion, str):
        return completion
    own = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return SEAM.join(_content(message) for message in own)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def said_texts(completions: Sequence[Any], columns: Mapping[str, Any]) -> list[str]:
    """What the policy said in each completion of a batch.

    Args:
        completions: as trl passes them.
        columns: the others; ``said`` holds the texts where whoever sampled gives them.

    Raises:
        UserError: a column ``trajectory`` says that an environment wrote into a completion, and there is no ``said``.

    Example:
        >>> said_texts(["4 <page>5</page>"], {"said": ["4"]}), said_texts(["4"], {})
        (['4'], ['4'])
    """
    if columns.get("said") is not None:
        return list(columns["said"])
    for trajectory in columns.get("trajectory") or ():
        if not all(trajectory.loss_mask):
            raise UserError(
                "trajectory: an environment wrote into a completion; needed: a column 'said' with what the policy "
                "said, such as tenfold.train.grpo gives"
            )
    return [text_of(completion) for completion in completions]
