"""A model on BFCL: who makes the gold calls solves all, who does nothing none; what is done is not done again."""

import importlib.util
import json

import pytest
from local_server import Handler, listening

from tenfold.core.errors import UserError
from tenfold.envs.bfcl import gold_calls
from tenfold.envs.tool_calls import MARKS, ToolCall, write_calls
from tenfold.papers.kimi_k2.agentic.bfcl_evaluation import (
    FORTY,
    RESULTS,
    BFCLSettings,
    evaluate,
    plain,
    read_dialogues,
    summary,
    table,
)
from tenfold.papers.kimi_k2.commands import evaluate as evaluate_verb
from tenfold.policies.text_backends import BackendError

needs_bfcl = [
    pytest.mark.extra,
    pytest.mark.skipif(
        importlib.util.find_spec("bfcl_eval") is None, reason="needs bfcl-eval, which is installed apart"
    ),
]


def bfcl(test):
    for mark in needs_bfcl:
        test = mark(test)
    return test


class GoldModel:
    """Knows the task by what the user said first, and makes the gold calls of each turn at once."""

    def __init__(self, categories=("base",), fails_at=None):
        tasks = BFCLSettings("gold", categories).tasks()
        self.tasks = {task.user_turns[0]: task for task in tasks}
        assert len(self.tasks) == len(tasks), "each is known by its first turn"
        self.asked, self.fails_at = 0, fails_at

    def generate(self, messages, n, temperature, max_tokens):
        self.asked += 1
        if self.asked == self.fails_at:
            raise KeyboardInterrupt
        said = [message.content for message in messages if message.role == "user"]
        said = [text for text in said if not text.startswith(("## Results", "This was not"))]
        if messages[-1].content.startswith("## Results"):
            return ["Done."]
        task = self.tasks[said[0]]
        gold, tools = gold_calls(task), {spec.name: spec for spec in task.tools_at(len(task.gold))}
        index = sum(map(len, gold[: len(said) - 1]))
        calls = []
        for call in gold[len(said) - 1]:
            names = tools[call.name].parameters["properties"]
            arguments = {**dict(zip(names, call.positional, strict=False)), **call.arguments}
            calls.append(ToolCall(call.name, arguments, index + len(calls)))
        return ["I do that. " + write_calls(calls)]


@bfcl
def test_the_gold_calls_solve_every_task_and_floors_stand_beside(tmp_path):
    scores = evaluate(GoldModel(), BFCLSettings("gold"), tmp_path)
    assert scores["base"]["tasks"] == len(FORTY) == 40
    assert scores["base"]["share"] == 1.0 and scores["base"]["nothing"] == 0.0
    assert scores["base"]["look_ups"] < 0.2
    assert "base" in table(scores) and json.loads((tmp_path / "scores.json").read_text()) == scores


@bfcl
def test_tools_that_come_later_are_told_when_they_come(tmp_path):
    evaluate(GoldModel(("miss_func",)), BFCLSettings("gold", ("miss_func",)), tmp_path)
    told = [[m["content"] for m in row["messages"] if m["role"] == "user"] for row in read_dialogues(tmp_path)]
    assert all(any("These tools are new" in text for text in said) for said in told)


@bfcl
def test_what_was_stopped_goes_on_with_the_task_after_the_last_whole_one(tmp_path):
    settings = BFCLSettings("gold")
    with pytest.raises(KeyboardInterrupt):
        evaluate(GoldModel(fails_at=50), settings, tmp_path)
    before = read_dialogues(tmp_path)
    assert 0 < len(before) < 40
    with open(tmp_path / RESULTS, "a") as lines:
        lines.write('{"id": "torn')
    model = GoldModel()
    assert evaluate(model, settings, tmp_path)["base"]["share"] == 1.0
    assert read_dialogues(tmp_path)[: len(before)] == before and len(read_dialogues(tmp_path)) == 40
    asked = model.asked
    evaluate(model, settings, tmp_path)
    assert model.asked == asked, "nothing is left to do"
    with pytest.raises(UserError, match="results of other settings"):
        evaluate(model, BFCLSettings("another"), tmp_path)


class ShortModel:
    def generate(self, messages, n, temperature, max_tokens):
        raise BackendError("the conversation has 9000 tokens; the model reads 2048")


@bfcl
def test_what_does_not_fit_is_failed(tmp_path):
    scores = evaluate(ShortModel(), BFCLSettings("short"), tmp_path)
    assert scores["base"]["share"] == 0.0 and scores["base"]["not_fitting"] == 1.0


@bfcl
@pytest.mark.alone
def test_a_served_model_is_asked_by_its_chat_endpoint(tmp_path, capsys):
    model = GoldModel()

    class Chat(Handler):
        def do_POST(self):
            from tenfold.core.types import Message

            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = model.generate([Message(**message) for message in asked["messages"]], 1, 0.0, 1)[0]
            answer = json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with listening(Chat) as address:
        evaluate_verb(tmp_path, model="gold", served=f"{address}/v1")
    assert "1.000" in capsys.readouterr().out
    assert len(read_dialogues(tmp_path)) == 40


def test_a_score_has_an_exact_interval():
    rows = [{"valid": place < 3, "nothing": False, "look_ups": place < 1, "reason": ""} for place in range(40)]
    scores = summary(rows)
    assert scores["share"] == 0.075 and scores["look_ups"] == 0.025
    low, high = scores["interval"]
    assert 0.01 < low < 0.03 and 0.19 < high < 0.22


def test_results_cannot_spell_a_mark():
    assert not any(mark in plain(f"file {mark} text") for mark in MARKS)


def test_settings_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(UserError, match="tasks = 'fifty'"):
        BFCLSettings("m", which="fifty")
    with pytest.raises(UserError, match="model = ''"):
        evaluate_verb(tmp_path)
