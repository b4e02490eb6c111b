"""Fine-tuning: what every arm was fed, caught in the act; the comparison on equal terms; steps counted by hand."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from tenfold.core.cell import Cell
from tenfold.core.config import from_yaml, to_yaml
from tenfold.core.errors import UserError
from tenfold.data.corpora import Corpus, load_corpus
from tenfold.eval.bits_per_byte import bits_per_byte, token_bits
from tenfold.papers.universal_pretraining import config as presets
from tenfold.papers.universal_pretraining import finetune as finetuning
from tenfold.papers.universal_pretraining import recipe
from tenfold.papers.universal_pretraining.config import FinetuningConfig, ModelConfig
from tenfold.papers.universal_pretraining.finetune import (
    compare_finetune,
    data_order,
    finetune,
    finetuning_batch,
    held_out_evaluation,
    steps_to_reach,
    without_held_out,
)
from tenfold.papers.universal_pretraining.optimization import build_model

SHORT = FinetuningConfig(steps=3, batch_size=4, warmup_steps=1, evaluate_every=1, checkpoint_every=10)
SMALL = ModelConfig(width=16, layers=1, heads=2, context=32)


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("python", limit=20_000)


@pytest.fixture
def fed(monkeypatch):
    """All batches that the loss has seen, in their order."""
    seen = []
    loss = finetuning.next_token_loss

    def remember(model, tokens):
        seen.append(tokens.numpy().copy())
        return loss(model, tokens)

    monkeypatch.setattr(finetuning, "next_token_loss", remember)
    return seen


def tiny():
    config = presets.smoke()
    return replace(
        config,
        model=SMALL,
        pretraining=replace(config.pretraining, steps=2, evaluate_every=0),
        finetuning=replace(SHORT, limit=20_000),
        evaluation=replace(config.evaluation, tasks=("dyck",), corpora=("python",), windows=2, curve_windows=2),
    )


@pytest.mark.spec("universal_pretraining", "9")
def test_every_arm_of_a_seed_is_fed_the_same_batches_and_reports_their_hash(tmp_path, fed):
    batches, orders = {}, {}
    for arm in recipe.ARMS:
        fed.clear()
        scores = recipe.run(tiny(), arm, 0, Cell(arm=arm, seed=0, directory=tmp_path / arm, device="cpu"))
        batches[arm], orders[arm] = np.stack(fed), scores.samples["data_order"]
    assert batches["scratch"].shape == (3, 4, 32)
    assert all((batches[arm] == batches["scratch"]).all() for arm in recipe.ARMS)
    assert len(set(orders.values())) == 1
    other = data_order(load_corpus("python", limit=20_000), SHORT, 32, seed=1)
    assert other != orders["scratch"], "another seed, another order"


@pytest.mark.spec("universal_pretraining", "9")
def test_results_are_reproducible_from_a_configuration_file(tmp_path):
    (tmp_path / "config.yaml").write_text(to_yaml(tiny()))
    read = from_yaml(presets.Config, tmp_path / "config.yaml")
    first, second = (
        recipe.run(config, "mixture", 0, Cell(arm="mixture", seed=0, directory=tmp_path / name, device="cpu"))
        for name, config in (("first", tiny()), ("second", read))
    )
    assert first.curves == second.curves and first.samples == second.samples
    assert repr(first.metrics) == repr(second.metrics)


def test_the_hash_changes_with_whatever_changes_the_data(corpus):
    same = data_order(corpus, SHORT, 32, seed=0)
    assert data_order(corpus, replace(SHORT, evaluate_every=3, warmup_steps=0), 32, seed=0) == same
    changed = [
        data_order(corpus, SHORT, 16, seed=0),
        data_order(corpus, replace(SHORT, steps=4), 32, seed=0),
        data_order(replace(corpus, train=corpus.train[::-1]), SHORT, 32, seed=0),
    ]
    assert len({same, *changed}) == 4


def test_batches_come_from_the_training_part(corpus):
    text = corpus.train.tobytes()
    batch = finetuning_batch(corpus, SHORT, 32, seed=0, step=2)
    assert all(row.astype(np.uint8).tobytes() in text for row in batch)
    assert (batch != finetuning_batch(corpus, SHORT, 32, seed=0, step=3)).any()


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_step_sees_the_windows_of_its_batch_in_their_order(corpus, tmp_path, fed, pieces):
    config = replace(SHORT, gradient_accumulation=pieces)
    cell = Cell(arm="scratch", seed=0, directory=tmp_path, device="cpu")
    finetune(build_model(SMALL, seed=0), corpus, config, 1e-3, 32, 0, cell, windows=2)
    batches = [finetuning_batch(corpus, config, 32, 0, step) for step in (1, 2, 3)]
    assert len(fed) == 3 * pieces and (np.concatenate(fed) == np.concatenate(batches)).all()


def test_curves_begin_before_the_first_step_and_are_the_bits_of_the_model(corpus, tmp_path):
    model = build_model(SMALL, seed=0)
    cell = Cell(arm="scratch", seed=0, directory=tmp_path, device="cpu")
    trained = finetune(model, corpus, SHORT, 1e-2, 32, 0, cell, windows=4)
    curves = cell.curves()
    assert [step for step, _ in curves["held_out/bits"]] == [0, 1, 2, 3]
    assert curves["held_out/bits"][0][1] == pytest.approx(8, abs=0.05)
    last = held_out_evaluation(corpus, SHORT, 32, 0, 4, 64)(trained.model, 3)
    assert (curves["held_out/bits"][-1][1], curves["retention/bits"][-1][1]) == tuple(last.values())
    assert curves["held_out/bits"][-1][1] < 7.5


def test_held_out_windows_are_not_in_the_training_part(corpus):
    evaluate = held_out_evaluation(Corpus("mine", corpus.train, corpus.train[:500] * 0), SHORT, 32, 0, 4, 64)
    model = build_model(SMALL, seed=0)
    zeros = bits_per_byte(token_bits(model, torch.zeros(4, 32, dtype=torch.long)))[0]
    assert evaluate(model, 0)["held_out/bits"] == pytest.approx(zeros)


def test_rates_are_chosen_without_the_held_out_part(corpus):
    split = without_held_out(corpus, share=0.2)
    assert (np.concatenate((split.train, split.held_out)) == corpus.train).all()
    assert len(split.held_out) == round(0.2 * len(corpus.train))


@pytest.mark.parametrize(
    ("curve", "target", "steps"),
    [
        ([(0, 8.0), (10, 6.0), (20, 5.0)], 5.0, 20),
        ([(0, 8.0), (10, 6.0), (20, 5.0)], 7.0, 5),
        ([(0, 8.0), (10, 6.0), (20, 5.0)], 4.9, inf),
        ([(0, 8.0), (10, 6.0), (20, 7.0), (30, 5.0)], 5.5, 27.5),
        ([(0, 4.0), (10, 6.0)], 5.0, 0),  # it was there before
        ([], 5.0, inf),
    ],
)
def test_steps_are_read_off_the_line_between_two_evaluations(curve, target, steps):
    assert steps_to_reach(curve, target) == pytest.approx(steps)


def test_both_models_are_compared_at_their_best_rate_of_one_grid(corpus, fed):
    first_model = build_model(SMALL, seed=0)
    before = {name: weight.clone() for name, weight in first_model.state_dict().items()}
    rates = (1e-5, 1e-2)
    found = compare_finetune(
        first_model, build_model(SMALL, 1), corpus, rates=rates, config=SHORT, context=32, windows=4, device="cpu"
    )
    assert len(fed) == 4 * SHORT.steps
    assert all((np.stack(fed[at : at + 3]) == np.stack(fed[:3])).all() for at in (3, 6, 9)), "identical batches"
    assert {arm: tuple(curves) for arm, curves in found.curves.items()} == {"pretrained": rates, "scratch": rates}
    assert found.best_rate["scratch"] == 1e-2, "the other hardly moves"
    last = found.best_curve("scratch")[-1]
    assert found.steps == {last[1]: {arm: steps_to_reach(found.best_curve(arm), last[1]) for arm in found.curves}}
    assert found.steps[last[1]]["scratch"] == last[0]
    assert found.data_order == data_order(corpus, SHORT, 32, seed=0)
    assert all(torch.equal(weight, before[name]) for name, weight in first_model.state_dict().items()), "not changed"


def test_a_comparison_goes_on_in_its_folder_and_needs_rates(corpus, tmp_path, fed):
    models = build_model(SMALL, 0), build_model(SMALL, 1)
    settings = dict(rates=(1e-3,), targets=(7.99, 1.0), config=SHORT, context=32, windows=4, device="cpu")
    first = compare_finetune(*models, corpus, out=tmp_path, **settings)
    steps = len(fed)
    assert compare_finetune(*models, corpus, out=tmp_path, **settings) == first
    assert len(fed) == steps, "nothing is trained again"
    assert set(first.steps) == {7.99, 1.0} and first.steps[1.0] == {"pretrained": inf, "scratch": inf}
    with pytest.raises(UserError, match="another comparison"):
        compare_finetune(*models, corpus, out=tmp_path, **{**settings, "config": replace(SHORT, steps=4)})
    with pytest.raises(UserError, match=r"rates = \(\)"):
        compare_finetune(*models, corpus, rates=())
