"""Similarities of images: blank earns nothing, identical earns all, and the composite orders charts as people do."""

import io

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.eval.visual import (
    DEFAULT_WEIGHTS,
    DRAWING_WEIGHTS,
    TERMS,
    Similarity,
    as_image,
    blank_like,
    compare,
    patch_term,
    resized,
    text_term,
)


def chart(title="Sales", colour="tab:blue", values=(3, 7, 5, 4), kind="bar"):
    """A chart with one thing changed, drawn by Matplotlib, uint8 [300, 400, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    if kind != "blank":
        axes = figure.add_subplot()
        axes.set_title(title)
        draw = {
            "bar": lambda: axes.bar(range(4), values, color=colour),
            "line": lambda: axes.plot(range(4), values, color=colour),
            "pie": lambda: axes.pie(values),
            "axes only": lambda: None,
        }
        draw[kind]()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@pytest.fixture(scope="module")
def variants():
    """The eight of the specification's table."""
    return {
        "none": chart(),
        "title": chart(title="Profit"),
        "colour": chart(colour="tab:red"),
        "values": chart(values=(6, 2, 4, 7)),
        **{kind: chart(kind=kind) for kind in ("line", "pie", "axes only", "blank")},
    }


def noise(seed, count=3, size=32):
    return np.random.default_rng(seed).random((count, size, size, 3)).astype(np.float32)


@pytest.mark.spec("rrvf", "A5")
def test_each_term_gives_identical_one_blank_zero_and_all_else_between(variants):
    reference = as_image(variants["none"])
    for name in TERMS:
        similarity = Similarity({name: 1.0})
        assert compare(reference, reference, similarity)["total"] == 1.0
        assert compare(reference, variants["blank"], similarity)["total"] == 0.0
        for image in variants.values():
            assert 0.0 <= compare(reference, image, similarity)["total"] <= 1.0
        for seed in range(5):
            values = similarity(noise(seed), noise(seed + 10))
            assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.spec("rrvf", "A5")
def test_the_composite_orders_the_eight_variants(variants):
    reference = variants["none"]
    score = {name: compare(reference, image)["total"] for name, image in variants.items()}
    assert score["none"] == 1.0 > score["title"] > max(score["colour"], score["values"])
    assert min(score["colour"], score["values"]) > score["line"] > max(score["pie"], score["axes only"])
    assert min(score["pie"], score["axes only"]) > score["blank"] == 0.0


def test_plain_ssim_would_pay_for_an_empty_picture(variants):
    """Why terms are rescaled: before that the blank has more than half."""
    images = [resized(as_image(variants[name]), 300, 400)[None] for name in ("none", "blank")]
    looked = [TERMS["ssim"].look(image) for image in images]
    assert TERMS["ssim"].compare(*looked)[0] > 0.5


def test_the_blank_has_the_references_own_background():
    tinted = np.full((1, 16, 16, 3), 0.6, np.float32)
    drawn = tinted.copy()
    drawn[:, 5:9, 5:9] = (0.9, 0.1, 0.1)
    for weights in (DEFAULT_WEIGHTS, DRAWING_WEIGHTS):
        assert Similarity(weights)(drawn, tinted)[0] == 0.0
        assert Similarity(weights)(drawn, np.ones_like(tinted))[0] < 0.05
    assert np.array_equal(blank_like(drawn), tinted)


def test_of_a_blank_reference_only_a_blank_image_is_like_it():
    blank = np.ones((1, 16, 16, 3), np.float32)
    drawn = blank.copy()
    drawn[:, 5:9, 5:9] = 0
    assert Similarity()(blank, blank)[0] == 1.0
    assert Similarity()(blank, drawn)[0] == 0.0


def test_looking_once_and_comparing_often_is_the_same():
    references, images = noise(0, 4), noise(1, 4)
    similarity = Similarity()
    rows = np.array([0, 2, 2, 3])
    often = similarity.between(similarity.look(references).take(rows), similarity.look(images).take(rows))
    once = similarity.parts(references[rows], images[rows])
    for name, values in once.items():
        np.testing.assert_allclose(often[name], values, atol=1e-12)


def test_a_term_of_patches_and_one_of_text_can_be_handed_in():
    def encode(images):
        return images.reshape(len(images), -1, 3)

    def read(image):
        return ["a", "b"] if image.mean() > 0.5 else ["a"]

    similarity = Similarity({"patches": 1.0, "text": 1.0}, {"patches": patch_term(encode), "text": text_term(read)})
    bright, dark = np.full((1, 8, 8, 3), 0.9, np.float32), np.full((1, 8, 8, 3), 0.1, np.float32)
    assert TERMS.keys().isdisjoint(similarity.parts(bright, dark))
    raw = text_term(read)
    assert raw.compare(raw.look(bright), raw.look(dark))[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"shape": 1.0}, "'shape' is no term; known are overlap, edges"),
        ({"edges": -1.0}, "edges = -1.0; allowed: finite numbers from 0 on"),
        ({"edges": 0.0}, "all are 0"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weights, message):
    with pytest.raises(UserError, match=message):
        Similarity(weights)


# ------------------------------------------------------------------------------------------------ files of all kinds


def saved(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def test_unusual_images_are_read_as_what_they_show():
    from PIL import Image

    red = Image.new("RGB", (8, 6), "red")
    for image, options in (
        (red, {"format": "PNG"}),
        (red.convert("CMYK"), {"format": "TIFF"}),
        (red.convert("P"), {"format": "GIF"}),
        (red, {"format": "GIF", "save_all": True, "append_images": [Image.new("RGB", (8, 6), "blue")]}),
    ):
        found = as_image(saved(image, **options))
        assert found.shape == (6, 8, 3) and found.dtype == np.float32
        assert found[0, 0, 0] > 0.9 and found[0, 0, 2] < 0.15
    transparent = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert as_image(saved(transparent, format="PNG")).min() == 1.0, "what is transparent is white"
    deep = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    assert as_image(saved(deep, format="PNG")).max() == 1.0


def test_images_that_cannot_be_used_are_refused_in_a_sentence(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "text.png").write_text("no image")
    broken = tmp_path / "broken.png"
    broken.write_bytes(saved(Image.fromarray(np.zeros((64, 64, 3), np.uint8)), format="PNG")[:60])
    for given, message in (
        (tmp_path / "absent.png", "absent.png: there is no such file"),
        (tmp_path / "text.png", "text.png: cannot be read as an image"),
        (broken, "broken.png: cannot be read as an image"),
        (b"", "image of 0 bytes: cannot be read as an image"),
        (np.zeros((4, 4)), r"image of shape \(4, 4\): must be \[h, w, 3\]"),
        (np.full((4, 4, 3), 200.0), "pixels from 0 to 255 must be uint8"),
    ):
        with pytest.raises(UserError, match=message):
            as_image(given)
    huge = tmp_path / "huge.png"
    huge.write_bytes(saved(Image.new("1", (9000, 9000)), format="PNG"))
    with pytest.raises(UserError, match="larger than 40,000,000 pixels"):
        as_image(huge)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(saved(Image.new("1", (20_000, 20_000)), format="PNG"))
    with pytest.raises(UserError, match="larger than 40,000,000 pixels"):
        as_image(bomb)
