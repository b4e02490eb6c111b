"""Meanings of metrics from READMEs."""

import pytest

from tenfold.core.discovery import studies
from tenfold.core.glossary import explained, glossary_in, glossary_of, meaning_of

README = """# A paper

## Claim

| `test/score` | not a glossary |

## Metrics

| metric | meaning | better |
|---|---|---|
| `test/score` | share of right ones, `x` | higher |
| `test/long`, `test/short` | tokens of both | lower |
| `zero_shot/<task>` | bits per byte | lower |
| `zero_shot/mean` | their mean | lower |
| `test/within_20` and so on | within so many tokens | higher |
| `rewards/NAME/mean`, `test/K_hidden` | curves | – |
| `weights/mean`, `max` | of the weights | – |

## Our numbers

| `test/after` | not a glossary |
"""


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("test/score", "share of right ones, `x`"),
        ("test/short", "tokens of both"),
        ("zero_shot/rep-1", "bits per byte"),
        ("zero_shot/mean", "their mean"),
        ("test/within_80", "within so many tokens"),
        ("rewards/brier/mean", "curves"),
        ("test/2_hidden", "curves"),
        ("weights/max", "of the weights"),
        ("test/scores", None),
        ("test/after", None),
        ("zero_shot", None),
    ],
)
def test_a_metric_has_the_meaning_of_its_row(metric, text):
    found = meaning_of(metric, glossary_in(README))
    assert (None if found is None else found.text) == text


def test_a_meaning_that_several_share_stands_once_and_names_them():
    shown = explained(["test/long", "test/short", "test/score", "test/short", "test/new"], glossary_in(README))
    assert shown["test/long"] == ("test/long, test/short", "tokens of both")
    assert shown["test/score"] == ("", "share of right ones, `x`")
    assert shown["test/new"] == ("", "")
    assert explained(["test/long", "test/short"], glossary_in(README))["test/short"] == ("", "")


def test_without_a_readme_nothing_is_explained():
    assert glossary_of("no such study") == [] and glossary_in("# A paper\n") == []


@pytest.mark.parametrize("study", studies(), ids=lambda study: study.name)
def test_every_paper_has_a_glossary_for_the_seconds_that_every_run_reports(study):
    assert meaning_of("cost/seconds", glossary_of(study.name)) is not None
