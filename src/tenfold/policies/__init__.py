"""Language-model policies: loading them, tiny ones made in code, and the one rollout (tokens in, tokens out); and
planners, which act through any model that says what actions would cost."""

from tenfold.core.types import Prompt
from tenfold.policies.chat_server import ChatServer, ChatServerError
from tenfold.policies.constraint import Constraint
from tenfold.policies.grammar import GrammarConstraint
from tenfold.policies.loading import load_policy
from tenfold.policies.planning import CEM, MPPI, Costable, GradientPlanner, Planner, iCEM, model_predictive_control
from tenfold.policies.policy import Policy
from tenfold.policies.rollout import rollout
from tenfold.policies.rows import Decoder, Row
from tenfold.policies.sampling import Sampling
from tenfold.policies.scripted import ScriptedPolicy
from tenfold.policies.served import ServedPolicy, ServerError, served_policy
from tenfold.policies.text_backends import LMBackend, Recorder, RolloutBackend, ScriptedBackend
from tenfold.policies.tiny import character_tokenizer, tiny_policy

__all__ = [
    "CEM",
    "MPPI",
    "ChatServer",
    "ChatServerError",
    "Constraint",
    "Costable",
    "Decoder",
    "GradientPlanner",
    "GrammarConstraint",
    "LMBackend",
    "Planner",
    "Policy",
    "Prompt",
    "Recorder",
    "RolloutBackend",
    "Row",
    "Sampling",
    "ScriptedBackend",
    "ScriptedPolicy",
    "ServedPolicy",
    "ServerError",
    "character_tokenizer",
    "iCEM",
    "load_policy",
    "model_predictive_control",
    "rollout",
    "served_policy",
    "tiny_policy",
]
