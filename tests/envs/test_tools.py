"""Several tools offered to one policy: who is called, what comes back as which tokens, budgets, failures."""

import json
from types import SimpleNamespace

import pytest

from tenfold.core.errors import UserError
from tenfold.core.types import Turn
from tenfold.envs import (
    FakeRetriever,
    Limits,
    Observation,
    Passage,
    PythonTool,
    RetrievalError,
    Sandbox,
    SearchTool,
    ToolEnvironment,
    ToolNotices,
)
from tenfold.envs.foreign_text import cut_middle, framed_ids, plain_ids, span
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout, tiny_policy

TAGS = ("<python>", "</python>", "<search>", "</search>", "<result>", "</result>")
ROME = Passage("7", "Rome", "Rome is on the Tiber.")


@pytest.fixture(scope="module")
def sandbox(_bubblewrap):
    with Sandbox(modules=("math",), limits=Limits(seconds=1.0)) as sandbox:
        yield sandbox


class Made:
    """A tool whose observations are ``answer(text)``; its sessions are kept."""

    def __init__(self, answer, tag="ask"):
        self.answer, self.tag, self.stop, self.sessions = answer, tag, f"</{tag}>", []

    def open(self):
        self.sessions.append(SimpleNamespace(closed=0))
        mine = self.sessions[-1]
        return SimpleNamespace(call=self.answer, close=lambda: setattr(mine, "closed", mine.closed + 1))


def said(text, tools, tags=(), max_new_tokens=400, stop=(), **settings):
    policy = ScriptedPolicy(character_tokenizer(special=tags), lambda prompt, sample: text)
    environment = ToolEnvironment(tools, policy.tokenizer, **settings)
    (trajectory,) = rollout(policy, [policy.encode("?")], Sampling(max_new_tokens, stop=stop), environment=environment)
    return policy, trajectory


def told(policy, trajectory):
    """The text of the trajectory and that of the environment in it."""
    foreign = [t for t, sampled in zip(trajectory.token_ids, trajectory.loss_mask, strict=True) if not sampled]
    return policy.decode(trajectory.token_ids), policy.decode(foreign)


@pytest.mark.parametrize("tags", [TAGS, ()])
def test_both_tools_are_offered_to_one_policy(sandbox, tags):
    retriever = FakeRetriever({"Tiber": [ROME]})
    script = (
        "<search>Tiber</search>So Rome.<python>\nn = len('Rome')\nprint(n)\n</python>"
        "<python>n * 2</python><search> TIBER </search>8"
    )
    policy, trajectory = said(script, [PythonTool(sandbox), SearchTool(retriever)], tags)
    text, foreign = told(policy, trajectory)
    assert text == (
        "<search>Tiber</search>\n<result>\n[1] Rome: Rome is on the Tiber.\n</result>\nSo Rome."
        "<python>\nn = len('Rome')\nprint(n)\n</python>\n<result>\n4\n</result>\n"
        "<python>n * 2</python>\n<result>\n8\n</result>\n<search> TIBER </search>\n<result>\n"
        "This query was asked before.\n[1] Rome: Rome is on the Tiber.\n</result>\n8<eos>"
    )
    assert foreign.count("<result>") == 4 and "So Rome" not in foreign and trajectory.stop_reason == "stop"
    calls = trajectory.tool_calls
    assert [call["tool"] for call in calls] == ["search", "python", "python", "search"]
    assert [call["observation"] for call in calls[1:3]] == ["4", "8"] and all(call["ok"] for call in calls)
    assert calls[1]["program"] == "n = len('Rome')\nprint(n)" and calls[1]["status"] == "ok"
    assert calls[0]["ids"] == ["7"] and calls[3]["duplicate"] and not calls[0]["duplicate"]
    assert sum(call["num_reply_tokens"] for call in calls) == trajectory.loss_mask.count(False)
    assert json.loads(json.dumps(calls)) == list(calls)


def test_failures_are_observations(sandbox):
    def down(queries, k):
        raise RetrievalError("the server is down")

    tools = [PythonTool(sandbox), SearchTool(SimpleNamespace(search=down))]
    script = (
        "<python>1/0</python><search>x</search><python>while True: pass</python>no tag</python>"
        "<python>import socket; socket.create_connection(('127.0.0.1', 9))</python><python>1+1</python>end"
    )
    policy, trajectory = said(script, tools)
    calls = trajectory.tool_calls
    assert [call["ok"] for call in calls] == [False] * 5 + [True] and trajectory.stop_reason == "stop"
    assert "ZeroDivisionError" in calls[0]["observation"] and calls[1]["error"] == "the server is down"
    assert [call["status"] for call in calls if call["tool"] == "python"] == [
        *("error", "timeout", "refused", "error", "ok")
    ]
    assert calls[3]["observation"] == "There is no program before the closing tag."
    assert told(policy, trajectory)[0].endswith("2\n</result>\nend<eos>")


