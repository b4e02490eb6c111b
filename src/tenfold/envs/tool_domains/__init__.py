"""Tool domains that are made, not written: state machines over sqlite, with conditions, failures and records."""

from tenfold.envs.tool_domains.blueprints import BLUEPRINTS, Blueprint, Step, Thing
from tenfold.envs.tool_domains.generation import Domain, domain_named, domain_names
from tenfold.envs.tool_domains.world import Condition, Failures, StateMachineTool, ToolEvent, ToolWorld

__all__ = [
    "BLUEPRINTS",
    "Blueprint",
    "Condition",
    "Domain",
    "Failures",
    "StateMachineTool",
    "Step",
    "Thing",
    "ToolEvent",
    "ToolWorld",
    "domain_named",
    "domain_names",
]
