"""iw-SFT on trl: equal to plain SFT at the first step and to trl's DFT, exact in pieces, right about columns."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.language import arithmetic
from tenfold.papers.iw_sft.trainer import IWSFTTrainer, QualitySampler, drawn_by_quality, weighting_of
from tenfold.policies import tiny_policy

ROWS = [("1+2=", "3", 1.0), ("10+11=", "21", 0.5), ("7+5=", "12;12", 2.0), ("0+0=", "0", 0.0)] * 2


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("trl").setLevel(logging.ERROR)


def fresh():
    return tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2, seed=3)


def another():
    """A model that disagrees with the fresh one, so that its ratios make weights unequal."""
    policy = tiny_policy(arithmetic.ALPHABET, width=16, layers=1, heads=2, seed=9)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter *= 3
    return policy.model


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
    own = ("reference_model", "eval_dataset", "formatting_func")
    model_options = {name: options.pop(name) for name in own if name in options}
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
@pytest.mark.parametrize(("level", "log_ratio"), [("trajectory", "mean"), ("trajectory", "sum"), ("step", None)])
def test_first_step_is_that_of_sft(tmp_path, level, log_ratio):
    plain = fresh()
    sft = SFTTrainer(plain.model, arguments(tmp_path), train_dataset=rows(), processing_class=plain.tokenizer)
    expected = gradients_on_first_batch(sft, num_items=True)
    iw = IWSFTConfig(level=level, log_ratio=log_ratio)
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
    other = another()
    iw = IWSFTConfig(log_ratio="sum", temperature=0.3, ref="model", normalize=normalize)
    ends = []
    for pieces in (1, 4):
        policy = fresh()
        made = trainer(
            tmp_path,
            policy,
            iw,
            max_steps=2,
            learning_rate=0.1,
            per_device_train_batch_size=8 // pieces,
            gradient_accumulation_steps=pieces,
            reference_model=other,
            logging_steps=1,
        )
        made.train()
        assert all(step["weights/ess_fraction"] < 0.99 for step in made.state.log_history if "loss" in step)
        ends.append(torch.nn.utils.parameters_to_vector(made.model.parameters()).detach())
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ends[0], torch.nn.utils.parameters_to_vector(fresh().model.parameters()), atol=1e-3)


def log_probs_by_hand(policy, model, prompt, completion):
    """Of each token of a completion and its end, by the model's own logits."""
    prompt_ids = policy.encode(prompt)
    ids = torch.tensor([prompt_ids + policy.encode(completion) + [policy.tokenizer.eos_token_id]])
    return model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[len(prompt_ids) - 1 :, 0]


def weights_by_hand(iw, q_logs, reference_logs):
    """Weights of all rows and tokens before normalisation: the formulas once more, row by row."""
    found = []
    for q, reference in zip(q_logs, reference_logs, strict=True):
        ratio = q - reference
        low, high = iw.weight_clip or ((0.2, 1.8) if iw.level == "step" else (0.0, 16.0))
        if iw.level == "step":
            found.append((iw.temperature * ratio).exp().clamp(low, high))
        else:
            d = ratio.mean() if iw.log_ratio == "mean" else ratio.sum()
            found.append((iw.temperature * d).exp().clamp(low, high).expand(len(q)))
    if iw.normalize == "none":
        return found
    counted = torch.cat(found) if iw.level == "step" else torch.stack([weights[0] for weights in found])
    return [weights / (counted.mean() if iw.normalize == "batch_mean" else counted.sum()) for weights in found]


WIRINGS = {
    "mean": IWSFTConfig(log_ratio="mean", temperature=2.0, ref="model"),
    "sum": IWSFTConfig(log_ratio="sum", temperature=0.3, ref="model", normalize="batch_sum"),
    "clip": IWSFTConfig(log_ratio="sum", ref="model", weight_clip=(0.7, 1.5), normalize="none"),
    "step": IWSFTConfig(level="step", temperature=3.0, ref="model"),
    "step_clip": IWSFTConfig(level="step", ref="model", weight_clip=(0.8, 1.05), normalize="none"),
    "lagging": IWSFTConfig(log_ratio="sum", temperature=3.0, ref="initial", q_ema=0.75),
}


