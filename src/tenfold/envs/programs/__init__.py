"""Probabilistic programs in plain Python: checked, run in the code sandbox, and turned into posteriors."""

from tenfold.envs.programs.inference import InThisProcess, ProgramSandbox, Runner, infer
from tenfold.envs.programs.posterior import Marginal, Posterior, Unsatisfiable, pooled
from tenfold.envs.programs.validator import VOCABULARY, ProgramRefused, validate

__all__ = [
    "VOCABULARY",
    "InThisProcess",
    "Marginal",
    "Posterior",
    "ProgramRefused",
    "ProgramSandbox",
    "Runner",
    "Unsatisfiable",
    "infer",
    "pooled",
    "validate",
]
