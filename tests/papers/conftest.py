"""Makes ``recording`` and ``smoke_worker`` importable, and runs smoke presets by one process and by two."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tenfold.core import discovery

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))
LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


@dataclass(frozen=True)
class SmokeRuns:
    """What a study's smoke gave: by one process, by each of two, and the folder of the run of two."""

    one: dict[str, Any]
    two: tuple[dict[str, Any], dict[str, Any]]
    folder: Path


@pytest.fixture(scope="session")
def _launched(request, tmp_path_factory):
    """The folder in which one launch has run all studies that are asked for, as far as it came, and what it said."""
    folder = tmp_path_factory.mktemp("launched")
    names = [item.nodeid for item in request.session.items if item.get_closest_marker("alone")]
    asked = [study.name for study in discovery.studies() if any(study.name in name for name in names)]
    done = subprocess.run(
        [sys.executable, *LAUNCH, str(FOLDER / "smoke_worker.py"), str(folder), *asked],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return folder, done.stderr


@pytest.fixture(scope="session")
def by_one_and_two_processes(_launched, tmp_path_factory):
    """``(study) -> SmokeRuns``; the study must stand in the name of a test that is marked ``alone``."""
    from smoke_worker import folder_of, smoke

    runs = {}
    launched, said = _launched

    def find(study):
        if study not in runs:
            folder = folder_of(study, launched)
            files = [folder / f"process-{rank}.json" for rank in range(2)]
            assert all(file.is_file() for file in files), said[-4000:]
            one = smoke(study, tmp_path_factory.mktemp("one-process") / "run")
            runs[study] = SmokeRuns(one, tuple(json.loads(file.read_text()) for file in files), folder)
        return runs[study]

    return find
