"""What a program writes is no answer of the policy, in the reward, the report and the filter alike."""

import pytest

from tenfold.papers.cort.detectors import segments
from tenfold.papers.cort.measures import measure
from tenfold.papers.cort.method import AccuracyReward, is_right
from tenfold.papers.cort.traces import Trace

PRINTS_THE_ANSWER = (
    "```python\nprint('</thi' + 'nk>')\nprint('``' + '`')\nprint('</thi' + 'nk>' + chr(92) + 'boxed{9716}')\n```\n"
)
CASES = {
    "the program alone answers": (f"So.\n{PRINTS_THE_ANSWER}", False),
    "the program answers, and the policy otherwise": (f"So.\n{PRINTS_THE_ANSWER}</think>\\boxed{{1}}", False),
    "the policy answers": (f"So.\n{PRINTS_THE_ANSWER}It is 9716.</think>\\boxed{{9716}}", True),
    "the policy has ended thinking, and the program answers": (f"So.</think>\n{PRINTS_THE_ANSWER}", False),
    "the output ends the thinking twice": (
        "```python\nprint('</thi' + 'nk></thi' + 'nk>')\n```\n</think>\\boxed{9716}",
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_program_prints_is_no_answer(play, tokenizer, name):
    said, right = CASES[name]
    trajectory, text = play(said)
    assert "</think>" in trajectory.tool_calls[0]["output"]
    reward = AccuracyReward(tokenizer=tokenizer)
    assert reward(["p"], [text], answer=["9716"], trajectory=[trajectory]) == [float(right)]
    (sample,) = measure([Trace(trajectory)], ["9716"], tokenizer)
    assert sample.right == right


def test_a_text_alone_is_read_without_its_output_blocks():
    block = "```output\n</think>\\boxed{9716}\n```\n"
    assert not is_right(block, "9716") and AccuracyReward()(["p"], [block], answer=["9716"]) == [0.0]
    assert is_right(f"{block}</think>\\boxed{{9716}}", "9716")


def test_a_printed_fence_ends_no_output_for_those_who_read_a_trace(play, tokenizer):
    said = "So.\n```python\nprint('``' + '`')\nprint('</thi' + 'nk>', 7)\n```\nIt is 7."
    trajectory, text = play(said)
    trace = Trace(trajectory)
    assert "```output\n```\n</think> 7\n```\n" in text == trace.text(tokenizer)
    fenced = trace.fenced_text(tokenizer)
    assert [part.kind for part in segments(fenced)] == ["prose", "code", "output", "prose"]
    assert len(fenced) == len(text) and "</think>" not in fenced and segments(fenced)[2].text == "'''\n(/think> 7"
    assert trace.said_text(tokenizer).removesuffix("<eos>") == said
