"""Hints: injection with resumed generation, provenance through JSON lines, and who proposes places."""

import dataclasses
import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort.environment import CodeEnvironment, LoopSettings
from tenfold.papers.cort.hints import HintInjector
from tenfold.papers.cort.method import COMPUTE, GENERAL, HINTS, TRUST, HintSpec
from tenfold.papers.cort.proposers import Heuristic, LanguageModel, Manual, ManualPlace, Proposal, Random, hint_all
from tenfold.papers.cort.traces import Trace, read_traces, token_offset, write_traces
from tenfold.policies import Sampling, rollout, tiny_policy

HAND = "Let me multiply by hand. 6*5=30. 6*2=12. 30+12=42."
CODE = "\n```python\nprint(6*7)\n```\n"
CHECK = "Wait, let me double-check. 6*5=30. 6*2=12. 30+12=42."
DRAFT = f"The factors are 6 and 7. {HAND} Let me verify.{CODE}{CHECK}</think>\\boxed{{42}}"


@pytest.fixture
def environment(tokenizer, sandbox):
    return CodeEnvironment(sandbox, tokenizer, LoopSettings())


@pytest.fixture
def draft(scripted, environment):
    policy = scripted(DRAFT)
    (found,) = rollout(policy, [policy.encode("6*7")], Sampling(2000), environment=environment)
    return Trace(found, (), "6*7")


def injector(policy, environment):
    return HintInjector(policy, environment, Sampling(2000))


@pytest.mark.spec("cort", "9")
def test_a_hint_is_prefix_and_hint_and_what_the_policy_goes_on_to_say(draft, scripted, environment, tokenizer):
    at = token_offset(tokenizer, draft.trajectory.token_ids, draft.text(tokenizer).index("Let me multiply"))
    policy = scripted("print(6*7)\n```\nSo 42.</think>\\boxed{42}")
    hinted = injector(policy, environment).insert(draft, at, COMPUTE, decided_by="manual: reviewed")
    assert hinted.text(tokenizer) == (
        f"The factors are 6 and 7. {COMPUTE.text}\n```python\nprint(6*7)\n```\n```output\n42\n```\nSo 42."
        "</think>\\boxed{42}"
    )
    (placed,) = hinted.hints
    assert (placed.at, placed.kind, placed.decided_by) == (at, "compute", "manual: reviewed")
    assert placed.num_cut == len(draft.trajectory.token_ids) - at
    assert hinted.trajectory.token_ids[:at] == draft.trajectory.token_ids[:at]
    within = slice(at, at + placed.num_tokens)
    assert not any(hinted.trajectory.loss_mask[within]), "a hint was not sampled"
    assert not any(hinted.trajectory.log_probs[within])


@pytest.mark.spec("cort", "9")
def test_provenance_goes_to_json_lines_and_back(draft, scripted, environment, tokenizer, tmp_path):
    policy = scripted("print(6*7)\n```\nSo 42.</think>\\boxed{42}")
    hinted = injector(policy, environment).insert(draft, 5, COMPUTE, decided_by="heuristic")
    write_traces(tmp_path / "traces.jsonl", [draft, hinted], tokenizer)
    assert read_traces(tmp_path / "traces.jsonl") == [draft, hinted]
    rows = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_text().splitlines()]
    assert rows[1]["hints"][0]["decided_by"] == "heuristic" and rows[1]["text"] == hinted.text(tokenizer)


def test_hints_are_trained_on_and_outputs_are_not(draft, scripted, environment, tokenizer):
    policy = scripted("print(6*7)\n```\nSo 42.</think>\\boxed{42}")
    hinted = injector(policy, environment).insert(draft, 0, COMPUTE)
    row = hinted.training_row()
    trained = [token for token, trains in zip(row["input_ids"], row["completion_mask"], strict=True) if trains]
    text = tokenizer.decode(trained)
    assert text == f"{COMPUTE.inserted}print(6*7)\n```\nSo 42.</think>\\boxed{{42}}<eos>"
    assert sum(hinted.training_row(mask_outputs=False)["completion_mask"]) == len(hinted.trajectory.token_ids)


