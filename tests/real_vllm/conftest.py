"""Makes ``real_server`` and what training tests share importable; one server of each model for all tests."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "train", HERE.parent / "policies"):
    sys.path.insert(0, str(folder))

from real_server import Server  # noqa: E402


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M in bfloat16, as published."""
    from tenfold.policies import load_policy

    return load_policy("smollm2-135m")


@pytest.fixture(scope="session")
def smollm2_server(smollm2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    smollm2.save(folder)
    with Server(folder, "smollm2", dtype="bfloat16", context=1024) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory):
    """The policy of which answers are recorded, in float32."""
    from recorded_policy import recorded_policy

    folder = tmp_path_factory.mktemp("tiny")
    recorded_policy().save(folder)
    with Server(folder, "tiny", dtype="float32", context=96) as server:
        yield server
