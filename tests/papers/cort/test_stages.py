"""The stages and arms with a policy whose every word is known, and programs that are products: no training."""

from dataclasses import replace

import pytest

from tenfold.core.cell import Cell, read_stages
from tenfold.core.errors import UserError
from tenfold.papers.cort import answering, multiplication, recipe, stages
from tenfold.papers.cort.config import Config, EvaluationConfig, LoopConfig, RatesConfig, TaskConfig, TracesConfig
from tenfold.papers.cort.environment import CodeEnvironment
from tenfold.papers.cort.formats import OPENING
from tenfold.papers.cort.method import GENERAL
from tenfold.papers.cort.questions import load_questions
from tenfold.policies import ScriptedPolicy, character_tokenizer
from tenfold.train.settings import GRPOSettings, SFTSettings

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


def study_of(tmp_path, arm, config=CONFIG):
    directory, shared = tmp_path / "cells" / arm / "seed-0", tmp_path / "shared/seed-0"
    cell = Cell(arm=arm, seed=0, directory=directory, shared_directory=shared, device="cpu")
    return answering.Study(config, cell, Calculator())


@pytest.fixture
def study(tmp_path, base, monkeypatch):
    monkeypatch.setattr(stages, "base", lambda study: base)
    return study_of(tmp_path, "rft")


@pytest.fixture
def gathered(study):
    return stages.gathered(study)


BASE = stages.base
SETS = ("begun", "hinted", "misplaced", "truncated")


def all_keys():
    return [question.key for question in load_questions(CONFIG.task, CONFIG.traces.num_problems, 0).train]


def test_only_right_traces_are_examples_and_every_set_has_as_many(gathered):
    right = [key for key in all_keys() if is_right(key)]
    assert 2 < len(right) < len(all_keys())
    assert {name: len(traces) for name, traces in gathered.sets.items()} == dict.fromkeys(SETS, len(right))
    assert [trace.key for trace in gathered.sets["hinted"]] == right
    assert all(is_right(trace.key) for traces in gathered.sets.values() for trace in traces)
    assert gathered.numbers["base/accuracy"] == pytest.approx(len(right) / len(all_keys()))


def test_hints_are_where_the_habit_begins_and_random_ones_are_elsewhere(gathered, tokens):
    hinted, shuffled = gathered.sets["hinted"], gathered.sets["misplaced"]
    assert {tuple(hint.kind for hint in trace.hints) for trace in hinted} == {("general", "compute")}
    assert all("by hand" not in trace.text(tokens) for trace in hinted)
    assert {hint.decided_by for trace in shuffled for hint in trace.hints[1:]} == {"random"}
    assert {tuple(hint.kind for hint in trace.hints) for trace in shuffled} == {("general", "compute")}
    places = {name: [trace.hints[1].at for trace in gathered.sets[name]] for name in ("hinted", "misplaced")}
    assert len(set(places["misplaced"])) > 2 and places["misplaced"] != places["hinted"]


def test_truncated_traces_are_unhinted_ones_cut_to_the_length_of_the_hinted(gathered):
    drafts = {trace.key: trace.trajectory.token_ids for trace in gathered.sets["begun"]}
    for cut, hinted in zip(gathered.sets["truncated"], gathered.sets["hinted"], strict=True):
        length = len(hinted.trajectory.token_ids)
        assert cut.key == hinted.key and length < len(drafts[cut.key])
        assert cut.trajectory.token_ids == drafts[cut.key][:length]


def test_the_filter_counts_what_it_drops(study, tuned):
    kept, counts = stages.filter_samples(study, tuned)
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
    monkeypatch.setattr(stages, "hint_engineering", lambda study: tuned)
    examples, hinted = stages.rejection_sampled(study).sets["examples"], gathered.sets["hinted"]
    assert examples[:2] == hinted[:2]
    assert all(trace.hints == () and habit(trace.key) == "clean" for trace in examples[2:])
    assert 2 < len(examples) <= len(hinted)


