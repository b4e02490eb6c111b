"""Texts are taken apart by script; results are cut between characters as a reader sees them."""

import unicodedata

import numpy as np
import pytest

from tenfold.envs.search import BM25, Passage, SearchTool, count_words, cut_to_tokens
from tenfold.envs.search.fake import FakeRetriever
from tenfold.envs.search.words import asked_by_script, by_script, characters, is_mark, words

TEXTS = {
    "ko": ("한강이 서울을 가로지른다.", ["한강", "한강은?", "서울"], ["부산", "낙동강을"]),
    "ko, decomposed": (unicodedata.normalize("NFD", "한강이 서울을 가로지른다."), ["한강"], ["부산"]),
    "ja": ("東京は日本の首都です。", ["東京", "首都", "日本の首都はどこ"], ["大阪", "京都"]),
    "ja, kana": ("エベレストは世界で最も高い山。", ["エベレスト", "ｴﾍﾞﾚｽﾄ", "山"], ["富士"]),
    "zh": ("長江流過上海。", ["上海", "長江"], ["北京", "黃河"]),
    "th": ("กรุงเทพเป็นเมืองหลวงของประเทศไทย", ["กรุงเทพ", "ประเทศไทย"], ["เวียงจันทน์"]),
    "hi": ("दिल्ली भारत की राजधानी है।", ["दिल्ली", "राजधानी"], ["मुंबई", "दल"]),
    "fa": ("تهران پایتخت ایران است", ["تهران"], ["اصفهان"]),
    "mixed": ("BTS는 2013년에 서울에서 데뷔했다.", ["BTS", "2013", "서울"], ["2014"]),
}
OTHER = [Passage("rome", "Rome", "Rome is on the Tiber."), Passage("paris", "", "Paris is on the Seine.")]


@pytest.mark.parametrize("language", TEXTS)
def test_passages_are_found_by_their_words_in_every_script_and_by_no_others(language, tmp_path):
    text, asked, others = TEXTS[language]
    retriever = BM25([*OTHER, Passage("it", "", text)])
    retriever.save(tmp_path)
    for engine in (retriever, BM25.load(tmp_path, retriever.passages)):
        found = engine.search(asked, 3)
        assert [[passage.id for passage in each] for each in found] == [["it"]] * len(asked)
        assert engine.search(others, 3) == [[]] * len(others)


def test_english_is_taken_apart_as_ever_by_both_tokenizers():
    text = "The Tiber's 2nd bank, e\u0301tude no_1 – STRASSE Straße 3,5 naïve"
    assert by_script(text) == asked_by_script(text) == words(text)
    assert words(text) == ["tiber", "s", "2nd", "bank", "étude", "no_1", "strasse", "strasse", "3", "5", "naïve"]


def test_marks_and_joiners_belong_to_the_words_they_are_on():
    assert words("दिल्ली") == ["दिल्ली"] and words("ক্‌ষ") == words("ক্ষ")
    assert words("می‌خواهم") == ["میخواهم"]


def test_a_saved_index_keeps_how_it_was_made(tmp_path):
    corpus = [Passage("1", "", "한강이 흐른다")]
    BM25(corpus, tokenize="words").save(tmp_path / "words")
    assert BM25.load(tmp_path / "words", corpus).search(["한강", "한강이"], 1)[0] == []
    BM25(corpus).save(tmp_path / "script")
    (tmp_path / "script" / "tokenizer.txt").unlink()  # as indexes of earlier versions are: of words
    assert BM25.load(tmp_path / "script", corpus).tokenizer.name == "words"


ALPHABET = "aé 한강서울東京はのกที่รुदिल्लीي🙂👩‍👩‍👧 .,-\u0301"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_cut_keeps_whole_characters_fills_the_budget_and_stays_within_it(seed):
    generator = np.random.default_rng(seed)
    text = "".join(generator.choice(list(ALPHABET), 300))
    for limit in (1, 2, 3, 10, 57):
        cut = cut_to_tokens(text, limit, count_words, mark="…")
        kept = cut.removesuffix("…")
        assert count_words(cut) <= limit and text.startswith(kept)
        rest = text[len(kept) :]
        assert not rest or not is_mark(rest[0]), "nothing is torn off the character it is written on"
        assert not rest or characters(kept + rest)[: len(characters(kept))] == characters(kept)


@pytest.mark.parametrize(
    "text",
    ["한강이" * 200, "東京は首都です。" * 100, "กรุงเทพเป็นเมืองหลวง" * 50, f"https://example.org/{'a/b?c=1&' * 200}"],
    ids=["ko", "ja", "th", "address"],
)
def test_a_result_without_spaces_is_cut_and_not_dropped(text):
    tool = SearchTool(FakeRetriever({"q": [Passage("1", "", text)]}), max_result_tokens=50)
    result = tool.open().call("<search>q</search>")
    assert result.facts["cut"] and 40 <= result.facts["tokens"] <= 50
    assert result.text.startswith(f"[1] {text[:10]}")
