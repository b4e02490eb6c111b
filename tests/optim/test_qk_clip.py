"""When QK-Clip measures, clips, forgets and counts, and that it leaves the training step itself alone."""

import copy
import gc
import math
import weakref

import pytest
import torch
from tiny_models import measured, tiny, tokens
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tenfold.core.errors import UserError
from tenfold.optim import Muon, QKClip, muon_param_groups

FIRST = "model.layers.0.self_attn"


def sgd(model, lr=0.0):
    return torch.optim.SGD(model.parameters(), lr=lr)


def backward(model, input_ids, weight=1.0):
    (weight * model(input_ids=input_ids, labels=input_ids, use_cache=False).loss).backward()


def parameters(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def unchanged(model, before):
    return all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@pytest.mark.spec("kimi_k2", "B5")
@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_four_small_batches_clip_as_one_large_one(name):
    large, small = tiny(name), tiny(name)
    tau = next(iter(measured(large, tokens(8)).values())).sort().values[1].item()
    batch = tokens(8)
    clips = []
    for model, parts in ((large, [batch]), (small, batch.split(2))):
        optimizer = sgd(model)
        clips.append(QKClip(model, tau=tau).attach(optimizer))
        for part in parts:
            backward(model, part, 1 / len(parts))
        optimizer.step()
    assert clips[0].metrics["qk_clip/heads_clipped"] > 0
    for one, other in zip(clips[0].max_logits.values(), clips[1].max_logits.values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.spec("kimi_k2", "B6")
@pytest.mark.parametrize(
    ("case", "mode"),
    [(case, mode) for case in ("negative", "one token", "empty") for mode in ("exact", "sampled")]
    + [("one token", "bound"), ("empty", "bound")],  # a bound knows no signs
)
def test_nothing_to_clip_changes_nothing(case, mode):
    model = tiny("llama")
    before = parameters(model)
    clip = QKClip(model, tau=1e-3 if case == "empty" else 50.0, mode=mode)
    if case == "one token":
        model(input_ids=tokens(2, 1), use_cache=False)
    else:
        query = torch.full((1 if case == "negative" else 0, 4, 5, 8), 100.0)
        clip.record(clip.modules[FIRST], query, -query[:, :2], query, None, 1.0, True)
    clip.step()
    if case == "negative":
        assert clip.max_logits[FIRST].tolist() == [-80_000.0] * 4
    assert clip.metrics["qk_clip/heads_clipped"] == 0 and clip.metrics["qk_clip/min_gamma"] == 1
    assert unchanged(model, before)


@pytest.mark.spec("kimi_k2", "B6")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_heads_with_non_finite_logits_are_left_alone_counted_and_warned_of(bad):
    model = tiny("llama_multi_head")
    before = parameters(model)
    clip = QKClip(model, tau=1.0)
    query = torch.ones(1, 4, 5, 8)
    query[0, 1, 2, 3] = bad
    query[0, 2] *= 100
    clip.record(clip.modules[FIRST], query, torch.ones(1, 4, 5, 8), query, None, 0.01, True)
    with pytest.warns(UserWarning, match="left 1 heads alone"):
        clip.step()
    assert clip.metrics["qk_clip/nonfinite"] == 1 and clip.metrics["qk_clip/heads_clipped"] == 1
    rows = (model.get_parameter(f"{FIRST}.q_proj.weight") != before[f"{FIRST}.q_proj.weight"]).any(dim=1)
    assert rows.nonzero().flatten().tolist() == list(range(16, 24))
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_the_forward_and_backward_pass_are_bit_identical():
    plain, watched = tiny("deepseek_v3"), tiny("deepseek_v3")
    QKClip(watched, tau=1e-3)
    for model in (plain, watched):
        backward(model, tokens())
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)


def test_each_step_starts_anew():
    model = tiny("llama")
    optimizer = sgd(model)
    clip = QKClip(model).attach(optimizer)
    loud, quiet = tokens(seed=2), tokens(seed=1)
    seen = []
    for batch in (loud, quiet, loud):
        backward(model, batch)
        optimizer.step()
        seen.append(clip.metrics["qk_clip/max_logit"])
    assert seen[0] == seen[2] > seen[1]
    assert [entry[1] for entry in clip.history] == seen


def test_evaluation_is_not_measured():
    model = tiny("llama").eval()
    clip = QKClip(model, tau=1e-3)
    model(input_ids=tokens())
    assert clip.step()["qk_clip/max_logit"] == -math.inf


def test_recomputation_of_activations_changes_nothing_that_is_measured():
    plain, recomputing = tiny("llama"), tiny("llama")
    recomputing.activation_checkpointing_enable()
    clips = []
    for model in (plain, recomputing):
        clips.append(QKClip(model).attach(sgd(model)))
        backward(model, tokens())
        clips[-1].step()
    for one, other in zip(clips[0].max_logits.values(), clips[1].max_logits.values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["exact", "bound", "sampled"])
@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "gpt2"])
def test_under_autocast_the_products_are_in_single_precision(name, mode):
    """Queries and keys are what autocast made of them; the largest of their products is not rounded once more."""
    model = tiny(name)
    clip = QKClip(model, mode=mode, fraction=1.0)
    expected = {}
    record = clip.record

    def watch(module, query, key, value, mask, scaling, causal):
        record(module, query, key, value, mask, scaling, causal)
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            query = query.double()
            key = key.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1)
            logits = query @ key.mT if mode != "bound" else query.norm(dim=-1)[..., None] * key.norm(dim=-1)[:, :, None]
            if mode != "bound":
                logits = logits.masked_fill(torch.ones(12, 12).triu(1).bool(), -math.inf)
            expected[clip._names[module]] = scaling * logits.amax(dim=(0, 2, 3))

    clip.record = watch
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=tokens(), use_cache=False)
    clip.step()
    assert len(expected) == len(clip.max_logits) > 0
    for key, largest in clip.max_logits.items():
        torch.testing.assert_close(largest, expected[key].float(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")  # torch.compile warns of its own parts
def test_compiled_models_are_measured_as_others_are():
    model = tiny("llama")
    expected = measured(model)
    clip = QKClip(model)
    torch.compile(model, backend="eager")(input_ids=tokens(), use_cache=False)
    clip.step()
    torch.testing.assert_close(clip.max_logits, expected, atol=1e-6, rtol=1e-6)


def test_a_step_that_a_loss_scaler_skipped_is_forgotten():
    model = tiny("llama")
    optimizer = sgd(model)
    clip = QKClip(model).attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loud, quiet = tokens(seed=2), tokens(seed=1)
    expected, larger = (max(map(torch.max, measured_beside(model, rows).values())).item() for rows in (quiet, loud))
    assert larger > 1.1 * expected
    for batch, factor in ((loud, float("inf")), (quiet, 1.0)):
        scaler.scale(factor * model(input_ids=batch, labels=batch).loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert clip.steps == 1
    assert clip.metrics["qk_clip/max_logit"] == pytest.approx(expected, rel=1e-6)


def measured_beside(model, batch):
    return measured(tiny("llama").train(model.training), batch)


def test_two_passes_before_one_backward_pass_both_count():
    model = tiny("llama")
    optimizer = sgd(model)
    clip = QKClip(model).attach(optimizer)
    batches = [tokens(seed=2), tokens(seed=1)]  # the louder one first
    expected = max(values.max() for batch in batches for values in measured_beside(model, batch).values()).item()
    sum(model(input_ids=batch, labels=batch).loss for batch in batches).backward()
    optimizer.step()
    assert clip.metrics["qk_clip/max_logit"] == pytest.approx(expected, rel=1e-6)


def test_every_third_step_is_measured_and_clipped():
    model = tiny("llama")
    optimizer = sgd(model)
    clip = QKClip(model, tau=1e-3, every_n=3).attach(optimizer)
    changed = []
    for _ in range(7):
        before = parameters(model)
        backward(model, tokens())
        optimizer.step()
        clip.tau /= 2
        changed.append(not unchanged(model, before))
    assert changed == [True, False, False, True, False, False, True]
    assert [step for step, *_ in clip.history] == [1, 4, 7]


def test_margin_aims_below_the_threshold_but_fires_at_it():
    first = next(iter(measured(tiny("llama_multi_head")).values()))
    tau = first.sort().values[1].item()
    model = tiny("llama_multi_head")
    clip = QKClip(model, tau=tau, margin=0.7)
    model(input_ids=tokens(), use_cache=False)
    clip.step()
    again = next(iter(measured_after(model, clip).values()))
    torch.testing.assert_close(again, torch.where(first > tau, 0.7 * tau, first), rtol=1e-5, atol=0)


def measured_after(model, clip):
    clip.detach()
    return measured(model)


def test_copies_of_higher_precision_are_scaled_too():
    model = tiny("llama").bfloat16()
    masters = {parameter: parameter.detach().float() for parameter in model.parameters()}
    before = {parameter: master.clone() for parameter, master in masters.items()}
    clip = QKClip(model, tau=1e-2, master_copy=masters.get)
    model(input_ids=tokens(), use_cache=False)
    clip.step()
    assert clip.metrics["qk_clip/heads_clipped"] == 8
    for name, parameter in model.named_parameters():
        touched = "q_proj" in name or "k_proj" in name
        assert torch.equal(masters[parameter], before[parameter]) != touched
        torch.testing.assert_close(parameter.detach().float(), masters[parameter], rtol=0.01, atol=0)


def test_frozen_attention_is_measured_and_left_as_it_is():
    model = tiny("llama")
    model.model.layers[0].self_attn.requires_grad_(False)
    before = parameters(model)
    optimizer = sgd(model)
    clip = QKClip(model, tau=1e-3).attach(optimizer)
    backward(model, tokens())
    optimizer.step()
    assert clip.metrics[f"qk_clip/max_logit/{FIRST}"] > 1e-3 and clip.metrics["qk_clip/heads_clipped"] == 4
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == [f"model.layers.1.self_attn.{part}_proj.weight" for part in "qk"]


def test_attention_that_is_frozen_in_part_is_refused():
    model = tiny("llama")
    model.model.layers[1].self_attn.k_proj.requires_grad_(False)
    with pytest.raises(UserError, match=r"layers\.1\.self_attn: queries and keys are frozen in part"):
        QKClip(model)


def frozen_and_strange(model, number):
    """An attention module of a class that nobody listed, of which nothing is trained."""
    module = model.model.layers[number].self_attn.requires_grad_(False)
    module.__class__ = type("StrangeAttention", (torch.nn.Module,), {"forward": type(module).forward})


def test_frozen_attention_of_an_unknown_class_is_left_out():
    model = tiny("llama")
    frozen_and_strange(model, 0)
    before = parameters(model)
    optimizer = sgd(model)
    clip = QKClip(model, tau=1e-3).attach(optimizer)
    backward(model, tokens())
    optimizer.step()
    assert clip.metrics["qk_clip/heads_clipped"] == 4 and list(clip.max_logits) == ["model.layers.1.self_attn"]
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == [f"model.layers.1.self_attn.{part}_proj.weight" for part in "qk"]
    frozen_and_strange(model, 1)
    assert QKClip(model).step()["qk_clip/max_logit"] == -math.inf  # of no head at all
    model.model.layers[1].self_attn.v_proj.requires_grad_(True)
    with pytest.raises(UserError, match="StrangeAttention"):
        QKClip(model)


def test_weights_that_two_attention_modules_share_are_refused_by_name():
    model = tiny("llama")
    first, second = (layer.self_attn for layer in model.model.layers)
    second.k_proj.weight = first.k_proj.weight
    with pytest.raises(UserError, match=rf"{FIRST} and model\.layers\.1\.self_attn share"):
        QKClip(model)


def test_one_module_in_two_places_is_scaled_once():
    model = tiny("llama")
    model.model.layers[1].self_attn = model.model.layers[0].self_attn
    clip = QKClip(model, tau=1e-3)
    model(input_ids=tokens(), use_cache=False)
    before = model.get_parameter(f"{FIRST}.q_proj.weight").detach().clone()
    clip.step()
    gamma = 1e-3 / clip.max_logits[FIRST]
    scaled = model.get_parameter(f"{FIRST}.q_proj.weight").detach().abs().sum() / before.abs().sum()
    assert list(clip.max_logits) == [FIRST] and gamma.min() < scaled < 1


@pytest.mark.parametrize(
    "make", [sgd, lambda model: torch.optim.AdamW(model.parameters()), lambda model: Muon(muon_param_groups(model))]
)
def test_a_step_that_only_makes_a_state_is_none(make):
    model = tiny("llama")
    before = parameters(model)
    optimizer = make(model)
    clip = QKClip(model, tau=1e-3).attach(optimizer)
    get_optimizer_state_dict(model, optimizer)
    assert clip.steps == 0 and clip.history == [] and unchanged(model, before)
    backward(model, tokens())
    optimizer.step()
    assert [step for step, *_ in clip.history] == [1] and clip.metrics["qk_clip/heads_clipped"] == 8


def test_a_first_step_at_a_rate_of_nothing_counts():
    model = tiny("llama")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    clip = QKClip(model, tau=1e-3).attach(optimizer)
    backward(model, tokens())
    optimizer.step()
    assert clip.steps == 1 and clip.metrics["qk_clip/heads_clipped"] == 8


def test_state_goes_to_a_file_and_back(tmp_path):
    model = tiny("llama")
    clip = QKClip(model, tau=0.1, margin=0.9, mode="sampled", fraction=0.5)
    for seed in range(3):
        model(input_ids=tokens(seed=seed), use_cache=False)
        clip.step()
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    model(input_ids=tokens(seed=3), use_cache=False)
    twin_model = tiny("llama")
    twin = QKClip(twin_model, mode="sampled", fraction=0.5)
    twin_model.load_state_dict(model.state_dict())
    twin.load_state_dict(torch.load(tmp_path / "clip.pt", weights_only=True))
    twin_model(input_ids=tokens(seed=3), use_cache=False)
    assert twin.step() == clip.step()
    assert (twin.tau, twin.margin, twin.history) == (0.1, 0.9, clip.history)
    with pytest.raises(UserError, match="attention heads"):
        QKClip(tiny("gpt2")).load_state_dict(clip.state_dict())


def test_counts_which_heads_were_ever_clipped():
    model = tiny("llama_multi_head")
    first = torch.cat(list(measured(model).values()))
    clip = QKClip(model, tau=first.sort().values[-2].item())
    for _ in range(3):
        model(input_ids=tokens(), use_cache=False)
        clip.step()
    assert clip.history[0][2] == 1
    assert clip.metrics["qk_clip/fraction_ever_clipped"] >= 1 / 8
    assert clip.metrics["qk_clip/last_clip_step"] >= 1
    assert clip.metrics[f"qk_clip/max_logit/{FIRST}"] == clip.max_logits[FIRST].max()


def test_works_behind_any_optimizer():
    for make in (
        lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3),
        lambda model: torch.optim.SGD(model.parameters(), lr=1e-3),
        lambda model: Muon(muon_param_groups(model, lr=1e-3)),
    ):
        model = tiny("llama")
        optimizer = make(model)
        clip = QKClip(model, tau=0.1).attach(optimizer)
        backward(model, tokens())
        optimizer.step()
        assert clip.metrics["qk_clip/heads_clipped"] > 0


def test_detaching_gives_the_model_its_attention_back():
    model = tiny("llama", attention="eager")
    optimizer = sgd(model)
    clip = QKClip(model, tau=1e-3).attach(optimizer)
    clip.detach()
    before = parameters(model)
    backward(model, tokens())
    optimizer.step()
    assert model.config._attn_implementation == "eager"
    assert unchanged(model, before)


def test_a_copy_of_the_model_is_not_measured_and_does_not_copy_the_clip():
    model = tiny("llama")
    optimizer = sgd(model)
    clip = QKClip(model).attach(optimizer)
    twin = copy.deepcopy(model)
    twin(input_ids=tokens())
    assert clip.step()["qk_clip/max_logit"] == -math.inf
    assert not any(getattr(hook, "clip", lambda: None)() for hook in twin._forward_pre_hooks.values())


def test_model_and_clip_are_freed_together():
    model = tiny("llama")
    gone = weakref.ref(QKClip(model).attach(sgd(model)))
    del model
    gc.collect()
    assert gone() is None


def test_saved_configurations_do_not_name_the_measuring_attention(tmp_path):
    model = tiny("llama")
    QKClip(model)
    model.save_pretrained(tmp_path)
    assert "qk_clip" not in (tmp_path / "config.json").read_text()


def test_a_changed_attention_implementation_is_followed():
    model = tiny("llama")
    expected = measured(model)
    clip = QKClip(model)
    model.set_attn_implementation("eager")
    model(input_ids=tokens(), use_cache=False)
    clip.step()
    torch.testing.assert_close(clip.max_logits, expected, atol=1e-5, rtol=1e-5)


def test_attention_that_cannot_be_measured_any_more_is_an_error_not_silence():
    model = tiny("llama")
    clip = QKClip(model)
    AttentionInterface.register("mine", sdpa_attention_forward)
    model.set_attn_implementation("mine")
    model(input_ids=tokens(), use_cache=False)
    with pytest.raises(UserError, match=rf"attn_implementation = 'mine' in {FIRST}"):
        clip.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau = 0.0"),
        ({"alpha": 1.5}, "alpha = 1.5"),
        ({"gqa": "mean"}, "gqa = 'mean'"),
        ({"mode": "kernel"}, "mode = 'kernel'"),
        ({"fraction": 0.0}, "fraction = 0.0"),
        ({"every_n": 0}, "every_n = 0"),
        ({"margin": 1.1}, "margin = 1.1"),
        ({"chunk_rows": 0}, "chunk_rows = 0"),
    ],
)
def test_refuses_settings_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        QKClip(tiny("llama"), **options)


def test_refuses_models_it_cannot_measure():
    with pytest.raises(UserError, match="model = Linear"):
        QKClip(torch.nn.Linear(2, 2))
