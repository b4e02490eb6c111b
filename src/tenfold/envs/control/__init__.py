"""Worlds to act in, seen as pixels: a dot behind a wall with a door, a dot with momentum in a maze, and PushT."""

from tenfold.envs.control.policies import POLICIES, ScriptedControl, scripted_actions
from tenfold.envs.control.pusht import PushTWorld
from tenfold.envs.control.worlds import MazeWorld, PixelWorld, Recording, WallWorld, record

__all__ = [
    "POLICIES",
    "MazeWorld",
    "PixelWorld",
    "PushTWorld",
    "Recording",
    "ScriptedControl",
    "WallWorld",
    "record",
    "scripted_actions",
]
