"""The benchmarks run, their rivals compute what they say, and sides are compared fairly. Nothing here is timed."""

import importlib
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from tenfold.data.sudoku_solver import solve
from tenfold.papers.hrm import config as presets

FOLDER = Path(__file__).parents[1] / "benchmarks"
KEYS = ["name", "ours", "rival", "rival_name", "unit", "ratio"]


@pytest.fixture(scope="module", autouse=True)
def _on_the_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield


def benchmark():
    return importlib.import_module("hrm")


def lines(capsys, *arguments):
    benchmark().main(["--quick", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_quick_comparison_is_a_line_of_json(capsys):
    measured = lines(capsys, "--parts", "step", "optimizer", "sudoku")
    assert [list(line) for line in measured] == [KEYS] * 6
    for line in measured:
        assert line["ratio"] == pytest.approx(line["ours"] / line["rival"]) and line["ratio"] > 0
    assert len({(line["name"], line["rival_name"]) for line in measured}) == 6


def test_every_quick_comparison_of_the_optimizers_is_a_line_of_json(capsys):
    importlib.import_module("optim").main(["--quick", "--json"])
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["rival_name"] for line in measured} >= {"torch.optim.Muon"}
    assert [list(line) for line in measured] == [KEYS] * len(measured)
    assert all(line["ratio"] == pytest.approx(line["ours"] / line["rival"]) for line in measured)


def test_every_quick_comparison_of_world_models_is_a_line_of_json(capsys):
    importlib.import_module("world_model").main(["--quick", "--json", "--parts", "step", "planning"])
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["rival_name"].split(",")[0] for line in measured][:2] == [
        "one call for each prefix",
        "DINO-WM's predictor",
    ]
    assert [list(line) for line in measured] == [KEYS] * len(measured)


def test_every_quick_comparison_of_rollouts_is_a_line_of_json(capsys):
    importlib.import_module("rollout").main(["--quick", "--json"])
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rivals = ["generate"] * 4 + ["synchronous rounds", "no latency", "all of it"]
    assert [list(line) for line in measured] == [KEYS] * 7 and [line["rival_name"] for line in measured] == rivals
    assert all(line["ratio"] == pytest.approx(line["ours"] / line["rival"]) for line in measured)


def test_a_slow_tool_is_busy_while_at_least_one_call_is_under_way():
    tool = importlib.import_module("rollout").SlowTool(0.0)
    assert tool.busy() == 0
    tool.calls += [(5.0, 6.0), (1.0, 2.0), (1.5, 3.0), (1.6, 1.7), (3.0, 4.0)]
    assert tool.busy() == pytest.approx(4.0)


def test_the_ways_of_waiting_for_a_tool_sample_the_same_tokens():
    benchmark = importlib.import_module("rollout")
    options = benchmark.Options(quick=True, mean=4, prompt=8)
    policy = benchmark.tiny_of(options)
    benchmark.end_at_random(policy, options.mean)
    ways = ((0.01, False), (0.01, True), (0.0, False))
    said = [benchmark.Calls(policy, options, 8, *way)() for way in ways]
    tokens = [[each.token_ids for each in trajectories] for trajectories in said]
    assert tokens[0] == tokens[1] == tokens[2]
    assert sum(not all(each.loss_mask) for each in said[0]) >= 6, "most of them end a turn, and call"


def test_both_sides_of_the_rollout_benchmark_end_by_the_same_law():
    """Completions end with probability 1 / mean at each token: the expected number of tokens is what is measured."""
    benchmark = importlib.import_module("rollout")
    from tenfold.policies import Sampling, rollout, tiny_policy

    policy, options = tiny_policy("abcdefghijklmnopqrst", width=16, layers=1, heads=2), benchmark.Options(mean=6)
    benchmark.end_at_random(policy, options.mean)
    prompts = benchmark.prompts_of(policy, options, 40)
    said = rollout(policy, prompts, Sampling(max_new_tokens=options.limit), num_samples=8)
    expected = options.expected_tokens(len(said))
    assert sum(len(each.token_ids) for each in said) == pytest.approx(expected, rel=0.15)
    padded = policy.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    torch.manual_seed(0)
    settings = dict(do_sample=True, top_k=0, max_new_tokens=options.limit, num_return_sequences=8)
    generated = policy.model.generate(**padded, **settings)[:, padded["input_ids"].shape[1] :]
    assert (generated != policy.tokenizer.pad_token_id).sum() == pytest.approx(expected, rel=0.15)


