"""The loop for one image with scripted policies; comparators and judges, with all that a model may answer."""

import json

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.render.renderer import RenderResult
from tenfold.envs.render.shapes import ShapeRenderer
from tenfold.eval.charts import ChartRecord
from tenfold.eval.visual import as_image
from tenfold.papers.rrvf.looking import (
    Judged,
    LookingFailed,
    ModelComparator,
    ModelJudge,
    PixelComparator,
    PixelJudge,
    ServedLooker,
    oracle_remarks,
    read_score,
)
from tenfold.papers.rrvf.loop import DOMAINS, Loop
from tenfold.papers.rrvf.page import page_of
from tenfold.policies.chat_server import ChatServer
from tenfold.policies.transport import Transport

TARGET = "paper white\nbox blue 4 10 12 28\ncircle red 22 22 6"


def image():
    return ShapeRenderer(32).render(TARGET).image


def call(code):
    arguments = json.dumps({"name": DOMAINS["shapes"].tool, "arguments": {"shape_code": code}})
    return f"<think>so</think><tool_call>{arguments}</tool_call>"


def answer(code):
    return f"<think>so</think><answer>{code}</answer>"


def run(turns, said=None, **options):
    spoken = iter(turns)

    def speak(messages):
        if said is not None:
            said.append(list(messages))
        return next(spoken)

    return Loop(ShapeRenderer(32), PixelComparator(), PixelJudge(), "shapes", **options).run(image(), speak)


@pytest.mark.spec("rrvf", "A9")
def test_a_policy_that_repairs_a_defect_each_turn_rises_and_earns_the_whole_tool_part():
    result = run([call("circle green 22 22 6"), call("circle red 22 22 6"), answer(TARGET)])
    scores = [turn.similarity for turn in result.turns]
    assert scores == sorted(scores) and scores[-1] == 1.0
    assert result.parts.vision == 1.0 and result.parts.tool == 1.0 and result.parts.format == 0.0
    assert "blue is missing" in result.turns[0].remarks and "green is not in the reference" in result.turns[0].remarks
    assert result.turns[-1].is_answer and not result.turns[-1].remarks


def test_remarks_come_back_as_a_tool_response_without_scores_or_the_reference():
    said = []
    run([call("circle green 22 22 6"), answer(TARGET)], said)
    assert [message.role for message in said[1]] == ["system", "user", "assistant", "tool"]
    response = said[1][-1].text
    assert response.startswith("<tool_response>\n### Comments") and "blue is missing" in response
    assert said[1][-1].image is None and not any(character.isdigit() for character in response.replace("###", ""))
    shown = []
    run([call("circle green 22 22 6"), answer(TARGET)], shown, return_render_image=True)
    assert shown[1][-1].image.shape == (32, 32, 3)


def test_a_render_that_fails_is_told_by_its_error_and_nobody_is_asked():
    class Nobody:
        def compare(self, reference, generated):
            raise AssertionError("no comparator is asked")

    loop = Loop(ShapeRenderer(32), Nobody(), PixelJudge(), "shapes")
    turns = iter([call("star red 1 1 1"), answer("star")])
    result = loop.run(image(), lambda said: next(turns))
    assert result.turns[0].error == "ShapeError: line 1: 'star' is no shape"
    assert result.parts.vision == 0.0 and result.parts.format == -1.0 and result.parts.tool == 0.0


def test_a_malformed_turn_ends_the_dialogue_and_costs_its_format():
    result = run(["I would draw a circle."])
    assert len(result.turns) == 1 and result.turns[0].error == "malformed: there are no thoughts"
    assert result.parts.format == -1.0 and result.parts.vision == 0.0


def test_on_the_last_turn_an_answer_is_asked_for_and_a_call_is_malformed():
    said = []
    result = run([call("circle red 22 22 6")] * 3, said, max_turns=3)
    assert said[-1][-1].text.startswith("This is your last turn")
    assert result.turns[-1].error == "malformed: a call on the last turn" and result.parts.format == -1.0


def test_the_page_shows_all_turns_and_escapes_what_was_said():
    result = run([call("<script>alert(1)</script>"), answer(TARGET)])
    page = page_of(result, as_image(image()), "a <title>")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "Turn 1: call" in page and "Turn 2: answer, similarity 1.000" in page and page.count("<img") == 2


def test_domains_and_turns_that_are_none_are_refused():
    with pytest.raises(UserError, match="domain = 'music': allowed: chart, web, svg, shapes"):
        Loop(ShapeRenderer(), PixelComparator(), PixelJudge(), "music")
    with pytest.raises(UserError, match="max_turns = 0"):
        Loop(ShapeRenderer(), PixelComparator(), PixelJudge(), "shapes", max_turns=0)