def test_what_follows_a_hint_has_noise_of_its_own_trace(environment, tokenizer):
    policy = tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2, context=256)
    inject = HintInjector(policy, environment, Sampling(20))
    first, second = inject.start([[5], [5]], ["a", "b"])
    assert first.trajectory.token_ids != second.trajectory.token_ids
    (alone,) = inject.start([[5]], ["b"])
    assert alone.trajectory.token_ids == second.trajectory.token_ids, "other traces change nothing"


def test_programs_before_the_place_are_run_again_and_those_behind_are_forgotten(scripted, environment, tokenizer):
    said = "```python\nx = 6\nprint(x)\n```\nmore\n```python\nx = 0\nprint(x)\n```\nend"
    policy = scripted(said)
    (found,) = rollout(policy, [policy.encode("p")], Sampling(2000), environment=environment)
    trace = Trace(found)
    at = token_offset(tokenizer, found.token_ids, trace.text(tokenizer).index("more"))
    hinted = injector(scripted("print(x * 7)\n```\n</think>\\boxed{42}"), environment).insert(trace, at, COMPUTE)
    assert [call["output"] for call in hinted.trajectory.tool_calls] == ["6", "42"]
    assert hinted.trajectory.tool_calls[1]["begin"] > hinted.trajectory.tool_calls[0]["end"]


def test_a_trace_that_fills_the_context_ends_there_and_others_go_on(draft, scripted, environment, tokenizer):
    policy = scripted("</think>\\boxed{42}")
    length = len(draft.trajectory.prompt_ids) + len(draft.trajectory.token_ids)
    policy = dataclasses.replace(policy, context=length)
    short = draft.up_to(5)
    full, resumed = injector(policy, environment).resume([draft, short], [("full",), ("short",)])
    assert full.trajectory.stop_reason == "length" and full.trajectory.token_ids == draft.trajectory.token_ids
    assert resumed.text(tokenizer) == short.text(tokenizer) + "</think>\\boxed{42}"


def test_a_place_outside_of_the_trace_or_within_an_output_is_refused(draft, scripted, environment):
    inject = injector(scripted("so"), environment)
    with pytest.raises(UserError, match="at = 9999: must be from 0 to"):
        inject.insert(draft, 9999, TRUST)
    within = draft.trajectory.tool_calls[0]["begin"] + 1
    with pytest.raises(UserError, match="lies within an output block"):
        inject.insert(draft, within, TRUST)


def test_the_heuristic_finds_both_habits():
    text = f"The factors are 6 and 7. {HAND} Let me verify.{CODE}```output\n42\n```\n{CHECK}</think>\\boxed{{42}}"
    found = Heuristic().propose(text)
    assert [(place.kind, text[place.at :].split(".")[0]) for place in found] == [
        ("compute", "Let me multiply by hand"),
        ("trust", "Wait, let me double-check"),
    ]
    assert Heuristic().propose(f"Plain.{CODE}```output\n42\n```\nSo 42.</think>") == []
    assert Heuristic().propose(f"Short.</think>{HAND}") == [], "the answer is no thinking"


def test_hinting_looks_again_at_what_follows_a_hint(draft, scripted, environment, tokenizer):
    """After the first hint the policy still distrusts the result, and gets the second."""
    answers = iter(["print(6*7)\n```\n" + CHECK + "</think>\\boxed{42}", "</think>\\boxed{42}"])

    class TwoTurns(type(scripted(""))):
        def decoder(self, rows, sampling, batch_size):
            said = next(answers)
            return type(scripted(""))(self.tokenizer, lambda prompt, sample: said).decoder(rows, sampling, batch_size)

    policy = TwoTurns(tokenizer, lambda prompt, sample: "")
    (hinted,) = hint_all(injector(policy, environment), [draft], Heuristic())
    assert [hint.kind for hint in hinted.hints] == ["compute", "trust"]
    text = hinted.text(tokenizer)
    assert "30+12" not in text and text.endswith(f"```output\n42\n```\n{TRUST.text}</think>\\boxed{{42}}")


