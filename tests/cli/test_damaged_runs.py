"""Runs whose folder was damaged, is held, cannot be written to or has an unusual name: one line, and how to go on."""

import errno
import os
import shutil

import pytest

from tenfold.core.files import write_atomically

SHORT = ("--training.steps", "20", "--training.checkpoint-every", "5")


@pytest.fixture
def finished(tried_out, tenfold, tmp_path):
    """A finished run."""
    run = tmp_path / "finished"
    assert tenfold("run", tried_out, *SHORT, "--out", run)[0] == 0
    return run


@pytest.mark.parametrize("name", ["run.json", "cells/plain/seed-10/scores.json", "config.yaml"])
@pytest.mark.parametrize("content", ["", '{"metrics": {"test/error"'])
def test_a_damaged_file_of_a_run_is_one_line_for_every_verb_that_reads_it(
    finished, tried_out, tenfold, tmp_path, name, content
):
    assert (finished / name).is_file()
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    (finished / name).write_text(content)
    for words in (("run", tried_out, "--resume", finished), ("report", finished), ("compare", other, finished)):
        if words[0] == "compare" and name == "config.yaml":
            continue  # which it does not read
        status, _, err = tenfold(*words)
        assert status == 2 and err.count("\n") == 1 and f"{finished / name}" in err, words


def test_what_the_line_says_to_delete_lets_the_run_go_on_to_the_same_scores(finished, tried_out, tenfold):
    scores = finished / "cells" / "plain" / "seed-10" / "scores.json"
    before = scores.read_bytes()
    scores.write_bytes(before[:50])
    assert "delete it, and `tenfold run" in tenfold("run", tried_out, "--resume", finished)[2]
    scores.unlink()
    assert tenfold("run", tried_out, "--resume", finished)[0] == 0
    assert scores.read_bytes() == before


def test_a_checkpoint_that_was_cut_short_is_passed_over_and_the_run_ends_as_it_had(finished, tried_out, tenfold):
    cell = finished / "cells" / "plain" / "seed-10"
    before = (cell / "scores.json").read_bytes()
    newest = max((cell / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes((newest / "model.safetensors").read_bytes()[:60])
    (cell / "scores.json").unlink()
    with pytest.warns(UserWarning, match="going on from"):
        assert tenfold("run", tried_out, "--resume", finished)[0] == 0
    assert (cell / "scores.json").read_bytes() == before


def test_a_start_that_was_cut_short_is_begun_again_with_the_same_command(finished, tried_out, tenfold, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(finished / "config.yaml", begun)
    status, _, err = tenfold("run", tried_out, "--resume", begun)
    assert status == 2 and f"goes on with --out {begun}" in err
    assert tenfold("run", tried_out, "--out", begun)[0] == 2, "another configuration, so perhaps a file of the user's"
    assert tenfold("run", tried_out, *SHORT, "--out", begun)[0] == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_is_one_line_with_the_command_that_goes_on(
    tried_out, tenfold, tmp_path, monkeypatch, number
):
    out = tmp_path / "a run [1]"
    written = []

    def fail(path, content):
        written.append(path)
        if len(written) > 6:
            raise OSError(number, os.strerror(number), str(path))
        write_atomically(path, content)

    monkeypatch.setattr("tenfold.core.cell.write_atomically", fail)
    monkeypatch.setattr("tenfold.core.cell.SECONDS_BETWEEN_SAVES", 0.0)
    status, _, err = tenfold("run", tried_out, *SHORT, "--out", out)
    assert status == 2 and err.count("\n") == 1
    assert os.strerror(number).lower() in err and f"tenfold run {tried_out} --resume '{out}'" in err
    monkeypatch.undo()


def test_names_with_brackets_are_printed_as_they_are(tried_out, tenfold, tmp_path):
    first, second = tmp_path / "run [bold]", tmp_path / "run [/red] [1]"
    for run in (first, second):
        status, out, _ = tenfold("run", tried_out, *SHORT, "--out", run)
        assert status == 0 and f"Report: {run}/report.html" in out
        assert f"Report: {run}/report.html" in tenfold("report", run)[1]
    out = tenfold("compare", first, second)[1]
    assert f"run A  {first}\n" in out and f"run B  {second}\n" in out


@pytest.mark.parametrize("out", ["/proc/nowhere/run", "file/run", "file"])
def test_a_place_that_cannot_be_written_to_is_one_line(tried_out, tenfold, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    status, _, err = tenfold("run", tried_out, *SHORT, "--out", out)
    assert status == 2 and err.count("\n") == 1 and out.split("/")[0] in err
