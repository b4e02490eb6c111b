import errno
import json
import os
import subprocess
import sys

import pytest

import tenfold as package


def test_help_names_every_verb_and_those_of_papers(tenfold):
    status, out, _ = tenfold("--help")
    assert status == 0
    for usage in ("list", "show PAPER", "run PAPER", "compare RUN RUN", "report [RUN", "env", "new NAME", "solve hrm"):
        assert f"\n  {usage}" in out


def test_version(tenfold):
    assert tenfold("--version")[1] == f"tenfold {package.__version__}\n"


def test_the_module_can_be_executed():
    done = subprocess.run([sys.executable, "-m", "tenfold", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tenfold ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "unknown verb 'lst'; did you mean list?"),
        (["slove", "hrm"], "unknown verb 'slove'; did you mean solve?"),
        (["solve", "hmr"], "unknown target 'hmr': 'solve' takes a paper or a run; did you mean hrm?"),
        (["show", "hmr"], "unknown paper 'hmr'; did you mean hrm?"),
        (["run", "hmr"], "unknown paper 'hmr'; did you mean hrm?"),
        (["run"], "usage: tenfold run PAPER [options]"),
        (["report", "no/such/run"], "no/such/run is not a run directory"),
        (["compare", "a"], "compare needs at least 2 runs, not 1"),
        (["new", "My-Paper"], "name is 'My-Paper'; allowed: lower-case letters, digits and _"),
        (["new", "hrm"], "name is 'hrm', which is taken"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, message, tenfold):
    status, out, err = tenfold(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("tenfold: ") and message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", ["list", "show", "compare", "report", "env", "new"])
def test_a_misspelt_flag_is_refused(verb, tenfold):
    status, _, err = tenfold(verb, "x", "y", "--seds", "3")
    assert status == 2
    assert "--seds" in err


def test_list_says_what_is_available(tenfold, tried_out):
    status, out, _ = tenfold("list")
    assert status == 0
    heads = [line.split() for line in out.splitlines() if not line.startswith(" ")]
    status_by_name = {head[0]: head[1] for head in heads}
    assert len(heads) == 11 + 3, "ten papers and this one; iw_sft has two studies beside its own, kimi_k2 one"
    assert status_by_name["tried_out"] == "available"
    assert set(status_by_name.values()) <= {"available", "announced"}
    assert "tried_out              available  laptop: 2 s a seed\n" in out


def test_a_paper_owns_a_verb_by_name_by_run_or_alone(paper_root, tried_out, tenfold, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_PAPERS", f"{paper_root}{os.pathsep}{tmp_path}")
    folder = tmp_path / "with_verb"
    folder.mkdir()
    for file in ("paper.toml", "recipe.py"):
        own = '\n[verbs]\npolish = "make it shine"\n' if file == "paper.toml" else ""
        (folder / file).write_text((paper_root / "tried_out" / file).read_text() + own)
    (folder / "commands.py").write_text(
        "import tyro\nfrom typing import Annotated\n"
        "def polish(what: Annotated[str, tyro.conf.Positional], times: int = 1) -> None:\n"
        '    """Make it shine."""\n    print(what.split("/")[-1], times)\n'
    )
    run = tmp_path / "some_run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"paper": "with_verb", "arms": [], "seeds": []}))
    assert tenfold("polish", "with_verb", "silver", "--times", "3") == (0, "silver 3\n", "")
    assert tenfold("polish", run) == (0, "some_run 1\n", "")
    assert tenfold("polish", "silver") == (0, "silver 1\n", "")
    (run / "run.json").write_text(json.dumps({"paper": "hrm", "arms": [], "seeds": []}))
    status, _, err = tenfold("polish", run)
    assert status == 2 and "is a run of hrm, which has no verb 'polish'" in err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "tenfold: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), "tenfold: /srv/x: Permission denied\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "mine.tmp"), "tenfold: mine.tmp: No such file\n"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", b"a/file"), "tenfold: a/file: Not a directory\n"),
    ],
)
def test_storage_that_fails_is_one_line_for_every_verb(tenfold, monkeypatch, error, line):
    def fail(words):
        raise error

    monkeypatch.setattr("tenfold.cli.env.main", fail)
    assert tenfold("env", "mine", "a/file/run") == (2, "", line)


WARNS = """
import os, warnings
import tenfold.cli.env
from tenfold.cli.main import _PACKAGE, main

def warn(words):
    ours = os.path.join(_PACKAGE, "train", "checkpoint.py")
    warnings.warn_explicit("step-2 is damaged; going on from step-1", UserWarning, ours, 45)
    warnings.warn_explicit("spam is old", UserWarning, "/usr/lib/spam.py", 3)
    return 0

tenfold.cli.env.main = warn
before = warnings.formatwarning
raise SystemExit(main(["env"]) or warnings.formatwarning is not before)
"""


def test_our_warnings_are_sentences_and_those_of_others_keep_their_place():
    """In a process of its own, for pytest takes warnings for itself."""
    done = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, check=True)
    first, *others = done.stderr.splitlines()
    assert first == "tenfold: warning: step-2 is damaged; going on from step-1"
    assert others == ["/usr/lib/spam.py:3: UserWarning: spam is old"]


def test_a_file_that_nobody_named_is_a_defect_and_keeps_its_traceback(tenfold, monkeypatch):
    def fail(words):
        raise FileNotFoundError(errno.ENOENT, "No such file", "/usr/lib/template.html")

    monkeypatch.setattr("tenfold.cli.env.main", fail)
    with pytest.raises(FileNotFoundError):
        tenfold("env", "mine")
