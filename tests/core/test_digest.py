"""The page of all papers: what results say is on it, in both languages, and a stale copy is found."""

import dataclasses
import html
import json
import re

import pytest

from tenfold.core import catalogue, digest
from tenfold.core.checkout import ROOT
from tenfold.core.discovery import papers
from tenfold.core.errors import UserError
from tenfold.core.results import shown
from tenfold.core.tables import newest, published


@pytest.fixture(scope="module")
def pages():
    entries = digest.entries_of(ROOT)
    mark = digest.made_from(ROOT)
    return {words.language: digest.render_digest(entries, words, mark) for words in catalogue.LANGUAGES.values()}


def test_each_language_has_every_word_and_fills_in_the_same(pages):
    english, korean = (dataclasses.asdict(words) for words in (catalogue.ENGLISH, catalogue.KOREAN))
    for name, text in english.items():
        if name not in ("language", "unreviewed"):
            assert text != korean[name] or name == "authors" or "{authors}" in text
            assert sorted(re.findall(r"{\w+}", str(text))) == sorted(re.findall(r"{\w+}", str(korean[name]))), name
    assert re.search("[가-힣]", pages["ko"]) and catalogue.KOREAN.unreviewed in pages["ko"]


def test_the_papers_stand_in_the_order_of_the_digest(pages):
    found = re.findall(r'<section class="paper" id="(\w+)">', pages["en"])
    assert found == [paper.name for paper in sorted(papers(), key=lambda paper: paper.place)]
    assert [paper.place for paper in sorted(papers(), key=lambda paper: paper.place)] == list(range(1, 11))


def test_every_published_claim_is_there_with_its_verdict(pages):
    for study, runs in published(ROOT).items():
        if "/" in study:
            continue
        one = newest(shown(runs))
        assert one.judgements
        for judged in one.judgements:
            rows = [
                row for row in pages["en"].split("<tr ") if html.escape(judged.claim.text, quote=True) in _quoted(row)
            ]
            style = judged.verdict.replace(" ", "-")
            assert any(f'class="badge {style}"' in row for row in rows), judged.claim.id


def _quoted(text):
    return text.replace("&#39;", "&#x27;").replace("&#34;", "&quot;")


def test_headlines_are_translated_and_what_is_not_stays_english(pages):
    hrm = next(paper for paper in papers() if paper.name == "hrm")
    assert hrm.korean["headline"] in pages["ko"] and hrm.korean["headline"] not in pages["en"]
    assert "HRM refines its answer" in pages["ko"]
    assert all(paper.korean.get("claim") for paper in papers())


def test_a_page_of_other_results_is_stale(tmp_path):
    (tmp_path / "results").mkdir()
    page = tmp_path / "index.html"
    assert digest.is_stale(page, tmp_path)
    entries, mark = digest.entries_of(tmp_path), digest.made_from(tmp_path)
    page.write_text(digest.render_digest(entries, catalogue.ENGLISH, mark), encoding="utf-8")
    assert not digest.is_stale(page, tmp_path)
    run = json.loads((ROOT / "results" / "hrm.json").read_text())
    (tmp_path / "results" / "hrm.json").write_text(json.dumps(run))
    assert digest.is_stale(page, tmp_path)


def test_a_picture_is_written_for_each_paper_that_has_stored_one(tmp_path):
    with_picture = {entry.paper.name for entry in digest.entries_of(ROOT) if entry.svg}
    written = {path.name for path in digest.write_digest(ROOT, tmp_path)}
    assert written == {"index.html", "index.ko.html", *(f"{name}.svg" for name in with_picture)}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == len(with_picture)


def test_another_language_is_refused():
    with pytest.raises(UserError, match="lang = 'fr'"):
        catalogue.words_of("fr")
