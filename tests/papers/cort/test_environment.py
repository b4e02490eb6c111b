"""The tool loop: state over programs, exact bytes, budgets, masks, and time-outs that the trajectory survives."""

import time

import pytest

from tenfold.core.errors import UserError
from tenfold.envs import Limits, Sandbox
from tenfold.papers.cort import formats
from tenfold.papers.cort.config import LoopConfig
from tenfold.papers.cort.detectors import segments
from tenfold.papers.cort.environment import CodeEnvironment, LoopSettings, Resumption
from tenfold.papers.cort.traces import Trace
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout


def program(*lines):
    """Lines as a program in the format of a trace."""
    return "```python\n" + "\n".join(lines) + "\n```\n"


TWO = "First.\n" + program("x = 6", "print(x)") + "Then.\n" + program("print(x * 7)") + "</think>\\boxed{42}"


@pytest.mark.spec("cort", "1")
def test_the_second_program_sees_a_variable_of_the_first(play):
    trajectory, text = play(TWO)
    assert [call["output"] for call in trajectory.tool_calls] == ["6", "42"]
    assert formats.final_answer(text) == "42"


@pytest.mark.spec("cort", "1")
def test_with_fresh_state_it_does_not(play):
    trajectory, _ = play(TWO, state="fresh")
    first, second = trajectory.tool_calls
    assert first["output"] == "6"
    assert "NameError" in second["output"] and second["failed"] and second["status"] == "error"


def test_replayed_state_has_the_names_but_not_the_failed_programs(play):
    broken = (
        "A.\n" + program("y = 5", "1 / 0") + "B.\n" + program("x = 2", "print(x)") + "C.\n" + program("print(x, y)")
    )
    persistent, _ = play(broken)
    replayed, _ = play(broken, state="replay")
    assert persistent.tool_calls[2]["output"] == "2 5"
    assert "NameError" in replayed.tool_calls[2]["output"], "a failed program leaves nothing behind"


@pytest.mark.spec("cort", "2")
def test_the_bytes_between_a_program_and_what_follows(play):
    _, text = play("So.\n" + program("print(2)") + "It is 2.")
    assert text == "So.\n```python\nprint(2)\n```\n```output\n2\n```\nIt is 2."


@pytest.mark.spec("cort", "2")
def test_another_fence_runs_nothing_and_appends_nothing(play):
    said = "See:\n```text\nprint(2)\n```\nand `code`\nmore.\n"
    trajectory, text = play(said)
    assert text == said and trajectory.tool_calls == () and all(trajectory.loss_mask)


@pytest.mark.spec("cort", "2")
def test_replay_answers_another_fence_by_an_empty_block(play):
    trajectory, text = play("See:\n```text\nprint(2)\n```\nmore", state="replay")
    assert text == "See:\n```text\nprint(2)\n```\n```output\n\n```\nmore" and trajectory.tool_calls == ()


def test_a_line_that_ends_in_a_back_tick_does_not_end_a_program(play):
    trajectory, _ = play(program("# as in `a`", "a = 3", "print(a)"))
    assert [call["output"] for call in trajectory.tool_calls] == ["3"]


@pytest.mark.parametrize("state", ["persistent", "fresh", "replay"])
def test_a_program_in_a_numbered_list_runs(play, state):
    said = "1. First:\n   ```python\n   for i in range(2):\n       x = i\n   print(x)\n   ```\nSo 1."
    trajectory, text = play(said, state=state)
    (call,) = trajectory.tool_calls
    assert (call["output"], call["failed"]) == ("1", False) and call["program"].startswith("for i")
    assert text == said.replace("So 1.", "```output\n1\n```\nSo 1.")


@pytest.mark.parametrize("state", ["persistent", "fresh", "replay"])
def test_an_output_is_stripped_on_both_sides(play, state):
    trajectory, _ = play(program("print('\\n  1 2\\n 3 4 \\n\\n')") + "so", state=state)
    assert trajectory.tool_calls[0]["output"] == "1 2\n 3 4"


def test_replay_shows_the_traceback_alone_as_the_released_code_does(play):
    said = program("print('seen')", "1 / 0") + "so"
    (replayed,), (kept,) = (play(said, state=state)[0].tool_calls for state in ("replay", "persistent"))
    assert "seen" not in replayed["output"] and replayed["output"].startswith(formats.TRACEBACK)
    assert (
        replayed["output"].endswith("ZeroDivisionError: division by zero")
        and '"<string>", line 2' in replayed["output"]
    )
    assert replayed["status"] == "error" and replayed["failed"]
    assert kept["output"].startswith(f"seen\n{formats.TRACEBACK}") and kept["status"] == "error"


