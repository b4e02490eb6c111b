"""Language-model policies: loading them, tiny ones made in code, and the one rollout (tokens in, tokens out)."""

from tenfold.core.types import Prompt
from tenfold.policies.loading import load_policy
from tenfold.policies.policy import Policy
from tenfold.policies.rollout import rollout
from tenfold.policies.rows import Decoder, Row
from tenfold.policies.sampling import Sampling
from tenfold.policies.scripted import ScriptedPolicy
from tenfold.policies.tiny import character_tokenizer, tiny_policy

__all__ = [
    "Decoder",
    "Policy",
    "Prompt",
    "Row",
    "Sampling",
    "ScriptedPolicy",
    "character_tokenizer",
    "load_policy",
    "rollout",
    "tiny_policy",
]
