"""Zero-shot bits of models whose bits are known: untrained ones, and ones that follow a rule made by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining import config as presets
from tenfold.papers.universal_pretraining.evaluation import (
    ZeroShot,
    all_windows,
    evaluate_zero_shot,
    zero_shot_bits,
    zero_shot_metrics,
)
from tenfold.papers.universal_pretraining.optimization import build_model
from tenfold.papers.universal_pretraining.tasks import lower_bound

TASKS = (*presets.SYNTHETIC_TASKS, "python", "licences")


class Repeats(nn.Module):
    """Expects the token of ``period`` places before with probability 1/2, every other with (1/2) / 255."""

    def __init__(self, period):
        super().__init__()
        self.period, self.anywhere = period, nn.Parameter(torch.zeros(()))

    def forward(self, input_ids, **_):
        probabilities = torch.full((*input_ids.shape, 256), 0.5 / 255)
        expected = input_ids.roll(self.period - 1, dims=1)
        return SimpleNamespace(logits=probabilities.scatter(-1, expected[..., None], 0.5).log())


@pytest.mark.spec("universal_pretraining", "7")
@pytest.mark.parametrize("preset", [presets.smoke, presets.laptop], ids=lambda preset: preset.__name__)
def test_an_untrained_model_needs_eight_bits_on_every_task(preset):
    model = build_model(preset().model, seed=0)
    results = evaluate_zero_shot(model, TASKS, windows=16, context=preset().model.context, markov_order=0)
    assert set(results) == set(TASKS)
    for name, result in results.items():
        assert result.bits == pytest.approx(8, abs=0.05), name
        assert result.second_half == pytest.approx(8, abs=0.05), name


def test_a_model_that_repeats_one_byte_needs_one_bit_where_bytes_repeat():
    results = evaluate_zero_shot(Repeats(1), ["rep-1", "rep-3"], windows=8, context=30)
    assert results["rep-1"].bits == pytest.approx(1.0, abs=1e-5)
    assert results["rep-1"].windows == pytest.approx([1.0] * 8, abs=1e-5)
    assert results["rep-1"].error == pytest.approx(0.0, abs=1e-6)
    assert results["rep-3"].bits == pytest.approx(1 + math.log2(255), abs=0.3)


def test_last_counts_the_last_byte_but_all_of_a_repetition():
    own = {"rep-mine": np.array([[5, 5, 5, 9]] * 2), "words": np.array([[7, 7, 7, 9], [7, 7, 7, 7]])}
    results = evaluate_zero_shot(Repeats(1), own, positions="last", markov_order=1)
    wrong = 1 + math.log2(255)
    assert results["rep-mine"].bits == pytest.approx((1 + 1 + wrong) / 3, abs=1e-5)
    assert results["words"].bits == pytest.approx((wrong + 1) / 2, abs=1e-5)
    assert len(results["words"].windows) == 2 and len(results["words"].markov) == 2


def test_rivals_and_bounds_stand_beside_the_model():
    results = evaluate_zero_shot(Repeats(3), ["rep-3", "python"], windows=8, context=60, positions="second_half")
    repetition = results["rep-3"]
    assert len(repetition.markov) == 6 and min(repetition.markov[1:3]) < 0.2 < repetition.markov[0]
    assert repetition.lower_bound == lower_bound("rep-3", 60, "second_half") and results["python"].lower_bound is None
    assert repetition.second_half == repetition.bits


def test_any_model_of_transformers_whose_first_tokens_are_bytes_can_be_measured(tmp_path):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    (tmp_path / "my.txt").write_text("a text of one's own, again and again. " * 20)
    results = evaluate_zero_shot(model, [str(tmp_path / "my.txt")], windows=2, context=32)
    assert results["my.txt"].bits == pytest.approx(math.log2(300), abs=0.2)


def test_tasks_of_equal_seeds_are_equal_and_of_others_are_not():
    first, again, other = (all_windows(["dyck", "python"], 4, 32, seed) for seed in (1, 1, 2))
    assert (first["dyck"] == again["dyck"]).all() and (first["dyck"] != other["dyck"]).any()
    assert (first["python"] == other["python"]).all(), "held-out windows are fixed"


def test_curves_measure_what_the_final_evaluation_measures():
    model = build_model(presets.smoke().model, seed=0)
    windows = all_windows(["rep-10", "ndfa"], 4, 32, 0)
    for positions in ("all", "last"):
        bits = zero_shot_bits(model, windows, positions)
        results = evaluate_zero_shot(model, windows, positions=positions)
        assert bits == {name: result.bits for name, result in results.items()}


def test_an_unknown_task_is_refused():
    with pytest.raises(
        UserError, match=r"task is .dyk., but it must be one of rep-1, .*, dyck, .*, python, licences, or"
    ):
        evaluate_zero_shot(Repeats(1), ["dyk"])


def made_by_hand(bits, markov, second_half=0.0):
    return ZeroShot(bits, 0.0, second_half, markov, None, (bits,))


def test_metrics_are_means_distances_and_counts():
    results = {
        "a": made_by_hand(1.0, (2.0, 0.5)),
        "b": made_by_hand(4.0, (5.0, 6.0)),
        "text": made_by_hand(7.0, (6.0, 6.5), 6.0),
        "prose": made_by_hand(9.0, (8.0, 5.0), 8.0),
    }
    assert zero_shot_metrics(results, ("a", "b")) == {
        "zero_shot/a": 1.0,
        "zero_shot/b": 4.0,
        "zero_shot/text": 7.0,
        "zero_shot/prose": 9.0,
        "zero_shot/mean_of_tasks": 2.5,
        "second_half/text": 6.0,
        "second_half/prose": 8.0,
        "markov/distance": 2.5,
        "markov/tasks_won": 1.0,
        "markov/tasks_won_against_order_0": 2.0,
        "uniform/tasks_won": 3.0,
    }
    assert math.isnan(zero_shot_metrics({"a": results["a"]}, ("a",))["markov/distance"]), "no real bytes"
