"""The little world: two implementations of its posterior, splits that hold out what they say, words for everything."""

import numpy as np
import pytest

from tenfold.core.seeding import numpy_generator
from tenfold.envs.programs import InThisProcess, infer, validate
from tenfold.papers.msa.situations import (
    HELD_OUT,
    LEVELS,
    PEOPLE,
    SPLITS,
    STRANGERS,
    TRAINING,
    Event,
    Remark,
    Storm,
    draw_situation,
    people_of,
    prior_answer,
    simulate,
    wins_minus_losses,
)
from tenfold.papers.msa.wording import (
    INDEX,
    background_code,
    background_words,
    fact_code,
    fact_words,
    gold_program,
    number_word,
    program_text,
    question_code,
    question_words,
    spelled,
)

HERE = InThisProcess()


def situations(split, count, seed=0):
    return [draw_situation(numpy_generator(seed, "test", number), split) for number in range(count)]


def gold_answers(situation, n=8000):
    sentences = [str(number) for number in range(len(situation.facts))]
    program = gold_program(situation, sentences, situation.questions)
    posterior = infer(program, "likelihood_weighting", n, max_seconds=60, runner=HERE)
    found = []
    for number, question in enumerate(situation.questions):
        one = posterior[f"q{number}"]
        found.append([one.quantile(level) for level in LEVELS] if len(question.people) == 1 else [one.mean()])
    return found


@pytest.mark.parametrize("name", ["same", "far", "storms"])
def test_the_simulator_and_the_gold_program_have_one_posterior(name):
    errors = []
    for number, situation in enumerate(situations(SPLITS[name], 4)):
        labels = simulate(situation, np.random.default_rng(number), 120_000)
        assert labels.kept > 100
        for ours, theirs in zip(labels.answers, gold_answers(situation), strict=True):
            errors.append(np.abs(np.array(ours) - np.array(theirs)).mean())
    assert np.mean(errors) < 1.5 and np.max(errors) < 6


def test_training_never_has_what_is_held_out():
    for situation in situations(TRAINING, 300):
        assert not {(kind.effect, kind.rate, kind.lasts) for kind in situation.kinds} & HELD_OUT
        assert set(situation.people) <= set(PEOPLE)
        assert 1 <= len(situation.contests) <= 4
        about = {person for fact in situation.facts for person in people_of(fact)}
        assert not about & set(STRANGERS), "strangers only bring bread"


@pytest.mark.parametrize("name", SPLITS)
def test_splits_have_what_they_say(name):
    split = SPLITS[name]
    for situation in situations(split, 60):
        assert split.contests[0] <= len(situation.contests) <= split.contests[1]
        if split.held_out:
            assert {(kind.effect, kind.rate, kind.lasts) for kind in situation.kinds} <= HELD_OUT and situation.kinds
        assert set(situation.people) <= set(STRANGERS if split.strangers else PEOPLE)
        assert any(isinstance(fact, Storm) for fact in situation.facts) == (split.storms == "always")


def test_other_forms_of_sentences_are_not_those_of_training():
    generator = np.random.default_rng(0)
    for situation in situations(TRAINING, 60):
        for fact in situation.facts:
            if isinstance(fact, Storm):
                continue
            forms = {" ".join(fact_words(fact, generator, reworded=False)) for _ in range(20)}
            others = {" ".join(fact_words(fact, generator, reworded=True)) for _ in range(20)}
            assert not forms & others
            words = {word for form in forms for word in form.split()}
            assert {word for form in others for word in form.split()} - words <= {
                "it",
                "happens",
                "that",
                "against",
                "to",
                "lost",
                "won",
                "brought",
                "bread",
            }


def test_every_word_and_fragment_is_in_the_vocabulary():
    generator = np.random.default_rng(0)
    for name, split in SPLITS.items():
        for situation in situations(split, 30):
            words = [*background_words(situation, generator), *background_code(situation)]
            for fact in situation.facts:
                words += [*fact_words(fact, generator, split.rewords), *fact_code(fact)]
            for question in situation.questions:
                words += [*question_words(question), *question_code(question)]
            assert set(words) <= set(INDEX), name


def test_fragments_join_to_the_gold_program_but_for_storms():
    for situation in situations(SPLITS["same"], 40):
        sentences = [str(number) for number in range(len(situation.facts))]
        conditions = [(s, fact_code(fact)) for s, fact in zip(sentences, situation.facts, strict=True)]
        queries = [spelled(question_code(question)) for question in situation.questions]
        text = program_text(background_code(situation), conditions, queries)
        assert text == gold_program(situation, sentences, situation.questions)
        validate(text, [f"q{number}" for number in range(len(queries))])
    stormy = situations(SPLITS["storms"], 1)[0]
    assert "60 if day in" in gold_program(stormy, [str(n) for n in range(len(stormy.facts))], stormy.questions)


def test_events_and_remarks_have_the_code_that_they_mean():
    assert spelled(fact_code(Event(3, "ann", "slipped"))) == "    condition(slipped('ann', 3))\n"
    assert spelled(fact_code(Remark(3, "ann"))) == spelled(fact_code(Storm(3))) == "    pass\n"


def test_counting_and_the_prior_know_what_they_say():
    situation = next(s for s in situations(TRAINING, 50) if len(s.contests) > 2)
    total = sum(wins_minus_losses(situation, person) for person in situation.people)
    assert total == 0, "teams are of equal size"
    rank, pair = (next(q for q in situation.questions if len(q.people) == size) for size in (1, 2))
    assert prior_answer(rank) == pytest.approx([9.9, 29.7, 49.5, 69.3, 89.1]) and prior_answer(pair) == (50.0,)


def test_numbers_are_words_in_steps_of_two():
    assert [number_word(value) for value in (-3, 0, 0.9, 1.1, 49.9, 100, 130)] == [
        "#0",
        "#0",
        "#0",
        "#2",
        "#50",
        "#100",
        "#100",
    ]
