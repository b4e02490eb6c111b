"""A training on one's own questions and index, from start to model."""

import json

import pytest
from pretended import pretended_device

from tenfold.cli.train import main
from tenfold.core.errors import UserError
from tenfold.data.question_answering import DataMix
from tenfold.envs import build_index
from tenfold.papers.sem import recipe
from tenfold.papers.sem.grammar import TAGS
from tenfold.papers.sem.method import RULES
from tenfold.papers.sem.prompts import CLOSED_BOOK, SEM
from tenfold.policies import load_policy, tiny_policy

CLOSED_BOOK_FILE = "shared/closed-book-training/made.json"


@pytest.fixture
def given(tmp_path):
    """A saved tiny policy, four questions and an index, as flags of ``tenfold train sem``."""
    tiny_policy(special=TAGS, width=16, layers=1, heads=2, context=256).save(tmp_path / "start")
    rows = [{"question": f"Which river is town {i} on?", "answers": ["Tiber", "Tevere"]} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 7, "title": "Rome", "text": "Rome is on the Tiber."}))
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    return {
        "data": tmp_path / "rows.jsonl",
        "out": tmp_path / "out",
        "policy.model": tmp_path / "start",
        "search.index": tmp_path / "index",
        "task.instructions": "none",
        "training.steps": 2,
        "training.prompts-per-step": 2,
        "training.num-generations": 2,
        "training.max-completion-length": 24,
        "device": "cpu",
    }


def train(given, **options):
    """The command; ``reward__tau`` is the flag ``--reward.tau``."""
    flags = given | {name.replace("__", "."): value for name, value in options.items()}
    return main(["sem", *(f"--{name}={value}" for name, value in flags.items())])


def test_training_saves_a_model_and_goes_on(given, capsys):
    train(given, rates__sem=1e-3)
    first = capsys.readouterr().out
    for name in ("sem", "valid", "searched", "one_pair", "well_searched", "first_f1", "final_f1"):
        assert f"rewards/{name}/mean" in first
    assert load_policy(given["out"] / "model").num_parameters > 0
    train(given, rates__sem=1e-3)
    assert capsys.readouterr().out == first, "the same again goes on from the end"
    with pytest.raises(UserError, match=r"rates\.sem is 0\.002, but"):
        train(given, rates__sem=2e-3)


def test_known_and_unknown_questions_in_equal_parts_by_a_rival(given, monkeypatch, capsys):
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append((options["num_samples"], policy.device.type))
        return [1.0, 0.0, 0.75, 0.25]

    monkeypatch.setattr("tenfold.papers.sem.stages.closed_book_accuracy", accuracies)
    rival = {"arm": "answer_reward", "reward__rival": "otc_like", "task__closed_book_samples": 4, "device": "auto"}
    with pretended_device():
        train(given, **rival)
        assert "rewards/otc_like/mean" in capsys.readouterr().out
        assert json.loads((given["out"] / CLOSED_BOOK_FILE).read_text()) == [1.0, 0.0, 0.75, 0.25]
        train(given, **rival)
    assert asked == [(4, "cuda")], "asked once, where the training computes"


def test_a_model_that_knows_nothing_cannot_be_balanced(given):
    with pytest.raises(UserError, match="0 known and 4 unknown questions; allowed: at least one of each"):
        train(given, task__closed_book_samples=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "answer_reward", "reward__a2_discount": 0.5}, r"reward\.a2_discount = 0.5: acts with --arm sem, not"),
        ({"arm": "answer_reward", "reward__tau": 0.9}, r"reward\.tau = 0.9: acts with --arm sem, not with answer_rewa"),
        ({"reward__rival": "research"}, r"reward\.rival = research: acts with --arm answer_reward, not with sem"),
        ({"rates__answer_reward": 0.1}, r"rates\.answer_reward = 0.1: acts with --arm answer_reward, not with sem"),
        ({"reward__low_a2_discount": 0.1}, r"reward\.low_a2_discount = 0.1: does nothing in tenfold train sem"),
        ({"evaluation__samples": 3}, r"evaluation\.samples = 3: does nothing in tenfold train sem"),
        ({"search__index": ""}, r"search\.index is empty; allowed: a folder that tenfold index build has written"),
    ],
)
def test_options_that_cannot_be_used_are_refused(given, options, message):
    with pytest.raises(UserError, match=message):
        train(given, **options)
    assert not given["out"].exists(), "a mended attempt may have the same folder"


