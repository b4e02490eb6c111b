"""Files of a session come out as bytes, beside the output; whatever else a program puts in their place does not."""

import pytest

from tenfold.envs.sandbox import Limits, Sandbox

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("_bubblewrap")]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(modules=(), limits=Limits(seconds=2.0, temporary_bytes=1 << 20)) as found:
        yield found


def test_bytes_come_as_they_are_and_the_session_goes_on(sandbox):
    with sandbox.open() as session:
        assert session.fetch("none") is None, "nothing was run yet"
        session.run("content = bytes(range(256)) * 300\nopen('made', 'wb').write(content)")
        assert session.fetch("made") == bytes(range(256)) * 300, "longer than the output may be"
        assert session.run("print(len(content))").output == "76800"
        assert session.fetch("made") == bytes(range(256)) * 300
        session.run("open('empty', 'wb')")
        assert session.fetch("empty") == b""


@pytest.mark.parametrize(
    "program",
    [
        "pass",
        "import os; os.symlink('/etc/hostname', 'out')",
        "import os; os.symlink('out', 'out')",
        "import os; os.mkfifo('out')",
        "import os; os.mkdir('out')",
    ],
    ids=["absent", "link", "loop", "pipe", "folder"],
)
def test_what_is_no_plain_file_is_none(sandbox, program):
    with sandbox.open() as session:
        session.run(program)
        assert session.fetch("out") is None
        assert session.run("print(1)").output == "1", "the guard is still there"


@pytest.mark.parametrize("name", ["", ".", "..", "../etc/hostname", "/etc/hostname", "a/b"])
def test_names_with_folders_are_none(sandbox, name):
    with sandbox.open() as session:
        session.run("pass")
        assert session.fetch(name) is None


def test_a_session_that_has_ended_has_no_files(sandbox):
    with sandbox.open() as session:
        session.run("open('out', 'wb').write(b'x')")
        session.run("import os; os._exit(1)")
        assert session.fetch("out") is None


def test_the_folder_of_the_warm_parent_is_not_that_of_a_session(sandbox):
    with sandbox.open() as first, sandbox.open() as second:
        first.run("open('mine', 'wb').write(b'x')")
        assert second.run("import os; print(os.listdir('/tmp'))").output == "[]"
        assert second.fetch("mine") is None
