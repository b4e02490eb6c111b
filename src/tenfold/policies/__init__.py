"""Language-model policies: loading them, tiny ones made in code, and the one rollout (tokens in, tokens out)."""

from tenfold.core.types import Prompt
from tenfold.policies.chat_server import ChatServer, ChatServerError
from tenfold.policies.constraint import Constraint
from tenfold.policies.grammar import GrammarConstraint
from tenfold.policies.loading import load_policy
from tenfold.policies.policy import Policy
from tenfold.policies.rollout import rollout
from tenfold.policies.rows import Decoder, Row
from tenfold.policies.sampling import Sampling
from tenfold.policies.scripted import ScriptedPolicy
from tenfold.policies.text_backends import LMBackend, Recorder, RolloutBackend, ScriptedBackend
from tenfold.policies.tiny import character_tokenizer, tiny_policy

__all__ = [
    "ChatServer",
    "ChatServerError",
    "Constraint",
    "Decoder",
    "GrammarConstraint",
    "LMBackend",
    "Policy",
    "Prompt",
    "Recorder",
    "RolloutBackend",
    "Row",
    "Sampling",
    "ScriptedBackend",
    "ScriptedPolicy",
    "character_tokenizer",
    "load_policy",
    "rollout",
    "tiny_policy",
]
