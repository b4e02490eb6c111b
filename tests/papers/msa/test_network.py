"""The network, its rows and how it is asked: cached steps, medians, equal budgets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.models.norms import rms_norm
from tenfold.papers.msa.asking import SLOT, ask, call, median_numbers
from tenfold.papers.msa.config import smoke
from tenfold.papers.msa.network import LayerCache, Network
from tenfold.papers.msa.rows import (
    IGNORED,
    WAYS,
    Mixture,
    Row,
    direct_row,
    padded,
    sight_of,
    synthesis_row,
    thought_row,
    training_situations,
)
from tenfold.papers.msa.training import loss_of, losses_of_ways
from tenfold.papers.msa.wording import ANSWER, END, INDEX, NUMBERS, PAD, VOCABULARY


def network(seed=0):
    torch.manual_seed(seed)
    made = Network(len(VOCABULARY), 32, 2, 2, 384)
    for block in made.blocks:
        torch.nn.init.normal_(block.o_proj.weight, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def told():
    return training_situations(20, 300, 0)


def logits_of(made, rows):
    batch = padded(rows)
    return made(batch.words, batch.sight)


def text_row():
    """A text of two parts, a number that is written, and two questions with their numbers."""
    row = Row().give(["<thought>", "people", "are", "alike", "."]).give(["on", "day", "3", "ann", "beat", "bo", "."])
    row.write(["#60"])
    row.give(["rank", "of", "ann"], 1).write(["#40", "#50"], 1)
    return row.give(["rank", "of", "bo"], 2).write(["#20"], 2)


def test_a_word_sees_what_is_given_with_it_what_is_before_it_and_its_own_question():
    row = text_row()
    sight = sight_of([row], len(row.words))
    sees = [np.flatnonzero(line).tolist() for line in sight.mask[0].numpy()]
    assert sees[0] == sees[4] == list(range(5))
    assert sees[5] == sees[11] == list(range(12))
    assert sees[12] == list(range(13))
    assert sees[13] == sees[15] == list(range(16)) and sees[16] == list(range(17))
    assert sees[18] == [*range(13), 18, 19, 20], "the second question does not see the first one"
    assert sight.positions[0].tolist() == [*range(13), *range(13, 18), *range(13, 17)]
    assert sight.before[0].tolist() == [-1, *range(17), 12, *range(18, 21)]
    assert sight.after[0, :5].tolist() == [1, 2, 3, 4, -1] and sight.after[0, 12] == -1


@torch.no_grad()
def test_a_change_reaches_nothing_that_does_not_see_it():
    """A word of the second sentence: the background, the first question's own numbers, and what sees neither."""
    made, row, other = network(), text_row(), text_row()
    other.words[15] = INDEX["cy"]  # the person that the first question asks about
    moved = (logits_of(made, [row]) - logits_of(made, [other])).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False] * 13 + [True] * 5 + [False] * 4
    other = text_row()
    other.words[8] = INDEX["cy"]  # in the sentence
    moved = (logits_of(made, [row]) - logits_of(made, [other])).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False] * 5 + [True] * 17