def retrieval(capsys, *arguments):
    importlib.import_module("retrieval").main(["--quick", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_quick_comparison_of_retrieval_is_a_line_of_json(capsys):
    measured = retrieval(capsys)
    assert [list(line) for line in measured] == [KEYS] * 16
    assert {line["rival_name"] for line in measured} == {"rank-bm25", "SQLite FTS5"}
    assert {line["unit"] for line in measured} == {"queries/s", "recall@5"}
    assert all(line["ratio"] == pytest.approx(line["ours"] / line["rival"]) for line in measured)


def test_the_rivals_of_retrieval_find_what_ours_finds():
    """Their formulas differ in idf and in two numbers; on plain questions the first passage is the same."""
    from tenfold.data.fact_corpus import fact_corpus
    from tenfold.envs.search import BM25

    full_text = importlib.import_module("rivals.full_text")
    questions, passages = fact_corpus(300, 80)
    queries = [question.prompt for question in questions if question.facts["topic"] in ("name", "description")]
    ours = [found[0].id for found in BM25(passages).search(queries, 5)]
    for rival in (full_text.RankBM25(passages), full_text.FTS5(passages)):
        theirs = rival.search(queries, 5)
        assert all(len(found) == 5 for found in theirs)
        assert sum(found[0] == first for found, first in zip(theirs, ours, strict=True)) >= 0.9 * len(queries)
    rival.close()


def test_an_engine_without_its_package_is_left_out(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tantivy" else find(name))
    importlib.import_module("retrieval").main(["--quick", "--json", "--engines", "tantivy"])
    said = capsys.readouterr()
    assert not said.out and "tantivy is left out: " in said.err


@pytest.mark.filterwarnings("default")  # the Jupyter kernel's client warns
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap")
def test_every_quick_comparison_of_the_code_sandbox_is_a_line_of_json(capsys):
    importlib.import_module("tools").main(["--quick", "--json"])
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(line) for line in measured] == [KEYS] * len(measured)
    calls, *_, sessions = measured
    assert calls["rival_name"] == "a fresh bubblewrap per call"
    assert calls["ratio"] == pytest.approx(calls["ours"] / calls["rival"])
    assert sessions["unit"] == "ms" and sessions["ratio"] == pytest.approx(sessions["rival"] / sessions["ours"])


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap")
def test_a_side_of_the_sandbox_benchmark_that_prints_something_else_is_noticed():
    tools = importlib.import_module("tools")
    tools.many(lambda: "83810205\n", 2)()
    with pytest.raises(AssertionError, match="is not 83810205"):
        tools.many(lambda: "83810206", 1)()
    assert tools.run_once("print(6 * 7, math.pi > 3)", tools.Limits(), ["math"]) == "42 True\n"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap")
def test_every_quick_comparison_of_programs_is_a_line_of_json(capsys):
    importlib.import_module("programs").main(["--quick", "--json", "--programs", "tug_of_war"])
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["rival_name"] for line in measured] == ["one particle at a time", "the same, in the code sandbox"]
    assert [list(line) for line in measured] == [KEYS] * 2


def test_programs_without_node_say_why_webppl_is_left_out(capsys, monkeypatch):
    programs = importlib.import_module("programs")
    monkeypatch.setattr(programs.webppl.shutil, "which", lambda name: None)
    assert programs.installed() is None
    assert "WebPPL is left out: node is not installed" in capsys.readouterr().err


def test_programs_with_another_posterior_are_noticed():
    programs = importlib.import_module("programs")
    with pytest.raises(AssertionError, match="do not have the same posterior"):
        programs.require_equal("it", [1.0], [2.0], [1.0], 100)


def random_computation(capsys, *arguments):
    importlib.import_module("random_computation").main(["--quick", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_quick_comparison_of_random_computation_is_a_line_of_json(capsys):
    measured = random_computation(capsys, "--parts", "default", "rows")
    assert [line["name"] for line in measured] == ["random LSTM, 4 rows", "random LSTM, 2 rows"]
    assert [list(line) for line in measured] == [KEYS] * 2
    assert all(line["ratio"] == pytest.approx(line["ours"] / line["rival"]) for line in measured)


def test_a_loop_that_says_other_tokens_is_noticed(monkeypatch):
    random_computation = importlib.import_module("random_computation")
    loop = random_computation.lstm_loop.generate
    monkeypatch.setattr(random_computation.lstm_loop, "generate", lambda *given: loop(*given).flip(0))
    with pytest.raises(AssertionError, match="not the same computation"):
        random_computation.main(["--quick", "--parts", "default"])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile warns itself, and takes an error for its own failure
def test_the_compiled_step_of_random_computation_is_compared_with_both(capsys):
    measured = random_computation(capsys, "--parts", "compile")
    assert [line["rival_name"] for line in measured] == ["tenfold, not compiled", "nn.LSTM, a call per token"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile warns itself, and takes an error for its own failure
def test_compiling_pays_off_after_a_number_of_steps(capsys):
    speed, even = lines(capsys, "--parts", "compile")
    assert speed["rival_name"] == "eager"
    assert even["unit"] == "steps" and even["ratio"] == pytest.approx(even["rival"] / even["ours"])


def test_the_steps_that_pay_for_compiling():
    """At 5 instead of 4 steps a second a step saves 0.05 s: 10 s beyond the two steps themselves need 200 steps."""
    hrm = benchmark()
    line = hrm.Comparison("step", 5.0, 4.0, "eager", "steps/s", 1.25)
    even = hrm.break_even(line, 10.4, 1000)
    assert (even.ours, even.rival, even.ratio) == pytest.approx((200, 1000, 5))
    slower = replace(line, ours=3.0)
    assert hrm.break_even(slower, 10.4, 1000).ratio == 0, "never"


def test_the_table_has_a_row_for_every_comparison(capsys):
    benchmark().main(["--quick", "--parts", "optimizer"])
    shown = capsys.readouterr().out
    assert "AdamW(fused=True)" in shown and "×" in shown and "ratio above 1" in shown


@pytest.mark.parametrize("mixer", ["mlp", "attention"])
def test_the_plain_rival_is_the_same_mathematics_and_a_changed_one_is_noticed(mixer):
    hrm = benchmark()
    options = hrm.Options()
    changes = {} if mixer == "mlp" else {"mixer": "attention", "positions": "rope", "num_heads": 2}
    config = replace(presets.smoke().arms.hrm, **changes)
    ours = hrm.our_training(config, 4, options)
    assert hrm.largest_difference(ours, hrm.plain_training(ours.model, 4, options)) < 1e-4
    for name in ("q_bias", "tokens", "f_L.0.mixer.output" if mixer == "attention" else "f_L.0.mixer.down"):
        ours = hrm.our_training(config, 4, options)
        plain = hrm.plain_training(ours.model, 4, options)
        with torch.no_grad():
            plain.model.get_parameter(name).mul_(1.1)
        assert hrm.largest_difference(ours, plain) > 1e-3, name


@pytest.mark.parametrize("quick", [True, False])
def test_the_encoder_costs_what_our_step_costs(quick):
    hrm = benchmark()
    for config, batch_size in hrm.sizes(hrm.Options(quick=quick)).values():
        layers, share = hrm.encoder_of_equal_flops(config, batch_size)
        counted = hrm.encoder_flops(config, layers, batch_size) / hrm.flops_of_a_step(config, batch_size)
        assert counted == pytest.approx(share) and 0.8 < share < 1.25


def test_the_backtracker_makes_minimal_puzzles():
    minimal_puzzle = importlib.import_module("rivals.sudoku_backtracking").minimal_puzzle
    box, random = (2, 3), Random(0)
    puzzles = np.array([minimal_puzzle(box, random) for _ in range(4)], dtype=np.uint8)
    assert (solve(puzzles, box, limit=2).counts == 1).all()
    for puzzle in puzzles:
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert solve(fewer[None], box, limit=2).counts[0] == 2


def test_sides_take_turns_and_medians_are_compared(monkeypatch):
    side_by_side = importlib.import_module("side_by_side")
    clock, log = [0.0], []
    monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: clock[0])

    def side(name, seconds, amount):
        durations = iter(seconds)

        def run():
            log.append(name)
            clock[0] += next(durations)

        return side_by_side.Side(name, run, amount)

    ours = side("ours", [99, 1, 50, 1], 10)
    rival = side("rival", [99, 4, 4, 0.1], 20)
    (line,) = side_by_side.rates("what", "things/s", ours, [rival], repeats=3)
    assert (line.ours, line.rival, line.ratio) == (10 / 1, 20 / 4, 2.0)
    assert sorted(log[:2]) == ["ours", "rival"] and log[2:] == ["ours", "rival", "rival", "ours", "ours", "rival"]


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap")
def test_quick_comparisons_of_rendering_are_lines_of_json(capsys):
    importlib.import_module("rendering").main(["--quick", "--json", "--parts", "similarity", "charts"])
    similarity, charts = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(similarity) == list(charts) == KEYS
    assert charts["rival_name"] == "a fresh Python for each, not isolated"
    assert charts["ratio"] == pytest.approx(charts["ours"] / charts["rival"])
