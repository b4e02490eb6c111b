import io
import time

import pytest
from rich.console import Console

from tenfold.core import progress
from tenfold.core.progress import RunProgress, clock


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves by hand."""
    moment = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def plain_console():
    return Console(file=io.StringIO(), width=60, force_terminal=False)


def test_plain_lines_come_at_most_every_ten_seconds(now):
    console = plain_console()
    with RunProgress("hrm", total_cells=2, console=console) as display:
        display.start_cell("plain", 0)
        for step in range(1, 101):
            now[0] += 1.0
            display.update(step, 100, {"train/loss": 0.123456}, (64.0, "puzzles/s"))
        display.finish_cell({"test/exact": 0.5}, seconds=100.0)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "hrm · plain · seed 0  step 10/100  train/loss 0.1235  64 puzzles/s  left 1:30, run 3:10"
    assert lines[1].startswith("hrm · plain · seed 0  step 20/100")
    assert lines[-1] == "hrm · plain · seed 0  done in 1:40  test/exact 0.5"


def test_a_short_cell_has_one_plain_line(now):
    console = plain_console()
    with RunProgress("hrm", total_cells=1, console=console) as display:
        display.start_cell("plain", 0)
        for step in range(1, 10):
            now[0] += 1.0
            display.update(step, 9, {}, (64.0, "puzzles/s"))
        display.finish_cell({"test/exact": 0.5}, seconds=9.0)
    assert console.file.getvalue().splitlines() == ["hrm · plain · seed 0  done in 9 s  test/exact 0.5"]


def test_no_plain_line_before_a_rate_is_known(now):
    console = plain_console()
    with RunProgress("hrm", total_cells=1, console=console) as display:
        display.start_cell("plain", 0)
        now[0] += 30.0  # a slow first step
        display.update(1, 9, {}, (1.0, "steps/s"))
        assert console.file.getvalue() == ""
        now[0] += 1.0
        display.update(2, 9, {}, (1.0, "steps/s"))
    assert console.file.getvalue().splitlines()[-1].endswith("step 2/9    1 steps/s  left 7 s, run 7 s")


def test_time_left_of_the_run_uses_the_cells_done(now):
    console = plain_console()
    with RunProgress("hrm", total_cells=3, console=console) as display:
        display.start_cell("plain", 0)
        now[0] += 50
        display.finish_cell({}, seconds=50.0)
        display.start_cell("hrm", 0)
        display.update(0, 10, {}, (1.0, "steps/s"))
        now[0] += 20
        display.update(2, 10, {}, (1.0, "steps/s"))
    assert console.file.getvalue().splitlines()[-1].endswith("left 1:20, run 2:10")


def test_resumed_steps_do_not_count_as_speed(now):
    console = plain_console()
    with RunProgress("hrm", total_cells=1, console=console) as display:
        display.start_cell("hrm", 0)
        display.update(500, 1000, {}, (1.0, "steps/s"))
        now[0] += 20
        display.update(520, 1000, {}, (1.0, "steps/s"))
    assert console.file.getvalue().splitlines()[-1].endswith("left 8:00, run 8:00")


def test_a_terminal_gets_a_live_display():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with RunProgress("hrm", total_cells=1, console=console) as display:
        display.start_cell("hrm", 0)
        display.update(5, 10, {"train/loss": 0.5}, (64.0, "puzzles/s"))
        time.sleep(0.5)  # the display draws itself five times a second
        display.finish_cell({"test/exact": 0.75}, seconds=3.0)
    shown = console.file.getvalue()
    assert "5/10" in shown and "train/loss 0.5" in shown and "64 puzzles/s" in shown and "test/exact 0.75" in shown


def test_clock():
    assert [clock(seconds) for seconds in (0.2, 59.4, 60, 3599, 3600)] == ["0 s", "59 s", "1:00", "59:59", "1:00:00"]


def test_the_bar_stays_on_a_terminal_of_80_columns():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with RunProgress("universal_pretraining", 8, console) as display:
        display.start_cell("noniterated", 10)
        display.begin_stage("pretraining")
        display._bars.update(display._cell_bar, completed=400, total=800, facts="400/800  " + "many facts " * 20)
        display._bars.refresh()
    assert "━" * 8 in console.file.getvalue() and "400/800" in console.file.getvalue()