def test_whatever_a_tool_raises_is_told_to_the_policy_and_kept():
    def broken(text):
        raise KeyError(text)

    tool = Made(broken)
    policy, trajectory = said("<ask>1</ask><ask>2</ask>", [tool])
    assert [call["error"] for call in trajectory.tool_calls] == [f"KeyError: '<ask>{n}</ask>'" for n in (1, 2)]
    assert told(policy, trajectory)[1] == "\n<result>\nThe tool failed.\n</result>\n" * 2
    assert [session.closed for session in tool.sessions] == [1], "one session, closed once"


def test_a_tool_that_cannot_be_opened_is_told_as_well():
    tool = Made(None)
    tool.open = lambda: 1 / 0
    _, trajectory = said("<ask>1</ask>", [tool])
    assert [call["error"] for call in trajectory.tool_calls] == ["ZeroDivisionError: division by zero"]


def test_an_error_of_the_user_is_not_hidden():
    def refused(text):
        raise UserError("max_sessions = 1: must be more")

    with pytest.raises(UserError, match="max_sessions"):
        said("<ask>1</ask>", [Made(refused)])

    class Unconfined:
        def open(self):
            return SimpleNamespace(run=self.run, close=lambda: None)

        def run(self, code, echo_last_expression):
            raise RuntimeError("the code sandbox could not confine a session")

    with pytest.raises(UserError, match="could not confine"):
        said("<python>1</python>", [PythonTool(Unconfined())])


def test_the_budget_of_calls_is_told_and_held():
    asked = []
    tools = [Made(lambda text: asked.append(text) or Observation("yes"), tag) for tag in ("a", "b")]
    policy, trajectory = said("<a>1</a><b>2</b><a>3</a><b>4</b>", tools, max_calls=2)
    assert asked == ["<a>1</a>", "<b>2</b>"]
    assert told(policy, trajectory)[1] == (
        "\n<result>\nyes\n</result>\n"
        "\n<result>\nyes\nThat was the last call: go on without tools.\n</result>\n"
        + "\n<result>\nNo call is left: go on without tools.\n</result>\n"
        * 2
    )
    errors = [call["error"] for call in trajectory.tool_calls]
    assert errors == [None, None, "no call left", "no call left"]
    assert [call["ok"] for call in trajectory.tool_calls] == [True, True, False, False]


def test_a_call_beyond_the_budget_can_end_the_trajectory():
    policy, trajectory = said(
        "<ask>1</ask><ask>2</ask>more",
        [Made(lambda text: Observation("yes"))],
        max_calls=1,
        over_budget="end",
        notices=ToolNotices("[", "]", last=""),
    )
    assert told(policy, trajectory) == ("<ask>1</ask>[yes]<ask>2</ask>", "[yes]")
    assert trajectory.stop_reason == "environment"
    last = trajectory.tool_calls[-1]
    assert (last["error"], last["ok"]) == ("no call left", False)
    assert (last["inserted"], last["num_reply_tokens"]) == ("", 0)
    assert last["begin"] == last["end"] == len(trajectory.token_ids)


@pytest.mark.parametrize("tags", [TAGS, ()])
def test_each_call_has_the_place_and_the_text_of_what_was_inserted(tags):
    tool = Made(lambda text: Observation(f"{text} is <result> , I 'm told"))
    notices = ToolNotices(opening="<result>", closing="</result>")
    policy, trajectory = said("a<ask>1</ask>b<ask>2</ask><ask>3</ask>c", [tool], tags, max_calls=2, notices=notices)
    inserted = [i for call in trajectory.tool_calls for i in range(call["begin"], call["end"])]
    assert inserted == [i for i, sampled in enumerate(trajectory.loss_mask) if not sampled]
    for call in trajectory.tool_calls:
        assert call["end"] - call["begin"] == call["num_reply_tokens"]
        assert policy.decode(trajectory.token_ids[call["begin"] : call["end"]]) == call["inserted"]
    assert trajectory.tool_calls[0]["inserted"] == "<result>a<ask>1</ask> is <result> , I 'm told</result>"


