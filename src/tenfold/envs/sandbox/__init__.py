"""The code sandbox: isolated, persistent Python sessions for programs that a model wrote."""

from tenfold.envs.sandbox.limits import Execution, Limits
from tenfold.envs.sandbox.sandbox import MODULES, SCIENTIFIC_MODULES, CodeSession, Sandbox

__all__ = ["MODULES", "SCIENTIFIC_MODULES", "CodeSession", "Execution", "Limits", "Sandbox"]
