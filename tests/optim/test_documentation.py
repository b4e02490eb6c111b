"""The program in the documentation of MuonClip runs as it stands there."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "muon-clip.md"


def test_the_program_of_the_document_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    exec(compile(program, str(DOCUMENT), "exec"), {})
    largest, clipped = map(float, capsys.readouterr().out.split())
    assert 0 < largest < 100 and clipped == 0
