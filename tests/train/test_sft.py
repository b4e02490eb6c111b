"""Weighted supervised training against losses and updates written out by hand, and refusals."""

import copy
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from language_training import FAST, SFT, WEIGHTING, cell_of, likely, policy, sums, train_sft, weights_of
from trl import SFTConfig

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, rollout
from tenfold.train.settings import LoraSettings, OptimizerSettings, SFTSettings
from tenfold.train.sft import REFERENCE, WeightedSFTTrainer, sft
from tenfold.train.supervised_rows import ROW
from tenfold.train.trl_run import draw_rows, quiet
from tenfold.train.weighting import LaggingAverage, Piece, Weighting, WithColumns, checked

SHORT = SFTSettings(steps=2, batch_size=8, optimizer=OptimizerSettings(learning_rate=1e-2), log_every=1)


def log_probs_by_hand(model, actor, row):
    """The log-probability of each token of a row's completion and its end, by the model's own logits."""
    prompt = actor.encode(row["prompt"])
    tokens = torch.tensor([prompt + actor.encode(row["completion"]) + [actor.tokenizer.eos_token_id]])
    logs = model(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    return logs.gather(1, tokens[0, 1:, None])[len(prompt) - 1 :, 0]


def trainer_of(actor, directory, weighting, dataset=None, **options):
    dataset = sums() if dataset is None else dataset
    arguments = SFTConfig(
        output_dir=str(directory),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        dataloader_pin_memory=False,
        **options,
    )
    with quiet():
        return WeightedSFTTrainer(
            actor.model, arguments, train_dataset=dataset, processing_class=actor.tokenizer, weighting=weighting
        )


def train_by_hand(actor, weights_of_rows, settings=SHORT):
    """The same AdamW steps on whole batches; the weights of a batch come from its log-probabilities."""
    data = sums()
    order = draw_rows(len(data), settings.steps * settings.batch_size, seed=0)
    optimizer = torch.optim.AdamW(actor.model.parameters(), lr=settings.optimizer.learning_rate, weight_decay=0)
    for step in range(settings.steps):
        rows = [data[i] for i in order[step * settings.batch_size : (step + 1) * settings.batch_size]]
        logs = [log_probs_by_hand(actor.model, actor, row) for row in rows]
        weights = weights_of_rows(logs, rows)
        loss = -sum((w * log).sum() for w, log in zip(weights, logs, strict=True)) / sum(map(len, logs))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(actor.model.parameters(), 1.0)
        optimizer.step()
    return actor


def assert_close(ours, theirs, atol=1e-5):
    for name, value in weights_of(theirs).items():
        torch.testing.assert_close(weights_of(ours)[name], value, rtol=0, atol=atol)


@pytest.mark.parametrize("weighting", [None, Weighting(lambda logs, mask, columns: torch.ones(len(mask)))])
def test_without_weights_and_with_weights_of_one_it_is_maximum_likelihood(tmp_path, weighting):
    trained = train_sft(cell_of("sft", tmp_path), SHORT, weighting=weighting, evaluate=None)
    assert_close(trained, train_by_hand(policy(), lambda logs, rows: [1.0] * len(rows)))


@pytest.mark.parametrize("accumulation", [1, 2, 8])
def test_weights_normalised_over_the_batch_do_not_depend_on_its_pieces(tmp_path, accumulation):
    """Completions have unequal lengths, so a mean of means, or weights of single pieces, would differ."""
    initial = policy()

    def by_hand(logs, rows):
        with torch.no_grad():
            before = [log_probs_by_hand(initial.model, initial, row) for row in rows]
            ratios = [(log - was).sum() for log, was in zip(logs, before, strict=True)]
            weights = torch.stack(ratios).exp().clamp(0, 16) * torch.tensor([row["quality"] for row in rows])
        return weights / weights.mean()

    weighting = replace(WEIGHTING, q_ema=0.0)
    cell = cell_of("sft", tmp_path)
    settings = replace(SHORT, gradient_accumulation=accumulation, steps=3)
    trained = train_sft(cell, settings, weighting=weighting, evaluate=None)
    assert_close(trained, train_by_hand(policy(), by_hand, settings))
    assert cell.curves()["weights/mean"] == [(float(s), pytest.approx(1.0, abs=1e-6)) for s in (1, 2, 3)]


def test_weights_of_tokens_and_the_frozen_weight(tmp_path):
    """The gradient is -sum w grad log p / N with w held constant: DFT's w = p has another gradient when it isn't."""
    trained = train_sft(
        cell_of("sft", tmp_path),
        SHORT,
        weighting=Weighting(lambda logs, mask, columns: logs.exp(), whole_batch=False),
        evaluate=None,
    )
    assert_close(trained, train_by_hand(policy(), lambda logs, rows: [log.detach().exp() for log in logs]))


def test_a_lagging_q_is_the_average_of_the_weights_after_each_step(tmp_path):
    seen = []

    def watch(logs, mask, columns):
        seen.append(logs.sum().item())
        return torch.ones(len(mask))

    settings = replace(SHORT, batch_size=30, steps=3)
    train_sft(cell_of("lag", tmp_path / "a"), settings, weighting=Weighting(watch, q_ema=0.75), evaluate=None)
    path = [weights_of(policy())]
    stepped = {}
    train_sft(
        cell_of("now", tmp_path / "b"),
        replace(settings, evaluate_every=1),
        weighting=Weighting(lambda logs, mask, columns: torch.ones(len(mask))),
        evaluate=lambda model, step: stepped.update({step: copy.deepcopy(model.state_dict())}) or {},
    )
    for step in (1, 2):
        path.append({n: 0.75 * path[-1][n] + 0.25 * stepped[step][n] for n in path[-1]})
    q, rows = policy(), list(sums())
    for average, total in zip(path, seen, strict=True):
        q.model.load_state_dict(average)
        with torch.no_grad():
            expected = sum(log_probs_by_hand(q.model, q, row).sum().item() for row in rows)
        assert total == pytest.approx(expected, abs=1e-3)
    assert abs(seen[2] - seen[0]) > 1, "q moved"


def test_evaluation_has_no_number_of_items_and_is_weighted(tmp_path):
    actor, data = policy(), sums()
    trainer = trainer_of(
        actor, tmp_path, Weighting(lambda logs, mask, columns: columns["quality"], columns=("quality",))
    )
    measured = trainer.evaluate(eval_dataset=trainer.train_dataset.select(range(8)))
    with torch.no_grad():
        logs = [log_probs_by_hand(actor.model, actor, data[i]) for i in range(8)]
    weighted = -sum(data[i]["quality"] * log.sum() for i, log in enumerate(logs)) / sum(map(len, logs))
    plain = -sum(log.sum() for log in logs) / sum(map(len, logs))
    assert measured["eval_loss"] == pytest.approx(weighted.item(), abs=1e-4)
    assert measured["eval_nll"] == pytest.approx(plain.item(), abs=1e-4)


@pytest.mark.parametrize("reference", ["initial", "model", "column"])
def test_the_reference_of_each_row_is_there_token_by_token(tmp_path, reference):
    actor, other, data = policy(), policy(seed=1), sums()
    source = other if reference == "model" else actor
    with torch.no_grad():
        expected = [log_probs_by_hand(source.model, source, row) for row in data]
    if reference == "column":
        data = data.add_column(REFERENCE, [logs.tolist() for logs in expected])
    weighting = Weighting(likely, ("quality",), other.model if reference == "model" else reference)
    trainer = trainer_of(actor, tmp_path, weighting, data, per_device_train_batch_size=4)
    for row, logs in zip(trainer.train_dataset, expected, strict=True):
        torch.testing.assert_close(torch.tensor(row[REFERENCE]), logs, rtol=0, atol=1e-5)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in (0, 29)])
    mask = batch["labels"][:, 1:] != -100
    for i, row in enumerate((0, 29)):
        torch.testing.assert_close(batch[REFERENCE][i][mask[i]], expected[row], rtol=0, atol=1e-5)
        assert not batch[REFERENCE][i][~mask[i]].any()
    assert "forward" not in vars(other.model), "the reference is left as it was"


