"""The presets for real models, with random weights in place of them: everything but the size is as published."""

import json
import math
import re
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Report
from tenfold.papers.rlcr import pictures, recipe
from tenfold.papers.rlcr.answering import Answers
from tenfold.papers.rlcr.arms import ARMS, examiner_of, rewards_of
from tenfold.papers.rlcr.config import SOURCES, Config, EvaluationConfig, gpu, laptop, paper, smoke
from tenfold.papers.rlcr.masked_addition import CONFIDENCES, TAGS
from tenfold.papers.rlcr.prompts import SYSTEM_PROMPTS
from tenfold.policies import tiny_policy
from tenfold.rewards import Parsed
from tenfold.study.questions import Question
from tenfold.study.tuning import with_value

README = Path(recipe.__file__).with_name("README.md")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    letters = string.ascii_letters + string.digits + " .,:;?<>/()+=\n"
    tiny_policy(letters, special=(*TAGS, *CONFIDENCES), width=16, layers=1, heads=2, context=4096).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A train and a test file of each task."""
    folder = tmp_path_factory.mktemp("files")
    context = [[f"title {k}", [f"Words about {k}."]] for k in range(10)]
    gold = {"context": context, "supporting_facts": [["title 3", 0], ["title 7", 0]]}
    hotpot = [{"_id": str(k), "question": f"Which {k}?", "answer": "yes", **gold} for k in range(12)]
    maths = [{"problem": f"{k} and {k}?", "answer": str(2 * k), "llama8b_solve_rate": 0.5} for k in range(12)]
    for task, rows in {"hotpotqa": hotpot, "big-math": maths}.items():
        for part, chosen in {"train": rows[:8], "test": rows[8:]}.items():
            (folder / f"{task}-{part}.json").write_text(json.dumps(chosen))
    return folder


def shrunk(config: Config, model: str, **task) -> Config:
    """One step of four completions, and a test on four problems."""
    training = replace(
        config.training,
        steps=1,
        prompts_per_step=2,
        num_generations=2,
        gradient_accumulation=1,
        max_completion_length=8,
        mixed_precision="no",
        evaluate_every=0,
        checkpoint_every=0,
        log_every=1,
    )
    warm_start = config.warm_start
    if warm_start.steps:
        small = replace(warm_start.training, steps=1, batch_size=2, mixed_precision="no")
        warm_start = replace(warm_start, num_examples=4, training=small)
    steps = min(config.evaluation.classifier_steps, 2)
    return replace(
        config,
        task=replace(config.task, num_validation=0, num_test=4, **task),
        policy=replace(config.policy, model=model),
        training=training,
        warm_start=warm_start,
        ablation_steps=1,
        evaluation=replace(
            config.evaluation, max_new_tokens=8, num_ballots=2, votes=2, resampled=2, classifier_steps=steps
        ),
    )


def run(config, arm, folder):
    return recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=folder, device="cpu"))


@pytest.mark.parametrize("task", SOURCES)
def test_the_published_setting_runs_with_random_weights(task, model, files, tmp_path):
    if task == "big-math":
        pytest.importorskip("math_verify")
    named = {f"{part}_file": str(files / f"{task}-{part}.json") for part in ("train", "test")}
    config = shrunk(paper(task), model, **named)
    scores = {arm: {0: run(config, arm, tmp_path / arm)} for arm in ("rlvr", "rlcr")}
    binary, rlcr = scores["rlvr"][0].metrics, scores["rlcr"][0].metrics
    assert "probe_bce/brier" in binary and not {"verbalised/brier", "classifier_bce/brier"} & set(binary)
    assert "vote/gain" in rlcr and "vote/gain" not in binary  # it states no confidences to weigh votes with
    assert {name for name in rlcr if name.startswith("test/")} == {name for name in binary if name.startswith("test/")}
    assert "rewards/calibration/mean" in scores["rlcr"][0].curves
    drawn = pictures.draw(Report("rlcr", "paper", [0], scores, [], {}, {"task": {"kind": "questions"}}))
    captions = {picture.name: picture.caption for picture in drawn}
    assert ("difficulty" in captions) is (task == "hotpotqa")
    assert "best answers" not in captions.get("difficulty", "")  # whose accuracy is known for masked addition alone


def test_the_binary_reward_is_published_without_a_confidence_which_is_asked_for_afterwards(
    model, files, monkeypatch, tmp_path
):
    task = {f"{part}_file": str(files / f"hotpotqa-{part}.json") for part in ("train", "test")}
    config = shrunk(paper("hotpotqa"), model, **task)
    weighted = rewards_of(config, ARMS["rlvr"])
    assert [function.__name__ for function in weighted.functions] == ["format", "correctness"]
    assert weighted.weights == [0.5, 0.5] and weighted.functions[0].blocks == "ta"
    examiners = {name: examiner_of(config, arm) for name, arm in ARMS.items()}
    assert [examiner.instructions for examiner in examiners.values()] == ["ta", "tabc_long", "tabc_long", "tabc_long"]
    assert [examiner.blocks for examiner in examiners.values()] == ["ta", "tabc", "tabc", "tabc"]
    study = recipe.study_of(config, ARMS["rlvr"], Cell(arm="rlvr", seed=0, directory=tmp_path, device="cpu"))
    asked = study.questions.test
    assert study.examiner.prompt_of(asked[0])[0]["content"] == SYSTEM_PROMPTS["ta"]
    monkeypatch.setattr(recipe.baselines, "verbalised_confidence", lambda policy, said, **_: [0.25] * len(said))
    assert recipe.ask(study, recipe.build(config, 0), asked).confidences.tolist() == [0.25] * 4


def test_instructions_for_the_blocks_follow_the_blocks_of_an_arm():
    config = with_value(paper(), "task.system_prompt", "blocks")
    assert [examiner_of(config, arm).instructions for arm in ARMS.values()] == ["ta", "tabc", "tabc", "tabc"]


def test_the_preset_for_one_gpu_runs_with_random_weights(model, tmp_path, monkeypatch):
    trained = []

    class Classifier(recipe.baselines.Classifier):
        def fit(self, *arguments):
            trained.append((self.loss, self.steps))
            return super().fit(*arguments)

    monkeypatch.setattr(recipe.baselines, "Classifier", Classifier)
    config = shrunk(gpu(), model)
    metrics = run(config, "rlvr", tmp_path).metrics
    assert {
        "verbalised/brier",
        "probe_bce/brier",
        "classifier_brier/auroc",
        "vote/gain",
        "ensemble/brier",
        "start/accuracy",
    } <= set(metrics)
    assert trained == [("bce", 2), ("brier", 2)]
    explained = re.findall(r"`(\w+/[^`]*)`", README.read_text())
    groups = {name.removesuffix("…") for name in explained if name.endswith("/…")}
    named = {*metrics, *recipe.bandit_metrics()}
    assert [name for name in named if name not in explained and name.split("/")[0] + "/" not in groups] == []
    assert all(math.isfinite(metrics[name]) for name in ("test/brier", "test/ece", "verbalised/ece"))


def test_training_and_test_end_a_completion_at_the_same_strings():
    for config in (laptop(), gpu(), paper("hotpotqa"), paper("big-math")):
        assert {examiner_of(config, arm).stop for arm in ARMS.values()} == {config.training.stop}
    assert paper("hotpotqa").training.stop == ()


def test_a_report_shows_confidences_along_and_right_answers_up():
    parsed = [Parsed("2", q, True, ()) for q in (0.9, 0.9, 0.2)]
    answers = Answers([], parsed, np.array([1.0, 0.0, 0.0]))
    questions = [Question("1+1=", ("2",), str(k), facts={"num_hidden": k}) for k in (0, 0, 2)]
    shown = pictures.drawn_from(answers, questions)
    assert shown["reliability"] == [[1, 0.2, 0.0], [2, pytest.approx(0.9), 0.5]]
    assert shown["by_hidden"] == {"0": [pytest.approx(0.9), 0.5], "2": [0.2, 0.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"system_prompt": "tac"},
            "system_prompt = tac: asks for other blocks than ac; allowed: none, blocks, ac, sums",
        ),
        (
            {"kind": "questions", "train_file": "a", "test_file": "b"},
            "^task.system_prompt = sums: is for masked_addition",
        ),
        ({"kind": "questions", "system_prompt": "none", "train_file": "a"}, "^task.test_file is empty"),
    ],
)
def test_tasks_that_contradict_themselves_are_refused(changes, message):
    config = replace(gpu(), warm_start=paper().warm_start)
    with pytest.raises(UserError, match=message):
        replace(config, task=replace(config.task, **changes))


def test_a_warm_start_and_another_form_are_refused():
    with pytest.raises(UserError, match=r"^reward\.blocks = tac: a warm start teaches the form ac"):
        replace(gpu(), reward=replace(gpu().reward, blocks="tac"))
    with pytest.raises(UserError, match="with questions: 0"):
        replace(gpu(), task=replace(gpu().task, kind="questions"))


@pytest.mark.parametrize(
    ("config", "field", "value", "message"),
    [
        (
            laptop(),
            "training.optimizer.learning_rate",
            0.7,
            "does not act here; set the arm's rate, such as rates.rlcr",
        ),
        (laptop(), "training.reward_weights", (1.0, 1.0, 1.0), "set reward.format_weight, reward.correctness_weight"),
        (laptop(), "warm_start.training.evaluate_every", 5, "; set training.evaluate_every"),
        (laptop(), "task.train_file", "rows.jsonl", "task.train_file = rows.jsonl: does not act here; set task.kind"),
        (laptop(), "task.layout", "hotpotqa", "^task.layout = hotpotqa: does not act here; set task.kind = questions"),
        (paper(), "training.evaluate_every", 5, "set task.num_validation above 0, or training.evaluate_every to 0$"),
        (laptop(), "task.num_validation", 0, "set task.num_validation above 0, or training.evaluate_every to 0$"),
        (
            paper(),
            "warm_start.num_examples",
            5,
            "^warm_start.num_examples = 5: .*; set warm_start.training.steps above 0",
        ),
        (paper(), "warm_start.even_law", (1.0,) * 11, "set warm_start.training.steps above 0"),
        (paper(), "policy.layers", 5, "set model to nothing"),
        (paper(), "evaluation.resampled", 1, "resampled = 1: allowed: 0, or at least 2"),
    ],
)
def test_a_setting_that_does_not_act_is_refused_with_the_one_that_does(config, field, value, message):
    with pytest.raises(UserError, match=message):
        with_value(config, field, value)


def test_votes_that_are_not_held_have_no_settings():
    unheld = EvaluationConfig(num_ballots=0, votes=3)
    with pytest.raises(UserError, match=r"^evaluation\.votes = 3: .*; set evaluation\.num_ballots above 0"):
        replace(laptop(), evaluation=unheld)


def test_rates_need_validation_problems(tmp_path):
    config = with_value(with_value(smoke(), "training.evaluate_every", 0), "task.num_validation", 0)
    cell = Cell(arm="rates.rlcr", seed=0, directory=tmp_path, device="cpu")
    with pytest.raises(UserError, match="num_validation = 0: rates are compared on validation problems"):
        recipe.validation_score(config, "rates.rlcr", cell)
