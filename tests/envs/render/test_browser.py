"""Pages in Chromium: the same bytes, no scripts, no network, no files, and an end in time."""

import http.server
import threading
import time
from pathlib import Path

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.render.browser import PLACES, BrowserRenderer

pytestmark = [pytest.mark.extra, pytest.mark.alone, pytest.mark.usefixtures("_bubblewrap")]
if not any(Path(place).is_file() for place in PLACES):
    pytestmark.append(pytest.mark.skip(reason="Chromium is missing: apt install chromium"))


@pytest.fixture(scope="module")
def renderer():
    with BrowserRenderer(200, 100, seconds=90.0) as found:
        yield found


def drawn(renderer, page):
    result = renderer.render(page)
    assert result.ran, result.error
    return result.image


@pytest.mark.spec("rrvf", "A4")
def test_the_same_page_gives_the_same_bytes_warm_and_cold(renderer):
    page = "<body style='background:#eef'><h1 style='color:red;font-family:DejaVu Sans'>Hello</h1></body>"
    warm = {drawn(renderer, page).tobytes() for _ in range(5)}
    assert len(warm) == 1
    with BrowserRenderer(200, 100, seconds=90.0) as cold:
        assert drawn(cold, page).tobytes() in warm


def test_scripts_do_not_run(renderer):
    still = drawn(renderer, "<p>still</p>")
    assert (drawn(renderer, "<p>still</p><script>document.body.innerHTML = '<h1>moved</h1>'</script>") == still).all()


@pytest.mark.spec("rrvf", "A3")
def test_nothing_of_the_network_or_the_disk_is_reached(renderer, tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *given):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f"http://127.0.0.1:{server.server_port}"
        drawn(
            renderer, f"<img src='{place}/a.png'><link rel='stylesheet' href='{place}/b.css'><iframe src='{place}/c'>"
        )
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []
    secret = tmp_path / "secret.svg"
    secret.write_text("<svg xmlns='http://www.w3.org/2000/svg'><rect width='200' height='100' fill='red'/></svg>")
    image = drawn(renderer, f"<style>body{{margin:0}}</style><img src='file://{secret}'>")
    assert not ((image[..., 0] > 200) & (image[..., 1] < 50)).any()


@pytest.mark.spec("rrvf", "A3")
def test_a_page_that_takes_too_long_costs_the_browser_and_the_next_page_is_drawn():
    heavy = "<div style='filter:blur(300px)'>" * 400 + "<p style='font-size:9000px'>x</p>"
    with BrowserRenderer(1500, 1500, seconds=0.05) as hasty:
        started = time.monotonic()
        result = hasty.render(heavy)
        assert not result.ran and result.error == "TimeoutError: the page took too long"
        assert time.monotonic() - started < 90  # the start of the browser is not the page's
        hasty.seconds = 90.0
        assert hasty.render("<p>x</p>").ran


def test_embedded_files_and_sizes_that_are_none_are_refused(renderer):
    assert "LiteralRefused" in renderer.render("<img src='data:image/png;base64,AAAA'>").error
    with pytest.raises(UserError, match="height = 9000: allowed: 8 to 2000"):
        BrowserRenderer(200, 9000)
    with pytest.raises(UserError, match="needs Chromium"):
        BrowserRenderer(browser="/nowhere/chromium")
