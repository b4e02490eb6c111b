"""Each probe of the doctor finds isolation where it is, and what is not isolated where it is not."""

import sys

import pytest

from tenfold.envs.sandbox.probes import probe

pytestmark = pytest.mark.alone

NAMES = (
    "read a secret",
    "write outside",
    "connect out",
    "see processes",
    "take 2 GiB of memory",
    "loop that swallows alarms and exceptions",
    "print 1 GiB",
    "read or kill another session",
    "fork storm",
)
NEED_NO_NAMESPACE = {
    "connect out",
    "take 2 GiB of memory",
    "loop that swallows alarms and exceptions",
    "print 1 GiB",
}


@pytest.fixture(scope="module")
def isolated(_bubblewrap):
    return {finding.name: finding for finding in probe()}


@pytest.fixture(scope="module")
def bare():
    if not sys.platform.startswith("linux"):
        pytest.skip("programs run on Linux only")
    with pytest.MonkeyPatch.context() as patch, pytest.warns(RuntimeWarning, match="without isolation"):
        patch.setenv("PATH", "/nowhere")
        return {finding.name: finding for finding in probe(allow_unsafe=True)}


def test_the_lines_are_those_that_are_promised(isolated, bare):
    assert tuple(isolated) == tuple(bare) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_isolation_stops_it(name, isolated):
    assert isolated[name].stopped, isolated[name]


@pytest.mark.parametrize("name", NAMES)
def test_without_isolation_the_line_says_so(name, bare):
    assert bare[name].stopped == (name in NEED_NO_NAMESPACE), bare[name]
