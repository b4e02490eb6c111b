"""``tenfold train cort``: problems of one's own from start to model, and reviewed places in reviewed drafts."""

import json

import pytest
from pretended import pretended_device

from tenfold.cli.train import main
from tenfold.core.errors import UserError
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.method import GENERAL
from tenfold.papers.cort.proposers import Manual, ManualPlace
from tenfold.papers.cort.traces import read_traces
from tenfold.policies import load_policy, tiny_policy

SHORT_TRACES = ("--traces.max-new-tokens", "16")
TUNING = (*SHORT_TRACES, "--sft.steps", "2", "--sft.batch-size", "2", "--traces.no-only-right")
GRPO = (
    *("--grpo.steps", "2", "--grpo.prompts-per-step", "2", "--grpo.num-generations", "2"),
    *("--grpo.max-completion-length", "24"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved tiny policy whose tokenizer has a chat template."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    policy = tiny_policy(multiplication.ALPHABET, multiplication.SPECIAL, width=16, layers=1, heads=2, context=512)
    policy.save(folder)
    return str(folder)


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"{i}*7", "answer": i * 7}) + "\n" for i in range(4)))
    return file


@pytest.fixture
def train(tmp_path, model, rows):
    """The verb, into a folder of this name."""

    def run(out, arm, *flags, data=rows, model=model, device="cpu"):
        given = ["--data", str(data), "--out", str(tmp_path / out), "--arm", arm, "--policy.model", model]
        assert main(["cort", *given, "--task.grade", "plain", "--device", device, *map(str, flags)]) == 0
        return tmp_path / out

    return run


def test_reinforcement_trains_saves_and_goes_on(train, rows, capsys):
    out = train("out", "rl", *GRPO, "--rates.rl", 1e-3)
    first = capsys.readouterr().out
    assert "rewards/accuracy/mean" in first and "rewards/code/mean" in first
    assert load_policy(out / "model").num_parameters > 0
    train("out", "rl", *GRPO, "--rates.rl", 1e-3)
    assert capsys.readouterr().out == first, "the same again goes on from the end"
    with pytest.raises(UserError, match=r"rates\.rl is 0\.002, but"):
        train("out", "rl", *GRPO, "--rates.rl", 2e-3)
    rows.write_text(rows.read_text().replace("3*7", "4*7"))
    with pytest.raises(UserError, match=r"data_sha256 is \w+, but .* was begun with \w+; give another --out"):
        train("out", "rl", *GRPO, "--rates.rl", 1e-3)


def test_fine_tuning_needs_a_right_trace(train, tmp_path):
    with pytest.raises(UserError, match="no trace is right"):
        train("out", "prompt_hint", *SHORT_TRACES)
    assert (tmp_path / "out" / "drafts.jsonl").is_file(), "the drafts are there to be reviewed"


def test_drafts_are_sampled_where_the_training_would_compute(train):
    with pretended_device() as on:
        train("out", "drafts", *SHORT_TRACES, device="auto")
    assert on.operations and not on.products


def test_fine_tuning_on_hinted_traces(train):
    out = train("out", "hint_engineering", *TUNING)
    assert (out / "hinted.jsonl").is_file() and (out / "model").is_dir()
    assert "hint_engineering: 1.0e-05" in (out / "training.yaml").read_text(), "fine-tuning's own rate"


def test_reviewed_places_go_into_the_drafts_that_were_reviewed(train, tmp_path, rows, capsys):
    out = train("drafts", "drafts", *SHORT_TRACES)
    file, places = out / "drafts.jsonl", tmp_path / "places.jsonl"
    assert f"4 drafts: {file}" in capsys.readouterr().out and not (out / "model").exists()
    drafts = read_traces(file)
    text = json.loads(file.read_text().splitlines()[0])["text"]
    at = len(GENERAL.text)
    Manual({drafts[0].key: ManualPlace(at, "trust", text[at : at + 9], "manual: reviewed")}).write(places)
    reviewed = (*TUNING, "--traces.drafts", file, "--traces.places", places)
    hinted = read_traces(train("out", "hint_engineering", *reviewed) / "hinted.jsonl")
    assert [[hint.decided_by for hint in trace.hints] for trace in hinted] == [["start", "manual: reviewed"]] + 3 * [
        ["start"]
    ]
    Manual({drafts[0].key: ManualPlace(at, "trust", "other words")}).write(places)
    with pytest.raises(UserError, match=r"places\.jsonl, row 1: quote is 'other words', but the draft has"):
        train("stale", "hint_engineering", *reviewed)
    rows.write_text("".join(json.dumps({"prompt": f"{i}*8", "answer": i * 8}) + "\n" for i in range(4)))
    with pytest.raises(
        UserError, match=r"drafts\.jsonl, row 1: key '1\.0' has another prompt; allowed: drafts of this"
    ):
        train("stale", "hint_engineering", *reviewed)
    assert not (tmp_path / "stale").exists()


