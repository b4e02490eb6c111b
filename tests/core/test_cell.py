import json
import math
import signal
import subprocess
import sys
import time

import pytest

from tenfold.core.cell import Cell, StopFlag, is_main_process, read_seconds, read_stages
from tenfold.core.errors import UserError
from tenfold.core.types import Stage


def make_cell(directory, **options):
    return Cell(arm="method", seed=3, directory=directory, **options)


def test_what_is_logged_comes_back_as_curves(tmp_path):
    cell = make_cell(tmp_path)
    cell.log(1, {"train/loss": 2.0})
    cell.log(2, {"train/loss": 1.0})
    cell.log(2, {"test/exact": math.nan})
    curves = make_cell(tmp_path).curves()
    assert curves["train/loss"] == [(1.0, 2.0), (2.0, 1.0)]
    assert curves["test/exact"][0][0] == 2.0 and math.isnan(curves["test/exact"][0][1])


def test_every_line_is_a_json_object_with_its_step(tmp_path):
    make_cell(tmp_path).log(7, {"train/loss": 0.5})
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"step": 7, "train/loss": 0.5}
    ]


def test_rewind_drops_later_lines_and_a_torn_one(tmp_path):
    cell = make_cell(tmp_path)
    for step in (1, 2, 3):
        cell.log(step, {"train/loss": float(step)})
    with open(tmp_path / "metrics.jsonl", "ab") as stream:
        stream.write(b'{"step": 4, "train/lo')
    resumed = make_cell(tmp_path)
    assert resumed.curves()["train/loss"][-1] == (3.0, 3.0)
    resumed.rewind(2)
    resumed.log(3, {"train/loss": 30.0})
    assert resumed.curves() == {"train/loss": [(1.0, 1.0), (2.0, 2.0), (3.0, 30.0)]}


def test_a_torn_line_never_joins_the_next_one(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "a": 1.0}\n{"step": 2, "a"')
    cell = make_cell(tmp_path)
    cell.log(2, {"a": 2.0})
    assert cell.curves() == {"a": [(1.0, 1.0), (2.0, 2.0)]}


def test_a_step_logged_again_replaces_what_followed(tmp_path):
    cell = make_cell(tmp_path)
    for step, value in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 20.0)):
        cell.log(step, {"a": value})
    assert cell.curves() == {"a": [(1.0, 1.0), (2.0, 20.0)]}


def test_only_rank_zero_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert not is_main_process()
    cell = make_cell(tmp_path)
    cell.log(1, {"a": 1.0})
    cell.rewind(0)
    cell.progress(1, 2, {}, (1.0, "steps/s"))
    cell.save_seconds()
    assert list(tmp_path.iterdir()) == []


def test_cells_of_a_run_share_the_stop_request(tmp_path):
    stop = StopFlag()
    first, second = make_cell(tmp_path, stop=stop), make_cell(tmp_path, stop=stop)
    assert not second.stop_requested()
    first.request_stop()
    assert second.stop_requested()


def test_seconds_add_up_over_attempts(tmp_path):
    (tmp_path / "seconds.json").write_text('{"seconds": 100.0}')
    cell = make_cell(tmp_path)
    time.sleep(0.02)
    cell.save_seconds()
    assert 100.02 <= read_seconds(tmp_path) < 130


def test_progress_reaches_the_display(tmp_path):
    seen = []

    class Recorder:
        def update(self, *arguments):
            seen.append(arguments)

    make_cell(tmp_path, display=Recorder()).progress(1, 10, {"a": 1.0}, (5.0, "puzzles/s"))
    assert seen == [(1, 10, {"a": 1.0}, (5.0, "puzzles/s"))]


def test_a_log_survives_sigkill(tmp_path):
    """Kill a process that logs as fast as it can: every whole line is there, in order, from the first on."""
    program = (
        "import sys; from pathlib import Path; from tenfold.core.cell import Cell\n"
        "cell = Cell(arm='a', seed=0, directory=Path(sys.argv[1]))\n"
        "step = 0\n"
        "while True:\n"
        "    step += 1\n"
        "    cell.log(step, {'a': float(step)})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    log = tmp_path / "metrics.jsonl"
    while not log.exists() or log.stat().st_size < 10_000:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    points = make_cell(tmp_path).curves()["a"]
    assert points == [(float(step), float(step)) for step in range(1, len(points) + 1)] and len(points) > 100


def test_a_part_has_a_log_of_its_own_and_its_curves_are_the_cells(tmp_path):
    cell = make_cell(tmp_path)
    cell.log(1, {"test/bits": 5.0})
    first, second = cell.parts({"pre-training": 20, "fine-tuning": 10}).values()
    first.log(10, {"train/loss": 2.0})
    second.log(5, {"train/loss": 1.0})
    second.rewind(0)
    assert cell.curves() == {"test/bits": [(1.0, 5.0)], "pre-training/train/loss": [(10.0, 2.0)]}
    assert (first.arm, first.seed) == (cell.arm, cell.seed)
    assert first.directory == tmp_path / "pre-training"


class Display:
    def __init__(self):
        self.shown = []

    def update(self, step, total, metrics, rate):
        self.shown.append((step, total, metrics, rate))

    def begin_stage(self, name):
        self.shown.append(f"begin {name}")

    def end_stage(self):
        self.shown.append("end")


def test_parts_share_the_stop_request_and_the_display(tmp_path):
    display = Display()
    cell = make_cell(tmp_path, display=display)
    part = cell.parts({"pre-training": 20, "fine-tuning": 10})["fine-tuning"]
    part.progress(5, 10, {"train/loss": 1.0}, (2.0, "samples/s"))
    part.request_stop()
    assert display.shown == [(25, 30, {"train/loss": 1.0}, (2.0, "samples/s"))]
    assert cell.stop_requested()


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self, patch):
        self.now = 100.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def arm_of(tmp_path, arm, **options):
    """The cell of an arm of one seed, as a run makes it."""
    return Cell(
        arm=arm, seed=3, directory=tmp_path / arm, shared_directory=tmp_path / "shared", is_main=True, **options
    )


