"""Settings that hold for every test: no network, and one torch thread so that numbers do not depend on the machine."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True)
def _one_torch_thread():
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def published():
    """Finds a data set by its name in the folder that ``TENFOLD_DATA`` names; its absence there is a failure."""

    def find(name: str) -> Path:
        folder = os.environ.get("TENFOLD_DATA")
        if not folder:
            pytest.skip(f"TENFOLD_DATA names no folder with {name}")
        path = Path(folder) / name
        assert path.exists(), f"{path} is missing, though TENFOLD_DATA names its folder"
        return path

    return find