@pytest.mark.parametrize("changed", ["drafts", "places"])
def test_given_traces_that_have_changed_are_not_gone_on_with(train, tmp_path, changed):
    files = {"drafts": train("drafts", "drafts", *SHORT_TRACES) / "drafts.jsonl", "places": tmp_path / "places.jsonl"}
    first, at = read_traces(files["drafts"])[0].key, len(GENERAL.text)
    quote = json.loads(files["drafts"].read_text().splitlines()[0])["text"][at : at + 9]
    Manual({first: ManualPlace(at, "trust", quote)}).write(files["places"])
    given = (*TUNING, "--traces.drafts", files["drafts"], "--traces.places", files["places"])
    hinted = train("out", "hint_engineering", *given) / "hinted.jsonl"
    before = hinted.read_bytes()
    train("out", "hint_engineering", *given)
    if changed == "drafts":
        files["drafts"].write_text("".join(files["drafts"].read_text().splitlines(keepends=True)[:3]))
    else:
        Manual({first: ManualPlace(at, "trust", quote, "manual: again")}).write(files["places"])
    with pytest.raises(UserError, match=f"{changed}_sha256 is .*, but .* was begun with .*; give another --out"):
        train("out", "hint_engineering", *given)
    assert hinted.read_bytes() == before


@pytest.mark.parametrize(
    ("arm", "flags", "message"),
    [
        ("prompt_hint", ("--traces.num-examples", 0), r"num_examples = 0"),
        ("prompt_hint", ("--traces.rft-samples", 0), "rft_samples = 0: must be at least 1"),
        ("rl", ("--reward.code-weight", "nan"), "code_weight = nan: must be a finite number"),
        (
            "rl",
            ("--traces.places", "p.jsonl"),
            "places = p.jsonl: acts with --arm hint_engineering, not with rl; what acts with rl, and not with every "
            "arm: grpo",
        ),
        (
            "rl",
            ("--traces.drafts", "d.jsonl"),
            "drafts = d.jsonl: acts with --arm prompt_hint or hint_engineering, not with rl",
        ),
        (
            "drafts",
            ("--traces.drafts", "d.jsonl"),
            "drafts = d.jsonl: acts with --arm prompt_hint or hint_engineering, not with drafts",
        ),
        (
            "prompt_hint",
            ("--traces.places", "p.jsonl"),
            "places = p.jsonl: acts with --arm hint_engineering, not with prompt_hint",
        ),
        ("prompt_hint", ("--rates.rl", 1e-3), r"rates\.rl = 0\.001: acts with --arm rl, not with prompt_hint"),
        ("hint_engineering", ("--traces.places", "p.jsonl"), "give their file as traces.drafts, too"),
        ("rl", ("--loop.max-tool-calls", -1), "max_tool_calls = -1"),
        ("rl", ("--loop.seconds", -1.0), r"seconds is -1\.0; allowed"),
        ("rl", ("--traces.num-hinted", 4), r"traces\.num_hinted = 4"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_folder(train, tmp_path, arm, flags, message):
    with pytest.raises(UserError, match=message):
        train("out", arm, *flags)
    assert not (tmp_path / "out").exists()


def test_replay_needs_a_token_for_the_stop_string(train, tmp_path):
    tiny_policy(width=16, layers=1, heads=2, context=64).save(tmp_path / "plain")
    with pytest.raises(UserError, match="must have one token for"):
        train("out", "rl", "--loop.state", "replay", model=str(tmp_path / "plain"))
    assert not (tmp_path / "out").exists()