def test_replay_executes_as_the_released_code_does(play):
    """In names that are no ``__main__``; what leaves the program is an error like any other."""
    leaves = program("import sys", "y = 1", "sys.exit()")
    guarded = program("if __name__ == '__main__':", "    print(1)")
    first, second, third = play(leaves + guarded + program("print(y)"), state="replay")[0].tool_calls
    assert first["output"].endswith("SystemExit") and first["failed"] and first["status"] == "error"
    assert second["output"] == "" and second["failed"]
    assert "NameError" in third["output"], "a program that failed is not replayed"


def test_replay_keeps_the_lines_of_a_program_beside_those_that_print(play):
    said = program("x = 6", "pprint = print", "x += 1", "sp = None") + program("print(x)")
    assert [call["output"] for call in play(said, state="replay")[0].tool_calls] == ["", "7"]
    helpers = program("x = 6", "print(x)", "printed = 1", "y = x") + program("print(x + y)")
    assert [call["output"] for call in play(helpers, state="replay")[0].tool_calls] == ["6", "12"]


def test_a_long_traceback_and_a_long_output_are_cut_after_they_are_stripped(play):
    said = program("print(' ' * 900 + 'a' * 5000)") + program("raise ValueError('b' * 5000)") + "so"
    first, second = play(said, state="replay")[0].tool_calls
    assert first["output"] == "a" * 400 + "..." + "a" * 400
    assert second["output"].startswith(formats.TRACEBACK) and second["output"].endswith("b" * 400)


@pytest.mark.spec("cort", "3")
def test_of_three_rounds_two_programs_run_and_the_second_output_has_the_notice(play):
    trajectory, text = play("".join(f"{i}.\n" + program(f"print({i})") for i in range(3)) + "end", max_tool_calls=2)
    assert [call["output"] for call in trajectory.tool_calls] == ["0", "1"]
    assert text.count(formats.NOTICE) == 1
    assert f"```output\n1\n{formats.NOTICE}\n```\n2." in text
    assert text.endswith("```python\nprint(2)\n```\nend"), "the third program stays as it is"


@pytest.mark.spec("cort", "3")
def test_in_replay_rounds_without_a_program_count(play):
    said = "a\n```text\n```\n" + program("print(1)") + program("print(2)") + "end"
    trajectory, text = play(said, state="replay", max_tool_calls=2)
    assert [call["output"] for call in trajectory.tool_calls] == ["1"]
    assert f"1\n{formats.NOTICE}\n```" in text


@pytest.mark.spec("cort", "3")
@pytest.mark.parametrize("limit", range(1, 120, 7))
def test_the_length_budget_is_never_exceeded(play, limit):
    trajectory, text = play(TWO, sampling=Sampling(limit, count_replies=True))
    assert len(trajectory.token_ids) <= limit
    assert text.count("```output\n") == text.count("```\n```output"), "an output is there as a whole or not at all"
    assert (trajectory.stop_reason == "length") == ("boxed{42}" not in text)


@pytest.mark.spec("cort", "4")
def test_the_mask_counts_the_sampled_tokens(play, tokenizer, random_text):
    for said in (TWO, "no tool at all", *map(random_text, range(8))):
        trajectory, _ = play(said)
        assert sum(trajectory.loss_mask) == len(tokenizer.encode(said)) + 1, "and the end of the sequence"
        outputs = [i for call in trajectory.tool_calls for i in range(call["begin"], call["end"])]
        assert [i for i, sampled in enumerate(trajectory.loss_mask) if not sampled] == outputs


@pytest.mark.spec("cort", "5")
def test_the_sampled_tokens_stay_what_they_were_though_the_text_would_be_encoded_otherwise(sandbox):
    """Digits come one by one from this policy, while its tokenizer has a token for pairs of them."""
    tokenizer = character_tokenizer(special=("42", formats.STOP))
    single = [*tokenizer.encode("```python\nprint(4"), *tokenizer.encode("2)\n```\nso 4"), *tokenizer.encode("2")]
    assert tokenizer.encode(tokenizer.decode(single)) != single, "decoding and encoding is not the identity"

    class OneByOne(ScriptedPolicy):
        def encode(self, text):
            return single if text == "said" else super().encode(text)

    policy = OneByOne(tokenizer, lambda prompt, sample: "said")
    (found,) = rollout(policy, [[5]], Sampling(200), environment=CodeEnvironment(sandbox, tokenizer))
    assert found.sampled_ids == [*single, tokenizer.eos_token_id]
    assert [call["output"] for call in found.tool_calls] == ["42"]
    row = Trace(found).training_row()
    assert trained_ids(row) == [*single, tokenizer.eos_token_id]
    assert trained_ids(encoded_again(found, tokenizer)) != [*single, tokenizer.eos_token_id]


