"""The verbs: a training on one's own questions and index, from start to model, and the grid of rates."""

import json
from dataclasses import replace

import pytest

from tenfold.core.errors import UserError
from tenfold.data.question_answering import DataMix
from tenfold.envs import build_index
from tenfold.papers.sem import commands, recipe, stages
from tenfold.papers.sem.config import RatesConfig, smoke
from tenfold.papers.sem.grammar import TAGS
from tenfold.papers.sem.prompts import CLOSED_BOOK, SEM
from tenfold.policies import load_policy, tiny_policy


@pytest.fixture
def given(tmp_path):
    """A saved tiny policy, four questions and an index."""
    tiny_policy(special=TAGS, width=16, layers=1, heads=2, context=256).save(tmp_path / "start")
    rows = [{"question": f"Which river is town {i} on?", "answers": ["Tiber", "Tevere"]} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 7, "title": "Rome", "text": "Rome is on the Tiber."}))
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    return {
        "model": str(tmp_path / "start"),
        "data": tmp_path / "rows.jsonl",
        "index": tmp_path / "index",
        "out": tmp_path / "out",
        "instructions": "none",
        "steps": 2,
        "prompts_per_step": 2,
        "num_generations": 2,
        "max_completion_length": 24,
    }


def test_training_saves_a_model_and_goes_on(given, capsys):
    commands.train(**given, learning_rate=1e-3)
    first = capsys.readouterr().out
    for name in ("sem", "valid", "searched", "one_pair", "well_searched", "first_f1", "final_f1"):
        assert f"rewards/{name}/mean" in first
    assert load_policy(given["out"] / "model").num_parameters > 0
    commands.train(**given, learning_rate=1e-3)
    assert capsys.readouterr().out == first, "the same again goes on from the end"
    with pytest.raises(UserError, match=r"learning_rate is 0\.002, but"):
        commands.train(**given, learning_rate=2e-3)


def test_known_and_unknown_questions_in_equal_parts_by_a_rival(given, monkeypatch, capsys):
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append(options["num_samples"])
        return [1.0, 0.0, 0.75, 0.25]

    monkeypatch.setattr("tenfold.papers.sem.questions.closed_book_accuracy", accuracies)
    commands.train(**given, rule="search_r1", closed_book_samples=4)
    assert "rewards/search_r1/mean" in capsys.readouterr().out
    assert json.loads((given["out"] / "closed_book.json").read_text()) == [1.0, 0.0, 0.75, 0.25]
    commands.train(**given, rule="search_r1", closed_book_samples=4)
    assert asked == [4], "asked once"


def test_a_model_that_knows_nothing_cannot_be_balanced(given):
    with pytest.raises(UserError, match="0 known and 4 unknown questions; allowed: at least one of each"):
        commands.train(**given, closed_book_samples=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau = 0.0"),
        ({"rule": "research", "a2_discount": 0.5}, "a2_discount = 0.5: an option of rule sem, not of research"),
        ({"max_searches": 0}, "max_searches = 0: must be at least 1"),
        ({"num_passages": 0}, "num_passages = 0: must be at least 1"),
        ({"max_result_tokens": 0}, "max_result_tokens = 0: must be at least 1"),
        ({"rule": "search_r1", "tau": 0.9}, "tau = 0.9: an option of rule sem, not of search_r1"),
        ({"search_cost": -1.0}, "search_cost = -1.0: must be at least 0"),
        ({"closed_book_samples": -1}, "closed_book_samples = -1: must be at least 0"),
        ({"closed_book_samples": 2, "known_from": 5.0}, "known_from = 5.0: must be above 0 and at most 1"),
        ({"known_from": 0.25}, "known_from = 0.25: must be 0.5 where closed_book_samples = 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(given, options, message):
    with pytest.raises(UserError, match=message):
        commands.train(**given | options)
    assert not given["out"].exists(), "a mended attempt may have the same folder"


def test_a_failed_first_attempt_leaves_the_folder_free(given):
    with pytest.raises(UserError):
        commands.train(**given | {"model": str(given["data"].parent / "nowhere")})
    rows = given["data"].read_text()
    given["data"].write_text(rows + "\n" + json.dumps({"question": "river " * 60, "answers": "x"}))
    with pytest.raises(UserError, match=r"row 5: a prompt of 3\d\d tokens; must be below the model's 256"):
        commands.train(**given)
    assert not given["out"].exists()
    given["data"].write_text(rows)
    commands.train(**given)


def test_other_data_or_another_index_is_another_training(given, monkeypatch, tmp_path):
    accuracies = lambda policy, questions, sampling, **options: [1.0, 0.0, 1.0, 0.0]  # noqa: E731
    monkeypatch.setattr("tenfold.papers.sem.questions.closed_book_accuracy", accuracies)
    given |= {"closed_book_samples": 2}
    trained(given, monkeypatch)
    rows = given["data"].read_text()
    for changed in (rows + "\n" + rows.splitlines()[0], rows.replace("Tevere", "Rubicon")):
        given["data"].write_text(changed)
        with pytest.raises(
            UserError, match=r"data_hash is \w{64}, but .*out was begun with \w{64}; give another --out"
        ):
            commands.train(**given)
    given["data"].write_text(rows)
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 7, "title": "Rome", "text": "Rome has no river."}))
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    with pytest.raises(UserError, match=r"search\.corpus_hash is"):
        commands.train(**given)