def test_a_failed_first_attempt_leaves_the_folder_free(given, tmp_path):
    with pytest.raises(UserError):
        train(given, policy__model=tmp_path / "nowhere")
    rows = given["data"].read_text()
    given["data"].write_text(rows + "\n" + json.dumps({"question": "river " * 60, "answers": "x"}))
    with pytest.raises(UserError, match=r"row 5: a prompt of 3\d\d tokens; must be below the model's 256"):
        train(given)
    given["data"].write_text('{"question": "Which river?"}')
    with pytest.raises(UserError, match="row 1: no column 'answer'"):
        train(given)
    given["data"].write_text(rows)
    with pytest.raises(UserError, match="nowhere"):
        train(given, search__index=tmp_path / "nowhere")
    assert not given["out"].exists()
    train(given)


def test_another_index_is_another_training(given, monkeypatch, tmp_path):
    """Data that have changed are the house's to refuse; an index is ours, for its folder may be the same."""
    trained(given, monkeypatch)
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 7, "title": "Rome", "text": "Rome has no river."}))
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    with pytest.raises(UserError, match=r"corpus_hash is \w+, but .*index was begun with \w+; give another --out"):
        train(given)


def trained(given, monkeypatch, **options):
    """What ``train`` gives to GRPO, which does nothing here."""
    seen = []

    def grpo(policy, rows, functions, settings, cell, **rest):
        seen.append((rows, functions, settings, rest))
        return policy

    monkeypatch.setattr(recipe, "grpo", grpo)
    train(given, **options)
    return seen[0]


def test_what_is_asked_for_reaches_the_training(given, monkeypatch):
    limits = {"search__passages": 3, "search__max_searches": 2, "search__max_result_tokens": 77}
    paid = {"tau": 0.4, "a2_discount": 0.5, "searched_but_known_reward": 0.1, "search_cost": 0.05}
    asked = {f"reward__{name}": value for name, value in paid.items()}
    _, functions, settings, options = trained(given, monkeypatch, **limits, **asked, rates__sem=0.125)
    assert functions[0].rule.keywords == paid
    assert settings.reward_weights == (1.0, *[0.0] * 6)
    assert settings.optimizer.learning_rate == 0.125
    assert options["count_replies"] is True, "a response's length holds the results"
    environment = options["environment"]([])
    assert (environment.k, environment.max_searches, environment.max_result_tokens) == (3, 2, 77)
    assert environment.end_over_budget is False, "a search too many is told so, and the response goes on"


@pytest.mark.parametrize("rival", ["search_r1", "research", "otc_like", "boundary_contrast_like"])
def test_every_rival_can_be_trained(given, monkeypatch, rival):
    _, functions, settings, _ = trained(given, monkeypatch, arm="answer_reward", reward__rival=rival)
    assert [function.__name__ for function in functions][:2] == [rival, "valid"]
    assert functions[0].rule is RULES[rival] and settings.reward_weights[0] == 1.0


@pytest.mark.parametrize(("known_from", "known"), [(0.25, [0, 2, 3]), (0.5, [0, 2]), (1.0, [0])])
def test_what_is_known_goes_by_samples_without_a_search(given, monkeypatch, known_from, known):
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append((sampling, options))
        return [1.0, 0.0, 0.75, 0.25]

    monkeypatch.setattr("tenfold.papers.sem.stages.closed_book_accuracy", accuracies)
    given |= {"task.instructions": "form", "out": given["out"] / "nested"}
    big = tiny_policy(special=TAGS, width=16, layers=1, heads=2, context=4096)
    big.save(given["policy.model"])
    mixes = []
    mixed = DataMix.mixed
    monkeypatch.setattr(DataMix, "mixed", lambda self, parts: mixes.append(parts) or mixed(self, parts))
    rows, *_ = trained(given, monkeypatch, task__closed_book_samples=4, task__known_from=known_from)
    ((direct, search),) = [(parts["direct"], parts["search"]) for parts in mixes]
    assert [int(one.key) - 1 for one in direct] == known and len(search) == 4 - len(known)
    assert set(rows["expected"]) <= {"direct", "search"}
    assert {row["prompt"][0]["content"] for row in rows} == {SEM}
    ((sampling, options),) = asked
    assert (options["instructions"], options["num_samples"]) == (CLOSED_BOOK, 4)
    assert sampling.stop == ("</answer>",), "what follows is not read"
