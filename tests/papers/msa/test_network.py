"""The network, its rows and how it is asked: cached steps, medians, equal budgets."""

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.msa.asking import FREE, SLOT, ask, call, median_numbers, value_of
from tenfold.papers.msa.network import Cache, LayerCache, Network
from tenfold.papers.msa.rows import WAYS, Mixture, direct_row, synthesis_rows, thought_row, training_situations
from tenfold.papers.msa.wording import END, INDEX, NUMBERS, PAD, VOCABULARY


def network(seed=0):
    torch.manual_seed(seed)
    made = Network(len(VOCABULARY), 32, 2, 2, 384)
    for block in made.blocks:
        torch.nn.init.normal_(block.o_proj.weight, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def told():
    return training_situations(20, 300, 0)


@torch.no_grad()
def test_steps_over_a_cache_give_the_logits_of_a_whole_pass():
    made = network()
    words = torch.randint(len(VOCABULARY), (3, 17), generator=torch.Generator().manual_seed(0))
    whole, cache = made(words), Cache()
    first = made(words[:, :4], cache)
    steps = [made(words[:, i : i + 1], cache) for i in range(4, 17)]
    torch.testing.assert_close(torch.cat([first, *steps], 1), whole, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_network_is_causal_and_padding_at_the_end_changes_nothing():
    made = network()
    words = torch.randint(len(VOCABULARY), (2, 12), generator=torch.Generator().manual_seed(1))
    longer = torch.cat((words, torch.full((2, 5), INDEX[PAD])), 1)
    torch.testing.assert_close(made(longer)[:, :12], made(words), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_keys_and_values_see_the_word_before():
    """A changed word changes its own key and value and those of the position behind it, and no others."""
    made = network()
    block = made.blocks[0]
    x = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[0, 2] += 1.0
    caches = []
    for given in (x, other):
        cache = LayerCache()
        block(given, cache, 0)
        caches.append(cache)
    for one, another in ((caches[0].keys, caches[1].keys), (caches[0].values, caches[1].values)):
        changed = (one - another).abs().amax((0, 1, 3)) > 1e-6
        assert changed.tolist() == [False, False, True, True, False, False]


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(UserError, match=r"network.width = 30: must be a multiple of twice the 4 heads"):
        Network(10, 30, 1, 4, 8)


def test_numbers_are_medians_of_the_distribution_over_numbers():
    logits = torch.full((2, len(VOCABULARY)), -30.0)
    first = INDEX[NUMBERS[0]]
    logits[0, first + 10], logits[0, first + 20], logits[0, first + 40] = (torch.tensor([0.3, 0.3, 0.4]).log()).tolist()
    logits[1, first] = 0.0
    logits[:, INDEX[END]] = 50.0
    assert [value_of(NUMBERS[i]) for i in median_numbers(logits).tolist()] == [40.0, 0.0]


@torch.no_grad()
def test_rows_are_answered_alone_as_together_and_numbers_are_fed_back():
    made = network()
    rows = [
        ["<direct>", "people", "are", SLOT, "alike", SLOT],
        ["<direct>", "a", "team", SLOT],
        call("<query>", ["rank", "of", "ann", "?"]),
    ]
    together = ask(made, rows)
    assert together == [ask(made, [row])[0] for row in rows]
    assert len(together[0]) == 2 and set(together[0]) <= set(NUMBERS)
    words = ["<direct>", "people", "are", together[0][0], "alike"]
    logits = made(torch.tensor([[INDEX[word] for word in words]]))[:, -1]
    assert together[0][1] == NUMBERS[median_numbers(logits).item()]


@torch.no_grad()
def test_free_text_is_greedy_and_ends_at_its_end():
    made = network()
    row = call("<condition>", ["ann", "slipped", "on", "day", "3", "."])
    assert row[-1] == FREE
    said = ask(made, [row])[0]
    words = row[:-1]
    for word in said[:5]:
        best = made(torch.tensor([[INDEX[each] for each in words]]))[0, -1].argmax().item()
        assert VOCABULARY[best] == word
        words.append(word)
    assert END not in said


def test_targets_are_code_numbers_and_thoughts(told):
    for each in told:
        for row in synthesis_rows(each):
            words = [VOCABULARY[i] for i in row.words]
            assert [word for word, t in zip(words, row.targets, strict=True) if t] == words[
                words.index("<answer>") + 1 :
            ]
        numbers = sum(len(answer) for answer in each.labels.answers) + 2 * len(each.situation.people)
        thoughts = sum(len(means) for means in each.labels.thoughts)
        direct, thought = direct_row(each), thought_row(each)
        assert sum(direct.targets) == numbers and sum(thought.targets) == numbers + thoughts
        for row in (direct, thought):
            assert {VOCABULARY[i] for i, t in zip(row.words, row.targets, strict=True) if t} <= set(NUMBERS)


def test_rivals_are_also_asked_what_can_be_read_off(told):
    for each in told:
        words = " ".join(VOCABULARY[i] for i in direct_row(each).words)
        for person in each.situation.people:
            wins = sum(person in contest.winners for contest in each.situation.contests)
            losses = sum(person in contest.losers for contest in each.situation.contests)
            assert f"wins of {person} ? #{10 * wins}" in words and f"losses of {person} ? #{10 * losses}" in words


def test_each_way_gets_equal_words_in_every_step_and_all_rows_in_a_lap(told):
    mixture = Mixture(told, words_per_way=400, seed=0)
    for way in WAYS:
        total = int(mixture.starts[way][-1])
        laps = -(-total // 400)
        sizes = []
        for step in range(laps):
            words, targets = mixture.batch(way, step, step + 1)
            assert words.shape == targets.shape
            sizes.append(int((words != INDEX[PAD]).sum()))
        longest = max(len(row.words) for row in mixture.rows[way])
        assert all(abs(size - 400) <= longest for size in sizes), way
        assert sum(sizes) >= total, "the last step begins the next lap"


def test_targets_stand_where_their_word_is_predicted(told):
    mixture = Mixture(told, words_per_way=500, seed=0)
    words, targets = mixture.batch("direct", 0, 1)
    for row_words, row_targets in zip(words.tolist(), targets.tolist(), strict=True):
        for place, target in enumerate(row_targets[:-1]):
            assert target in (-100, row_words[place + 1])
    assert np.isin(targets[targets >= 0].numpy(), [INDEX[number] for number in NUMBERS]).all()
