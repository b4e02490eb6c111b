"""A policy with a script, a tiny one with fresh weights, and questions for them."""

import pytest

from tenfold.papers.rlcr.config import EvaluationConfig
from tenfold.papers.rlcr.masked_addition import ALPHABET, CONFIDENCES, TAGS
from tenfold.policies import ScriptedPolicy, character_tokenizer, tiny_policy
from tenfold.study.questions import Question


class Scripted(ScriptedPolicy):
    """Encodes as :class:`tenfold.policies.Policy` does."""

    def encode(self, text, *, start=False):
        return super().encode(text)


@pytest.fixture
def tokenizer():
    return character_tokenizer(ALPHABET + "abcdefghijklmnopqrstuvwxyz .<>/", special=(*TAGS, *CONFIDENCES))


@pytest.fixture
def scripted(tokenizer):
    """A policy that says ``texts[prompt][sample]``."""
    return lambda texts: Scripted(tokenizer, lambda prompt, sample: texts[prompt][sample])


@pytest.fixture
def tiny():
    return tiny_policy(ALPHABET, special=(*TAGS, *CONFIDENCES), width=32, layers=1, heads=2, context=64)


@pytest.fixture
def sums():
    return [Question(f"{a}+{b}=", (str(a + b),), f"{a}", facts={"num_hidden": 0}) for a, b in ((1, 1), (2, 2), (3, 1))]


@pytest.fixture
def evaluation():
    return EvaluationConfig(max_new_tokens=60, votes=3, batch_size=7)
