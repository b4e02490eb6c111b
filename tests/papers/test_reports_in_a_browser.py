"""The report of every study's smoke run as a browser shows it: verdicts and figures, on a desk and on a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest
from rich.console import Console

from tenfold.core import discovery
from tenfold.core.runner import execute

STUDIES = discovery.studies()
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MEASURE = """<script>
addEventListener("load", () => {
  const rows = [...document.querySelectorAll("table.verdicts tbody tr")];
  const figures = [...document.querySelectorAll("figure img")];
  const sizes = elements => elements.map(element => [element.offsetWidth, element.offsetHeight]);
  parent.postMessage(JSON.stringify({
    viewport: innerWidth,
    width: document.documentElement.scrollWidth,
    verdicts: rows.map(row => row.querySelector(".badge").innerText),
    rows: sizes(rows),
    figures: sizes(figures.filter(image => image.complete && image.naturalWidth > 0)),
    broken: figures.filter(image => !image.naturalWidth).map(image => image.alt),
  }), "*");
});
</script>"""
# A window cannot be as narrow as a phone; a frame can, and is what the page takes for its window.
FRAME = """<!doctype html><iframe src="{page}" width="{width}" height="844"></iframe><script>
addEventListener("message", event => {{
  const seen = document.body.appendChild(document.createElement("pre"));
  seen.id = "seen";
  seen.textContent = event.data;
}});
</script>"""

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing: make test-extra, as root"),
    pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name),
]


@pytest.fixture
def report(study, tmp_path):
    """Of a smoke run of all arms: what is written, and what it says in short."""
    directory, recipe = tmp_path / "run", discovery.recipe_module(study.name)
    execute(
        paper=study.name,
        recipe=recipe,
        config=discovery.preset_config(study.name, "smoke"),
        preset="smoke",
        seeds=[0],
        arms=tuple(recipe.ARMS),
        directory=directory,
        command=f"tenfold run {study.name} --preset smoke",
        device="cpu",
        dtype="float32",
        console=Console(quiet=True),
    )
    return directory / "report.html", json.loads((directory / "report.json").read_text())


def seen_in_a_browser(report, width, folder):
    """What a page measures of itself in a window of so many pixels."""
    page, frame = folder / "page.html", folder / "frame.html"
    page.write_text(report.read_text().replace("</body>", f"{MEASURE}</body>"))
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    command = ["chromium", *QUIET, f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120)
    shown = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert shown, done.stderr[-2000:]
    return json.loads(html.unescape(shown[1]))


def test_a_report_shows_verdicts_and_figures_and_is_not_wider_than_the_window(report, tmp_path):
    written, facts = report
    for width in (390, 1280):
        seen = seen_in_a_browser(written, width, tmp_path)
        assert [said.split(" (")[0] for said in seen["verdicts"]] == [claim["verdict"] for claim in facts["claims"]]
        assert seen["verdicts"] and seen["figures"] and seen["broken"] == []
        for kind in ("rows", "figures"):
            assert all(0 < size[0] <= width and size[1] > 10 for size in seen[kind]), kind
        assert seen["viewport"] == width and seen["width"] <= width
