"""Stop strings end a turn at the first token whose text completes them; the truth is decoding after every token."""

import random
from itertools import chain

import pytest

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout
from tenfold.policies.stopping import StopStrings

WORDS = ["an", "</", "ans", "wer", ">", "</answer", "er>x", "</answer>and", "r>", " ", "é", "swer", "end\n", "\n\n"]


def words_tokenizer():
    """Whole words of several characters as tokens, none of them special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    letters = sorted(set("".join(WORDS)))
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(["<eos>", *letters])}, []))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(["<eos>"])
    backend.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def bytes_tokenizer():
    """Tokens are bytes, so a character may take several; decoding gives replacement characters in between."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(["<eos>", *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<eos>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def metaspace_tokenizer():
    """Spaces belong to the word after them, and the decoder drops one at the very start."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<eos>", "▁", "▁the", "▁a", "the", "a", "t", "h", "e", ".", "▁."]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens(["<eos>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def first_stop(tokenizer, token_ids, stop, spell):
    """Decode after each token: where the turn ends, and by which string."""
    for length in range(1, len(token_ids) + 1):
        text = spell(token_ids[:length])
        ends = [(text.find(each) + len(each), number) for number, each in enumerate(stop) if each in text]
        if ends:
            return length, stop[min(ends)[1]]
    return None


def found(tokenizer, token_ids, stop):
    stopping = StopStrings(tokenizer, stop)
    for length in range(1, len(token_ids) + 1):
        if (text := stopping.found(token_ids[:length])) is not None:
            return length, text
    return None


@pytest.mark.parametrize(
    ("tokenizer", "stop"),
    [
        (words_tokenizer(), ("</answer>",)),
        (words_tokenizer(), ("</answer>", "\n\n", "an ")),
        (words_tokenizer(), ("é ",)),
        (bytes_tokenizer(), ("é",)),
        (bytes_tokenizer(), ("aé", "éa", "€")),
        (character_tokenizer("ab</>nswer", ("<think>", "</answer>")), ("</answer>", "ab")),
    ],
)
def test_turns_end_where_decoding_every_prefix_says(tokenizer, stop):
    draw = random.Random(0)
    pieces = [tokenizer.encode(text, add_special_tokens=False) for text in (*stop, "</ans", "er>", "a", "<think>")]
    likely = [token for piece in pieces for token in piece]
    likely += [token for token in range(len(tokenizer)) if token not in likely][:30]
    outcomes = set()
    for _ in range(200):
        token_ids = draw.choices(likely, k=25) if draw.random() < 0.7 else [*chain(*draw.choices(pieces, k=6))]
        expected = first_stop(tokenizer, token_ids, stop, lambda ids: tokenizer.decode(ids))
        assert found(tokenizer, token_ids, stop) == expected
        outcomes.add(expected and expected[1])
    assert outcomes >= set(stop)


def test_a_stop_string_may_span_tokens_and_its_last_token_is_kept_whole():
    tokenizer = words_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    assert found(tokenizer, ids(["</", "ans", "wer", ">"]), ("</answer>",)) == (4, "</answer>")
    assert found(tokenizer, ids(["</", "ans", "w", "er>x", "a"]), ("</answer>",)) == (4, "</answer>")
    assert found(tokenizer, ids(["an", "</answer>and", "x"]), ("</answer>",)) == (2, "</answer>")
    assert found(tokenizer, ids(["</answer", "an", "r>"]), ("</answer>",)) is None


def test_a_leading_space_counts_although_the_decoder_drops_it():
    tokenizer = metaspace_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    assert tokenizer.decode(ids(["▁the"])) == "the"
    assert found(tokenizer, ids(["▁the", "a"]), (" the",)) == (1, " the")
    assert found(tokenizer, ids(["a", ".", "▁a"]), (". ",)) == (3, ". ")


def test_the_string_that_is_complete_first_wins_then_the_first_given():
    tokenizer = words_tokenizer()
    token_ids = tokenizer.convert_tokens_to_ids(["</answer>and"])
    assert found(tokenizer, token_ids, ("and", "answer")) == (1, "answer")
    assert found(tokenizer, token_ids, ("er>", "answer>")) == (1, "er>")
    assert found(tokenizer, token_ids, ("answer>", "er>")) == (1, "answer>")


def test_the_prompt_and_earlier_turns_do_not_count():
    policy = ScriptedPolicy(character_tokenizer("ab;"), lambda prompt, sample: ";ab;")
    (said,) = rollout(policy, [policy.encode("ba")], Sampling(max_new_tokens=9, stop=("a;", "b;")))
    assert policy.decode(said.token_ids) == ";ab;" and said.stop_reason == "stop"


def test_the_last_token_of_the_budget_may_complete_a_stop_string():
    policy = ScriptedPolicy(character_tokenizer("ab;"), lambda prompt, sample: "ab;")
    (said,) = rollout(policy, [policy.encode("b")], Sampling(max_new_tokens=3, stop=("b;",)))
    assert said.stop_reason == "stop"


def test_a_stop_string_that_cannot_be_spelled_is_named():
    with pytest.raises(UserError, match=r"stop = 'x;'"):
        StopStrings(character_tokenizer("ab;"), ("x;",))