def test_a_row_whose_end_was_cut_keeps_the_first_numbers():
    collate = WithColumns(lambda rows: {"labels": torch.tensor([[-100, 1, 2], [-100, -100, 3]])}, ("kept",))
    batch = collate([{"kept": [0.5, 0.25, 0.125]}, {"kept": [1.0]}])
    assert batch["kept"].tolist() == [[0.5, 0.25], [0.0, 1.0]]


def stored():
    """A number for each token of a completion and its end."""
    return [[-0.5] * (len(row["completion"]) + 1) for row in sums()]


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (7, [-0.5], r"row 8: ref_log_probs has 1 numbers for 4 supervised tokens; needed: one for each"),
        (7, [-0.5] * 5, r"row 8: ref_log_probs has 5 numbers for 4 supervised tokens"),
        (2, [-0.5, float("nan"), -0.5], r"row 3: ref_log_probs is \[-0\.5, nan, -0\.5\]; allowed: a finite number"),
    ],
)
def test_stored_numbers_that_do_not_fit_a_row_are_refused_with_the_row(tmp_path, row, value, message):
    lists = stored()
    lists[row] = value
    data = sums().add_column(REFERENCE, lists)
    with pytest.raises(UserError, match=message):
        trainer_of(policy(), tmp_path, Weighting(likely, ("quality",), "column"), data, shuffle_dataset=True)


