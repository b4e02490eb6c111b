"""What a user gives as a prompt on its way to tokens: conversations through a chat template, texts without an end.

A message keeps what it has: ``tool_calls``, ``name``, ``reasoning_content`` and all else go to the template, whose
affair it is what it makes of them. Only tool calls must not vanish: an answer to a call that nobody made misleads.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.types import Message

CALLS = "tool_calls"


def as_plain(message: Message | Mapping[str, Any], number: int) -> dict[str, Any]:
    """A message as templates take it, with each field that has a value.

    Tables of rows give every message the fields of all others, with nothing in them; those are left out.

    Args:
        message: with ``role`` and ``content``; an assistant's that only calls tools may be without a content.
        number: its place in the conversation, from 1, for messages of errors.

    Raises:
        UserError: it is no message, or has no role or no content.

    Example:
        >>> as_plain({"role": "tool", "name": "clock", "content": "noon", "tool_calls": None}, 1)
        {'role': 'tool', 'name': 'clock', 'content': 'noon'}
    """
    if not isinstance(message, Message | Mapping):
        raise UserError(f"message {number} of a conversation is {message!r}; allowed: a mapping with role and content")
    given = _with_values(asdict(message) if isinstance(message, Message) else message)
    role = given.get("role")
    if not isinstance(role, str) or not role:
        raise UserError(f"message {number} of a conversation: role is {role!r}; allowed: a text, such as user")
    if "content" not in given and not given.get(CALLS):
        raise UserError(
            f"message {number} of a conversation, role {role}: has no content; allowed: a text, or none with tool_calls"
        )
    return {**given, "content": given.get("content", "")}


def _with_values(value: Any) -> Any:
    """The same without fields that hold nothing, however deep."""
    if isinstance(value, Mapping):
        return {name: _with_values(held) for name, held in value.items() if held is not None}
    if isinstance(value, list | tuple):
        return [_with_values(held) for held in value]
    return value


def conversation_text(tokenizer: Any, messages: Sequence[Message | Mapping[str, Any]]) -> str:
    """The prompt of a conversation as text, up to where the assistant speaks.

    Raises:
        UserError: the tokenizer has no chat template, a message has no role or content, or the template refuses the
            conversation, has no place for a system message, or leaves out the tool calls.
    """
    if tokenizer.chat_template is None:
        raise UserError("tokenizer.chat_template = None: a conversation needs one, or give the prompt's tokens")
    plain = [as_plain(message, number) for number, message in enumerate(messages, start=1)]
    try:
        text = _rendered(tokenizer, plain)
    except Exception as error:  # a template is a program: it may fail in any way
        raise UserError(_refusal(tokenizer, plain, error)) from error
    without_calls = [{name: value for name, value in one.items() if name != CALLS} for one in plain]
    if without_calls != plain and _rendered(tokenizer, without_calls) == text:
        raise UserError(
            "tokenizer.chat_template: leaves out the tool_calls of a message; allowed: a template that writes them, or "
            "the calls in the content"
        )
    return text


def _rendered(tokenizer: Any, plain: Sequence[Mapping[str, Any]]) -> str:
    return str(tokenizer.apply_chat_template(list(plain), add_generation_prompt=True, tokenize=False))


def _refusal(tokenizer: Any, plain: Sequence[Mapping[str, Any]], error: Exception) -> str:
    """What a template said, and how to go without a system message where it fails for that one alone."""
    lines = str(error).strip().splitlines()
    said = f"tokenizer.chat_template: refuses the conversation ({lines[0] if lines else type(error).__name__})"
    others = [message for message in plain if message["role"] != "system"]
    if len(others) == len(plain):
        return said
    try:
        _rendered(tokenizer, others)
    except Exception:  # something else is wrong with it
        return said
    return f"{said}; it takes no system message: put its words at the start of the first one of the user"


def start_of(tokenizer: Any, text: str, end_ids: Collection[int]) -> list[int]:
    """The tokens of a text with what the tokenizer puts before it, and without what it puts behind.

    Some put their end of sequence there; a prompt that ends so is over before anything is said.

    Args:
        tokenizer: adds special tokens of its own.
        text: the prompt.
        end_ids: tokens that end what a policy says; sought where the text stands nowhere in what is encoded.

    Example:
        >>> from tenfold.policies import tiny_policy
        >>> tokenizer = tiny_policy("01", width=16, layers=1, heads=2).tokenizer
        >>> start_of(tokenizer, "01", ()) == tokenizer.encode("01", add_special_tokens=True)
        True
    """
    whole, own = tokenizer.encode(text, add_special_tokens=True), tokenizer.encode(text, add_special_tokens=False)
    for before in range(len(whole) - len(own) + 1) if own else ():
        if whole[before : before + len(own)] == own:
            return whole[: before + len(own)]
    while len(whole) > 1 and whole[-1] in end_ids:
        whole = whole[:-1]
    return whole
