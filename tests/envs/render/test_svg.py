"""SVG in the sandbox: the same bytes, nothing followed, nothing embedded."""

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.render.svg import SvgRenderer

pytest.importorskip("resvg_py", reason="the extra svg is not installed")
pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("_bubblewrap")]
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 40 30">'


@pytest.fixture(scope="module")
def renderer():
    with SvgRenderer(80, 60) as found:
        yield found


def test_a_drawing_has_the_size_that_was_asked_for_and_the_same_bytes_each_time(renderer):
    code = f'{HEAD}<rect width="20" height="30" fill="red"/><text x="22" y="20" font-size="8">Hi</text></svg>'
    images = [renderer.render(code).image for _ in range(3)]
    assert images[0].shape == (60, 80, 3)
    assert len({image.tobytes() for image in images}) == 1
    assert images[0][30, 10].tolist() == [255, 0, 0] and images[0][2, 78].tolist() == [255, 255, 255]
    assert (images[0][:, 42:] < 128).any(), "text is drawn, in Matplotlib's font"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<rect", "ValueError"),
        ('<image href="data:image/png;base64,AAAA"/></svg>', "LiteralRefused: an embedded file (data:)"),
        ("<g>" * 20_000, "LiteralRefused"),
    ],
)
def test_what_cannot_be_drawn_says_why(renderer, body, error):
    assert error in renderer.render(HEAD + body).error


def test_files_and_entities_are_not_followed(renderer, tmp_path):
    blank = renderer.render(f"{HEAD}</svg>").image
    linked = renderer.render(f'{HEAD}<image href="/etc/hostname" width="40" height="30"/></svg>')
    assert linked.image is None or (linked.image == blank).all()
    entity = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + HEAD + '<text y="9">&x;</text></svg>'
    found = renderer.render(entity)
    assert found.image is None or (found.image == blank).all()


def test_sizes_that_are_none_are_refused():
    with pytest.raises(UserError, match="width = 4: allowed: 8 to 2000"):
        SvgRenderer(4)
