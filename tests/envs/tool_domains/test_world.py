"""Domains of tools: what a call changes, what it may not, and how often failures come."""

import json
from collections import Counter
from itertools import pairwise

import pytest
from scipy.stats import binom

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.envs.tool_calls import ToolCall, from_typescript, to_typescript
from tenfold.envs.tool_domains import Condition, Failures, ToolWorld, domain_named, domain_names


def world_of(domain="shop", seed=0, **failures):
    domain = domain_named(domain)
    return domain, ToolWorld(domain.tools, domain.rows(seed), Failures(**failures), ("test", seed))


def any_call(domain, rows, draw, index):
    """A call that may be valid, refused or wrong."""
    tool = domain.tools[draw.integers(len(domain.tools))]
    arguments = {}
    for name, schema in tool.spec.parameters["properties"].items():
        if name in ("id", "name"):
            arguments[name] = str(draw.choice([*(row[name] for row in rows[tool.table]), "nobody"]))
        elif tool.kind == "change" or draw.random() < 0.3:
            arguments[name] = str(draw.choice([*schema["enum"], "nothing"]))
    return ToolCall(tool.spec.name, arguments, index)


def many_events(domain="shop", seed=0, number=300, **failures):
    domain, world = world_of(domain, seed, **failures)
    draw, rows = numpy_generator(seed, "calls"), domain.rows(seed)
    return [world.call(any_call(domain, rows, draw, index)) for index in range(number)], world


def test_there_are_hundreds_of_tools_in_at_least_eight_domains():
    tools = [tool for name in domain_names() for tool in domain_named(name).tools]
    assert len(domain_names()) >= 8 and len(tools) >= 200
    assert len({tool.spec.name for tool in tools}) == len(tools)
    for tool in tools:
        assert tool.spec.semantics and tool.spec.description and tool.spec.source == "synthetic"
    specs = [tool.spec for tool in domain_named("shop").tools]
    read = from_typescript(to_typescript(specs))
    assert [(spec.name, spec.description, spec.parameters) for spec in read] == [
        (spec.name, spec.description, spec.parameters) for spec in specs
    ]


@pytest.mark.parametrize("name", domain_names())
def test_a_blueprint_is_sound(name):
    """Every link leads to another thing, what a step needs is a status there, and every status can be reached."""
    domain = domain_named(name)
    for thing in domain.blueprint.things:
        for step in thing.steps:
            assert not step.needs or set(step.needs) <= set(domain.thing(thing.link).statuses), step
            assert step.ends not in step.begins, step
        assert len(thing.statuses) >= 3 and len(set(thing.names)) == len(thing.names)
    assert domain.rows(3) == domain.rows(3) != domain.rows(4)


@pytest.mark.spec("kimi_k2/agentic", "G1")
@pytest.mark.parametrize("name", ["shop", "clinic", "studio"])
def test_hashes_are_a_chain_and_differ_where_something_changed(name):
    events, world = many_events(name, busy=0.1, partial=0.1, edge=0.1)
    for event, following in pairwise(events):
        assert event.state_after_hash == following.state_before_hash
    assert events[-1].state_after_hash == world.state_hash()
    outcomes = Counter(event.outcome for event in events)
    assert set(outcomes) == {"ok", "edge", "partial", "busy", "refused", "invalid"}, outcomes
    changed = [event for event in events if event.state_before_hash != event.state_after_hash]
    assert changed and all(event.outcome in ("ok", "edge", "partial") for event in changed)


def test_equal_states_have_equal_hashes_whatever_led_there():
    domain, world = world_of()
    row = next(row for row in domain.rows(0)["orders"] if row["priority"] != "low")
    before = world.state_hash()
    for priority in ("low", row["priority"]):
        world.call(ToolCall("set_order_priority", {"id": row["id"], "priority": priority}, 0))
        assert (world.state_hash() == before) == (priority == row["priority"])
    assert world.changes() == []


def test_a_step_needs_its_conditions_and_leaves_its_status():
    domain, world = world_of(seed=1)
    rows = domain.rows(1)
    status = {row["id"]: row["status"] for row in rows["customers"]}
    for order in rows["orders"]:
        event = world.call(ToolCall("confirm_order", {"id": order["id"]}, 0))
        may = order["status"] == "placed" and status[order["customers_id"]] == "active"
        assert (event.outcome == "ok") == may, (order, event)
        if may:
            assert event.result["record"] == {**order, "status": "confirmed"}
        else:
            assert "needed" in event.result["error"]


def test_what_is_asked_of_nothing_or_in_a_wrong_way_is_answered():
    _, world = world_of()
    for name, arguments, said in (
        ("fly", {}, "there is no tool fly"),
        ("get_order", {}, "'id' is a required property"),
        ("get_order", {"id": "ORD-0"}, "there is no record with id ORD-0 in orders"),
        ("get_order", {"id": "\ud800"}, "half of a surrogate pair"),
        ("find_order", {"name": "x'; DROP TABLE orders; --"}, "there is no record with name"),
        ("list_orders", {"status": "odd"}, "'odd' is not one of"),
    ):
        event = world.call(ToolCall(name, arguments, 0))
        assert event.outcome in ("invalid", "refused") and said in event.result["error"]
        json.dumps(event.result)
    assert len(world.call(ToolCall("list_orders", {}, 0)).result["records"]) == 8


@pytest.mark.spec("kimi_k2/agentic", "G2")
def test_failures_are_as_frequent_as_asked():
    shares = {"busy": 0.25, "partial": 0.1, "edge": 0.05}
    valid = Counter()
    for seed in range(12):
        _, world = world_of("shop", seed, **shares)
        valid += Counter(world.call(ToolCall("count_orders", {}, n)).outcome for n in range(100))
    for outcome, share in {**shares, "ok": 0.6}.items():
        low, high = binom.interval(0.99, valid.total(), share)
        assert low <= valid[outcome] <= high, (outcome, valid)


@pytest.mark.spec("kimi_k2/agentic", "G3")
def test_the_same_seed_gives_the_same_events():
    assert many_events(seed=5, number=60, busy=0.3)[0] == many_events(seed=5, number=60, busy=0.3)[0]
    assert many_events(seed=5, number=60, busy=0.3)[0] != many_events(seed=6, number=60, busy=0.3)[0]


def test_a_call_that_is_not_valid_draws_no_failure():
    """So what a policy says wrongly changes nothing of what its right calls meet."""
    _, plain = world_of(busy=0.5)
    _, other = world_of(busy=0.5)
    expected, found = [], []
    for number in range(40):
        expected.append(plain.call(ToolCall("count_orders", {}, number)).outcome)
        other.call(ToolCall("fly", {}, number))
        found.append(other.call(ToolCall("count_orders", {}, number)).outcome)
    assert found == expected and set(found) == {"ok", "busy"}


def test_bad_settings_are_named():
    with pytest.raises(UserError, match=r"busy = 1\.5: must be from 0 to 1"):
        Failures(busy=1.5)
    with pytest.raises(UserError, match="busy \\+ partial \\+ edge"):
        Failures(busy=0.6, partial=0.6)
    with pytest.raises(UserError, match="domain = 'shpo'"):
        domain_named("shpo")
    tool = domain_named("shop").tools[0]
    with pytest.raises(UserError, match="two have the same name"):
        ToolWorld([tool, tool], {})
    assert Condition("status", ("open",)).link == ""
