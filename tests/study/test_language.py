import pytest
from pretended import pretended_device

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.policies import tiny_policy
from tenfold.study.language import PolicyConfig, build_policy, evaluated_as, placed, prompt_ids

SMALL = PolicyConfig(width=16, layers=1, heads=2, context=32)


def test_a_tiny_policy_is_the_one_that_its_parts_say():
    ours = build_policy(SMALL, "01+=", ("<a>",), seed=5)
    theirs = tiny_policy("01+=", ("<a>",), width=16, layers=1, heads=2, context=32, seed=5)
    assert all(one.equal(other) for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True))
    assert ours.encode("<a>1") == theirs.encode("<a>1")


def test_a_model_on_disk_is_loaded(tmp_path):
    tiny_policy("01+=", width=16, layers=1, heads=2).save(tmp_path)
    assert build_policy(PolicyConfig(model=str(tmp_path)), "unused", seed=0).decode([]) == ""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_a_loaded_model_have_the_type_that_is_asked_for(tmp_path, dtype):
    tiny_policy("01+=", width=16, layers=1, heads=2).save(tmp_path)
    policy = build_policy(PolicyConfig(model=str(tmp_path), dtype=dtype), "unused", seed=0)
    assert {str(weight.dtype) for weight in policy.model.parameters()} == {f"torch.{dtype}"}


@pytest.mark.parametrize("change", [{"width": 8}, {"layers": 1}, {"heads": 2}, {"context": 9}])
def test_sizes_of_a_model_that_has_its_own_are_refused(change):
    with pytest.raises(UserError, match=f"{next(iter(change))} = .*does not act here; set model"):
        PolicyConfig(model="some/model", **change)


def test_prompts_are_texts_or_conversations():
    policy = tiny_policy(width=16, layers=1, heads=2)
    assert prompt_ids(policy, "1+1=") == policy.encode("1+1=", start=True)
    chat = prompt_ids(policy, [{"role": "user", "content": "1+1="}])
    assert policy.decode(chat).endswith("<|user|>1+1=<|assistant|>")


def test_a_measure_sees_the_policy_in_training():
    policy, seen = tiny_policy("01", width=16, layers=1, heads=2), []
    evaluate = evaluated_as(policy.tokenizer, lambda shown: seen.append(shown) or {"validation/score": 0.5})
    assert evaluate(policy.model, 3) == {"validation/score": 0.5}
    assert seen[0].model is policy.model and seen[0].tokenizer is policy.tokenizer


@pytest.mark.parametrize("loaded", [False, True])
def test_a_policy_is_built_where_it_is_to_be(tmp_path, loaded):
    config = SMALL
    if loaded:
        tiny_policy("01+=", width=16, layers=1, heads=2).save(tmp_path)
        config = PolicyConfig(model=str(tmp_path))
    with pretended_device():
        assert places(build_policy(config, "01+=", seed=0)) == {"cpu"}
        assert places(build_policy(config, "01+=", seed=0, device="cuda")) == {"cuda"}


@pytest.mark.parametrize(("device", "place"), [("auto", "cuda"), ("cpu", "cpu")])
def test_a_policy_that_was_read_before_goes_where_the_cell_computes(tmp_path, device, place):
    with pretended_device():
        policy = build_policy(SMALL, "01+=", seed=0)
        moved = placed(policy, Cell(arm="a", seed=0, directory=tmp_path, device=device))
        assert moved is policy and places(moved) == {place}


def places(policy):
    return {weight.device.type for weight in policy.model.parameters()}