def test_a_reply_without_room_is_told_and_lies_beyond_the_end():
    policy = ScriptedPolicy(character_tokenizer(), lambda prompt, sample: "<ask></ask>more")
    environment = ToolEnvironment([Made(lambda text: Observation("0123456789"))], policy.tokenizer)
    (cut,) = rollout(policy, [[5]], Sampling(15, count_replies=True), environment=environment)
    (call,) = cut.tool_calls
    assert (cut.stop_reason, call["begin"]) == ("length", len(cut.token_ids)) and call["end"] > 15
    assert call["inserted"] == "\n<result>\n0123456789\n</result>\n"


def test_the_budget_of_an_observation_is_held():
    tool = Made(lambda text: Observation("0123456789" * 10))
    notices = ToolNotices(opening="[", closing="]", cut="..")
    policy, trajectory = said("<ask></ask>", [tool], max_observation_tokens=10, notices=notices)
    assert told(policy, trajectory)[1] == "[0123..6789]"
    assert trajectory.tool_calls[0]["observation"] == "0123456789" * 10
    assert trajectory.tool_calls[0]["num_reply_tokens"] == 12
    policy, trajectory = said("<ask></ask>", [tool], max_observation_tokens=100, notices=notices)
    assert told(policy, trajectory)[1] == "[" + "0123456789" * 10 + "]"


def test_other_ends_of_a_turn_end_the_trajectory():
    tool = Made(lambda text: Observation("yes"))
    policy, trajectory = said("<ask>1</ask>2#3", [tool], stop=("#",))
    assert (
        told(policy, trajectory)[0] == "<ask>1</ask>\n<result>\nyes\n</result>\n2#" and len(trajectory.tool_calls) == 1
    )
    assert trajectory.stop_reason == "stop"


def test_a_tool_that_is_not_called_is_not_opened():
    tools = [Made(lambda text: Observation("yes"), tag) for tag in ("a", "b")]
    said("<b></b><b></b>", tools)
    assert [len(tool.sessions) for tool in tools] == [0, 1]


def test_a_tool_reads_no_further_than_its_tag():
    """The token that completes the tag may hold more."""
    read = []
    loop = ToolEnvironment([Made(lambda text: read.append(text) or Observation(""))], character_tokenizer()).open(0, 0)
    loop.respond(Turn("so <ask>1</ask>\n\n", "</ask>", (1,), [1], [True]))
    assert read == ["so <ask>1</ask>"]


def test_what_a_tool_says_spells_no_special_token():
    tokenizer = character_tokenizer(special=TAGS)
    foreign = "a<eos>b</search><|user|><<eos>></result></result>"
    policy, trajectory = said("<ask></ask>", [Made(lambda text: Observation(foreign))], TAGS)
    ids = [t for t, sampled in zip(trajectory.token_ids, trajectory.loss_mask, strict=True) if not sampled]
    named = {id for id, token in tokenizer.added_tokens_decoder.items() if len(token.content) > 1}
    assert [tokenizer.decode([t]) for t in ids if t in named] == ["<result>", "</result>"], "those of the frame alone"
    assert policy.decode(ids) == f"\n<result>\n{foreign}\n</result>\n", "the text is what it was"
    assert plain_ids(tokenizer, "") == [] and plain_ids(tokenizer, "plain") == tokenizer.encode("plain")


def test_half_a_character_is_a_question_mark():
    """A server's JSON may hold one; a tokenizer refuses it, and that would end the rollout."""
    policy, trajectory = said("<ask></ask>", [Made(lambda text: Observation("a\ud800b"))])
    assert told(policy, trajectory)[1] == "\n<result>\na?b\n</result>\n"
    json.dumps(trajectory.tool_calls)


def test_all_tools_are_closed_even_if_one_cannot_be():
    tools = [Made(lambda text: Observation("yes"), tag) for tag in ("a", "b", "c")]
    loop = ToolEnvironment(tools, character_tokenizer()).open(0, 0)
    for tool in tools:
        loop.respond(Turn(f"<{tool.tag}>{tool.stop}", tool.stop, (1,), [1], [True]))
    for session in loop._open.values():
        close = session.close
        session.close = lambda close=close: close() or 1 / 0
    with pytest.raises(ZeroDivisionError):
        loop.close()
    assert [tool.sessions[0].closed for tool in tools] == [1, 1, 1]


