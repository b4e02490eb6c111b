"""Calls of tools: what a tool is (JSON Schema), how it is declared, and Kimi K2's text format of calls."""

from tenfold.envs.tool_calls.k2_format import (
    MARKS,
    Fault,
    SaidTurn,
    ToolCall,
    read_turn,
    write_calls,
    write_result,
)
from tenfold.envs.tool_calls.specs import ToolSpec
from tenfold.envs.tool_calls.typescript import from_typescript, to_typescript

__all__ = [
    "MARKS",
    "Fault",
    "SaidTurn",
    "ToolCall",
    "ToolSpec",
    "from_typescript",
    "read_turn",
    "to_typescript",
    "write_calls",
    "write_result",
]
