"""Pre-training: a break changes nothing, the loss sees the rows of the arm, and a small model learns what it should.

The learning test has a short form, which runs always, and a long one with fine-tuning at several rates (``slow``).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stopping import StopAfter

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.data.corpora import load_corpus
from tenfold.papers.universal_pretraining import config as presets
from tenfold.papers.universal_pretraining import pretrain as pretraining
from tenfold.papers.universal_pretraining import recipe
from tenfold.papers.universal_pretraining.config import GeneratorConfig, ModelConfig, PretrainingConfig
from tenfold.papers.universal_pretraining.evaluation import all_windows, evaluate_zero_shot, zero_shot_bits
from tenfold.papers.universal_pretraining.finetune import compare_finetune
from tenfold.papers.universal_pretraining.optimization import build_model
from tenfold.papers.universal_pretraining.pretrain import ArmData, pretrain, random_computation, shown_rows

SMALL = ModelConfig(width=16, layers=1, heads=2, context=24)
GENERATOR = GeneratorConfig(
    hidden=8, layers=2, buffer_rows=24, rows_per_source=6, reset_constant=2, reset_noise=2, source_every=3
)
STEPS = PretrainingConfig(steps=100, batch_size=4, warmup_steps=5, log_every=1, evaluate_every=0, checkpoint_every=50)
MIXTURE = ArmData(mixture=True, iterate=True)


def trained(directory, steps=STEPS, data=MIXTURE, stop_at=None):
    display = StopAfter(stop_at)
    cell = display.cell = Cell(arm="mixture", seed=0, directory=directory, device="cpu", display=display)
    model = build_model(SMALL, seed=0)
    generator = random_computation(GENERATOR, SMALL.context, data)
    return pretrain(model, generator, steps, 3e-3, 0, cell), cell.curves()["train/loss"]


@pytest.mark.spec("universal_pretraining", "10")
def test_a_hundred_steps_equal_fifty_a_checkpoint_and_fifty(tmp_path):
    whole, losses = trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "resumed", stop_at=50)
    resumed, resumed_losses = trained(tmp_path / "resumed")
    assert len(losses) == 100
    np.testing.assert_allclose(resumed_losses, losses, atol=1e-6, rtol=0)
    for name, weight in whole.last.state_dict().items():
        torch.testing.assert_close(resumed.last.state_dict()[name], weight, atol=1e-6, rtol=0)
    assert shown_rows(Cell(arm="", seed=0, directory=tmp_path / "whole"), 100) == shown_rows(
        Cell(arm="", seed=0, directory=tmp_path / "resumed"), 100
    )


def test_a_break_between_two_checkpoints_goes_back_to_the_buffer_of_the_first(tmp_path):
    steps = replace(STEPS, steps=8, checkpoint_every=5)
    _, losses = trained(tmp_path / "whole", steps)
    cell = Cell(arm="mixture", seed=0, directory=tmp_path / "killed", device="cpu")

    def killed(model, step):
        raise KeyboardInterrupt

    generator = random_computation(GENERATOR, SMALL.context, MIXTURE)
    with pytest.raises(KeyboardInterrupt):
        pretrain_until_killed(generator, replace(steps, evaluate_every=7), cell, killed)
    assert [path.name for path in (tmp_path / "killed/checkpoints").iterdir()] == ["step-00000005"]
    assert trained(tmp_path / "killed", steps)[1] == losses


def pretrain_until_killed(generator, steps, cell, evaluate):
    cell.log(0, {"held_out/begun": 1.0})  # so that the first evaluation is the one of a step
    pretrain(build_model(SMALL, seed=0), generator, steps, 3e-3, 0, cell, evaluate=evaluate)


def test_pieces_of_a_batch_and_seeds_have_rows_of_their_own(tmp_path, monkeypatch):
    seen = []
    loss = pretraining.next_token_loss
    monkeypatch.setattr(pretraining, "next_token_loss", lambda model, rows: seen.append(rows) or loss(model, rows))
    trained(tmp_path, replace(STEPS, steps=7, gradient_accumulation=2, batch_size=8))
    assert [rows.shape for rows in seen] == [(4, 24)] * 14
    distinct = {rows.numpy().tobytes() for rows in seen}
    assert len(distinct) == 14


@pytest.mark.parametrize("arm", [name for name, arm in recipe.ARMS.items() if arm.data])
def test_arms_are_made_of_what_their_names_say(arm):
    data = random_computation(GENERATOR, 24, recipe.ARMS[arm].data)
    assert data.mixture.counts(16) == ((8, 4, 4) if arm == "mixture" else (16, 0, 0))
    assert data.buffer.iterate == (arm != "noniterated")
    assert (data.buffer.size, data.buffer.written, data.buffer.reset, data.buffer.length) == (24, 6, (2, 2), 24)
    assert (data.source.hidden, data.source.layers, data.source.gain) == (8, 2, (0.8, 6.0))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_source_is_compiled_where_the_configuration_says_so(compiled):
    source = random_computation(replace(GENERATOR, compiled=compiled), 24, MIXTURE).source
    assert source.compiled is compiled


def test_the_published_generator_applies_the_gain_once_per_layer():
    config = presets.paper("width-384").generator
    source = random_computation(config, 512, recipe.ARMS["lstm"].data).source
    assert (source.gain, source.gain_power, source.layers, source.embed_scale) == ((1.0, 3.5), 4, 4, 1e-8)
    assert config.buffer_rows == 20 * config.rows_per_source and config.rows_per_source == 2 * 256 // 16


# ---------------------------------------------------------------------------------------------------------- learning


def learned(steps, directory):
    """The laptop model after so many steps on the mixture, of a seed that no run and no choice of rates has used."""
    config = replace(presets.laptop(), pretraining=replace(presets.laptop().pretraining, steps=steps))
    cell = Cell(arm="mixture", seed=77, directory=directory, device="cpu")
    generator = random_computation(config.generator, config.model.context, recipe.ARMS["mixture"].data)
    model = build_model(config.model, seed=77)
    return pretrain(model, generator, config.pretraining, config.rates.pretraining, 77, cell).model


@pytest.mark.spec("universal_pretraining", "8")
def test_a_hundred_steps_teach_that_bytes_repeat(tmp_path):
    bits = zero_shot_bits(learned(100, tmp_path), all_windows(["rep-1"], 64, 128, seed=77))
    assert bits["rep-1"] < 4.5


@pytest.mark.slow
@pytest.mark.spec("universal_pretraining", "8")
def test_five_hundred_steps_teach_repetition_brackets_and_frequencies_and_speed_up_fine_tuning(tmp_path):
    model = learned(500, tmp_path)
    results = evaluate_zero_shot(model, ["rep-1", "rep-3", "dyck", "licences"], seed=77, markov_order=0)
    assert results["rep-1"].bits < 0.5
    assert results["rep-3"].bits < 5.5
    assert results["dyck"].bits < 3.8
    assert results["licences"].second_half < 7.8
    config = presets.laptop()
    found = compare_finetune(
        model,
        build_model(config.model, seed=77),
        load_corpus("python"),
        rates=(2e-3, 4e-3),
        targets=(config.finetuning.target_bits,),
        config=config.finetuning,
        seed=77,
        device="cpu",
    )
    steps = found.steps[config.finetuning.target_bits]
    assert steps["pretrained"] < 0.7 * steps["scratch"] < 0.7 * config.finetuning.steps
