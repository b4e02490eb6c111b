"""The stages and arms with a policy whose every word is known, and programs that are products: no training."""

from dataclasses import replace

import pytest

from tenfold.core.cell import Cell
from tenfold.papers.cort import multiplication, recipe, stages
from tenfold.papers.cort.config import Config, EvaluationConfig, LoopConfig, RatesConfig, TaskConfig, TracesConfig
from tenfold.papers.cort.environment import CodeEnvironment
from tenfold.papers.cort.formats import OPENING
from tenfold.papers.cort.method import GENERAL
from tenfold.papers.cort.questions import load_questions
from tenfold.policies import ScriptedPolicy, character_tokenizer
from tenfold.train.settings import GRPOSettings

CONFIG = Config(
    task=TaskConfig(num_test=6, num_validation=4),
    loop=LoopConfig(count_outputs=True),
    traces=TracesConfig(num_problems=24, num_examples=100, num_hinted=2, rft_samples=2, max_new_tokens=300),
    grpo=GRPOSettings(steps=3, prompts_per_step=2, num_generations=2),
    rates=RatesConfig(rl=1.0, rl_from_base=2.0, rl_from_base_unmasked=3.0, no_tool_rl=4.0),
    evaluation=EvaluationConfig(max_new_tokens=300, budgets=(20,)),
)


def is_right(key):
    """Whether the policy's answers to a product are right: for even first factors."""
    return int(key.split("*")[0]) % 2 == 0


def habit(key):
    """What the tuned policy does at a product."""
    return ("clean", "delayed", "distrust")[int(key.split("*")[1]) % 3]


class Known(ScriptedPolicy):
    """Works by hand, verifies by program and answers; behind an opened program it goes on with the product."""

    num_parameters = 7

    def encode(self, text, *, start=False):
        return super().encode(text)

    def save(self, folder):
        """Nothing to save."""

    def decoder(self, rows, sampling, batch_size):
        said = [self.said(self.decode(row.ids)) for row in rows]
        script = ScriptedPolicy(self.tokenizer, lambda prompt, sample: said[prompt])
        return script.decoder(rows, sampling, batch_size)

    def said(self, before):
        key = before.partition("\n")[0]
        left, right = map(int, key.split("*"))
        answer = f"</think>\n\\boxed{{{left * right if is_right(key) else 1}}}"
        program = f"print({left}*{right})\n```\n"
        by_hand = f"Let me multiply by hand. {left}*1={left}. {left}*{right}={left * right}."
        if before.endswith(OPENING):
            return program + answer
        if not before.endswith(("<think>\n", GENERAL.text)):
            return answer
        kind = habit(key) if self.script else "delayed"
        parts = [by_hand if kind == "delayed" else "The two factors are given.", f"\n{OPENING}{program}"]
        return "".join([*parts, "Wait, let me double-check. " + by_hand if kind == "distrust" else "", answer])


@pytest.fixture(scope="module")
def tokens():
    return character_tokenizer(multiplication.ALPHABET, special=multiplication.SPECIAL)


@pytest.fixture
def base(tokens):
    return Known(tokens, None)


@pytest.fixture
def tuned(tokens):
    """Its habit depends on the product."""
    return Known(tokens, habit)


class Calculator:
    """An executor that knows products alone."""

    status = "ok"

    def open(self):
        return self

    def run(self, code, *, echo_last_expression=False):
        left, right = code.removeprefix("print(").removesuffix(")\n").split("*")
        self.output = str(int(left) * int(right))
        return self

    def close(self):
        """Nothing to close."""


@pytest.fixture
def study(tmp_path):
    cell = Cell(arm="rft", seed=0, directory=tmp_path / "cells/rft/seed-0", device="cpu")
    return stages.Study(CONFIG, cell, Calculator(), 1)


@pytest.fixture
def gathered(study, base):
    return stages.gather(study, base)


def all_keys():
    return [question.key for question in load_questions(CONFIG.task, CONFIG.traces.num_problems, 0).train]


def test_only_right_traces_are_examples_and_every_set_has_as_many(gathered):
    right = [key for key in all_keys() if is_right(key)]
    assert 2 < len(right) < len(all_keys())
    assert {name: len(traces) for name, traces in gathered.sets.items()} == dict.fromkeys(stages.SETS, len(right))
    assert [trace.key for trace in gathered.sets["hint_engineering"]] == right
    assert all(is_right(trace.key) for traces in gathered.sets.values() for trace in traces)
    assert gathered.base["base/accuracy"] == pytest.approx(len(right) / len(all_keys()))


def test_hints_are_where_the_habit_begins_and_random_ones_are_elsewhere(gathered, tokens):
    hinted, shuffled = gathered.sets["hint_engineering"], gathered.sets["random_hints"]
    assert {tuple(hint.kind for hint in trace.hints) for trace in hinted} == {("general", "compute")}
    assert all("by hand" not in trace.text(tokens) for trace in hinted)
    assert {hint.decided_by for trace in shuffled for hint in trace.hints[1:]} == {"random"}
    assert {tuple(hint.kind for hint in trace.hints) for trace in shuffled} == {("general", "compute")}
    places = {
        name: [trace.hints[1].at for trace in gathered.sets[name]] for name in ("hint_engineering", "random_hints")
    }
    assert len(set(places["random_hints"])) > 2 and places["random_hints"] != places["hint_engineering"]


