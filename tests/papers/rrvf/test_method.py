"""What a turn says, what a dialogue earns, and which words are learned."""

import numpy as np
import pytest
import torch

from tenfold.papers.rrvf.method import (
    Answer,
    Call,
    Malformed,
    dialogue_rewards,
    group_advantages,
    parse_turn,
    policy_loss,
    share_without_variance,
)
from tenfold.rewards.visual import PRESETS, Rendered, VisualWeights, parts_of

TOOLS = {"chart_render_and_compare_tool": "python_code"}


def call(name="chart_render_and_compare_tool", argument="python_code", code="plot()"):
    return f'<tool_call>{{"name": "{name}", "arguments": {{"{argument}": "{code}"}}}}</tool_call>'


THOUGHT = "<think>look</think>"
WELL_FORMED = {
    THOUGHT + call(): Call("chart_render_and_compare_tool", "plot()"),
    THOUGHT + "\n" + call() + "\n": Call("chart_render_and_compare_tool", "plot()"),
    THOUGHT + call(code="a\\nb"): Call("chart_render_and_compare_tool", "a\nb"),
    THOUGHT + "<answer>plot()</answer>": Answer("plot()"),
    THOUGHT + "<answer>\n```python\nplot()\n```\n</answer>": Answer("plot()"),
    THOUGHT + "<answer>a < b</answer>": Answer("a < b"),
    "<think></think><answer>x</answer>": Answer("x"),
    "<think>a < b, said twice: a < b</think><answer>x</answer>": Answer("x"),
    f"  {THOUGHT} <answer> x </answer> ": Answer("x"),
    THOUGHT + f"<answer>{'x' * 16_000}</answer>": Answer("x" * 16_000),
}
ILL_FORMED = {
    "": "there are no thoughts",
    "words": "there are no thoughts",
    "<answer>x</answer>": "there are no thoughts",
    call(): "there are no thoughts",
    THOUGHT: "neither a call nor an answer",
    THOUGHT + "plot()": "neither a call nor an answer",
    "<think>look<answer>x</answer>": "<think> is not closed",
    "look</think><answer>x</answer>": "</think> closes nothing",
    THOUGHT + "<answer>x": "<answer> is not closed",
    THOUGHT + "x</answer>": "</answer> closes nothing",
    THOUGHT + "</answer>x<answer>": "</answer> stands before <answer>",
    THOUGHT + THOUGHT + "<answer>x</answer>": "<think> comes 2 times",
    THOUGHT + "<answer>x</answer><answer>y</answer>": "<answer> comes 2 times",
    THOUGHT + call() + "<answer>x</answer>": "a call and an answer",
    "so " + THOUGHT + "<answer>x</answer>": "words stand before the thoughts",
    THOUGHT + "so <answer>x</answer>": "words stand around <answer>",
    THOUGHT + "<answer> </answer>": "the answer is empty",
    THOUGHT + f"<answer>{'x' * 16_001}</answer>": "the answer is too long",
    THOUGHT + "<tool_call>plot()</tool_call>": "the call is no JSON",
    THOUGHT + "<tool_call>" + "[" * 3000 + "</tool_call>": "the call is no JSON",
    THOUGHT + "<tool_call>[1]</tool_call>": "the call has no name and arguments",
    THOUGHT + call(name="other"): "there is no tool 'other'",
    THOUGHT + call(argument="html_code"): "the call needs one argument, python_code",
    THOUGHT + call(code=" "): "the call is empty",
}


@pytest.mark.spec("rrvf", "A1")
def test_thirty_turns_give_their_action_and_their_format_reward():
    assert len(WELL_FORMED) + len(ILL_FORMED) >= 30
    weights = PRESETS["default"]
    for text, expected in WELL_FORMED.items():
        assert parse_turn(text, TOOLS) == expected, text
        assert parts_of(Rendered(0.5, well_formed=True), weights).format == 0.0
    for text, reason in ILL_FORMED.items():
        action = parse_turn(text, TOOLS)
        assert action == Malformed(reason), text[:80]
        assert parts_of(Rendered(0.5, well_formed=not isinstance(action, Malformed)), weights).format == -1.0