@torch.no_grad()
def test_padding_at_the_end_changes_nothing():
    made, short = network(), Row().give(["rank", "of", "ann"]).write(["#40"])
    alone, together = logits_of(made, [short]), logits_of(made, [short, text_row()])
    torch.testing.assert_close(together[:1, :4], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_keys_and_values_see_both_neighbours():
    made = network()
    block, sight = made.blocks[0], sight_of([Row().give(["day"] * 6)], 6)
    x = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[0, 2] += 1.0
    caches = []
    for given in (x, other):
        cache = LayerCache()
        block(given, sight, cache, torch.tensor([5]))
        caches.append(cache)
    for one, another in ((caches[0].keys, caches[1].keys), (caches[0].values, caches[1].values)):
        changed = (one - another).abs().amax((0, 1, 3)) > 1e-6
        assert changed.tolist() == [False, True, True, True, False, False]


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(UserError, match=r"network.width = 30: must be a multiple of twice the 4 heads"):
        Network(10, 30, 1, 4, 8)


def test_numbers_are_medians_of_the_distribution_over_numbers():
    logits = torch.full((2, len(VOCABULARY)), -30.0)
    first = INDEX[NUMBERS[0]]
    logits[0, first + 10], logits[0, first + 20], logits[0, first + 40] = (torch.tensor([0.3, 0.3, 0.4]).log()).tolist()
    logits[1, first] = 0.0
    logits[:, INDEX[END]] = 50.0
    assert [NUMBERS[i] for i in median_numbers(logits).tolist()] == ["#40", "#0"]


@torch.no_grad()
def test_rows_are_answered_alone_as_together_and_numbers_are_fed_back():
    made = network()
    rows = [
        [["<direct>", "people", "are"], SLOT, ["alike", "."], ["rank", "of", "ann"], SLOT, SLOT],
        [["<direct>", "a", "team"], SLOT],
        call("<query>", ["rank", "of", "ann"]),
    ]
    together = ask(made, rows)
    assert together == [ask(made, [row])[0] for row in rows]
    assert len(together[0]) == 3 and set(together[0]) <= set(NUMBERS)
    row = Row().give(["<direct>", "people", "are"]).write([together[0][0]]).give(["alike", "."])
    row.give(["rank", "of", "ann"])
    for said in together[0][1:]:
        assert said == NUMBERS[median_numbers(logits_of(made, [row])[:, -1]).item()]
        row.write([said])


@torch.no_grad()
def test_free_text_is_greedy_and_ends_at_its_end():
    made = network()
    sentence = ["ann", "slipped", "on", "day", "3", "."]
    said = ask(made, [call("<condition>", sentence)])[0]
    row = Row().give(["<condition>", *sentence, ANSWER])
    for word in said[:5]:
        assert VOCABULARY[logits_of(made, [row])[0, -1].argmax().item()] == word
        row.write([word])
    assert END not in said and len(said) <= 64


def test_a_number_aims_at_its_neighbours_and_a_word_at_itself():
    row = Row().give(["<query>", "rank", "of", "ann"]).write(["ann"]).give(["."]).write(["#10"], weight=0.5)
    batch, logits = padded([row]), torch.randn(1, 7, len(VOCABULARY), generator=torch.Generator().manual_seed(0))
    shares = logits[0].log_softmax(-1)
    name, number = -shares[3, INDEX["ann"]], -shares[5, INDEX["#10"]]
    torch.testing.assert_close(loss_of(logits, batch, 0.0), name + number / 2)
    weights = {each: float(np.exp(-(((each - 10) / 4) ** 2) / 2)) for each in range(0, 101, 2)}
    near = -sum(weight * shares[5, INDEX[f"#{each}"]] for each, weight in weights.items()) / sum(weights.values())
    torch.testing.assert_close(loss_of(logits, batch, 4.0), name + near / 2, atol=1e-4, rtol=1e-4)


def test_targets_are_code_numbers_and_thoughts(told):
    for each in told:
        row = synthesis_row(each)
        calls = [[i for i, k in enumerate(row.question) if k == number] for number in range(1, max(row.question) + 1)]
        assert len(calls) == 1 + len(each.sentences) + 2
        for places in calls:
            words = [VOCABULARY[row.words[i]] for i in places]
            answer = words.index(ANSWER) + 1
            assert [row.weights[i] for i in places] == [0.0] * answer + [1.0] * (len(words) - answer)
            assert words[-1] == END
        numbers = sum(len(answer) for answer in each.labels.answers) + 2 * len(each.situation.people)
        thoughts = sum(len(means) for means in each.labels.thoughts)
        direct, thought = direct_row(each), thought_row(each)
        assert np.count_nonzero(direct.weights) == numbers
        assert np.count_nonzero(thought.weights) == numbers + thoughts
        questions = len(each.labels.answers) + 2 * len(each.situation.people)
        assert sum(direct.weights) == pytest.approx(questions), "each question counts alike"
        for row in (direct, thought):
            assert {VOCABULARY[i] for i, weight in zip(row.words, row.weights, strict=True) if weight} <= set(NUMBERS)


def test_rivals_are_also_asked_what_can_be_read_off(told):
    for each in told:
        words = " ".join(VOCABULARY[i] for i in direct_row(each).words)
        for person in each.situation.people:
            wins = sum(person in contest.winners for contest in each.situation.contests)
            losses = sum(person in contest.losers for contest in each.situation.contests)
            assert f"wins of {person} #{10 * wins}" in words and f"losses of {person} #{10 * losses}" in words


def test_each_way_gets_equal_words_in_every_step_and_all_rows_in_a_lap(told):
    mixture = Mixture(told, words_per_way=400, seed=0)
    for way in WAYS:
        total = int(mixture.starts[way][-1])
        laps = -(-total // 400)
        sizes = []
        for step in range(laps):
            words, _, weights, _ = mixture.batch(way, step, step + 1)
            assert weights.sum().item() == pytest.approx(mixture.weight(way, step, step + 1), rel=1e-5)
            sizes.append(int((words != INDEX[PAD]).sum()))
        longest = max(len(row.words) for row in mixture.rows[way])
        assert all(abs(size - 400) <= longest for size in sizes), way
        assert sum(sizes) >= total, "the last step begins the next lap"


def test_targets_stand_where_their_word_is_predicted(told):
    mixture = Mixture(told, words_per_way=500, seed=0)
    words, targets, weights, _ = mixture.batch("direct", 0, 1)
    assert ((targets != IGNORED) == (weights > 0)).all()
    for row_words, row_targets in zip(words.tolist(), targets.tolist(), strict=True):
        for place, target in enumerate(row_targets[:-1]):
            assert target in (-100, row_words[place + 1])
    assert np.isin(targets[targets >= 0].numpy(), [INDEX[number] for number in NUMBERS]).all()


@torch.no_grad()
def test_all_rows_of_a_batch_are_learned_from_in_one_part_or_several(told):
    training, made = replace(smoke().training, batch_size=4, words=300), network()
    mixture = Mixture(told, training.words, seed=0)
    whole = losses_of_ways(made, mixture, training, 2, range(4))
    parts = [losses_of_ways(made, mixture, training, 2, slots) for slots in (range(1), range(1, 2), range(2, 4))]
    for way in WAYS:
        batch = padded(mixture.rows_between(way, 4, 8))
        mean = loss_of(made(batch.words, batch.sight), batch, training.blur) / batch.weights.sum()
        torch.testing.assert_close(whole[way], mean)
        shares = torch.stack([part[way] for part in parts]) * torch.tensor([1, 1, 2])  # of four slots
        torch.testing.assert_close(shares.sum() / 4, whole[way])


@torch.no_grad()
def test_calls_side_by_side_are_as_calls_alone(told):
    made, row = network(), synthesis_row(told[0])
    together = logits_of(made, [row])[0]
    for number in range(1, max(row.question) + 1):
        places = [i for i, k in enumerate(row.question) if k == number]
        start = places[0]
        reach = [row.reach[i] - start for i in places]
        alone = Row([row.words[i] for i in places], [1.0] * len(places), reach, [0] * len(places))
        torch.testing.assert_close(together[places], logits_of(made, [alone])[0], atol=1e-5, rtol=1e-4)


def test_a_fresh_network_looks_for_the_word_itself():
    """Before any training a name looks at its other mention, and beside it, more than at any other word."""
    torch.manual_seed(0)
    made = Network(len(VOCABULARY), 96, 1, 4, 64)
    row = Row()
    for text in ("on day 3 ann beat bo .", "on day 4 cy beat dee .", "rank of ann"):
        row.give(text.split())
    batch, cache, block = padded([row]), LayerCache(), made.blocks[0]
    x = rms_norm(made.embedding(batch.words))
    block(x, batch.sight, cache, torch.tensor([len(row.words) - 1]))
    query = block._turned(block._heads(block.q_proj(rms_norm(x))), batch.sight.positions)[0, :, -1]
    scores = (cache.keys[0] * query[:, None]).sum(-1).mean(0)
    assert set(scores[:-2].topk(3).indices.tolist()) == {2, 3, 4}
