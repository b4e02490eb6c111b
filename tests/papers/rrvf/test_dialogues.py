"""Dialogues in groups: what is learned of them, what the comparator says, and the same through the one rollout."""

import numpy as np
import pytest
import torch

from tenfold.envs.render.chart_language import LONGEST, PLAIN, Chart, Look
from tenfold.papers.rrvf.config import smoke
from tenfold.papers.rrvf.dialogues import DrawingEnvironment, as_pixels, converse, num_words, turn_words
from tenfold.papers.rrvf.seeing import (
    ALL_WORDS,
    NUM_REMARKS,
    VOCABULARY,
    WORD_IDS,
    constant_remarks,
    images_of,
    programs,
    remarks,
)
from tenfold.papers.rrvf.training import dialogues_about, fresh, labelled, supervise
from tenfold.policies import Policy, Sampling, rollout
from tenfold.policies.small_vision import PAD, image_prompt, word_tokenizer


def number(kind, colour, *values):
    return programs().number_of[Chart(kind, colour, values)]


def said(reference, candidate):
    images = images_of(np.array([reference]), PLAIN)
    words = remarks(images, np.array([0]), np.array([candidate]))[0]
    return " ".join(ALL_WORDS[word] for word in words if ALL_WORDS[word] != PAD)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy that writes programs and dialogues most of the time."""
    from tenfold.core.cell import Cell

    config = smoke()
    policy = fresh(config, 0)
    for name, shown, steps in (
        ("programs", labelled(np.arange(0, 1200, 40)), 60),
        ("dialogues", dialogues_about(np.arange(0, 1200, 40), remarks), 60),
    ):
        cell = Cell(arm="a", seed=0, directory=tmp_path_factory.mktemp(name), device="cpu")
        policy = supervise(policy, shown, name, steps, config, cell)
    return policy.eval()


def test_every_program_reads_back_as_itself():
    assert len(programs().charts) == 1200
    for index in range(0, 1200, 7):
        assert programs().read(turn_words(index)) == index
    assert programs().read([WORD_IDS["bar"], WORD_IDS["end"]]) == -1


def test_the_comparator_says_what_differs_from_pixels():
    reference = number("bar", "red", 3, 5, 2)
    assert said(reference, reference) == "ran right ok ok ok"
    assert said(reference, number("bar", "blue", 3, 5, 2)) == "ran wrong ok ok ok"
    assert said(reference, number("bar", "red", 1, 5, 4)) == "ran right up ok down"
    assert said(reference, -1) == "err"
    assert said(number("dots", "green", 2, 4), number("dots", "green", 5, 1)) == "ran right down up"


def test_the_comparator_is_not_confused_by_the_new_domain():
    chosen = np.arange(0, 1200, 11)
    images = images_of(chosen, Look(0.3, 0.1, 0.05), 0)
    words = remarks(images, np.arange(len(chosen)), chosen)
    wrong = sum(ALL_WORDS[word] in ("up", "down", "wrong") for row in words for word in row)
    assert wrong < 0.02 * words.size


def test_remarks_depend_on_the_reference_and_the_constant_ones_do_not():
    images = images_of(np.array([number("bar", "red", 3, 5, 2), number("bar", "red", 1, 1, 1)]), PLAIN)
    of, found = np.array([0, 1]), np.array([number("bar", "red", 3, 5, 2)] * 2)
    first, second = remarks(images, of, found)
    assert first.tolist() != second.tolist()
    assert len(np.unique(constant_remarks(images, of, found))) == 1


@pytest.mark.spec("rrvf", "A2")
def test_the_loss_covers_exactly_the_policys_words(model):
    """Decoded and compared: without remarks and padding there is left what the turns' programs are made of."""
    images = images_of(np.arange(0, 1200, 100), PLAIN)
    noise = torch.rand(len(images.numbers) * 4, 2 * LONGEST, generator=torch.Generator().manual_seed(0))
    dialogues = converse(model, images, 4, (remarks,), noise)
    words_NT = dialogues.words[:, 1:]
    assert words_NT.shape == dialogues.sampled.shape == (48, num_words(2))
    assert (dialogues.found >= 0).any(), "some programs run"
    for row, words in enumerate(words_NT.tolist()):
        mask = dialogues.sampled[row].tolist()
        between = words[LONGEST : LONGEST + NUM_REMARKS]
        assert not any(mask[LONGEST : LONGEST + NUM_REMARKS])
        expected = remarks(images, np.array([row // 4]), dialogues.found[row, :1])[0]
        assert between == expected.tolist(), "the remarks are those of the comparator"
        for turn, start in enumerate((0, LONGEST + NUM_REMARKS)):
            places = range(start, start + LONGEST)
            chosen = [words[place] for place in places if mask[place]]
            left = [words[place] for place in places if not mask[place]]
            assert set(left) <= {WORD_IDS[PAD]}
            assert chosen.count(WORD_IDS["end"]) <= 1 and WORD_IDS["end"] not in chosen[:-1]
            assert programs().read(chosen) == dialogues.found[row, turn]


def test_a_group_is_computed_as_single_rows_would_be(model):
    images = images_of(np.array([3, 700]), PLAIN)
    words = torch.randint(5, len(ALL_WORDS), (6, num_words(1)), generator=torch.Generator().manual_seed(0))
    pixels = as_pixels(images.pixels, torch.device("cpu"))
    with torch.no_grad():
        together = model.logits_of_groups(pixels, words)
        prompt = [model.config.image_token_id] * model.config.image_tokens
        for row in range(6):
            whole = torch.tensor([prompt + words[row].tolist()])
            alone = model(input_ids=whole, pixel_values=pixels[row // 3][None]).logits[0, len(prompt) :]
            torch.testing.assert_close(together[row], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("comparators", [(), (remarks,)], ids=["one turn", "two turns"])
def test_the_one_rollout_gives_the_same_dialogues(model, comparators):
    """The most probable words, by groups and by ``tenfold.policies.rollout`` with the environment."""
    images = images_of(np.arange(5, 1200, 150), PLAIN)
    turns = len(comparators) + 1
    by_groups = converse(model, images, 1, comparators, -torch.ones(len(images.numbers), turns * LONGEST))
    policy = Policy(model, word_tokenizer(VOCABULARY))
    pixels = as_pixels(images.pixels, torch.device("cpu"))
    prompts = [image_prompt(policy, pixels[place], key=place) for place in range(len(pixels))]
    environment = DrawingEnvironment(images, comparators)
    trajectories = rollout(
        policy, prompts, Sampling(turns * LONGEST, temperature=0), environment=environment, deterministic=True
    )
    compared = 0
    for row, trajectory in enumerate(trajectories):
        words = by_groups.words[row, 1:].tolist()
        if WORD_IDS["end"] not in words[:LONGEST]:
            continue  # a turn that does not end is cut after six words in groups, and goes on here
        compared += 1
        length = len(trajectory.token_ids)
        assert trajectory.token_ids == words[:length]
        assert trajectory.loss_mask == by_groups.sampled[row, :length].tolist()
        for turn in range(turns):
            part = trajectory.reward_parts[f"similarity_{turn + 1}"]
            assert part == pytest.approx(by_groups.similarity[row, turn])
    assert compared > len(trajectories) // 2


def test_the_stem_does_not_see_the_paper(model):
    """A tinted background alone changes nothing."""
    image = np.ones((1, 24, 24, 3), np.float32)
    image[0, 8:16, 5:9] -= 0.4
    with torch.no_grad():
        plain, tinted = (
            model.transformer.stem(as_pixels(each.astype(np.float32), torch.device("cpu")))
            for each in (image, image - 0.3)
        )
    torch.testing.assert_close(plain, tinted, atol=1e-5, rtol=0)