@pytest.mark.spec("iw_sft", "2")
@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("name", WIRINGS)
def test_training_takes_the_steps_of_the_weighted_likelihood_written_out(tmp_path, name, pieces):
    """Three steps of SGD through trl against steps whose gradient is -sum w grad log p / N, w from the formulas."""
    iw, steps, rate = WIRINGS[name], 3, 0.1
    reference = another() if iw.ref == "model" else fresh().model
    made = trainer(
        tmp_path,
        fresh(),
        iw,
        max_steps=steps,
        learning_rate=rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=8 // pieces,
        gradient_accumulation_steps=pieces,
        logging_steps=1,
        **({"reference_model": reference} if iw.ref == "model" else {}),
    )
    made.train()
    shares = [step["weights/ess_fraction"] for step in made.state.log_history if "loss" in step]
    assert min(shares) < 0.99, "equal weights would show nothing"

    policy, q = fresh(), fresh()
    parameters = list(policy.model.parameters())
    for _ in range(steps):
        logs = [log_probs_by_hand(policy, policy.model, *row[:2]) for row in ROWS]
        with torch.no_grad():
            q_logs = [log_probs_by_hand(q, q.model, *row[:2]) for row in ROWS]
            weights = weights_by_hand(iw, q_logs, [log_probs_by_hand(policy, reference, *row[:2]) for row in ROWS])
        loss = -sum((w * log).sum() for w, log in zip(weights, logs, strict=True)) / sum(map(len, logs))
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, lagging, gradient in zip(parameters, q.model.parameters(), gradients, strict=True):
                parameter -= rate * gradient
                lagging.mul_(iw.q_ema).add_((1 - iw.q_ema) * parameter)
    ends = [torch.nn.utils.parameters_to_vector(one.parameters()).detach() for one in (made.model, policy.model)]
    torch.testing.assert_close(*ends, atol=2e-5, rtol=1e-4)


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


def stored_reference(policy, below=0.0):
    """The model's own log-probabilities of every completion's tokens, lowered."""
    with torch.no_grad():
        return [(log_probs_by_hand(policy, policy.model, *row[:2]) - below).tolist() for row in ROWS]


def test_a_stored_reference_is_used(tmp_path):
    """ref_log_probs that are 1 lower for every token than the model's: w = e for every completion by the mean."""
    iw = IWSFTConfig(log_ratio="mean", ref="column", normalize="none")
    data = rows(ref_log_probs=stored_reference(fresh(), below=1.0))
    weighted, _ = gradients_on_first_batch(trainer(tmp_path, fresh(), iw, data), num_items=True)
    plain, _ = gradients_on_first_batch(trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none")), num_items=True)
    assert (weighted / plain).item() == pytest.approx(np.e, rel=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_a_stored_reference_is_used_in_evaluation(tmp_path, several):
    data = rows(ref_log_probs=stored_reference(fresh(), below=1.0))
    held_out = {"a": data, "b": data.select(range(3))} if several else data
    made = trainer(
        tmp_path, fresh(), IWSFTConfig(log_ratio="mean", ref="column", normalize="none"), data, eval_dataset=held_out
    )
    measured = made.evaluate()
    plain = trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none"), eval_dataset=rows()).evaluate()["eval_loss"]
    assert measured["eval_a_loss" if several else "eval_loss"] / plain == pytest.approx(np.e, rel=1e-4)


def test_held_out_rows_without_the_stored_reference_are_refused(tmp_path):
    data = rows(ref_log_probs=stored_reference(fresh()))
    with pytest.raises(UserError, match="eval_dataset: no column 'ref_log_probs'; it has prompt"):
        trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="mean", ref="column"), data, eval_dataset=rows())


def test_a_stored_reference_of_another_length_is_refused_with_its_row(tmp_path):
    lists = stored_reference(fresh())
    lists[2] = lists[2][:-1]  # without the end token
    with pytest.raises(UserError, match="row 3: ref_log_probs has 5 numbers for 6 supervised tokens"):
        trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="mean", ref="column"), rows(ref_log_probs=lists))


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


def test_draws_are_those_of_the_rows_that_are_left_in_their_order(tmp_path):
    """The row that is too long would have been drawn most often; what is left is shuffled by trl."""
    data = Dataset.from_dict(
        {
            "prompt": ["12345678=", "1+2=", "2+2=", "3+2="],
            "completion": ["1", "3", "4", "5"],
            "quality": [9.0, 0.0, 1, 3],
        }
    )
    iw = IWSFTConfig(weight_fn="none", quality_column="quality")
    with pytest.warns(UserWarning, match="1 of 4 rows"):
        made = trainer(tmp_path, fresh(), iw, data, max_length=7, shuffle_dataset=True, seed=1)
    left = made.train_dataset
    assert sorted(left["quality"][:]) == [0.0, 1.0, 3.0]
    sampler = made._get_train_sampler(left)
    drawn = {0.0: 0, 1.0: 0, 3.0: 0}
    for epoch in range(300):
        sampler.set_epoch(epoch)
        for row in sampler:
            drawn[left[row]["quality"]] += 1
    assert drawn[0.0] == 0 and sum(drawn.values()) == 900
    assert drawn[3.0] == pytest.approx(675, abs=55)  # 4 standard deviations


