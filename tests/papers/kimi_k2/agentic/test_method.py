import pytest
import torch
from torch import nn

from tenfold.core.errors import UserError
from tenfold.core.seeding import torch_generator
from tenfold.papers.kimi_k2.agentic.method import (
    CriticTrack,
    argues_for_itself,
    bradley_terry,
    centred,
    compared,
    critique_rewards,
    opens_with_praise,
    order_agreement,
    pair_accuracy,
    refine,
    symmetrised,
    verified_pairs,
)

QUALITIES = [0.3, -1.2, 2.0, 0.9, -0.1]


def biased_critic(one, other):
    """Knows the qualities, and has a strong liking for what it reads first."""
    return one - other + 5.0


@pytest.mark.spec("kimi_k2/agentic", "J1")
def test_comparisons_in_both_orders_agree_once_they_are_symmetrised():
    log_odds = compared(QUALITIES, biased_critic)
    assert order_agreement(log_odds) == 0.0  # the first one always wins
    both = symmetrised(log_odds)
    torch.testing.assert_close(both, -both.T)
    assert order_agreement(both) == 1.0
    other_way_round = symmetrised(compared(QUALITIES[::-1], biased_critic)).flip(0, 1)
    torch.testing.assert_close(both, other_way_round)


@pytest.mark.spec("kimi_k2/agentic", "J2")
@pytest.mark.parametrize("how", ["win_rate", "bradley_terry"])
def test_a_critic_that_knows_recovers_the_true_ranking(how):
    rewards = critique_rewards(compared(QUALITIES, biased_critic), [True] * 5, how)
    assert rewards.argsort().tolist() == torch.tensor(QUALITIES).argsort().tolist()
    assert rewards.min() > 0 and rewards.max() < 1
    assert abs(float(centred(rewards).sum())) < 1e-6


def test_bradley_terry_finds_the_strengths_that_made_the_odds():
    strengths = torch.tensor([4.0, 1.0, 0.5, 0.5])
    wins = strengths[:, None] / (strengths[:, None] + strengths) * (1 - torch.eye(4))
    found = bradley_terry(1000 * wins)
    torch.testing.assert_close(found, strengths / strengths.log().mean().exp(), rtol=1e-3, atol=1e-3)


@pytest.mark.spec("kimi_k2/agentic", "J3")
@pytest.mark.parametrize("how", ["win_rate", "bradley_terry"])
def test_who_fails_a_mandatory_criterion_never_outranks_who_does_not(how):
    generator = torch_generator(0, "critic")
    for _ in range(50):
        log_odds = 20 * torch.randn(6, 6, generator=generator)
        is_compliant = torch.rand(6, generator=generator) < 0.5
        rewards = critique_rewards(log_odds, is_compliant.tolist(), how)
        assert not rewards[~is_compliant].any()
        assert (rewards[is_compliant] > 0).all()


def test_a_compliant_response_wins_against_all_that_fail_whatever_the_critic_says():
    log_odds = torch.tensor([[0.0, -9.0, -9.0], [9.0, 0.0, 1.0], [9.0, -1.0, 0.0]])
    assert critique_rewards(log_odds, [True, False, False]).tolist() == [1.0, 0.0, 0.0]


def features(quality, length, generator):
    return torch.tensor([quality, length]) + 0.3 * torch.randn(2, generator=generator)


def verifiable(number, generator):
    """(right, wrong) pairs: the right one has the higher quality, lengths mean nothing."""
    pairs = []
    for _ in range(number):
        one, other = torch.rand(2, generator=generator).sort(descending=True).values.tolist()
        lengths = torch.rand(2, generator=generator).tolist()
        pairs.append((features(one + 0.5, lengths[0], generator), features(other, lengths[1], generator)))
    return pairs


@pytest.mark.spec("kimi_k2/agentic", "J4")
def test_refinement_raises_the_accuracy_of_a_noisy_critic_on_pairs_that_it_has_not_seen():
    """The critic begins with a liking for long responses and for the first place."""
    generator = torch_generator(1, "pairs")
    judge = nn.Linear(2, 1)
    with torch.no_grad():
        judge.weight.copy_(torch.tensor([[0.1, 2.0]]))
        judge.bias.fill_(1.0)

    def critic(first, second):
        return judge(torch.stack(list(first)) - torch.stack(list(second))).squeeze(1)

    held_out = verifiable(600, generator)

    def accuracy():
        right, wrong = zip(*held_out, strict=True)
        with torch.no_grad():
            return pair_accuracy(critic(right, wrong), critic(wrong, right))

    before, track = accuracy(), CriticTrack(cut_off=0.75, window=128, fewest=64)
    batches = [verifiable(32, generator) for _ in range(150)]
    losses = refine(critic, batches[:4], torch.optim.Adam(judge.parameters(), lr=0.05), track)
    assert not track.is_trusted
    losses += refine(critic, batches[4:], torch.optim.Adam(judge.parameters(), lr=0.05), track)
    assert before < 0.7 and accuracy() > before + 0.2
    assert track.is_trusted and abs(track.accuracy - accuracy()) < 0.1
    assert sum(losses[-20:]) < sum(losses[:20]) / 1.5
    assert abs(judge.bias.item()) < 0.3, "the liking for the first place is gone"


def test_a_critic_whose_accuracy_falls_is_not_trusted_any_more():
    track = CriticTrack(cut_off=0.8, window=10, fewest=10)
    track.add([True] * 9)
    assert not track.is_trusted, "too few pairs"
    track.add([True])
    assert track.is_trusted
    track.add([False] * 3)
    assert track.accuracy == 0.7 and not track.is_trusted
    with pytest.raises(UserError, match=r"cut_off = 1\.5"):
        CriticTrack(cut_off=1.5)


def test_pairs_have_one_right_and_one_wrong_response():
    assert verified_pairs([True, True], 5) == verified_pairs([False], 5) == []
    is_right = [True, False, True, False, False]
    pairs = verified_pairs(is_right, 99)
    assert len(set(pairs)) == len(pairs) == 6
    assert all(is_right[one] and not is_right[other] for one, other in pairs)


@pytest.mark.parametrize(
    ("text", "praises", "argues"),
    [
        ("What a great idea! Use a map.", True, False),
        ("That's an excellent question. 7.", True, False),
        ("Use a map: what a great idea that was, they said.", False, False),
        ("7. I have fully addressed your request.", False, True),
        ("The great question of 1848 was unity. This response satisfies all criteria.", False, True),
        ("Good question words are who and what.", True, False),  # a list of phrases knows no grammar
        ("7.", False, False),
    ],
)
def test_prescriptive_rubrics_are_lists_of_phrases(text, praises, argues):
    assert (opens_with_praise(text), argues_for_itself(text)) == (praises, argues)


def test_a_critic_needs_two_responses_and_a_flag_for_each():
    with pytest.raises(UserError, match="1 flags for 2 responses"):
        critique_rewards(torch.zeros(2, 2), [True])