def trained_ids(row):
    return [token for token, trains in zip(row["input_ids"], row["completion_mask"], strict=True) if trains]


def encoded_again(trajectory, tokenizer):
    """A training row as an implementation makes it that goes through text: its mask by outputs found in the text."""
    text = tokenizer.decode(trajectory.token_ids)
    token_ids, mask = list(trajectory.prompt_ids), [0] * len(trajectory.prompt_ids)
    for part in segments(text):
        encoded = tokenizer.encode(text[part.start : part.end])
        token_ids, mask = token_ids + encoded, mask + [int(part.kind != "output")] * len(encoded)
    return {"input_ids": token_ids, "completion_mask": mask}


@pytest.mark.spec("cort", "7")
def test_a_long_output_keeps_head_and_tail(play):
    trajectory, text = play(program("print('a' * 5000 + 'b' * 5000)") + "so")
    output = trajectory.tool_calls[0]["output"]
    assert output == "a" * 400 + "..." + "b" * 400 and len(output) == 803
    assert output in text


@pytest.mark.alone
@pytest.mark.spec("cort", "7")
@pytest.mark.parametrize(
    "lines",
    [
        ("while True: pass",),
        ("while True:", "    try:", "        while True: pass", "    except BaseException: pass"),
    ],
)
def test_a_program_without_end_is_stopped_and_the_trajectory_goes_on(tokenizer, scripted, lines):
    policy = scripted(program("x = 1") + program(*lines) + "so\n" + program("print(1)") + "</think>\\boxed{1}")
    with Sandbox(limits=Limits(seconds=0.5), modules=("math",), max_sessions=2) as sandbox:
        timed = Timed(sandbox)
        (found,) = rollout(policy, [[5]], Sampling(2000), environment=CodeEnvironment(timed, tokenizer))
    _, endless, last = found.tool_calls
    assert endless["status"] == "timeout" and endless["failed"] and last["output"] == "1"
    assert 0.5 <= timed.seconds[1] < 0.5 + 1.0, "the first program had started the interpreter"
    assert formats.final_answer(policy.decode(found.token_ids)) == "1"


class Timed:
    """A sandbox with one interpreter, which notes how long each program takes."""

    def __init__(self, sandbox):
        self.sandbox, self.seconds = sandbox, []

    def open(self):
        self.session = self.sandbox.open()
        return self

    def run(self, code, **options):
        started = time.monotonic()
        try:
            return self.session.run(code, **options)
        finally:
            self.seconds.append(time.monotonic() - started)

    def close(self):
        self.session.close()


def test_an_output_cannot_spell_a_special_token(play, tokenizer):
    trajectory, text = play(program("print('</thi' + 'nk>')") + "so")
    assert "```output\n</think>\n```" in text
    assert tokenizer.convert_tokens_to_ids("</think>") not in trajectory.token_ids


def test_a_resumed_trajectory_has_the_names_and_the_budget_of_what_came_before(tokenizer, sandbox, scripted):
    calls = ({"program": "x = 6\nprint(x)", "output": "6", "status": "ok", "failed": False, "begin": 3, "end": 9},)
    settings = LoopSettings(max_tool_calls=2)
    resumed = {0: Resumption(calls, "so\n```python\n", 30)}
    environment = CodeEnvironment(sandbox, tokenizer, settings, resumed)
    policy = scripted("print(x * 7)\n```\n" + program("print(0)") + "end")
    (found,) = rollout(policy, [[5]], Sampling(200), environment=environment)
    assert [call["output"] for call in found.tool_calls] == ["42"], "the first program and this one are all there are"
    assert found.tool_calls[0]["begin"] == 30 + len(tokenizer.encode("print(x * 7)\n```\n"))


def test_what_is_wrong_is_said_in_a_line(sandbox):
    with pytest.raises(UserError, match="state = 'kept'; allowed: persistent, fresh, replay"):
        LoopSettings(state="kept")
    with pytest.raises(UserError, match=r"echo_last_expression = True with state = replay: .* allowed: False"):
        LoopSettings(state="replay", echo_last_expression=True)
    with pytest.raises(UserError, match=r"echo_last_expression = True: does not act here; set loop.state = persistent"):
        LoopConfig(state="replay", echo_last_expression=True)
    with pytest.raises(UserError, match="max_tool_calls = -1"):
        LoopSettings(max_tool_calls=-1)
    with pytest.raises(UserError, match="one token for"):
        CodeEnvironment(sandbox, character_tokenizer(), LoopSettings(state="replay"))