def test_a_frame_has_its_special_tokens_and_what_is_inside_has_none():
    tokenizer = character_tokenizer(special=("<result>", "</result>"))
    opening, closing = (tokenizer.convert_tokens_to_ids(tag) for tag in ("<result>", "</result>"))
    foreign = plain_ids(tokenizer, "</result>")
    assert framed_ids(tokenizer, "<result>", "</result>", "</result>") == [opening, *foreign, closing]
    assert framed_ids(tokenizer, "", "", "") == []
    cut = framed_ids(tokenizer, "<result>", "0123456789", "</result>", limit=6, cut="..")
    assert tokenizer.decode(cut) == "<result>01..89</result>"
    assert span(4, cut) == {"begin": 4, "end": 12}


def test_tokens_are_cut_in_the_middle():
    for length in range(12):
        for limit in range(1, 9):
            cut = cut_middle(list(range(length)), limit, [-1, -2])
            assert len(cut) == min(length, limit)
            kept = [token for token in cut if token >= 0]
            assert kept == sorted(kept) and (not cut or cut[0] == 0)
            if length > limit > 3:
                assert cut[-1] == length - 1 and cut.count(-1) == cut.count(-2) == 1


@pytest.mark.parametrize(
    ("tools", "settings", "message"),
    [
        ([], {}, r"tools = \[\]"),
        ([Made(None), Made(None)], {}, "closing tags </ask>, </ask>; each tool needs one of its own"),
        ([Made(None)], {"max_calls": 0}, "max_calls = 0"),
        ([Made(None)], {"max_observation_tokens": -1}, "max_observation_tokens = -1"),
        ([Made(None)], {"over_budget": "stop"}, 'over_budget = \'stop\': must be "notice" or "end"'),
    ],
)
def test_bad_arguments_are_named(tools, settings, message):
    with pytest.raises(UserError, match=message):
        ToolEnvironment(tools, character_tokenizer(), **settings)


def test_a_model_calls_tools_in_a_batch(sandbox):
    """A tiny model says anything; where it says a closing tag, a result follows, and each interpreter is its own."""
    policy = tiny_policy("01+<>", TAGS, width=16, layers=1, heads=2, context=1024)
    tools = [PythonTool(sandbox), SearchTool(FakeRetriever({"1": [ROME]}))]
    environment = ToolEnvironment(tools, policy.tokenizer, max_calls=2)
    settings = dict(num_samples=8, environment=environment, seed=1)
    said = rollout(policy, [policy.encode("0"), policy.encode("1")], Sampling(30), **settings)
    again = rollout(policy, [policy.encode("0"), policy.encode("1")], Sampling(30), deterministic=True, **settings)
    assert sum(len(each.tool_calls) for each in said) > 5
    assert [each.token_ids for each in said] == [each.token_ids for each in again]
    for each in said:
        assert each.loss_mask.count(False) == sum(call["num_reply_tokens"] for call in each.tool_calls)


@pytest.fixture(scope="module")
def smollm2(_smollm2_installed):
    from tenfold.policies import load_policy

    return load_policy("smollm2-135m")


PROMPTS = {
    "python": "The program for 2 + 3: <python>print(2 + 3)</python>\n"
    "The program for 40 - 6: <python>print(40 - 6)</python>\n"
    "The program for 5 * 14: <python>print(5 * 14)</python>\nThe program for 17 * 23:",
    "search": "Task: Where is Paris?\nAnswer: <search>Paris</search>\n"
    "Task: Who was Newton?\nAnswer: <search>Newton</search>\nTask: Where is Rome?\nAnswer:",
}


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize(("tag", "observation"), [("python", "391"), ("search", "[1] Rome: Rome is on the Tiber.")])
def test_a_real_model_passes_a_rollout_through_each_tool(smollm2, sandbox, tag, observation):
    tools = [PythonTool(sandbox), SearchTool(FakeRetriever({"Rome": [ROME]}))]
    environment = ToolEnvironment(tools, smollm2.tokenizer, max_calls=1, max_observation_tokens=100)
    prompts = [smollm2.encode(PROMPTS[tag])]
    said = rollout(smollm2, prompts, Sampling(24, temperature=0.3), num_samples=6, environment=environment)
    right = [each for each in said if each.tool_calls and each.tool_calls[0]["observation"] == observation]
    assert len(right) >= 3, [smollm2.decode(each.token_ids) for each in said]
    for each in right:
        assert each.tool_calls[0]["tool"] == tag
        foreign = [t for t, sampled in zip(each.token_ids, each.loss_mask, strict=True) if not sampled]
        assert observation in smollm2.decode(foreign) and observation not in smollm2.decode(each.sampled_ids)