def test_truncated_traces_are_unhinted_ones_cut_to_the_length_of_the_hinted(gathered):
    drafts = {trace.key: trace.trajectory.token_ids for trace in gathered.sets["prompt_hint"]}
    for cut, hinted in zip(gathered.sets["truncated"], gathered.sets["hint_engineering"], strict=True):
        length = len(hinted.trajectory.token_ids)
        assert cut.key == hinted.key and length < len(drafts[cut.key])
        assert cut.trajectory.token_ids == drafts[cut.key][:length]


def test_the_filter_counts_what_it_drops(study, tuned):
    kept, counts = stages.rejection_sampled(study, tuned)
    right = [key for key in all_keys() if is_right(key)]
    num = {name: 2 * sum(habit(key) == name for key in right) for name in ("clean", "delayed", "distrust")}
    assert min(num.values()) > 0
    assert counts == {
        "wrong": 2 * (len(all_keys()) - len(right)),
        "delayed": num["delayed"],
        "distrust": num["distrust"],
        "kept": num["clean"],
    }
    clean = [key for key in right if habit(key) == "clean"]
    assert [trace.key for trace in kept] == clean + clean, "a second sample of a problem comes after all first ones"


def test_rejection_fine_tuning_has_hinted_examples_first(study, gathered, tuned, monkeypatch):
    monkeypatch.setattr(stages, "hint_engineering", lambda study, before: tuned)
    examples, hinted = stages.rft_examples(study), gathered.sets["hint_engineering"]
    assert examples[:2] == hinted[:2]
    assert all(trace.hints == () and habit(trace.key) == "clean" for trace in examples[2:])
    assert 2 < len(examples) <= len(hinted)


ARMS = {
    "rl": ("rft", 1.0, True, True),
    "rl_from_base": ("base", 2.0, True, True),
    "rl_from_base_unmasked": ("base", 3.0, True, False),
    "no_tool": ("flawless", 4.0, False, True),
}


@pytest.mark.parametrize("arm", ARMS)
def test_what_reinforcement_is_given(study, base, monkeypatch, arm):
    calls, validated = [], []
    starts = {name: replace(base, context=n) for n, name in enumerate(("rft", "base", "flawless"), start=500)}
    monkeypatch.setattr(stages, "rft", lambda study, before: starts["rft"])
    monkeypatch.setattr(stages, "base", lambda study: starts["base"])
    monkeypatch.setattr(recipe, "_flawless", lambda study, before: starts["flawless"])
    monkeypatch.setattr(recipe, "validation", lambda *given: validated.append(given[3]))
    monkeypatch.setattr(recipe, "grpo", lambda *given, **options: calls.append((given, options)))
    recipe.trained(study, arm)
    start, rate, with_tool, masked = ARMS[arm]
    (((policy, dataset, rewards, settings, _), options),) = calls
    assert policy is starts[start] and settings.optimizer.learning_rate == rate
    assert [reward.__name__ for reward in rewards] == ["accuracy", "code"][: 1 + with_tool]
    assert settings.reward_weights == (1.0, 0.1)[: 1 + with_tool]
    assert rewards[0].tokenizer is policy.tokenizer and len(dataset) == 3 * 2
    assert options["mask_replies"] == masked and options["count_replies"] and options["deterministic"]
    assert validated == [with_tool]
    environment = options["environment"]
    assert isinstance(environment([]), CodeEnvironment) if with_tool else environment is None


@pytest.mark.parametrize(("arm", "code_use"), [("no_tool", 0.0), ("prompt_hint", 1.0)])
def test_the_arm_without_a_tool_is_tested_without_it(tmp_path, base, gathered, monkeypatch, arm, code_use):
    monkeypatch.setattr(recipe, "trained", lambda study, arm: base)
    monkeypatch.setattr(stages, "base", lambda study: base)
    monkeypatch.setattr(stages, "gather", lambda study, policy: gathered)
    cell = Cell(arm=arm, seed=0, directory=tmp_path / "cells" / arm / "seed-0", device="cpu")
    scores = recipe.run(CONFIG, arm, 0, cell)
    assert scores.metrics["test/code_use"] == code_use
    assert (scores.metrics["test/tool_tokens"] > 0) == bool(code_use)


class Launch:
    """Two processes of a launch as this one sees them: what the main one sees of files, and where all wait."""

    def __init__(self, monkeypatch, seen):
        self.waited = []
        monkeypatch.setattr(stages, "num_launched", lambda: 2)
        monkeypatch.setattr(stages, "broadcast", lambda value, device: seen)
        monkeypatch.setattr(stages, "wait_for_everyone", self.waited.append)


def test_a_late_process_makes_what_the_main_one_makes_and_all_wait_for_the_file(tmp_path, base, monkeypatch):
    """The file is there already when the second process looks, but was not when the first one did."""
    launch = Launch(monkeypatch, seen=False)
    cell = Cell(arm="rl", seed=0, directory=tmp_path, device="cpu", is_main=False)
    (tmp_path / "done.json").write_text("{}")
    assert stages.once(cell, lambda: base) is base and launch.waited == ["cpu"]


def test_the_main_process_waits_after_it_has_written(tmp_path, base, monkeypatch):
    Launch(monkeypatch, seen=False)
    found = []
    monkeypatch.setattr(stages, "wait_for_everyone", lambda device: found.append((tmp_path / "done.json").is_file()))
    stages.once(Cell(arm="rl", seed=0, directory=tmp_path, device="cpu", is_main=True), lambda: base)
    assert found == [True]
