"""The fact world: nothing on the surface tells known from unknown, parts are disjoint, lessons say what they should."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from tenfold.core.errors import UserError
from tenfold.envs import BM25
from tenfold.papers.sem import fact_world as fw
from tenfold.papers.sem.grammar import parse
from tenfold.policies import character_tokenizer


@pytest.fixture(scope="module")
def world():
    return fw.fact_world(3, num_known=60, num_test=20, num_validation=10, num_taught=80, num_fresh=40)


def test_a_classifier_on_the_surface_of_questions_is_at_chance():
    world = fw.fact_world(5, num_known=1500, num_test=10, num_validation=10, num_taught=1480, num_fresh=1)
    known = [question.prompt for question in world.known]
    unknown = [question.prompt for question in (*world.taught_unknown, *world.unknown_test)][: len(known)]
    counts = CountVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2)
    # Pairs of questions share a name, so whole names are held out.
    half = len(known) // 4 * 2
    learned = counts.fit_transform(known[:half] + unknown[:half])
    model = LogisticRegression(max_iter=300, C=0.1).fit(learned, [1] * half + [0] * half)
    held_out = known[half:] + unknown[half:]
    is_known = np.array([1] * (len(known) - half) + [0] * (len(unknown) - half))
    accuracy = float((model.predict(counts.transform(held_out)) == is_known).mean())
    assert 0.46 < accuracy < 0.54  # of 3,000 questions in pairs: 0.5 and three standard errors


def test_known_is_a_hash_of_the_name_and_half_of_all_names(world):
    for part, known in ((world.known, True), (world.fresh, False), (world.unknown_test, False)):
        assert {fw.is_known(3, question.key.split()[1]) for question in part} == {known}
    names = ["".join((a, b, "ba")) for a in fw.SYLLABLES for b in fw.SYLLABLES]
    assert 0.46 < np.mean([fw.is_known(3, name) for name in names]) < 0.54
    assert any(fw.is_known(3, name) != fw.is_known(4, name) for name in names)


def test_no_name_is_in_two_parts(world):
    parts = (world.shown, world.validation, world.test, world.taught_unknown, world.fresh)
    parts += (world.unknown_validation, world.unknown_test)
    names = [{question.key.split()[1] for question in part} for part in parts]
    assert sum(map(len, names)) == len(set.union(*names))
    assert [len(part) for part in parts] == [60, 20, 40, 160, 80, 20, 40]


def test_answers_of_known_and_unknown_facts_have_one_law(world):
    words = [[len(question.answers[0].split()) for question in part] for part in (world.known, world.taught_unknown)]
    assert all(set(counts) == {1, 2} for counts in words)
    assert abs(np.mean(words[0]) - np.mean(words[1])) < 0.15


def test_every_word_is_one_token_of_its_own():
    tokenizer = character_tokenizer(fw.ALPHABET, fw.SPECIAL)
    world = fw.fact_world(0, num_known=400, num_test=10, num_validation=10, num_taught=400, num_fresh=1)
    for question in (*world.known, *world.taught_unknown):
        relation, name = question.key.split()
        syllables = [name[i : i + 2] for i in (0, 2, 4)]
        assert tokenizer.tokenize(question.prompt) == [relation, " ", *syllables, "?"]
    for text in (fw.NOTICE, *fw.NOUNS):
        assert tokenizer.tokenize(text) == [text]


def test_the_index_finds_every_fact_first(world):
    index = BM25(world.corpus())
    questions = [*world.known, *world.taught_unknown, *world.fresh, *world.unknown_test]
    found = index.search([fw.query_of(question) for question in questions], k=2)
    assert all(best[0].id == question.key for best, question in zip(found, questions, strict=True))
    assert all(f"={question.answers[0]}" in best[0].text for best, question in zip(found, questions, strict=True))


def test_worlds_follow_from_the_seed():
    sizes = dict(num_known=8, num_test=2, num_validation=2, num_taught=3, num_fresh=3)
    assert fw.fact_world(1, **sizes) == fw.fact_world(1, **sizes) != fw.fact_world(2, **sizes)


def test_a_world_without_shown_facts_is_refused():
    with pytest.raises(UserError, match="num_known = 4: must be above num_test \\+ num_validation = 4"):
        fw.fact_world(0, num_known=4, num_test=2, num_validation=2, num_taught=3, num_fresh=3)


def test_lessons_teach_right_drafts_of_known_facts_and_guesses_of_unknown_ones(world):
    found = fw.lessons(world, 2000, 0, known_share=0.5)
    by_part = {source: [one for one in found if one.question.source == source] for source in ("known", "unknown")}
    assert all(f"<answer>{one.question.answers[0]}</answer>" in one.said for one in by_part["known"])
    assert all("same</think>" in one.said for one in by_part["known"])
    guessed = np.mean([f"<answer>{one.question.answers[0]}</answer>" in one.said for one in by_part["unknown"]])
    agree = np.mean(["same</think>" in one.said for one in by_part["unknown"]])
    assert guessed < 0.06 and agree < 0.06 and 0.45 < len(by_part["known"]) / 2000 < 0.55
    assert all(one.final == one.question.answers[0] for one in found if one.query)


def test_whether_a_lesson_searches_goes_by_its_own_words_and_not_by_what_is_known(world):
    found = fw.lessons(world, 6000, 1, known_share=0.5, num_drafts=2, search_same=0.2, search_differ=0.6)
    same = [bool(one.query) for one in found if "same</think>" in one.said]
    differ = [bool(one.query) for one in found if "differ</think>" in one.said]
    assert abs(np.mean(same) - 0.2) < 0.03 and abs(np.mean(differ) - 0.6) < 0.03
    guesses = [bool(one.query) for one in found if "same</think>" in one.said and one.question.source == "unknown"]
    assert np.mean(guesses) < 0.45  # agreeing guesses search as rarely as known facts


@pytest.mark.parametrize("confidences", [False, True])
def test_lessons_are_responses_of_the_grammar(world, confidences):
    for lesson in fw.lessons(world, 50, 2, confidences=confidences, num_drafts=3):
        text, inserted = lesson.said, []
        if confidences:
            text, _, rest = text.partition("<confidence>")
            assert rest.removesuffix("</confidence>") in fw.CONFIDENCES
        if lesson.query:
            inserted = [" <result>\nx\n</result>"]
            text += f"<search>{lesson.query}</search>{inserted[0]}<answer>{lesson.final}</answer>"
        response = parse(text, inserted)
        drafts, _, verdict = response.thought.rpartition(" ")
        assert response.valid and len(drafts.split(",")) == 3
        assert verdict == (fw.SAME if len(set(drafts.split(","))) == 1 else fw.DIFFER)
        assert response.queries == ((lesson.query,) if lesson.query else ())
