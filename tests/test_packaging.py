"""Pinned versions, reported versions and the source distribution hold all that they must."""

import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tenfold.core import machine

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NO_NUMBERS = {"rich", "psutil", "trackio", "tensorboard", "wandb", "gradio"}
"""What only shows, or counts the machine's memory."""
NOT_TOGETHER = {"ocr", "qwen_vl"}
"""Extras that are installed apart, with versions of their own."""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def stated(extras):
    extra = [text for name in extras for text in PROJECT["optional-dependencies"][name]]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *extra]]


def closure(roots):
    """Names of everything that is installed because of some requirements."""
    waiting, seen = list(roots), set()
    while waiting:
        one = waiting.pop()
        key = canonical(one.name), frozenset(one.extras)
        if key in seen:
            continue
        try:
            version(one.name)
        except PackageNotFoundError:  # for another system, or an extra that is not installed here
            continue
        seen.add(key)
        for text in requires(one.name) or []:
            further = Requirement(text)
            extras = [*one.extras, ""]
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return {name for name, _ in seen}


def test_everything_that_is_installed_is_pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if "==" in line}
    extras = [name for name in PROJECT["optional-dependencies"] if name not in NOT_TOGETHER]
    assert closure(stated(extras)) - pinned == set()


def test_every_pin_lies_in_the_range_that_the_project_states():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {canonical(name): number for name, number in pins.items()}
    for one in stated([name for name in PROJECT["optional-dependencies"] if name not in NOT_TOGETHER]):
        assert one.specifier.contains(pins[canonical(one.name)]), one


def test_runs_note_every_package_that_the_project_asks_for_and_that_changes_numbers():
    asked = {
        canonical(one.name) for one in stated([name for name in PROJECT["optional-dependencies"] if name != "dev"])
    }
    assert asked - NO_NUMBERS <= {canonical(name) for name in machine.PACKAGES}
    versions = machine.versions()
    for name in ("torch", "tokenizers", "datasets", "peft", "bm25s"):
        assert versions[name] == version(name)


@pytest.mark.alone
def test_the_source_distribution_has_what_its_tests_need(tmp_path):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a checkout, so nothing says which files there are")
    copy = tmp_path / "copy"
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--skip-dependency-check"]
    done = subprocess.run([*command, "--outdir", tmp_path / "dist", copy], capture_output=True, text=True, check=False)
    if "Backend 'setuptools.build_meta' is not available" in done.stdout + done.stderr:
        pytest.skip("setuptools, which builds the package, is not installed here")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {name for name in tracked.stdout.splitlines() if not name.startswith(".")}
    assert sorted(wanted - held) == []


def test_every_extra_that_a_text_names_is_one():
    """In commands such as pip install 'tenfold[arc]', and in words such as (extra arc); the past may name others."""
    texts = [file for file in ROOT.glob("*.md") if file.name != "CHANGELOG.md"]
    texts += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")]
    texts += (ROOT / "src").rglob("*.py")
    named = {}
    for file in texts:
        text = file.read_text(encoding="utf-8")
        for found in re.findall(r"tenfold\[([a-z_, ]+)\]|\(extra `?([a-z_]+)`?[);,]|\bextra `([a-z_]+)`", text):
            named.update(dict.fromkeys(re.split(r"[, ]+", "".join(found)), file))
    assert len(named) > 4
    assert {name: file for name, file in named.items() if name not in PROJECT["optional-dependencies"]} == {}
