"""Isolation is needed by most tests of the sandbox; where bubblewrap is missing they say so."""

import shutil

import pytest


@pytest.fixture(scope="session")
def _bubblewrap():
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is missing: apt install bubblewrap")
