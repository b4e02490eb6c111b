"""A rollout gives what a forward pass over its tokens gives, whatever else is in the batch; turns end as they must."""

import dataclasses

import pytest
import torch
from acting import Echo, check_log_probs, digits_policy
from scipy.stats import chisquare

from tenfold.core.errors import UserError
from tenfold.core.types import Reply
from tenfold.policies import Policy, Sampling, ScriptedPolicy, character_tokenizer, rollout

PROMPTS = [[9, 10, 11], [12], [13, 14, 15, 16, 17, 18, 9, 10], [9, 10, 11], [20, 21]]


@pytest.fixture(scope="module")
def policy():
    return digits_policy()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.3, 0.8), (0.0, 1.0)])
def test_log_probabilities_are_those_of_a_fresh_forward_pass(policy, temperature, top_p):
    sampling = Sampling(max_new_tokens=12, temperature=temperature, top_p=top_p)
    for trajectory in rollout(policy, PROMPTS, sampling, num_samples=3):
        check_log_probs(policy.model, trajectory, temperature)
        assert all(trajectory.loss_mask) and len(trajectory.token_ids) <= 12


@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_a_batch_gives_what_single_prompts_give(policy, temperature, batch_size):
    sampling = Sampling(max_new_tokens=12, temperature=temperature)
    together = rollout(policy, PROMPTS, sampling, num_samples=2, seed=3, batch_size=batch_size)
    for i, prompt in enumerate(PROMPTS):
        alone = rollout(policy, [prompt], sampling, num_samples=2, seed=3, keys=[i])
        for one, other in zip(alone, together[2 * i : 2 * i + 2], strict=True):
            assert one.token_ids == other.token_ids and one.prompt_ids == tuple(prompt)
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_order_changes_nothing_and_keys_and_seeds_do(policy):
    sampling = Sampling(max_new_tokens=12)
    said = [each.token_ids for each in rollout(policy, PROMPTS, sampling, keys=list("abcde"))]
    backwards = rollout(policy, PROMPTS[::-1], sampling, keys=list("edcba"))
    assert [each.token_ids for each in backwards][::-1] == said
    assert said[0] != said[3], "the same prompt with another key"
    assert [each.token_ids for each in rollout(policy, PROMPTS, sampling, keys=list("abcde"), seed=1)] != said
    assert rollout(policy, PROMPTS[:1], sampling, keys=[("a",)])[0].token_ids == said[0]


@pytest.mark.filterwarnings("default")  # transformers warns of settings that greedy decoding does not use
def test_greedy_is_what_generate_gives_on_a_batch_padded_on_the_left(policy):
    longest = max(map(len, PROMPTS))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    generated = policy.model.generate(padded, attention_mask=mask, do_sample=False, max_new_tokens=20)[:, longest:]
    for theirs, ours in zip(generated.tolist(), rollout(policy, PROMPTS, Sampling(20, temperature=0)), strict=True):
        assert ours.token_ids == theirs[: len(ours.token_ids)]
        assert set(theirs[len(ours.token_ids) :]) <= {policy.tokenizer.pad_token_id}


def test_samples_follow_the_softmax_of_the_logits(policy):
    policy = digits_policy(seed=5)
    with torch.no_grad():
        policy.model.model.embed_tokens.weight.mul_(20)  # far from uniform
        probs_V = policy.model(torch.tensor([[9, 10]])).logits[0, -1].softmax(-1).double()
    said = rollout(policy, [[9, 10]], Sampling(max_new_tokens=1), num_samples=4000, batch_size=4000)
    counts_V = torch.bincount(torch.tensor([each.token_ids[0] for each in said]), minlength=len(probs_V))
    likely = probs_V > 5 / 4000
    counts = [*counts_V[likely].tolist(), counts_V[~likely].sum().item()]
    probs = [*probs_V[likely].tolist(), probs_V[~likely].sum().item()]
    assert likely.sum() > 5 and probs_V.max() > 3 * probs_V.median()
    assert chisquare(counts, [4000 * prob for prob in probs], sum_check=False).pvalue > 1e-3


def fed(model):
    """The shapes of the tokens of each forward pass from now on."""
    shapes = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def test_a_prompt_is_encoded_once_and_finished_rows_leave():
    policy = digits_policy()
    shapes = fed(policy.model)
    said = rollout(policy, [[9] * 30, [9] * 30, [10] * 30], Sampling(max_new_tokens=20), num_samples=8)
    assert shapes[0] == (2, 29), "two different prompts, all but the last token, once"
    lengths = [len(each.token_ids) for each in said]
    assert len(set(lengths)) > 3 and all(shape[1] == 1 for shape in shapes[1:])
    assert sum(rows for rows, _ in shapes[1:]) == sum(lengths), "one row fed for each token that was sampled"