def trained(given, monkeypatch, **options):
    """What ``train`` gives to GRPO, which does nothing here."""
    seen = []

    def grpo(policy, rows, functions, settings, cell, **rest):
        seen.append((rows, functions, settings, rest))
        return policy

    monkeypatch.setattr("tenfold.train.grpo.grpo", grpo)
    commands.train(**given | options)
    return seen[0]


def test_what_is_asked_for_reaches_the_training(given, monkeypatch):
    limits = {"num_passages": 3, "max_searches": 2, "max_result_tokens": 77}
    paid = {"tau": 0.4, "a2_discount": 0.5, "searched_but_known_reward": 0.1, "search_cost": 0.05}
    _, functions, settings, options = trained(given, monkeypatch, **limits, **paid)
    assert functions[0].rule.keywords == paid
    assert settings.reward_weights == (1.0, *[0.0] * 6)
    assert options["count_replies"] is True, "a response's length holds the results"
    environment = options["environment"]([])
    assert (environment.k, environment.max_searches, environment.max_result_tokens) == (3, 2, 77)


@pytest.mark.parametrize(("known_from", "known"), [(0.25, [0, 2, 3]), (0.5, [0, 2]), (1.0, [0])])
def test_what_is_known_goes_by_samples_without_a_search(given, monkeypatch, known_from, known):
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append((sampling, options))
        return [1.0, 0.0, 0.75, 0.25]

    monkeypatch.setattr("tenfold.papers.sem.questions.closed_book_accuracy", accuracies)
    given |= {"instructions": "sem", "out": given["out"] / "nested"}
    big = tiny_policy(special=TAGS, width=16, layers=1, heads=2, context=4096)
    big.save(given["model"])
    mixed = []
    mix = DataMix.rows
    monkeypatch.setattr(DataMix, "rows", lambda self, parts: mixed.append(parts) or mix(self, parts))
    rows, *_ = trained(given, monkeypatch, closed_book_samples=4, known_from=known_from)
    ((direct, search),) = [(parts["direct"], parts["search"]) for parts in mixed]
    assert [int(one.id) - 1 for one in direct] == known and len(search) == 4 - len(known)
    assert set(rows["expected"]) <= {"direct", "search"}
    assert {row["prompt"][0]["content"] for row in rows} == {SEM}
    ((sampling, options),) = asked
    assert (options["instructions"], options["num_samples"]) == (CLOSED_BOOK, 4)
    assert sampling.stop == ("</answer>",), "what follows is not read"


def test_a_folder_of_a_model_is_known_by_its_whole_path(given, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    trained(given, monkeypatch, model="start")
    trained(given, monkeypatch)
    assert f"model: {tmp_path / 'start'}" in (given["out"] / "training.yaml").read_text()


def test_a_missing_index_or_row_is_named(given, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        commands.train(**given | {"index": tmp_path / "nowhere"})
    given["data"].write_text('{"question": "Which river?"}')
    with pytest.raises(UserError, match="row 1: no column 'answers'"):
        commands.train(**given)


def test_the_grid_is_the_same_for_every_trained_arm_and_the_start_is_made_once(tmp_path, monkeypatch):
    started, scored = [], []
    start = stages.build(smoke(), 0)
    before = [weight.clone() for weight in start.model.parameters()]

    def warm_start(config, material, seed, cell, *, confidences):
        started.append((seed, confidences))
        return start

    def score(config, arm, rate, seed, cell, policy, material):
        assert all((one == other).all() for one, other in zip(policy.model.parameters(), before, strict=True))
        next(policy.model.parameters()).data.zero_()
        scored.append((arm, rate))
        return {f"validation/{name}": 0.5 for name in ("f1", "search_known", "search_unknown", "first_known")}

    monkeypatch.setattr(stages, "warm_start", warm_start)
    monkeypatch.setattr(recipe, "validation_score", score)
    commands.tune(tmp_path / "grid", preset="smoke", rates=(1e-3, 1e-2))
    arms = [arm for arm in recipe.ARMS if arm not in recipe.UNTRAINED]
    assert started == [(1000, False), (1000, True)]
    assert sorted(scored) == sorted((arm, rate) for arm in arms for rate in (1e-3, 1e-2))
    assert set(RatesConfig.__dataclass_fields__) == set(arms)
    with pytest.raises(UserError, match="arms: 'never_search'; allowed: answer_reward, "):
        commands.tune(tmp_path / "other", preset="smoke", arms=("never_search",))


def test_a_tuning_measures_validation_questions(tmp_path, capsys, monkeypatch):
    few = {"steps": 2, "log_every": 2, "checkpoint_every": 2}
    lessons = replace(smoke().warm_start, training=replace(smoke().warm_start.training, **few))
    short = replace(smoke(), warm_start=lessons, training=replace(smoke().training, evaluate_every=2, **few))
    monkeypatch.setattr(commands.presets, "smoke", lambda: short)
    commands.tune(tmp_path, preset="smoke", rates=(1e-3,), arms=("sem_confidence",))
    (row,) = json.loads((tmp_path / "tuning.json").read_text())
    assert (row["arm"], row["learning_rate"]) == ("sem_confidence", 1e-3)
    assert {"validation/f1", "validation/search_known", "validation/search_unknown"} <= set(row)
    assert "sem_confidence rate 0.001" in capsys.readouterr().out