def test_a_filter_that_leaves_nothing_says_so(study, gathered, base, monkeypatch):
    monkeypatch.setattr(stages, "hint_engineering", lambda study: base)
    without = replace(study, config=replace(CONFIG, traces=replace(CONFIG.traces, num_hinted=0)))
    with pytest.raises(UserError, match=r"num_hinted = 0: the filter leaves no sample .*delayed \d+, .*kept 0\)"):
        stages.rejection_sampled(without)


def test_traces_are_made_once_for_all_arms_and_read_back_as_they_were_made(tmp_path, study, gathered, monkeypatch):
    """Whichever arm comes first; what making them has cost is the stage's own."""
    monkeypatch.setattr(stages, "base", lambda study: pytest.fail("the stage is finished"))
    read = stages.gathered(study_of(tmp_path, "prompt_hint"))
    assert read == gathered and set(read.sets) == set(SETS)
    assert list(read_stages(tmp_path / "shared/seed-0")) == ["traces"]
    assert not (tmp_path / "cells").exists()


def test_each_stage_asks_for_those_before_it_and_ends_in_a_folder_of_its_own(tmp_path, base, monkeypatch):
    """From the start of arm rl: two trainings of the base, its traces, the teacher, the filter, and rft."""
    trained = []
    programs, thinking, tuning = (SFTSettings(steps=steps) for steps in (1, 2, 3))
    config = replace(CONFIG, sft=tuning, base=replace(CONFIG.base, programs=programs, thinking=thinking))

    def train(policy, rows, settings, cell):
        trained.append((cell.directory.name, settings.steps, settings.optimizer.learning_rate))
        return policy

    def made(cell, name, make, **storing):
        with cell.shared(name) as stage:
            return make(stage)

    monkeypatch.setattr(stages, "sft", train)
    monkeypatch.setattr(stages, "policy_made_once", made)
    monkeypatch.setattr(stages, "untrained", lambda study: base)
    stages.rft(study_of(tmp_path, "rl", config))
    rate, rates = SFTSettings().optimizer.learning_rate, config.rates
    assert trained[:2] == [("programs", 1, rate), ("thinking", 2, rate)]
    assert trained[-1] == ("rft", 3, rates.rft) and ("hint_engineering", 3, rates.hint_engineering) in trained
    assert {name for name, _, _ in trained} == {"programs", "thinking", "hint_engineering", "rft"}
    assert not (tmp_path / "cells").exists()