def test_waiting_rows_come_in_when_places_get_free():
    policy = digits_policy()
    shapes = fed(policy.model)
    said = rollout(policy, [[9] * 5, [10] * 5], Sampling(max_new_tokens=30), num_samples=20, batch_size=8)
    decoding = [rows for rows, columns in shapes if columns == 1]
    assert max(decoding) == 8 and sum(decoding) == sum(len(each.token_ids) for each in said)
    assert sum(rows for rows, columns in shapes if columns == 4) == 2, "each prompt once, while a row still has it"


def test_a_trajectory_ends_by_its_end_token_or_by_a_limit():
    tokenizer = character_tokenizer("ab")
    policy = ScriptedPolicy(tokenizer, lambda prompt, sample: "a" * prompt, context=6)
    ended = rollout(policy, [policy.encode("b")] * 6, Sampling(max_new_tokens=4))
    end = tokenizer.eos_token_id
    assert [each.stop_reason for each in ended] == ["stop"] * 4 + ["length"] * 2, "the end token is the fourth"
    assert [each.token_ids[-1] == end for each in ended] == [True] * 4 + [False] * 2
    full = rollout(policy, [policy.encode("bbb")] * 6, Sampling(max_new_tokens=9))
    assert [len(each.token_ids) for each in full] == [1, 2, 3, 3, 3, 3], "six tokens of context, three of prompt"
    assert [each.stop_reason for each in full] == ["stop"] * 3 + ["length"] * 3


def test_the_models_own_end_tokens_count():
    policy = digits_policy()
    policy.model.generation_config.eos_token_id = [2, 9]
    said = rollout(policy, [[10]], Sampling(max_new_tokens=60), num_samples=20)
    assert {each.token_ids[-1] for each in said if each.stop_reason == "stop"} == {2, 9}
    assert not any({2, 9} & set(each.token_ids[:-1]) for each in said)


def test_no_prompts_no_trajectories(policy):
    assert rollout(policy, [], Sampling(max_new_tokens=3), num_samples=4) == []


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([[9], []], {}, r"prompts\[1\] = \[\]"),
        ([[9] * 64], {}, r"prompts\[0\] has 64 tokens: must be below the context of 64"),
        (["12+"], {}, r"prompts\[0\] = '12\+': must be token ids"),
        ([[9]], {"num_samples": 0}, "num_samples = 0"),
        ([[9]], {"batch_size": 0}, "batch_size = 0"),
        ([[9]], {"keys": [1, 2]}, "keys: there are 2"),
    ],
)
def test_bad_arguments_are_named(policy, prompts, settings, message):
    with pytest.raises(UserError, match=message):
        rollout(policy, prompts, Sampling(max_new_tokens=3), **settings)


def test_a_diverged_model_is_an_error_and_not_a_token():
    policy = digits_policy()
    with torch.no_grad():
        policy.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        rollout(policy, [[9]], Sampling(max_new_tokens=3))


def test_a_model_in_training_is_sampled_without_dropout_and_left_in_training():
    policy = digits_policy()
    policy.model.config.attention_dropout = 0.5
    for layer in policy.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    policy.model.train()
    for trajectory in rollout(policy, PROMPTS, Sampling(max_new_tokens=8)):
        assert policy.model.training
        policy.model.eval()
        check_log_probs(policy.model, trajectory)
        policy.model.train()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in policy.model.parameters())


# ------------------------------------------------------------------------------------------------ environments


def test_tokens_of_the_environment_are_context_and_masked():
    policy = digits_policy()
    echo = Echo([Reply("=42<answer>"), Reply("++")], stop=("1", "2", "3"))
    said = rollout(policy, PROMPTS, Sampling(max_new_tokens=40), num_samples=4, environment=echo)
    replied = [each for each in said if not all(each.loss_mask)]
    assert len(replied) > 10
    reply_ids = policy.encode("=42<answer>")
    for trajectory in replied:
        check_log_probs(policy.model, trajectory)
        first = trajectory.loss_mask.index(False)
        assert trajectory.token_ids[first : first + len(reply_ids)] == reply_ids
        assert trajectory.loss_mask[first : first + len(reply_ids)] == [False] * len(reply_ids)
        assert trajectory.sampled_ids == [
            t for t, m in zip(trajectory.token_ids, trajectory.loss_mask, strict=True) if m
        ]
    assert sorted(echo.closed) == sorted(echo.turns) and len(echo.turns) == 4 * len(PROMPTS)


def test_replies_change_nothing_for_other_trajectories_nor_does_the_batch():
    policy = digits_policy()
    settings = dict(num_samples=3, seed=2)

    def said(**more):
        echo = Echo([Reply("=42"), Reply("+")], stop=("1", "2", "3"))
        return [
            each.token_ids
            for each in rollout(policy, PROMPTS, Sampling(max_new_tokens=30), environment=echo, **settings, **more)
        ]

    assert said(batch_size=1) == said(batch_size=4) == said()


