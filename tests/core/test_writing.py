"""A folder that is written to: by one process, without leftovers, and with storage that fails told in one line."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tenfold.core import writing
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.core.writing import writing_to

HOLDER = """
import sys, time
from pathlib import Path
from tenfold.core.writing import writing_to
with writing_to(Path(sys.argv[1]), "again"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.alone
def test_a_second_process_is_refused_until_the_first_has_ended_however_it_ends(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is being written to by another process"), writing_to(tmp_path, "again"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with writing_to(tmp_path, "again"):
        write_atomically(tmp_path / "a", "whole")


def test_leftovers_of_killed_writes_are_swept_and_nothing_else_is(tmp_path):
    cells = tmp_path / "cells" / "plain"
    cells.mkdir(parents=True)
    (tmp_path / ".run.json.123.tmp").write_text("{")
    (cells / ".seconds.json.9.tmp").write_text("")
    for kept in (cells / "seconds.json", cells / "notes.tmp", cells / ".hidden"):
        kept.write_text("kept")
    with writing_to(tmp_path, "again"):
        names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert names == [".hidden", "notes.tmp", "seconds.json"]


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_storage_that_fails_is_told_in_one_line_that_says_how_to_go_on(tmp_path, number):
    with pytest.raises(UserError) as refused, writing_to(tmp_path / "run", "then go on"):
        raise OSError(number, os.strerror(number), str(tmp_path / "run" / "metrics.jsonl"))
    message = str(refused.value)
    assert "metrics.jsonl cannot be written: " in message and message.endswith("; then go on") and "\n" not in message
    assert not (tmp_path / "run").exists(), "nothing was written, and nothing is left"


@pytest.fixture
def small_files():
    """No file may grow beyond 100 kB, which writers meet as they meet a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_torch_and_safetensors_tell_a_full_disk_in_ways_of_their_own(tmp_path, small_files):
    tensors = {"a": torch.zeros(10**6)}
    for save, name in ((torch.save, "a.pt"), (save_file, "a.safetensors")):
        with pytest.raises(UserError, match=r"could not be written whole.*; then go on") as refused:  # noqa: SIM117
            with writing_to(tmp_path, "then go on"):
                save(tensors, tmp_path / name)
        assert "\n" not in str(refused.value)


def test_a_folder_that_is_removed_meanwhile_is_told(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="was removed while it was written to; then go on"):  # noqa: SIM117
        with writing_to(folder, "then go on"):
            (folder / "a").write_text("")
            shutil.rmtree(folder)
    with pytest.raises(UserError, match="was removed while it was written to"):  # noqa: SIM117
        with writing_to(folder, "then go on"):
            shutil.rmtree(folder)
            (folder / "a").write_text("")


def test_a_place_where_no_folder_can_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "run", tmp_path / ("x" * 300), tmp_path / "file"):
        with pytest.raises(UserError, match="cannot be written: "), writing_to(folder, "give another --out"):
            pass


def test_other_errors_are_left_as_they_are(tmp_path):
    for error in (ValueError("a defect"), FileNotFoundError(errno.ENOENT, "no such file", "/elsewhere/model")):
        with pytest.raises(type(error)), writing_to(tmp_path, "again"):
            raise error


def test_processes_beside_the_main_one_hold_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "is_main_process", lambda: False)
    with writing_to(tmp_path / "run", "again"), writing_to(tmp_path / "run", "again"):
        assert not (tmp_path / "run").exists()
