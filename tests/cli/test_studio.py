"""``tenfold studio`` refuses what it cannot serve before it opens a port; the page itself is tested in a browser."""

import pytest

from tenfold.cli.main import main
from tenfold.core import extras


@pytest.mark.parametrize(
    "words, said",
    [
        (["--port", "0"], "--port is 0; allowed: 1 to 65535"),
        (["--runs", "no-such-folder"], "--runs is 'no-such-folder', which is no folder"),
    ],
)
def test_what_cannot_be_served_is_refused(words, said, capsys):
    assert main(["studio", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_gradio_it_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(extras, "is_installed", lambda extra: extra != "studio")
    assert main(["studio"]) == 2
    assert "tenfold studio needs the extra studio: pip install" in capsys.readouterr().err
