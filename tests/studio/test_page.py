"""The studio in a browser: each tab does what its button says, on loopback alone, and nothing is fetched elsewhere."""

import importlib.util
import shutil
import socket

import pytest
from touched import TABS

CHROMIUM = shutil.which("chromium")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.extra,
    pytest.mark.alone,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: make test-extra"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: make test-extra, as root"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what gradio is made of
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
DONE = {
    "hrm": "the learned rule halts after segment",
    "msa": "particles accepted",
    "kimi_k2": "muonclip: largest logit",
    "universal_pretraining": "bits per byte",
    "rlcr": "The diagram is that of the test questions",
    "cort": "tokens of the model",
    "rrvf": "The program behind the target",
    "dino_world": "seconds after the last frame",
    "sem": "the final answer is",
}
SECONDS = 60_000


def test_every_tab_is_tried():
    assert set(DONE) == set(TABS)


def served(roots):
    """The page and its address; whoever asks for it closes it."""
    from tenfold.studio.page import build, launch_options

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = build(roots)
    page.launch(**launch_options(port), prevent_thread_lock=True, quiet=True)
    return page, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def opened(browser, run_of):
    """The page with a model for each tab, and every address that it asked for."""
    roots = [run_of(tab) for tab in TABS.values() if tab.study]
    page, address = served(roots)
    seen = browser.new_page(viewport={"width": 1200, "height": 1000})
    asked = []
    seen.on("request", lambda request: asked.append(request.url))
    seen.goto(address)
    yield seen, asked, address
    page.close()


@pytest.mark.parametrize("paper", DONE)
def test_a_tab_does_its_action(opened, paper):
    seen, asked, address = opened
    tab = TABS[paper]
    seen.get_by_role("tab", name=tab.title, exact=True).click(timeout=SECONDS)
    seen.get_by_role("button", name=tab.button, exact=True).filter(visible=True).click(timeout=SECONDS)
    seen.get_by_text(DONE[paper]).filter(visible=True).first.wait_for(timeout=SECONDS)
    assert seen.locator(".refused").filter(visible=True).count() == 0
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_another_vignette_has_other_sentences(opened):
    seen, _, _ = opened
    seen.get_by_role("tab", name="MSA", exact=True).click(timeout=SECONDS)
    seen.get_by_label("Vignette").click()
    seen.get_by_role("option", name="ski-relay").click()
    seen.get_by_label("Saga beat Petra on the second day, each alone.").wait_for(timeout=SECONDS)


def test_without_a_model_a_tab_says_the_command(browser, tmp_path):
    page, address = served([tmp_path])
    seen = browser.new_page()
    seen.goto(address)
    seen.get_by_role("tab", name="HRM", exact=True).click(timeout=SECONDS)
    seen.get_by_text("tenfold run hrm --preset laptop (about 10 min").wait_for(timeout=SECONDS)
    assert seen.locator("input[type=file]").count() == 0
    page.close()


def test_it_listens_on_loopback_and_takes_no_files():
    from tenfold.studio.page import launch_options

    options = launch_options(7860)
    assert options["server_name"] == "127.0.0.1" and not options["share"] and options["max_file_size"] == 0
