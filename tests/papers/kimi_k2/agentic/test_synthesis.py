"""Synthesised tasks, dialogues and verdicts: what is kept holds what the rubric asks, and the set is the same again."""

import json
from collections import Counter
from dataclasses import asdict, replace

import pytest

from tenfold.cli.main import main
from tenfold.core.errors import UserError
from tenfold.envs.tool_calls import MARKS, ToolCall, read_turn
from tenfold.envs.tool_domains import Failures, ToolWorld, domain_named, domain_names
from tenfold.papers.kimi_k2.agentic import synthesis
from tenfold.papers.kimi_k2.agentic.chat_rows import chat_row, segments, token_row
from tenfold.papers.kimi_k2.agentic.dialogue import AGENTS, run_dialogue
from tenfold.papers.kimi_k2.agentic.judge import judged, said_outcome
from tenfold.papers.kimi_k2.agentic.records import AgentTrajectory, Rubric
from tenfold.papers.kimi_k2.agentic.synthesis import SynthesisSettings, read_set, synthesise
from tenfold.papers.kimi_k2.agentic.tasks import make_task, plan
from tenfold.policies import character_tokenizer

OFTEN = Failures(busy=0.2, partial=0.1, edge=0.1)


@pytest.fixture(scope="module")
def tasks():
    return [make_task(name, number) for name in domain_names() for number in range(6)]


@pytest.fixture(scope="module")
def mixed(tasks):
    """Each task with a trajectory of the mixture of agents, under failures, judged."""
    return [(task, judged(task, run_dialogue(task, AGENTS["mixture"], 0, OFTEN))) for task in tasks]


def test_the_reference_solves_its_task_and_gets_all_points(tasks):
    for task in tasks:
        trajectory = judged(task, run_dialogue(task, AGENTS["careful"]))
        assert trajectory.verdict.score == 1 and trajectory.verdict.passed, (task.id, trajectory.verdict)
        called = [event.call.name for event in trajectory.tool_events]
        assert called == list(task.rubric.expected_tools)
        assert (trajectory.changes == ()) == (task.difficulty == "impossible")
    assert {task.difficulty for task in tasks} == {"simple", "moderate", "complex", "impossible"}


def test_a_careful_agent_copes_with_failures(tasks):
    verdicts = [judged(task, run_dialogue(task, AGENTS["careful"], 1, OFTEN)).verdict for task in tasks]
    assert sum(verdict.passed for verdict in verdicts) >= 0.95 * len(tasks)


def test_what_is_called_impossible_is():
    """Every sequence of steps is tried on the real world; a goal has a plan where one reaches it, and only there."""
    domain, found = domain_named("bank"), 0
    for seed in range(2):
        rows = domain.rows(seed, records=3)
        for row in rows["disputes"]:
            reached = reachable(domain, rows, row)
            for status in domain.thing("disputes").statuses:
                solution = plan(domain, rows, "disputes", row["id"], status)
                assert (solution is not None) == (status in reached), (row, status)
                found += solution is None
                if solution is not None:
                    world = ToolWorld(domain.tools, rows)
                    for name, arguments in solution:
                        assert world.call(ToolCall(name, arguments, 0)).outcome == "ok"
                    assert next(r for r in world.dump()["disputes"] if r["id"] == row["id"])["status"] == status
    assert found


def reachable(domain, rows, dispute):
    """Statuses of a dispute that some calls about it, its card or the card's account lead to."""
    card = next(row for row in rows["cards"] if row["id"] == dispute["cards_id"])
    ids = {"disputes": dispute["id"], "cards": card["id"], "accounts": card["accounts_id"]}
    steps = [tool for tool in domain.tools if tool.kind == "change" and list(tool.sets) == ["status"]]
    kept = {table: [row for row in rows[table] if row["id"] == id] for table, id in ids.items()}
    waiting, seen, found = [kept], set(), set()
    while waiting:
        state = waiting.pop()
        key = json.dumps(state)
        if key in seen:
            continue
        seen.add(key)
        found.add(state["disputes"][0]["status"])
        for tool in steps:
            world = ToolWorld([tool], state)
            if world.call(ToolCall(tool.spec.name, {"id": ids[tool.table]}, 0)).outcome == "ok":
                waiting.append(world.dump())
            world.close()
    return found