def test_a_computation_right_behind_a_hint_without_a_full_stop_is_found(scripted, environment, tokenizer):
    (begun,) = injector(scripted(HAND), environment).start([[5]], ["6*7"])
    (hinted,) = hint_all(injector(scripted("print(6*7)\n```\n"), environment), [begun], Heuristic(), max_hints=1)
    assert hinted.text(tokenizer).startswith(GENERAL.text + COMPUTE.inserted + "print(6*7)")


def test_manual_places_are_read_written_and_refused_by_row(tmp_path, draft):
    file = tmp_path / "places.jsonl"
    Manual({"6*7": ManualPlace(24, "compute", "Let me", "manual: reviewed"), "no": None}).write(file)
    places = Manual.read(file)
    assert places.propose("", draft) == [Proposal(24, "compute", "manual: reviewed")]
    assert places.by_key["no"] is None and places.propose("", Trace(draft.trajectory, (), "no")) == []
    assert places.propose("", Trace(draft.trajectory, (), "other")) == []
    good = '{"key": "a", "at": 1, "kind": "trust", "quote": "he"}\n'
    for row, message in (
        ('{"key": "b", "at": -1, "kind": "trust", "quote": "he"}', "row 2: at is -1"),
        ('{"key": "b", "at": 1, "kind": "doubt", "quote": "he"}', "row 2: kind is 'doubt'; allowed: general, compute"),
        ('{"key": "b", "at": 1, "kind": "trust"}', "row 2: quote is None; allowed: the words of the draft"),
        (good, "row 2: key is 'a' again; allowed: one place for each draft"),
    ):
        file.write_text(good + row)
        with pytest.raises(UserError, match=message):
            Manual.read(file)


def manual(text, words, kind, key="6*7"):
    """A place before these words of a text."""
    at = text.index(words)
    return Manual({key: ManualPlace(at, kind, text[at : at + 20])})


def test_a_manual_place_gets_one_hint(draft, scripted, environment, tokenizer):
    """What the policy goes on to say has the same length and more habits: the place does not count for it."""
    text = draft.text(tokenizer)
    policy = scripted("print(6*7)\n```\n" + CHECK + HAND + HAND + "</think>\\boxed{42}")
    (hinted,) = hint_all(injector(policy, environment), [draft], manual(text, "Let me multiply", "compute"))
    assert [hint.kind for hint in hinted.hints] == ["compute"]
    assert hinted.text(tokenizer).count(COMPUTE.text) == 1


def test_a_second_hint_is_placed_in_the_hinted_trace(draft, scripted, environment, tokenizer):
    first = manual(draft.text(tokenizer), "Let me multiply", "compute")
    said = scripted("print(6*7)\n```\n" + CHECK + "</think>\\boxed{42}")
    (once,) = hint_all(injector(said, environment), [draft], first)
    second = manual(once.text(tokenizer), "Wait, let me", "trust")
    (twice,) = hint_all(injector(scripted("</think>\\boxed{42}"), environment), [once], second)
    assert [hint.kind for hint in twice.hints] == ["compute", "trust"]
    assert twice.text(tokenizer).endswith(f"```output\n42\n```\n{TRUST.text}</think>\\boxed{{42}}")


def test_places_that_are_none_of_the_draft_are_refused_by_row(draft, scripted, environment, tokenizer):
    text = draft.text(tokenizer)
    output = text.index("42\n```\nWait")
    inject = injector(scripted("so"), environment)
    for key, place, message in (
        ("other", ManualPlace(3, "trust", text[3:9]), "row 1: key is 'other'; allowed: keys of the drafts, such as '6"),
        ("6*7", ManualPlace(9999, "trust", "x"), f"row 1: at is 9999; allowed: up to {len(text)}"),
        ("6*7", ManualPlace(3, "trust", "Wait"), "row 1: quote is 'Wait', but the draft has ' factors are"),
        ("6*7", ManualPlace(3, "trust", ""), "row 1: quote is '', but"),
        ("6*7", ManualPlace(output, "trust", "42"), f"row 1: at is {output}, within an output block"),
    ):
        with pytest.raises(UserError, match=message):
            hint_all(inject, [draft], Manual({key: place}))
    (ended,) = hint_all(inject, [draft], Manual({"6*7": ManualPlace(len(text), "trust", "")}))
    assert ended.text(tokenizer) == f"{text}{TRUST.text}so", "the end of the sequence is cut"


