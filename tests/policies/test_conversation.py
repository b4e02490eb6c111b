"""Prompts of users: conversations keep what their messages have, and a text is not over before anything is said."""

import random
from dataclasses import replace

import pytest
from datasets import Dataset
from tokenizers.processors import TemplateProcessing

from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.policies import tiny_policy
from tenfold.policies.conversation import as_plain
from tenfold.study.language import prompt_ids, require_prompts

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
TALK = [
    {"role": "user", "content": "1+2=", "name": "ann"},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "hm"},
    {"role": "tool", "content": "3", "name": "add"},
]
ALL_FIELDS = (
    "{% for m in messages %}[{{ m.role }}{% if m.name is defined %}:{{ m.name }}{% endif %}"
    "{% if m.reasoning_content is defined %}({{ m.reasoning_content }}){% endif %}"
    "{% for c in m.tool_calls or [] %}<{{ c.function.name }}"
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}>"
    "{% endfor %}]{{ m.content }}{% endfor %}"
)
WITHOUT_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)


def policy(template=None):
    made = tiny_policy(width=16, layers=1, heads=2)
    if template is not None:
        made.tokenizer.chat_template = template
    return made


def test_a_message_keeps_what_it_has():
    """Also in a table, which gives each message the fields of all, and each call the arguments of all."""
    other = [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}]
    expected = "[user:ann]1+2=[assistant(hm)<add a=1 b=2>][tool:add]3"
    chosen = policy(ALL_FIELDS)
    for talk in (TALK, Dataset.from_dict({"prompt": [TALK, other]})[0]["prompt"]):
        assert chosen.decode(chosen.chat(talk)) == expected
        assert prompt_ids(chosen, talk) == chosen.chat(talk)


def test_messages_of_both_kinds_are_the_same_prompt():
    plain = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert policy().chat(plain) == policy().chat([Message("system", "a"), Message("user", "b")])


@pytest.mark.parametrize("content", [{}, {"content": None}])
def test_a_call_needs_no_content(content):
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [CALL], **content}]
    chosen = policy(ALL_FIELDS)
    assert chosen.decode(chosen.chat(talk)) == "[user]?[assistant<add a=1 b=2>]"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (
            [{"role": "user"}],
            "message 1 of a conversation, role user: has no content; allowed: a text, or none",
        ),
        ([*TALK, {"role": "tool", "content": None}], "message 4 of a conversation, role tool: has no content"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "message 1 .*, role assistant: has no content"),
        ([{"content": "?"}], "message 1 of a conversation: role is None; allowed: a text, such as user"),
        ([{"role": 3, "content": "?"}], "role is 3"),
        (["hello"], "message 1 of a conversation is 'hello'; allowed: a mapping with role and content"),
    ],
)
def test_what_is_no_message_is_one_sentence(messages, said):
    with pytest.raises(UserError, match=said):
        policy(ALL_FIELDS).chat(messages)


def test_calls_that_the_template_would_lose_are_refused():
    with pytest.raises(UserError, match="leaves out the tool_calls of a message; allowed: a template that writes them"):
        policy().chat(TALK)
    policy().chat([{"role": "user", "content": "?", "name": "ann"}])  # a name is the template's affair


def test_a_template_that_takes_no_system_message_says_how_to_go_without(tmp_path):
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    chosen = policy(WITHOUT_SYSTEM)
    assert chosen.decode(chosen.chat(talk[1:])) == "?"
    with pytest.raises(UserError) as refused:
        require_prompts(chosen, [talk[1:], talk], "task.system_prompt = none")
    assert str(refused.value) == (
        "row 2: tokenizer.chat_template: refuses the conversation (System role not supported); it takes no system "
        "message: put its words at the start of the first one of the user; without instructions: task.system_prompt = "
        "none"
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", r"refuses the conversation \(roles must alternate\)$"),
        ("{{ messages[7].content }}", "refuses the conversation"),
        ("{{ 1 + messages[0].content }}", "refuses the conversation"),
        ("{% if %}", "refuses the conversation"),
    ],
)
def test_a_template_that_fails_in_any_way_is_one_line(template, said):
    with pytest.raises(UserError, match=said) as refused:
        policy(template).chat([{"role": "system", "content": "a"}, {"role": "user", "content": "?"}])
    assert "\n" not in str(refused.value) and "system message" not in str(refused.value)


def appending(kind):
    """A policy whose tokenizer puts tokens around a text: those that are published do it in each of these ways."""
    made = policy()
    end, start = made.tokenizer.eos_token, made.tokenizer.bos_token
    single = {
        "end": f"$A {end}",
        "both": f"{start} $A {end}",
        "twice": f"{start} $A {end} {end}",
        "start": f"{start} $A",
    }
    ids = [(token, made.tokenizer.convert_tokens_to_ids(token)) for token in (start, end)]
    made.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single[kind], special_tokens=ids)
    return made


@pytest.mark.parametrize("kind", ["start", "end", "both", "twice"])
def test_a_text_never_ends_with_the_end_of_sequence(kind):
    made = appending(kind)
    end, start = made.tokenizer.eos_token_id, made.tokenizer.bos_token_id
    draw = random.Random(0)
    texts = ["1+2=", " ", "", *("".join(draw.choices("01+= ab\n", k=draw.randint(1, 9))) for _ in range(50))]
    for text in texts:
        found = made.encode(text, start=True)
        own = made.encode(text)
        if text:
            assert found == ([] if kind == "end" else [start]) + own
        assert end not in found[1:] and found == prompt_ids(made, text)


def test_an_end_that_the_user_wrote_is_kept():
    made = appending("both")
    text = f"1{made.tokenizer.eos_token}"
    assert made.encode(text, start=True) == [made.tokenizer.bos_token_id, *made.encode(text)]


def test_plain_messages_are_not_changed():
    message = {"role": "user", "content": "?", "tool_calls": None}
    as_plain(message, 1)
    assert message == {"role": "user", "content": "?", "tool_calls": None}
    assert as_plain(replace(Message("user", "?")), 1) == {"role": "user", "content": "?"}
