"""The laptop study's world: what calls do, what the rubric says, who the scripted agents are."""

import pytest
from scipy.stats import binom

from tenfold.core.types import Turn
from tenfold.papers.kimi_k2.agentic.small_agents import make_dialogues
from tenfold.papers.kimi_k2.agentic.small_world import (
    BUSY,
    GRAPHS,
    INVALID,
    MISSING,
    MOST_CALLS,
    NAMES,
    OK,
    READ,
    REFUSED,
    SmallEnvironment,
    SmallState,
    held_out_graphs,
    judged_small,
    make_tasks,
)


@pytest.fixture(scope="module")
def tasks():
    return make_tasks(held_out_graphs(0)[0], 2000, seed=0, what="test", lost_share=0.15)


@pytest.fixture(scope="module")
def task(tasks):
    return next(task for task in tasks if not task.is_lost)


@pytest.fixture(scope="module")
def lost(tasks):
    return next(task for task in tasks if task.is_lost)


def test_held_out_graphs_are_in_no_training():
    training, held_out = held_out_graphs(3)
    assert len(training) == 395 and len(held_out) == 100
    assert sorted(training + held_out) == list(range(len(GRAPHS)))


def test_tasks_are_the_same_for_the_same_seed_and_have_a_way_of_one_call(tasks):
    assert tasks == make_tasks(held_out_graphs(0)[0], 2000, seed=0, what="test", lost_share=0.15)
    assert all(f"{task.status}-{task.goal}" in task.moves and len(set(task.names)) == 5 for task in tasks)
    assert f"<{READ}><{tasks[0].name_of(READ)}>" in tasks[0].prompt
    assert 0.12 < sum(task.is_lost for task in tasks) / len(tasks) < 0.18


def test_the_tool_decides_what_happens_and_the_state_follows(task):
    state = SmallState(task, failures=0.0, sample=0)
    wrong = next(move for move in task.moves if not move.startswith(task.status))
    unknown = next(name for name in NAMES if name not in task.names)
    asked = [task.name_of(wrong), unknown, task.name_of(READ), task.name_of(f"{task.status}-{task.goal}")]
    assert [state.call(name) for name in asked] == [REFUSED, INVALID, task.status, OK]
    assert [event["status"] for event in state.events] == [task.status] * 3 + [task.goal]


def test_no_tool_finds_a_lost_item(lost):
    state = SmallState(lost, failures=0.0, sample=0)
    assert {state.call(name) for name in lost.names} == {MISSING}
    assert not judged_small(state, "done").success and judged_small(state, "cannot").success


def test_busy_answers_come_as_often_as_is_set(tasks):
    busy, number, failures = 0, 0, 0.25
    for task in tasks:
        state = SmallState(task, failures, sample=1)
        busy += sum(state.call(task.name_of(READ)) == BUSY for _ in range(4))
        number += 4
    low, high = binom.interval(0.99, number, failures)
    assert low <= busy <= high


def test_a_mandatory_failure_is_worth_nothing(task):
    state = SmallState(task, failures=0.0, sample=0)
    state.call(task.name_of(READ))
    verdict = judged_small(state, "done")
    assert verdict.score == 0 and verdict.failed == ("goal reached",)


def test_the_rubric_takes_points_for_a_late_and_a_second_look_and_for_refused_calls(task):
    way, look = task.name_of(f"{task.status}-{task.goal}"), task.name_of(READ)
    wrong = task.name_of(next(move for move in task.moves if not move.startswith(task.status)))
    scores = {}
    for name, calls in {
        "perfect": [look, way],
        "blind": [way],
        "twice": [look, look, way],
        "refused": [look, wrong, way],
    }.items():
        state = SmallState(task, failures=0.0, sample=0)
        for call in calls:
            state.call(call)
        scores[name] = judged_small(state, "done").score
    assert scores == {"perfect": 1.0, "blind": 0.8, "twice": 0.9, "refused": 0.9}


def test_an_agent_that_never_errs_almost_always_passes_and_a_sloppy_one_does_not(tasks):
    perfect = make_dialogues(tasks, 0.25, careful_share=1.0, most_slip=0.0)
    assert sum(dialogue.verdict.score == 1.0 for dialogue in perfect) >= 0.99 * len(tasks)
    sloppy = make_dialogues(tasks, 0.25, careful_share=0.0, most_slip=0.0)
    assert not any(dialogue.verdict.score >= 0.9 for dialogue in sloppy)
    assert 0.3 < sum(dialogue.verdict.success for dialogue in sloppy) / len(tasks) < 0.6


def turn(text, stop):
    return Turn(text, stop, (), [], [])


def test_a_dialogue_in_the_environment_is_judged_at_its_report(task):
    session = SmallEnvironment([task], failures=0.0).open(0, 0)
    reply = session.respond(turn(f"<{READ}><{task.name_of(READ)}><call>", "<call>"))
    assert reply.text == f"<{task.status}>" and reply.tool_calls[0]["kind"] == READ and not reply.end
    session.respond(turn(f"<x><{task.name_of(f'{task.status}-{task.goal}')}><call>", "<call>"))
    end = session.respond(turn("<done>", "<done>"))
    assert end.end and end.reward_parts == {"success": 1.0, "score": 1.0}


def test_whatever_a_policy_says_is_answered(task):
    session = SmallEnvironment([task], failures=0.0).open(0, 0)
    for text in ("<call>", "<a><call>", "<goal><goal><goal><call>"):
        assert session.respond(turn(text, "<call>")).text == f"<{INVALID}>"
    assert session.respond(turn("<a><eos>", None)).reward_parts["success"] == 0.0


def test_a_dialogue_ends_at_the_most_calls(task):
    session = SmallEnvironment([task], failures=0.0).open(0, 0)
    look = turn(f"<{READ}><{task.name_of(READ)}><call>", "<call>")
    assert not any(session.respond(look).end for _ in range(MOST_CALLS))
    last = session.respond(look)
    assert last.end and last.reward_parts["score"] == 0.0