def test_a_row_that_lost_its_end_may_have_more_numbers_than_tokens(tmp_path):
    weighting = Weighting(likely, ("quality",), "column")
    trainer = trainer_of(policy(), tmp_path, weighting, sums().add_column(REFERENCE, stored()), max_length=6)
    assert max(map(len, trainer.train_dataset["labels"])) == 6
    assert REFERENCE in trainer.train_dataset.column_names and ROW not in trainer.train_dataset.column_names


def test_rows_without_a_supervised_token_are_told_and_none_left_is_refused(tmp_path):
    data = Dataset.from_dict({"prompt": ["1+1=", "10+10="], "completion": ["2", "20"]})
    with pytest.warns(UserWarning, match="1 of 2 rows have no supervised token within max_length = 6"):
        trainer = trainer_of(policy(), tmp_path, None, data, max_length=6)
    assert len(trainer.train_dataset) == 1
    with pytest.raises(UserError, match="2 of 2 rows have no supervised token within max_length = 3"):
        sft(policy(), data, replace(SHORT, max_length=3), cell_of("sft", tmp_path))


def test_a_weighting_may_be_made_from_the_rows_that_are_left(tmp_path):
    data = Dataset.from_dict({"prompt": ["1+1=", "10+10="], "completion": ["2", "20"], "quality": [4.0, 9.0]})

    def make(rows):
        mean = sum(rows["quality"][:]) / len(rows)
        return Weighting(lambda logs, mask, columns: columns["quality"] / mean, ("quality",))

    with pytest.warns(UserWarning, match="1 of 2 rows"):
        trainer = trainer_of(policy(), tmp_path, make, data, max_length=6)
    with torch.no_grad():
        plain = -log_probs_by_hand(policy().model, policy(), data[0]).mean()
    assert trainer.evaluate(trainer.train_dataset)["eval_loss"] == pytest.approx(plain.item(), abs=1e-4)


def test_rows_given_to_evaluate_get_the_reference_of_a_model_and_the_initial_one_is_gone(tmp_path):
    weighting = Weighting(likely, ("quality",), policy(seed=1).model)
    trainer = trainer_of(policy(), tmp_path, weighting)
    raw = trainer.evaluate(sums().select(range(4)))
    assert raw["eval_loss"] == pytest.approx(trainer.evaluate(trainer.train_dataset.select(range(4)))["eval_loss"])
    with pytest.raises(UserError, match="evaluate: the reference is the initial model"):
        trainer_of(policy(), tmp_path, Weighting(likely, ("quality",), "initial")).evaluate(sums())