def test_a_place_within_an_earlier_hint_is_refused(draft, scripted, environment):
    inject = injector(scripted("so"), environment)
    hinted = inject.insert(draft, 5, TRUST)
    with pytest.raises(UserError, match="at = 6: lies within a hint"):
        inject.insert(hinted, 6, TRUST)
    assert len(inject.insert(hinted, 5, TRUST).hints) == 1, "before it the hint is cut away with what follows"


def test_the_heuristic_leaves_outputs_alone_and_needs_a_step(draft, scripted, environment, tokenizer):
    """A proposal within an output is passed over, and the next one counts."""

    class Inside:
        rereads = True

        def propose(self, text, trace):
            return [
                Proposal(text.index("42\n```\nWait") + 1, "trust", "llm"),
                Proposal(text.index("Wait"), "trust", "llm"),
            ]

    (hinted,) = hint_all(injector(scripted("so"), environment), [draft], Inside(), max_hints=1)
    text = hinted.text(tokenizer)
    assert text.endswith(f"```output\n42\n```\n{TRUST.text}so")
    with pytest.raises(UserError, match="num_steps = 0: must be at least 1"):
        Heuristic(0)


def test_a_language_model_names_places_by_their_words(draft):
    def ask(text):
        return [
            {"kind": "trust", "quote": "Wait, let me"},
            {"kind": "compute", "quote": "Let me multiply"},
            {"kind": "compute", "quote": "not there"},
            {"kind": "doubt", "quote": "Wait, let me"},
            {"kind": "trust", "quote": "6*5=30"},
        ]

    found = LanguageModel(ask).propose(DRAFT, draft)
    assert [(place.kind, DRAFT[place.at :][:4]) for place in found] == [("compute", "Let "), ("trust", "Wait")]


def test_random_places_are_in_prose_behind_the_last_hint_and_keyed(draft, scripted, environment, tokenizer):
    text = draft.text(tokenizer)
    kinds = {str(seed): ["compute", "trust"] for seed in range(40)}
    places = [Random(kinds, tokenizer).propose(text, Trace(draft.trajectory, (), key))[0] for key in kinds]
    assert {place.kind for place in places} == {"compute"} and len({place.at for place in places}) > 10
    fences = range(text.index("```python"), text.index("```\nWait") + 4)
    assert all(place.at not in fences and place.at < text.index("</think>") for place in places)
    again = [Random(kinds, tokenizer).propose(text, Trace(draft.trajectory, (), key))[0] for key in kinds]
    assert again == places
    hinted = injector(scripted(text), environment).insert(draft, 20, GENERAL, "random")
    (place,) = Random({"6*7": ["general", "trust"]}, tokenizer).propose(hinted.text(tokenizer), hinted)
    assert place.kind == "trust" and place.at >= 20 + len(GENERAL.text)
    assert Random({}, tokenizer).propose(text, draft) == []


def test_offsets_in_characters_become_whole_tokens(tokenizer):
    ids = tokenizer.encode("ab</think>c")
    assert [token_offset(tokenizer, ids, at) for at in (0, 1, 2, 5, 10, 11)] == [0, 1, 2, 2, 3, 4]


def test_traces_that_cannot_be_read_are_refused_by_row(tmp_path):
    file = tmp_path / "traces.jsonl"
    file.write_text(
        '{"prompt_ids": [1], "token_ids": [2], "loss_mask": [], "log_probs": [], "stop_reason": "stop", "hints": []}\n'
    )
    with pytest.raises(UserError, match="row 1: token_ids, loss_mask and log_probs"):
        read_traces(file)
    file.write_text('{"prompt_ids": [1], "token_ids": [2], "loss_mask": [true], "stop_reason": "stop", "hints": []}\n')
    with pytest.raises(UserError, match="row 1: is no trace"):
        read_traces(file)


def test_the_paper_has_three_hints():
    assert set(HINTS) == {"general", "compute", "trust"} and isinstance(HINTS["trust"], HintSpec)
    assert [hint.opens_code for hint in HINTS.values()] == [False, True, False]
