"""Policies with a script, a tokenizer with the stop string as one token, and the real sandbox."""

import pytest

from tenfold.core.seeding import numpy_generator
from tenfold.envs import Limits, Sandbox
from tenfold.papers.cort.environment import CodeEnvironment, LoopSettings
from tenfold.papers.cort.formats import STOP
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout


class Scripted(ScriptedPolicy):
    """Encodes as :class:`tenfold.policies.Policy` does."""

    def encode(self, text, *, start=False):
        return super().encode(text)


@pytest.fixture(scope="session")
def tokenizer():
    return character_tokenizer(special=("<think>", "</think>", "```python\n", STOP))


@pytest.fixture(scope="session")
def sandbox():
    with Sandbox(limits=Limits(seconds=1.0), modules=("math",), max_sessions=8) as opened:
        yield opened


@pytest.fixture
def scripted(tokenizer):
    """A policy that says these texts, one for each prompt."""
    return lambda *texts: Scripted(tokenizer, lambda prompt, sample: texts[prompt])


@pytest.fixture
def play(tokenizer, sandbox, scripted):
    """One trajectory of a policy that says ``text`` in the tool loop, and its completion as text."""

    def run(text, *, sampling=None, **settings):
        policy = scripted(text)
        environment = CodeEnvironment(sandbox, tokenizer, LoopSettings(**settings))
        found = rollout(policy, [policy.encode("p")], sampling or Sampling(2000), environment=environment)
        return found[0], policy.decode(found[0].token_ids).removesuffix("<eos>")

    return run


@pytest.fixture(scope="session")
def random_text():
    """What a policy says, drawn by seed: prose, programs that print, fail or say nothing, and other fences."""

    def draw(seed):
        generator = numpy_generator(seed, "random text")
        pieces = []
        for kind in generator.choice(("prose", "prints", "fails", "silent", "fence"), size=generator.integers(3, 8)):
            number = int(generator.integers(10, 1000))
            pieces.append(
                {
                    "prose": "".join(generator.choice(tuple("abc `.\n"), size=number % 30)),
                    "prints": f"\n```python\nprint('{number}' * {number % 9})\n```\n",
                    "fails": f"\n```python\nprint({number} / 0)\n```\n",
                    "silent": f"\n```python\nx = {number}\n```\n",
                    "fence": f"\n```text\n{number}\n```\n",
                }[kind]
            )
        return "".join([*pieces, "\n```python\nprint(1)\n```\n</think>\\boxed{1}"])

    return draw
