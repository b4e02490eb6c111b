"""Worlds to act in, seen as pixels: a dot behind a wall with a door, and a dot with momentum in a maze."""

from tenfold.envs.control.policies import POLICIES, ScriptedControl, scripted_actions
from tenfold.envs.control.worlds import MazeWorld, PixelWorld, Recording, WallWorld, record

__all__ = [
    "POLICIES",
    "MazeWorld",
    "PixelWorld",
    "Recording",
    "ScriptedControl",
    "WallWorld",
    "record",
    "scripted_actions",
]
