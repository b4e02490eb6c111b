"""Settings that hold for every test: no network, and one torch thread so that numbers do not depend on the machine."""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True)
def _one_torch_thread():
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