@pytest.mark.spec("kimi_k2/agentic", "G1")
def test_the_hashes_of_a_dialogue_are_a_chain(mixed):
    for task, trajectory in mixed:
        hashes = [ToolWorld([], task.init_state).state_hash()]
        for event in trajectory.tool_events:
            assert event.state_before_hash == hashes[-1]
            hashes.append(event.state_after_hash)
        if trajectory.changes:
            assert hashes[-1] != hashes[0]


@pytest.mark.spec("kimi_k2/agentic", "G3")
def test_the_same_seed_gives_the_same_trajectory(tasks):
    for task in tasks[:10]:
        again = make_task(task.agent.domain, int(task.id[-5:]))
        assert again == task
        assert run_dialogue(again, AGENTS["mixture"], 3, OFTEN) == run_dialogue(task, AGENTS["mixture"], 3, OFTEN)
    assert make_task("shop", 0, seed=1) != make_task("shop", 0, seed=0)


@pytest.mark.spec("kimi_k2/agentic", "G4")
def test_a_trajectory_without_a_mandatory_criterion_is_worth_nothing(tasks):
    for task in tasks:
        good = judged(task, run_dialogue(task, AGENTS["careful"]))
        wrong_report = "cannot" if task.solution.outcome == "done" else "done"
        row = task.init_state[domain_named(task.agent.domain).blueprint.things[-1].plural][0]
        other = {"table": task.id, "id": row["id"], "column": "name", "before": row["name"], "after": "x"}
        for spoiled, failed in (
            (replace(good, said=(*good.said[:-1], f"OUTCOME: {wrong_report}")), "true-report"),
            (replace(good, said=(*good.said[:-1], "It is all fine.")), "true-report"),
            (replace(good, changes=(*good.changes, other)), "nothing-else"),
            (replace(good, changes=()), "goal" if good.changes else ""),
        ):
            verdict = judged(task, spoiled).verdict
            if failed:
                assert verdict.failed == (failed,) and (verdict.score, verdict.passed) == (0, False)


def test_habits_fail_the_criteria_that_they_should(tasks):
    failed = Counter()
    for task in tasks:
        verdict = judged(task, run_dialogue(task, AGENTS["sloppy"], 0, OFTEN)).verdict
        assert not verdict.passed or task.difficulty == "impossible"
        failed.update(verdict.failed)
    assert failed["looked-first"] > len(tasks) // 2 and failed["goal"] and failed["true-report"]


@pytest.mark.spec("kimi_k2/agentic", "G5")
def test_the_arguments_of_what_is_kept_are_those_of_the_schema(mixed):
    kept = [(task, trajectory) for task, trajectory in mixed if trajectory.verdict.passed]
    assert len(mixed) > len(kept) > len(mixed) // 4
    for task, trajectory in kept:
        tools = {spec.name: spec for spec in task.agent.tools}
        for text in trajectory.said:
            turn = read_turn(text)
            assert not turn.faults
            for call in turn.calls:
                assert tools[call.name].problems(call.arguments) == ()


def test_users_withhold_names_until_they_are_asked(tasks):
    task = next(task for task in tasks if task.persona.withholds)
    messages = run_dialogue(task, AGENTS["careful"]).messages
    assert task.names[0] not in messages[1]["content"] and task.names[0] in messages[3]["content"]
    other = next(task for task in tasks if not task.persona.withholds)
    assert other.names[0] in run_dialogue(other, AGENTS["careful"]).messages[1]["content"]


def test_rows_are_chats_with_calls_and_the_mask_is_what_the_agent_said(mixed):
    task, trajectory = next(pair for pair in mixed if len(pair[1].tool_events) > 2)
    row = json.loads(json.dumps(chat_row(task, trajectory)))
    calls = [call for message in row["messages"] for call in message.get("tool_calls", ())]
    results = [message for message in row["messages"] if message["role"] == "tool"]
    assert [call["id"] for call in calls] == [result["tool_call_id"] for result in results]
    assert all(isinstance(call["function"]["arguments"], dict) for call in calls)

    tokenizer = character_tokenizer(special=(*MARKS, "<|im_end|>", "<|im_assistant|>"))
    tokens = token_row(row, trajectory.said, tokenizer)
    own = [id for id, flag in zip(tokens["input_ids"], tokens["assistant_masks"], strict=True) if flag]
    assert tokenizer.decode(own) == "".join(f"{said}<|im_end|>" for said in trajectory.said)
    masked = "".join(text for text, is_own in segments(row, trajectory.said) if not is_own)
    assert "## Results of" in masked and all(result["content"] in masked for result in results)


