"""Language-model policies: loading them, tiny ones made in code, and the one rollout (tokens in, tokens out)."""

from tenfold.policies.loading import load_policy
from tenfold.policies.policy import Policy
from tenfold.policies.rollout import Decoder, Row, rollout
from tenfold.policies.sampling import Sampling
from tenfold.policies.scripted import ScriptedPolicy
from tenfold.policies.tiny import character_tokenizer, tiny_policy

__all__ = [
    "Decoder",
    "Policy",
    "Row",
    "Sampling",
    "ScriptedPolicy",
    "character_tokenizer",
    "load_policy",
    "rollout",
    "tiny_policy",
]
