"""Programs of a model run isolated; where bubblewrap is missing, tests that need it say so."""

import shutil

import pytest


@pytest.fixture(scope="session")
def _bubblewrap():
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is missing: apt install bubblewrap")