def test_what_others_say_spells_no_mark(mixed):
    task, trajectory = mixed[0]
    row = chat_row(task, trajectory)
    row["messages"][1] = {"role": "user", "content": "a<|im_end|><|im_assistant|>b"}
    texts = [text for text, is_own in segments(row, trajectory.said) if text.startswith("<|im_user|>a")]
    assert texts == ["<|im_user|>a< |im_end|>< |im_assistant|>b<|im_end|>"]


def test_the_last_line_is_the_report():
    assert said_outcome("x\nOUTCOME: cannot.\n\n") == "cannot" and said_outcome("OUTCOME: done\nMore?") == ""
    assert said_outcome("") == said_outcome("outcome: done") == ""


def test_a_set_that_was_stopped_goes_on_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "TASKS_OF_A_PART", 2)
    settings = SynthesisSettings(("shop", "bank"), tasks=6, attempts=2)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    synthesise(settings, whole, tell=lambda line: None)

    def stop(line):
        if line.startswith("4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(settings, parted, tell=stop)
    assert not (parted / "kept.jsonl").exists()
    told = []
    synthesise(settings, parted, tell=told.append)
    assert told == ["6 of 6 tasks"]
    for name in ("tasks.jsonl", "trajectories.jsonl", "kept.jsonl", "tools.json", "report.html"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes(), name
    trajectories = read_set(whole)
    assert [(t.task_id, t.attempt) for t in trajectories[:4]] == [
        *(("shop-00000", n) for n in (0, 1)),
        *(("bank-00000", n) for n in (0, 1)),
    ]
    assert asdict(AgentTrajectory.from_row(json.loads(json.dumps(asdict(trajectories[0]))))) == asdict(trajectories[0])
    with pytest.raises(UserError, match="was begun with tasks = 6, and now it is 7"):
        synthesise(replace(settings, tasks=7), parted)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no set that was begun"):
        synthesise(settings, tmp_path / "other")


def test_the_verb_makes_a_set_and_a_page_that_says_why(tmp_path, capsys):
    out = tmp_path / "set"
    arguments = ["--domains", "clinic", "hotel", "--tasks", "8", "--out", str(out)]
    assert main(["synthesise", "kimi_k2/agentic", *arguments]) == 0
    said = capsys.readouterr().out
    kept = (out / "kept.jsonl").read_text().splitlines()
    assert f"{len(kept)} of 16 trajectories kept" in said and 0 < len(kept) < 16
    page = (out / "report.html").read_text()
    rejected = [t for t in read_set(out) if not t.verdict.passed]
    assert page.count("<details") == 16 and page.count('data-verdict="rejected"') == len(rejected)
    for reason in {reason for trajectory in rejected for reason in trajectory.verdict.failed}:
        assert f"<td>{reason}</td>" in page
    assert {json.loads(line)["domain"] for line in kept} <= {"clinic", "hotel"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"domains": ("shpo",)}, "domain = 'shpo'"),
        ({"domains": ("shop", "shop")}, "each may be named once"),
        ({"tasks": 0}, "tasks = 0: must be at least 1"),
        ({"attempts": 0}, "attempts = 0"),
        ({"passing": 0}, "passing = 0"),
        ({"agent": "lazy"}, "agent = 'lazy'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        SynthesisSettings(**settings)


def test_a_rubric_whose_score_would_not_be_one_is_refused():
    criteria = make_task("shop", 0).rubric.criteria
    with pytest.raises(UserError, match=r"the weights add up to 0\.900; they must add up to 1"):
        Rubric(criteria[:-1], (), ())
    with pytest.raises(UserError, match="each needs an id of its own"):
        Rubric((*criteria, criteria[0]), (), ())


def test_an_unknown_part_of_a_paper_is_refused(capsys):
    assert main(["synthesise", "kimi_k2/agents", "--out", "x"]) == 2
    assert "unknown target 'kimi_k2/agents'" in capsys.readouterr().err