def test_scores_are_scaled_by_those_of_the_rows_that_are_left(tmp_path):
    data = Dataset.from_dict(
        {"prompt": ["12345678=", "1+2=", "2+2="], "completion": ["1", "3", "4"], "quality": [9.0, 1.0, 3.0]}
    )
    iw = IWSFTConfig(weight_fn="none", quality_column="quality", quality="weight")
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        made = trainer(tmp_path, fresh(), iw, data, max_length=7, logging_steps=1, per_device_train_batch_size=2)
    made.train()
    logged = made.state.log_history[0]
    assert (logged["weights/min"], logged["weights/max"]) == (0.5, 1.5)


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
        (IWSFTConfig(log_ratio="sum", quality_column="merit"), {}, "merit: the data have"),
        (
            IWSFTConfig(log_ratio="sum", quality_column="quality"),
            {"quality": [1.0] * 7 + [-1.0]},
            "quality of row 8 is -1.0",
        ),
        (
            IWSFTConfig(log_ratio="sum", quality_column="quality"),
            {"quality": [1.0, float("nan")] * 4},
            "quality of row 2 is nan",
        ),
        (
            IWSFTConfig(log_ratio="sum", quality_column="quality", quality="weight"),
            {"quality": [0.0] * 8},
            "0 in every row",
        ),
        (IWSFTConfig(log_ratio="sum", ref="model"), {}, "needs a reference_model"),
        (IWSFTConfig(log_ratio="sum", quality="weight"), {}, "quality = weight with quality_column = None"),
        (
            IWSFTConfig(weight_fn="rwr", quality_column="quality", quality="weight"),
            {},
            "quality = weight with quality_column = quality, weight_fn = rwr",
        ),
        (
            IWSFTConfig(log_ratio="mean", ref="column"),
            {},
            "ref = column: no column 'ref_log_probs'; the data have prompt",
        ),
    ],
)
def test_data_that_cannot_be_used_are_refused(tmp_path, iw, columns, message):
    with pytest.raises(UserError, match=message):
        trainer(tmp_path, fresh(), iw, rows(**columns))


def test_the_choice_of_the_exponent_is_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"log_ratio = None: iw-SFT needs a choice; allowed: sum, .* or mean"):
        trainer(tmp_path, fresh(), IWSFTConfig())
    trainer(tmp_path, fresh(), IWSFTConfig(level="step"))
    trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none"))


def test_the_exponent_is_printed_and_a_weak_one_warned_of(tmp_path, capsys):
    tokens = np.mean([len(completion) + 1 for _, completion, _ in ROWS])
    trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="mean", temperature=2.0))
    line = f"effective exponent on q / reference: {2 / tokens:.3g} (completions of {tokens:.0f} tokens on average)"
    assert line in capsys.readouterr().out
    with pytest.warns(UserWarning, match=r"temperature = 0.2, log_ratio = mean: an effective exponent of 0.0\d+ makes"):
        trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="mean", temperature=0.2))


def conversation(template):
    """A policy with a chat template, and rows of messages."""
    policy = fresh()
    policy.tokenizer.chat_template = template
    turns = [{"role": "user", "content": "1+2="}, {"role": "assistant", "content": "3"}]
    return policy, Dataset.from_dict({"messages": [turns] * 8})


MARKED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + eos_token }}"
    "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("iw", [IWSFTConfig(log_ratio="sum"), IWSFTConfig(level="step")])
def test_a_ratio_that_would_run_over_the_prompt_is_refused(tmp_path, iw):
    policy, data = conversation(MARKED)
    with pytest.raises(
        UserError, match=r"messages with assistant_only_loss = False: the ratio .* over its prompt; allo"
    ):
        trainer(tmp_path, policy, iw, data)
    with pytest.raises(UserError, match=r"completion_only_loss = False: the ratio .* over its prompt; allowed: True"):
        trainer(tmp_path, fresh(), iw, completion_only_loss=False)
    made = trainer(tmp_path, policy, iw, data, assistant_only_loss=True)
    assert [len(numbers) for numbers in made.train_dataset["ref_log_probs"]] == [2] * 8, "the answer and its end"
    trainer(tmp_path, fresh(), IWSFTConfig(weight_fn="none"), completion_only_loss=False)  # no ratio


