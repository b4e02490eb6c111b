"""Tiny policies: one token per character and per tag, weights by seed, saved and loaded, and able to learn."""

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.policies import Sampling, character_tokenizer, load_policy, rollout, tiny_policy

TAGS = ("<think>", "</think>")


def test_characters_and_tags_are_single_tokens_and_come_back():
    tokenizer = character_tokenizer(special=TAGS)
    text = "<think>2 + 2\n is <4?</think>5 <think"
    token_ids = tokenizer.encode(text)
    assert len(token_ids) == len(text) - len("<think>") - len("</think>") + 2
    assert tokenizer.decode(token_ids) == text == tokenizer.decode(token_ids, skip_special_tokens=True)
    assert len(set(tokenizer.get_vocab().values())) == len(tokenizer)


def test_padding_is_on_the_left_and_masked():
    batch = character_tokenizer("abc")(["a", "abc"], padding=True)
    assert batch["attention_mask"] == [[0, 0, 1], [1, 1, 1]] and batch["input_ids"][0][:2] == [0, 0]


def test_the_chat_template_ends_what_the_assistant_says_and_marks_it():
    tokenizer = character_tokenizer("abc")
    messages = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]
    told = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert tokenizer.decode(told["input_ids"]) == "<bos><|system|>a<|user|>b<|assistant|>c<eos>"
    assert told["assistant_masks"] == [0, 0, 0, 0, 0, 0, 1, 1]
    policy = tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2)
    assert policy.decode(policy.chat([Message("user", "b")])) == "<bos><|user|>b<|assistant|>"


def test_a_policy_comes_back_from_disk_as_it_was(tmp_path):
    policy = tiny_policy(special=TAGS, width=16, layers=2, heads=2, context=40)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    prompt = policy.encode("why? <think>", start=True)
    assert loaded.encode("why? <think>", start=True) == prompt and loaded.context == 40
    assert loaded.end_ids == policy.end_ids == {policy.tokenizer.eos_token_id}
    first, second = (rollout(each, [prompt], Sampling(20), num_samples=3) for each in (loaded, policy))
    assert first == second
    assert loaded.chat([Message("user", "b")]) == policy.chat([Message("user", "b")])


def test_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (tiny_policy("ab", width=16, layers=1, heads=2, seed=seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_tiny_policy_learns_to_copy_and_says_so_in_a_rollout():
    policy = tiny_policy("abcd=", width=32, layers=2, heads=2, context=8)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    texts = [f"{first}{second}={first}{second}<eos>" for first in "abcd" for second in "abcd"]
    ids = torch.tensor([policy.encode(text) for text in texts])
    for _ in range(150):
        policy.model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    said = rollout(policy, ids[:, :3].tolist(), Sampling(max_new_tokens=5, temperature=0))
    right = sum(each.token_ids == row[3:] for each, row in zip(said, ids.tolist(), strict=True))
    assert right >= 14 and all(each.stop_reason == "stop" for each in said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alphabet": ""}, "alphabet = ''"),
        ({"alphabet": "aba"}, "has 'a' twice"),
        ({"special": ("x",)}, "special = 'x'"),
        ({"special": ("<eos>",)}, "special = '<eos>'"),
        ({"special": ("<a>", "<a>")}, "special = '<a>'"),
        ({"width": 10, "heads": 4}, "width = 10: must be a multiple of twice the 4 heads"),
        ({"layers": 0}, "layers = 0"),
    ],
)
def test_bad_sizes_and_alphabets_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        tiny_policy(**arguments)


def test_text_outside_the_alphabet_is_an_error_and_not_an_unknown_token():
    policy = tiny_policy("abc", width=16, layers=1, heads=2)
    with pytest.raises(UserError, match="no token for x z"):
        policy.encode("azbx")
    assert policy.encode("<unk>") == [policy.tokenizer.unk_token_id], "asked for by name"