def test_a_lax_reader_forgives_missing_thoughts_and_words_around():
    assert parse_turn("Here: <answer>x</answer> so", TOOLS, strict=False) == Answer("x")
    assert isinstance(parse_turn("<answer>x", TOOLS, strict=False), Malformed)


@pytest.mark.spec("rrvf", "A9")
def test_a_policy_that_repairs_a_defect_each_turn_ends_with_rising_vision_and_the_whole_tool_part():
    """Scripted: the colour, then each value; its renders are scored by the real renderer and similarity."""
    from tenfold.envs.render.chart_language import PLAIN, Chart
    from tenfold.papers.rrvf.seeing import images_of, programs, similarities

    target = Chart("bar", "red", (3, 5, 2))
    turns = [
        Chart("bar", "blue", (1, 1, 5)),
        Chart("bar", "red", (1, 1, 5)),
        Chart("bar", "red", (3, 1, 5)),
        Chart("bar", "red", (3, 5, 5)),
        target,
    ]
    found = np.array([programs().number_of[chart] for chart in turns])
    images = images_of(np.array([programs().number_of[target]]), PLAIN)
    similarity = similarities(images, np.zeros(len(turns), dtype=int), found)
    assert (np.diff(similarity) > 0).all() and similarity[-1] == 1.0
    rewards = dialogue_rewards(similarity[None], found[None] >= 0, VisualWeights())
    assert rewards.vision[0] == 1.0 and rewards.tool[0] == 1.0 and rewards.format[0] == 0.0
    stopped_early = dialogue_rewards(similarity[None, :4], found[None, :4] >= 0, VisualWeights())
    assert stopped_early.tool[0] == 1.0 and stopped_early.vision[0] == similarity[3] < 1.0


def test_rewards_of_dialogues_are_those_of_single_ones():
    generator = np.random.default_rng(0)
    similarity, ran = generator.random((40, 3)), generator.random((40, 3)) > 0.3
    weights = VisualWeights(failed_call=2.0)
    many = dialogue_rewards(similarity * ran, ran, weights)
    for row in range(40):
        turns = [score if run else None for score, run in zip(similarity[row], ran[row], strict=True)]
        one = parts_of(Rendered(turns[-1], turns[:-1]), weights)
        assert (many.vision[row], many.format[row], many.tool[row]) == (one.vision, one.format, one.tool)
        assert many.total[row] == pytest.approx(one.total(weights))


def test_advantages_have_no_mean_and_unit_deviation_and_equal_groups_teach_nothing():
    rewards_N = torch.tensor([0.1, 0.4, 0.9, 0.2, 0.5, 0.5, 0.5, 0.5])
    advantages_BG = group_advantages(rewards_N, 4).view(2, 4)
    torch.testing.assert_close(advantages_BG.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    assert advantages_BG[0].std().item() == pytest.approx(1.0, abs=1e-3)
    assert advantages_BG[1].abs().max() == 0
    assert share_without_variance(rewards_N, 4).item() == 0.5


def test_the_loss_is_the_mean_over_the_policys_words():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, requires_grad=True)
    words, sampled = torch.randint(5, (3, 4)), torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]]).bool()
    advantages = torch.tensor([1.0, -2.0, 0.5])
    loss, entropy = policy_loss(logits, words, sampled, advantages, bonus=0.3)
    by_hand, entropies = [], []
    for row, column in sampled.nonzero().tolist():
        log_probs = logits[row, column].log_softmax(-1)
        by_hand.append(-advantages[row] * log_probs[words[row, column]])
        entropies.append(-(log_probs.exp() * log_probs).sum())
    expected = torch.stack(by_hand).mean() - 0.3 * torch.stack(entropies).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert entropy.item() == pytest.approx(torch.stack(entropies).mean().item(), abs=1e-6)
    loss.backward()
    assert logits.grad[~sampled].abs().max() == 0
