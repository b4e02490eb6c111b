"""``tenfold doctor``: one line for each finding, and a status that a script can use."""

import tomllib
from pathlib import Path

import pytest

from tenfold.core.errors import UserError
from tenfold.core.extras import EXTRAS, advice
from tenfold.envs.sandbox import probes
from tenfold.envs.sandbox.probes import Finding

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def lines(out):
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in cells if row[0]}


def test_each_finding_is_a_line_and_all_stopped_is_status_0(tenfold, monkeypatch):
    monkeypatch.setattr(probes, "probe", lambda allow_unsafe: [Finding("read a secret", True, "[nothing]")])
    status, out, _ = tenfold("doctor")
    assert status == 0
    assert lines(out)["sandbox: read a secret"] == ["stopped", "[nothing]"]


def test_one_finding_that_was_not_stopped_is_status_1(tenfold, monkeypatch):
    findings = [Finding("read a secret", True, "nothing"), Finding("write outside", False, "wrote /x")]
    monkeypatch.setattr(probes, "probe", lambda allow_unsafe: findings)
    status, out, _ = tenfold("doctor", "--allow-unsafe")
    assert status == 1
    assert lines(out)["sandbox: write outside"] == ["NOT STOPPED", "wrote /x"]


def test_a_missing_bubblewrap_is_a_line_and_status_1(tenfold, monkeypatch):
    def refuse(allow_unsafe):
        raise UserError("the code sandbox needs bubblewrap")

    monkeypatch.setattr(probes, "probe", refuse)
    status, out, _ = tenfold("doctor")
    assert status == 1
    assert lines(out)["sandbox"] == ["MISSING", "the code sandbox needs bubblewrap"]


def test_every_extra_and_the_accelerators_have_a_line(tenfold, monkeypatch):
    monkeypatch.setattr(probes, "probe", lambda allow_unsafe: [])
    shown = lines(tenfold("doctor")[1])
    extras = set(tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]) - {"dev"}
    assert {name.removeprefix("extra: ") for name in shown if name.startswith("extra: ")} == extras
    assert shown["accelerators"][0] in ("found", "none")


@pytest.mark.parametrize(("module", "state"), [("json", "installed"), ("no_such_module", "absent")])
def test_an_absent_extra_says_how_to_install_it(tenfold, module, state, monkeypatch):
    monkeypatch.setattr(probes, "probe", lambda allow_unsafe: [])
    monkeypatch.setitem(EXTRAS, "math", module)
    said = lines(tenfold("doctor")[1])["extra: math"]
    assert said[0] == state and said[1] == (module if state == "installed" else advice("math"))
