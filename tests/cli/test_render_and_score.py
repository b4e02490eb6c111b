"""``tenfold render`` and ``tenfold score``: files in, pictures and numbers out, one sentence for what is wrong."""

import json
import shutil

import pytest

from tenfold.cli.main import main
from tenfold.eval.visual import as_image

pytestmark = pytest.mark.alone

PLOT = "import matplotlib.pyplot as plt\nplt.bar([1, 2], [3, 4], color='red')\nplt.title('T')\n"


def test_shapes_become_a_picture_that_scores_against_others(tmp_path, capsys):
    for name, code in (("a.shapes", "circle red 20 20 9"), ("b.shapes", "circle blue 20 20 9")):
        (tmp_path / name).write_text(code)
        assert main(["render", str(tmp_path / name), "--to", "png"]) == 0
    assert as_image(tmp_path / "a.png").shape == (64, 64, 3)
    assert "64 x 64 pixels" in capsys.readouterr().out
    assert main(["score", "image", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["edges"] == 1.0 and scores["palette"] == 0.0 and 0 < scores["total"] < 1


def test_what_draws_nothing_says_why(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("bar red 9 end")
    assert main(["render", str(tmp_path / "a.txt")]) == 1
    assert capsys.readouterr().out == "nothing was drawn: ValueError: '9' is no level\n"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap")
def test_programs_are_drawn_and_compared_in_the_sandbox(tmp_path, capsys):
    (tmp_path / "a.py").write_text(PLOT)
    (tmp_path / "b.py").write_text(PLOT.replace("'red'", "'blue'"))
    assert main(["render", str(tmp_path / "a.py"), "--out", str(tmp_path / "c.png")]) == 0
    assert as_image(tmp_path / "c.png").shape == (480, 640, 3)
    capsys.readouterr()
    assert main(["score", "chart", str(tmp_path / "a.py"), str(tmp_path / "b.py")]) == 0
    rows = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert rows["text"] == rows["layout"] == rows["type"] == "1.0000" and float(rows["colour"]) < 0.7
    (tmp_path / "broken.py").write_text("plt.bar(")
    assert main(["score", "chart", str(tmp_path / "a.py"), str(tmp_path / "broken.py"), "--json"]) == 0
    said, scores = capsys.readouterr().out.splitlines()
    assert said.startswith("the candidate draws nothing: SyntaxError") and set(json.loads(scores).values()) == {0.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["render", "absent.py"], "file is 'absent.py', which does not exist"),
        (["render", "a.doc"], "the suffix '.doc' names no renderer; allowed: .py, .html"),
        (["score", "image", "absent.png", "a.doc"], "reference = absent.png: there is no such file"),
        (["score", "image", "a.doc", "a.doc"], "reference = a.doc: cannot be read as an image"),
        (["score", "chart", "absent.py", "a.doc"], "reference is 'absent.py', which does not exist"),
        (["score"], "tenfold score cannot do 'nothing'; allowed: tenfold score chart"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.doc").write_text("words")
    assert main(words) == 2
    assert message in capsys.readouterr().err