SHAREGPT = [{"from": "user", "value": "1+2="}, {"from": "assistant", "value": "3"}]
TOKENS = {"input_ids": [[1, 2, 3, 4]] * 8}
HALF = {"completion_mask": [[0, 0, 1, 1]] * 8}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"conversations": [SHAREGPT] * 8}, {}, "conversations: the ratio .* over its prompt; allowed: messages, of"),
        (TOKENS | HALF, {}, "input_ids beside completion_mask: the ratio .* over its prompt; allowed: labels with"),
        (TOKENS | HALF, {"completion_only_loss": False}, "input_ids beside completion_mask"),
        (TOKENS | {"prompt": ["1+2="] * 8}, {}, "input_ids beside prompt"),
        (TOKENS | {"messages": [[{"role": "user", "content": "1"}]] * 8}, {}, "input_ids beside messages"),
        ({"a": ["1+2="] * 8, "b": ["3"] * 8}, {"formatting_func": lambda row: row["a"] + row["b"]}, "formatting_func:"),
    ],
)
def test_every_spelling_of_a_row_with_a_prompt_is_refused_unless_it_is_masked(tmp_path, columns, options, message):
    policy, _ = conversation(MARKED)
    with pytest.raises(UserError, match=message):
        trainer(tmp_path, policy, IWSFTConfig(log_ratio="sum"), Dataset.from_dict(columns), **options)


@pytest.mark.parametrize(
    ("columns", "options", "supervised"),
    [
        (TOKENS, {}, 4),  # all of it is the trajectory
        (TOKENS | HALF, {"completion_only_loss": True}, 2),
        (TOKENS | {"labels": [[-100, -100, -100, 4]] * 8, "prompt": ["1+2="] * 8}, {}, 1),
        ({"text": ["1+2=3"] * 8}, {}, 6),
    ],
)
def test_the_reference_is_of_what_is_supervised_alone(tmp_path, columns, options, supervised):
    made = trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="sum"), Dataset.from_dict(columns), **options)
    for labels, numbers in zip(made.train_dataset["labels"], made.train_dataset["ref_log_probs"], strict=True):
        assert len(labels) - labels.count(-100) == supervised and len(numbers) in (supervised, supervised - 1)


def test_rows_for_evaluation_are_looked_at_too(tmp_path):
    policy, data = conversation(MARKED)
    with pytest.raises(UserError, match="messages with assistant_only_loss = False"):
        trainer(tmp_path, policy, IWSFTConfig(log_ratio="sum"), eval_dataset={"chats": data})


def test_packing_is_refused(tmp_path):
    with pytest.raises(UserError, match="packing"):
        trainer(tmp_path, fresh(), IWSFTConfig(log_ratio="sum"), packing=True, max_length=32)


def test_packing_is_refused_where_rows_are_drawn_by_quality(tmp_path):
    iw = IWSFTConfig(weight_fn="none", quality_column="quality")
    with pytest.raises(UserError, match="packing = True: rows cannot be drawn by quality"):
        trainer(tmp_path, fresh(), iw, packing=True, max_length=32)


@pytest.mark.parametrize("iw", [IWSFTConfig(log_ratio="sum"), IWSFTConfig(weight_fn="none")])
def test_a_reference_model_without_use_is_refused(tmp_path, iw):
    with pytest.raises(UserError, match="reference_model: not used with weight_fn"):
        trainer(tmp_path, fresh(), iw, reference_model=fresh().model)


@pytest.mark.parametrize(("weight_fn", "quality"), [("rwr", "sample"), ("awr", "sample"), ("none", "weight")])
def test_only_ratios_have_a_lagging_q_and_a_reference(weight_fn, quality):
    iw = IWSFTConfig(weight_fn=weight_fn, quality_column="quality", quality=quality)
    weighting = weighting_of(iw, rows())
    assert (weighting.q_ema, weighting.reference) == (0.0, "none")
    ratio = weighting_of(replace(iw, weight_fn="iw", log_ratio="sum", q_ema=0.9), rows())
    assert (ratio.q_ema, ratio.reference) == (0.9, "initial")


def test_plain_sft_needs_no_weights():
    assert weighting_of(IWSFTConfig(weight_fn="none"), rows()) is None
    assert not drawn_by_quality(IWSFTConfig(weight_fn="rwr", quality_column="quality"))
    assert not weighting_of(IWSFTConfig(log_ratio="sum", normalize="none"), rows()).whole_batch