def test_pieces_of_unequal_width_are_joined_with_nothing_in_between():
    wide = Piece(torch.full((1, 3), -1.0), torch.ones(1, 3, dtype=torch.bool), {"a": torch.ones(1, 3)})
    narrow = Piece(torch.full((1, 1), -2.0), torch.ones(1, 1, dtype=torch.bool), {"a": torch.ones(1, 1)})
    both = Piece.join([wide, narrow])
    assert both.log_probs_BT.tolist() == [[-1, -1, -1], [-2, 0, 0]] and both.mask_BT.sum() == 4
    assert both.columns["a"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_rows_are_drawn_by_the_sampling_column(tmp_path):
    data = sums()
    chosen = data.add_column("share", [float(i in (3, 4)) * (1 + i % 2 * 2) for i in range(len(data))])
    counts = torch.bincount(torch.tensor(draw_rows(len(data), 4000, 0, chosen["share"][:])), minlength=len(data))
    assert counts[[3, 4]].sum() == 4000 and counts[3].item() == pytest.approx(3000, abs=110)  # 4 standard deviations
    only = [3] * 16
    expected = train_by_hand_on(data, only)
    one = data.add_column("share", [float(i == 3) for i in range(len(data))])
    trained = sft(policy(), one, SHORT, cell_of("sft", tmp_path), sampling_column="share")
    assert_close(trained, expected)


def train_by_hand_on(data, rows):
    actor = policy()
    optimizer = torch.optim.AdamW(actor.model.parameters(), lr=1e-2, weight_decay=0)
    for _ in range(2):
        loss = -log_probs_by_hand(actor.model, actor, data[rows[0]]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(actor.model.parameters(), 1.0)
        optimizer.step()
    return actor


def test_only_the_assistant_s_turns_are_learned_from_messages(tmp_path):
    talks = [[{"role": "user", "content": f"{a}+1="}, {"role": "assistant", "content": str(a + 1)}] for a in range(8)]
    actor = policy()
    trainer = trainer_of(
        actor,
        tmp_path,
        Weighting(lambda logs, mask, columns: torch.ones(len(mask))),
        Dataset.from_dict({"messages": talks}),
        assistant_only_loss=True,
    )
    row = trainer.train_dataset[3]
    learned = [token for token in row["labels"] if token != -100]
    assert actor.decode(learned) == "4" + actor.tokenizer.eos_token
    sft(actor, Dataset.from_dict({"messages": talks}), SHORT, cell_of("sft", tmp_path))


def test_the_model_is_left_as_it_was_but_for_its_weights(tmp_path):
    before = policy()
    trained = train_sft(cell_of("sft", tmp_path), SHORT, evaluate=None)
    assert vars(trained.model).keys() - vars(before.model).keys() <= {"model_tags"} and not trained.model.training
    twin = copy.deepcopy(trained.model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    tokens = torch.tensor([[5, 6, 7]])
    assert twin(input_ids=tokens).logits.abs().sum() == 0, "a copy calls its own weights"
    assert trained.model(input_ids=tokens).logits.abs().sum() > 0


def test_adapters_alone_are_trained(tmp_path):
    trained = train_sft(cell_of("sft", tmp_path), replace(SHORT, lora=LoraSettings(rank=2)), evaluate=None)
    before = weights_of(policy())
    bare = trained.model.unload()
    for name, value in before.items():
        assert torch.equal(bare.state_dict()[name.replace("base_layer.", "")], value), name
    adapters = [p for n, p in trained.model.named_parameters() if "lora_B" in n]
    assert not adapters or any(p.abs().sum() > 0 for p in adapters)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 9, "gradient_accumulation": 2}, "9 sequences of a step: must be a multiple of 1 process"),
        ({"optimizer": replace(FAST, name="muon_clip"), "lora": LoraSettings(rank=2)}, "QK-Clip needs all weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train_sft(cell_of("sft", tmp_path), replace(SFT, **changes))


def test_a_training_that_is_left_out_is_refused(tmp_path):
    with pytest.raises(UserError, match="steps = 0, epochs = 0: one of them must be above 0"):
        train_sft(cell_of("sft", tmp_path), SFTSettings(steps=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": {"learning_rate": 1.0}}, "extra: learning_rate = 1.0 is decided by the settings"),
        ({"extra": {"packing": True}}, "extra: packing = True is decided by the settings"),
        ({"extra": {"padding_fre": True}}, "is no field of SFTConfig; did you mean padding_free"),
        ({"weighting": replace(WEIGHTING, columns=("quality", "grade"))}, "dataset: no column 'grade'; it has "),
        ({"weighting": replace(WEIGHTING, reference="column")}, f"dataset: no column '{REFERENCE}'"),
        ({"weighting": Weighting(lambda logs, mask, c: torch.ones(3))}, r"weights of shape \(3,\): must be \[B\]"),
        ({"weighting": Weighting(lambda logs, mask, c: logs.sum(1) / 0)}, "weights: 8 of 8 are not finite numbers"),
        ({"sampling_column": "shares"}, "sampling_column = 'shares': the dataset has prompt, completion"),
        ({"sampling_column": "bad"}, "bad = nan in row 2: must be finite and not negative"),
        ({"sampling_column": "none"}, "none: 0 in every row"),
    ],
)
def test_data_and_weights_that_cannot_be_are_refused(tmp_path, options, message):
    data = sums().add_column("bad", [1.0, 0.0, float("nan")] + [1.0] * 27).add_column("none", [0.0] * 30)
    with pytest.raises(UserError, match=message):
        sft(policy(), data, SHORT, cell_of("sft", tmp_path), **({"weighting": WEIGHTING} | options))


@pytest.mark.parametrize(
    ("data", "message"), [({"prompt": []}, "0 rows"), ({"question": ["1"]}, "columns question; needed: input_ids")]
)
def test_data_without_rows_or_columns_is_refused(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        sft(policy(), Dataset.from_dict(data), SHORT, cell_of("sft", tmp_path))


@pytest.mark.parametrize(
    "options", [{"packing": True}, {"padding_free": True, "max_length": None}, {"loss_type": "dft"}]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_batches_without_boundaries_and_other_losses_are_refused(tmp_path, options):
    with pytest.raises(UserError, match=r"weights need|need their boundaries"):
        trainer_of(policy(), tmp_path, WEIGHTING, **options)


def test_a_weighting_says_what_it_cannot_be():
    with pytest.raises(UserError, match=r"q_ema = 1.0: must be at least 0 and below 1"):
        replace(WEIGHTING, q_ema=1.0)
    with pytest.raises(UserError, match="reference = 'first'"):
        replace(WEIGHTING, reference="first")
    with pytest.raises(UserError, match="must be"):
        checked(torch.ones(2, 2), torch.ones(2, 3, dtype=torch.bool))


def test_an_average_keeps_what_is_trained_and_nothing_else():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    average = LaggingAverage(model, 0.5)
    model.weight.data.fill_(1.0)
    before = average.parameters["weight"].clone()
    average.on_step_end(None, None, None)
    assert average.parameters.keys() == {"weight"}
    torch.testing.assert_close(average.parameters["weight"], (before + 1) / 2)


def test_an_average_of_half_precision_weights_moves_and_serves_in_their_precision():
    model = torch.nn.Linear(2, 2).bfloat16()
    average = LaggingAverage(model, 0.999)
    average.parameters["weight"].zero_()
    model.weight.data.fill_(1.0)
    for _ in range(100):
        average.on_step_end(None, None, None)
    torch.testing.assert_close(average.parameters["weight"], torch.full((2, 2), 1 - 0.999**100))
    assert average.call(model, {"input": torch.ones(1, 2, dtype=torch.bfloat16)}).dtype == torch.bfloat16


def test_a_policy_is_asked_in_the_precision_that_it_learned_in(tmp_path, forget_precision):
    """Within the training, after it, and after a resumption; its weights stay wide, and so do those of a wide one."""
    seen = []

    def evaluate(model, step):
        seen.append(model.lm_head(torch.zeros(1, model.config.hidden_size)).dtype)
        return {"validation/width": 0.0}

    narrow = sft(
        policy(), sums(), replace(SHORT, mixed_precision="bf16"), cell_of("bf16", tmp_path / "bf16"), evaluate=evaluate
    )
    again = sft(policy(), sums(), replace(SHORT, mixed_precision="bf16"), cell_of("bf16", tmp_path / "bf16"))
    forget_precision()
    wide = sft(policy(), sums(), SHORT, cell_of("wide", tmp_path / "wide"), evaluate=evaluate)
    assert seen == [torch.bfloat16, torch.float32]
    assert narrow.autocast is again.autocast is torch.bfloat16 and wide.autocast is None
    assert {weight.dtype for weight in narrow.model.parameters()} == {torch.float32}
    greedy, prompts = Sampling(1, temperature=0.0), [narrow.encode("1+2=")]

    def log_prob(one):
        return rollout(one, prompts, greedy)[0].log_probs[0]

    with torch.autocast("cpu", torch.bfloat16):
        expected = log_prob(replace(narrow, autocast=None))
    assert log_prob(narrow) == expected != log_prob(replace(narrow, autocast=None))