def conversation(text, replies, stop=("#",), context=None, **sampling):
    policy = ScriptedPolicy(character_tokenizer("0123456789+=#", ("<out>",)), lambda prompt, sample: text, context)
    echo = Echo(replies, stop=stop)
    (said,) = rollout(policy, [policy.encode("1+")], Sampling(**{"max_new_tokens": 50, **sampling}), environment=echo)
    return policy, said, echo.turns[0, 0]


def test_an_environment_is_told_each_turn():
    policy, said, turns = conversation("12#34#5", [Reply("=7"), Reply("=8")])
    assert policy.decode(said.token_ids) == "12#=734#=85<eos>"
    assert [(turn.text, turn.stop) for turn in turns] == [("12#", "#"), ("34#", "#"), ("5<eos>", None)]
    assert policy.decode(turns[1].token_ids) == "12#=734#" and policy.decode(turns[1].prompt_ids) == "1+"
    assert turns[1].loss_mask == [True] * 3 + [False] * 2 + [True] * 3
    assert said.stop_reason == "stop" and said.loss_mask == [*turns[1].loss_mask, False, False, True, True]


def test_an_environment_may_end_a_trajectory_call_tools_and_score():
    calls = [{"name": "add", "result": 3}]
    replies = [
        Reply(reward_parts={"a": 1.0, "b": 0.0}, tool_calls=calls),
        Reply("=", end=True, reward_parts={"b": 2.0}),
    ]
    policy, said, _ = conversation("1#2#3", replies)
    assert policy.decode(said.token_ids) == "1#2#=" and said.stop_reason == "environment"
    assert said.tool_calls == tuple(calls) and said.reward_parts == {"a": 1.0, "b": 2.0}


def test_foreign_text_can_be_given_as_tokens():
    policy, said, _ = conversation("1#", [Reply(token_ids=[9, 9])])
    assert said.token_ids[2:4] == [9, 9] and said.loss_mask[2:4] == [False, False]
    policy, said, _ = conversation("1#", [Reply("<out>")])
    assert said.token_ids[2:3] == policy.tokenizer.convert_tokens_to_ids(["<out>"])


def test_a_reply_that_does_not_fit_or_leaves_nothing_to_sample_ends_by_length():
    _, said, _ = conversation("12#34", [Reply("=" * 20)], context=20)
    assert said.stop_reason == "length" and len(said.token_ids) == 3, "the reply is left out whole"
    _, said, _ = conversation("12#34", [Reply("=" * 15)], context=20)
    assert said.stop_reason == "length" and len(said.token_ids) == 18, "full to the last token"
    _, said, turns = conversation("12#34", [Reply("=")], max_new_tokens=3)
    assert said.stop_reason == "length" and len(turns) == 1 and said.loss_mask == [True, True, True, False]
    _, said, _ = conversation("12#34", [Reply("="), Reply("=")], max_new_tokens=4)
    assert said.stop_reason == "length" and sum(said.loss_mask) == 4, "replies don't use up the budget"


def test_sessions_are_closed_when_one_of_them_fails():
    @dataclasses.dataclass
    class Broken(Echo):
        def open(self, prompt, sample):
            session = super().open(prompt, sample)
            if prompt == 2:
                raise RuntimeError("no more sessions")
            return session

    broken = Broken([])
    with pytest.raises(RuntimeError, match="no more sessions"):
        rollout(digits_policy(), PROMPTS, Sampling(max_new_tokens=3), environment=broken)
    assert broken.closed == [(0, 0), (1, 0)]


# ------------------------------------------------------------------------------------------------ tokens in, tokens out


def pairs_policy() -> Policy:
    """A tokenizer with pairs of characters as tokens: the same text has several spellings, one of them canonical."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    letters = ["<pad>", "<eos>", *"abc"]
    pairs = [first + second for first in "abc" for second in "abc"]
    merges = [(pair[0], pair[1]) for pair in pairs]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate([*letters, *pairs])}, merges))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(["<pad>", "<eos>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    from tenfold.policies import tiny_policy

    return tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2, context=64)


def test_ids_are_what_was_sampled_where_decoding_and_encoding_is_not_the_identity():
    policy = pairs_policy()
    prompt = policy.encode("abcab")
    echo = Echo([Reply("ab"), Reply("ca")], stop=("bb",))
    said = rollout(policy, [prompt], Sampling(max_new_tokens=20), num_samples=20, environment=echo)
    changed = [each for each in said if policy.encode(policy.decode(each.token_ids)) != each.token_ids]
    assert len(changed) > 15, "the tokenizer would change most of them"
    for trajectory in changed:
        check_log_probs(policy.model, trajectory)
        assert len(trajectory.token_ids) == len(trajectory.log_probs) == len(trajectory.loss_mask)
    for number, turns in enumerate(echo.turns.values()):
        for turn in turns:
            count = len(turn.token_ids)
            assert said[number].token_ids[:count] == turn.token_ids, "a token once in the context stays"
