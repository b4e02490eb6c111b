import importlib.metadata
import os
import subprocess
import sys

import pytest

import tenfold
from tenfold.core import machine


def test_versions_are_those_installed():
    versions = machine.versions()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_description_has_what_a_bug_report_needs():
    facts = machine.describe()
    assert facts["cores"] <= os.cpu_count() and facts["memory_gb"] > 0 and facts["processor"]
    assert facts["hardware"].endswith(f"{facts['memory_gb']} GB")


def test_torch_is_imported_only_when_asked():
    program = "import sys; from tenfold.core import machine; machine.describe(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def make_repository(folder):
    package = folder / "src" / "tenfold"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return package


def test_source_is_the_commit_and_whether_the_package_differs_from_it(tmp_path, monkeypatch):
    package = make_repository(tmp_path)
    monkeypatch.setattr(tenfold, "__file__", str(package / "__init__.py"))
    commit, clean = machine.source()
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (commit, clean) == (head.stdout.strip(), True)
    (tmp_path / "README.md").write_text("not part of the package")
    assert machine.source()[1] is True
    (package / "new.py").write_text("")
    assert machine.source() == (commit, False)


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    """Also when its environment lies inside some repository that does not track it."""
    make_repository(tmp_path)
    installed = tmp_path / ".venv" / "site-packages" / "tenfold"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(tenfold, "__file__", str(installed / "__init__.py"))
    assert machine.source() == (None, None)


@pytest.mark.parametrize("there", [True, False])
def test_the_device_that_is_noted_is_the_one_that_loops_take(there, monkeypatch):
    import torch

    from tenfold.train.distributed import compute_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)  # an accelerator of another kind, without CUDA
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda" if there else "mps"))
    assert machine.device_used("auto") == compute_device("auto").type
    assert machine.device_used("cpu") == compute_device("cpu").type == "cpu"