EXAMPLES = {
    "no_tool": stages.flawless,
    "prompt_hint": stages.begun,
    "hint_engineering": stages.hinted,
    "random_hints": stages.misplaced,
    "truncated": stages.truncated,
    "rft": stages.filtered,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_an_arm_is_fine_tuned_on(tmp_path, study, base, gathered, tuned, monkeypatch, name):
    """Its own examples at its own rate, in a folder of its own, from the base."""
    calls = []
    monkeypatch.setattr(stages, "hint_engineering", lambda study: tuned)
    monkeypatch.setattr(stages, "sft", lambda *given: calls.append(given))
    arm = recipe.ARMS[name]
    own = study_of(tmp_path, name)
    assert arm.examples is EXAMPLES[name] and arm.start is BASE
    recipe.trained(own, replace(arm, start=lambda study: base, reinforcement=None))
    ((policy, rows, settings, cell),) = calls
    assert policy is base and settings.optimizer.learning_rate == getattr(CONFIG.rates, arm.rate)
    assert cell.directory == own.cell.directory / "tuning"
    assert list(rows) == list(EXAMPLES[name](study, base))
    assert name == "rft" or len(rows) == len(gathered.sets["begun"])


def test_only_products_have_flawless_traces_by_hand(study, gathered, base):
    rows = stages.flawless(study, base)
    texts = [base.decode(row["input_ids"]) for row in rows]
    assert all("by hand" in text and OPENING not in text and GENERAL.text not in text for text in texts)
    assert all(text.removesuffix("<eos>").endswith(f"{{{product_in(text)}}}") for text in texts)
    own = replace(CONFIG.task, kind="questions")
    others = replace(study, config=replace(CONFIG, task=own, policy=replace(CONFIG.policy, model="any")))
    assert stages.flawless(others, base) is None


def product_in(text):
    left, right = map(int, text.partition("\n")[0].removeprefix("<bos>").split("*"))
    return left * right


REINFORCED = {
    "rl": (1.0, True, True),
    "rl_from_base": (2.0, True, True),
    "rl_from_base_unmasked": (3.0, True, False),
    "no_tool": (4.0, False, True),
}


@pytest.mark.parametrize("name", REINFORCED)
def test_what_reinforcement_is_given(study, base, monkeypatch, name):
    calls, validated = [], []
    begin = replace(base, context=500)
    arm = recipe.ARMS[name]
    monkeypatch.setattr(recipe, "validation_metrics", lambda study, policy, questions, arm: validated.append(arm))
    monkeypatch.setattr(recipe, "grpo", lambda *given, **options: calls.append((given, options)))
    recipe.trained(study, replace(arm, start=lambda study: begin, examples=None))
    rate, with_tool, masked = REINFORCED[name]
    (((policy, dataset, rewards, settings, cell), options),) = calls
    assert policy is begin and settings.optimizer.learning_rate == rate
    assert cell.directory == study.cell.directory / "reinforcement"
    assert [reward.__name__ for reward in rewards] == ["accuracy", "code"][: 1 + with_tool]
    assert settings.reward_weights == (1.0, 0.1)[: 1 + with_tool]
    assert rewards[0].tokenizer is policy.tokenizer and len(dataset) == 3 * 2
    assert {"prompt", "answer", "data_source"} <= set(dataset.column_names)
    assert options["mask_replies"] == masked and options["count_replies"] and options["deterministic"]
    options["evaluate"](None, 0)
    assert [one.with_tool for one in validated] == [with_tool]
    environment = options["environment"]
    assert isinstance(environment([]), CodeEnvironment) if with_tool else environment is None


def test_reinforcement_goes_on_from_rft_or_from_the_base_and_no_tool_is_tuned_before():
    starts = {name: recipe.ARMS[name].start for name in REINFORCED}
    assert starts["rl"] is stages.rft
    assert {starts[name] for name in ("rl_from_base", "rl_from_base_unmasked", "no_tool")} == {BASE}
    tuned_before = [name for name in REINFORCED if recipe.ARMS[name].examples is not None]
    assert tuned_before == ["no_tool"]


def test_every_rate_has_a_grid_and_trains_one_arm():
    rates = [f"rates.{name}" for name in RatesConfig.__dataclass_fields__]
    assert sorted(recipe.GRID) == sorted(rates)
    trained = {field: recipe.trained_at(field) for field in rates}
    assert trained["rates.no_tool"].reinforcement is None, "what follows the training at the rate is left out"
    assert trained["rates.no_tool_rl"] is recipe.ARMS["no_tool"] and trained["rates.rl"] is recipe.ARMS["rl"]
    grids = {field: len(grid) for field, grid in recipe.GRID.items()}
    reinforced = {field for field, arm in trained.items() if arm.reinforcement is not None}
    assert {grids[field] for field in reinforced} == {4}
    assert {grids[field] for field in set(rates) - reinforced} == {6}


@pytest.mark.parametrize(("arm", "code_use"), [("no_tool", 0.0), ("prompt_hint", 1.0)])
def test_the_arm_without_a_tool_is_tested_without_it(tmp_path, base, gathered, monkeypatch, arm, code_use):
    monkeypatch.setattr(recipe, "trained", lambda study, arm: base)
    monkeypatch.setattr(stages, "gathered", lambda study: gathered)
    cell = study_of(tmp_path, arm).cell
    scores = recipe.run(CONFIG, arm, 0, cell)
    assert scores.metrics["test/code_use"] == code_use
    assert (scores.metrics["test/tool_tokens"] > 0) == bool(code_use)