def warm(cell, clock, seconds):
    """What a recipe does: make the stage if it is not there, which takes its time; finding it takes some, too."""
    with cell.shared("warm-start") as stage:
        clock.now += 1.0 if stage.is_finished() else seconds
        stage.log(1, {"train/loss": 0.5}) if not stage.is_finished() else None
        stage.finish()


@pytest.mark.parametrize("order", [("sem", "baseline"), ("baseline", "sem"), ("sem",)])
def test_a_stage_costs_no_arm_anything_whichever_makes_it(tmp_path, clock, order):
    for arm in order:
        cell = arm_of(tmp_path, arm)
        clock.now += 2.0
        warm(cell, clock, 60.0)
        clock.now += 3.0
        assert cell.seconds() == 5.0
        assert cell.curves() == {}
    assert read_stages(tmp_path / "shared") == {"warm-start": Stage(60.0, {"train/loss": [(1.0, 0.5)]})}


def test_a_stage_that_was_interrupted_keeps_its_seconds_and_charges_no_arm(tmp_path, clock):
    cell = arm_of(tmp_path, "sem")
    with pytest.raises(KeyboardInterrupt), cell.shared("warm-start"):
        clock.now += 20.0
        raise KeyboardInterrupt
    cell.save_seconds()
    again = arm_of(tmp_path, "sem")
    warm(again, clock, 40.0)
    assert again.seconds() == 0.0
    assert read_stages(tmp_path / "shared")["warm-start"].seconds == 60.0


def test_stages_within_each_other_have_seconds_of_their_own(tmp_path, clock):
    cell = arm_of(tmp_path, "rl")
    with cell.shared("rft") as outer:
        clock.now += 5.0
        with outer.shared("base") as inner:
            clock.now += 7.0
            inner.finish()
        outer.finish()
    seconds = {name: stage.seconds for name, stage in read_stages(tmp_path / "shared").items()}
    assert seconds == {"base": 7.0, "rft": 5.0} and cell.seconds() == 0.0


def test_a_stage_within_a_part_stops_the_clock_of_the_whole(tmp_path, clock):
    cell = arm_of(tmp_path, "sem")
    warm(cell.parts({"reinforcement": 3})["reinforcement"], clock, 60.0)
    clock.now += 2.0
    assert cell.seconds() == 2.0


def test_a_kill_right_after_a_stage_loses_none_of_its_seconds(tmp_path, clock):
    cell = arm_of(tmp_path, "sem")
    with cell.shared("warm-start") as stage:
        clock.now += 9.0
        stage.finish()
        assert read_stages(tmp_path / "shared")["warm-start"].seconds == 9.0


def test_the_display_hears_of_stages_that_are_made_and_not_of_those_that_are_found(tmp_path, clock):
    display = Display()
    warm(arm_of(tmp_path, "sem", display=display), clock, 1.0)
    warm(arm_of(tmp_path, "baseline", display=display), clock, 1.0)
    assert display.shown == ["begin warm-start", "end"]


@pytest.mark.parametrize(
    "line", ["", "{", "null", "[1]", '{"train/loss": 1}', '{"step": "x"}', '{"step": 1, "a/b": "x"}', "\0\0"]
)
def test_a_damaged_line_in_the_midst_of_a_log_is_named(tmp_path, line):
    """Only the last line may be torn by a kill; a line in the midst was damaged by something else."""
    cell = Cell(arm="a", seed=0, directory=tmp_path)
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "a/b": 1}}\n{line}\n{{"step": 2, "a/b": 2}}\n')
    for read in (cell.curves, lambda: cell.rewind(2)):
        with pytest.raises(UserError, match=r"metrics\.jsonl is damaged \(line 2 .*\); delete that line"):
            read()