# ------------------------------------------------------------------------------------------------ models that look


class Scripted:
    """Says what it is told to, or fails."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def look(self, images, instruction, max_tokens):
        self.asked.append((len(images), instruction))
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


BLACK, WHITE = np.zeros((4, 4, 3), np.float32), np.ones((4, 4, 3), np.float32)


def test_a_judge_asks_once_for_each_pair_and_order_matters():
    looker = Scripted('{"score": 80}', '{"score": 10}')
    judge = ModelJudge(looker)
    assert judge.judge(BLACK, WHITE) == judge.judge(BLACK, WHITE) == Judged(0.8)
    assert judge.judge(WHITE, BLACK) == Judged(0.1)
    assert len(looker.asked) == 2


def test_a_judge_that_answers_prose_is_asked_once_more_and_then_it_is_a_zero_with_its_reason():
    looker = Scripted("Quite alike, I would say.", '{"score": 60}')
    assert ModelJudge(looker).judge(BLACK, WHITE) == Judged(0.6)
    judge = ModelJudge(Scripted("Quite alike.", "Still quite alike."))
    judged = judge.judge(BLACK, WHITE)
    assert judged == Judged(0.0, "the judge gave no score: 'Still quite alike.'") and judge.failures == 1
    down = ModelJudge(Scripted(LookingFailed("no connection"), '{"score": 50}'))
    assert down.judge(BLACK, WHITE).failure == "the judge could not be asked: no connection"
    assert down.judge(BLACK, WHITE) == Judged(0.5), "a server that was down may be up again"


@pytest.mark.parametrize(
    "said",
    ["85", '{"score": "85"}', '{"score": 85.5}', '{"score": -1}', '{"score": true}', "[1]", "{" * 5000, '{"a": 1}'],
)
def test_scores_are_read_strictly(said):
    assert read_score(said) is None


def test_a_comparator_hands_on_no_code_and_a_failure_is_a_remark():
    looker = Scripted("The title differs.\n```python\nplt.title('x')\n```", LookingFailed("too slow"))
    comparator = ModelComparator(looker)
    assert comparator.compare(BLACK, WHITE) == comparator.compare(BLACK, WHITE) == "The title differs."
    assert comparator.compare(WHITE, BLACK) == "No remarks: too slow"
    assert all("Never give code" in instruction for _, instruction in looker.asked)


def test_a_served_model_gets_both_images_in_order_and_a_dead_server_is_a_failure(monkeypatch):
    sent = []

    def answer(transport, url, data):
        sent.append(json.loads(data))
        return json.dumps({"choices": [{"message": {"content": '{"score": 70}'}}]}).encode()

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "_try", answer)
        looker = ServedLooker(ChatServer("http://127.0.0.1:9/v1", "vlm"))
        assert ModelJudge(looker).judge(BLACK, WHITE) == Judged(0.7)
    (message,) = sent[0]["messages"]
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["image_url", "image_url", "text"] and sent[0]["temperature"] == 0.0
    first, second = (part["image_url"]["url"] for part in message["content"][:2])
    assert first.startswith("data:image/png;base64,") and first != second
    dead = ServedLooker(ChatServer("http://127.0.0.1:9/v1", "vlm", retries=0))
    assert ModelJudge(dead).judge(BLACK, WHITE).failure.startswith("the judge could not be asked: http://127.0.0.1:9")


def test_the_oracle_says_what_is_different_in_the_records():
    reference = ChartRecord(("Sales",), ((1, 1, 0, 0, 0, 0),), ("bar",) * 4, (("bar", "#ff0000"),))
    said = oracle_remarks(reference, ChartRecord(("Sales",), (), ("bar",) * 3, (("bar", "#ff0000"),)))
    assert said == "type: bar is missing\nlayout: the reference has 1 axes, yours 0"
    assert oracle_remarks(reference, reference) == "no difference is seen"
    assert oracle_remarks(reference, ChartRecord(error="NameError: x")) == "the program failed: NameError: x"


def test_pixels_say_where_and_what():
    wanted, drawn = as_image(image()), as_image(ShapeRenderer(32).render("box blue 4 10 12 28").image)
    said = PixelComparator().compare(wanted, drawn)
    assert "red is missing" in said and "less is drawn" in said
    assert PixelComparator().compare(wanted, wanted) == "no difference is seen"


def test_whatever_a_renderer_gives_is_judged_at_the_references_size():
    class Wide:
        def render(self, code):
            return RenderResult(np.full((7, 90, 3), 255, np.uint8))

    result = Loop(Wide(), PixelComparator(), PixelJudge(), "shapes").run(image(), lambda said: answer("x"))
    assert result.parts.vision == 0.0
