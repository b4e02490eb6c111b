"""The page of the studio: a tab for each paper that has a ``touch.py``, drawn with gradio.

What a tab does is the paper's pure function; here are only its fields, its button and its place. The page takes no
files and no paths: models are those of the runs that it was started with. It listens on loopback alone.
"""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from tenfold.core import discovery
from tenfold.core.touch import Choice, Field, Number, Tab, Text, Ticks, how_to_make, shown, usable_runs

STYLE = Path(__file__).with_name("studio.css")
LOOPBACK = "127.0.0.1"


def tabs() -> list[Tab]:
    """The tabs of all papers that have one, in the digest's order."""
    ordered = sorted(discovery.papers(), key=lambda paper: (paper.place or 99, paper.name))
    modules = [discovery.touch_module(paper.name) for paper in ordered if paper.available]
    return [module.TAB for module in modules if module is not None]


def build(roots: Sequence[Path], chosen: Sequence[Tab] | None = None) -> gr.Blocks:
    """The page.

    Args:
        roots: folders of runs, or run directories, whose models it offers.
        chosen: the tabs; by default those of all papers.
    """
    with gr.Blocks(title="tenfold studio", analytics_enabled=False) as page:
        gr.Markdown("# tenfold studio\nTry the papers on small models that runs on this machine have trained.")
        with gr.Tabs():
            for tab in tabs() if chosen is None else chosen:
                with gr.Tab(tab.title):
                    _tab(tab, roots)
    return page


def serve(roots: Sequence[Path], port: int) -> None:
    """Serve the page on loopback until Ctrl-C."""
    build(roots).launch(**launch_options(port))


def launch_options(port: int) -> dict[str, Any]:
    """How the page is served: on loopback alone, without a tunnel, files or links to an API."""
    return {
        "server_name": LOOPBACK,
        "server_port": port,
        "share": False,
        "css": STYLE.read_text(encoding="utf-8"),
        "footer_links": [],
        "max_file_size": 0,
    }


def _tab(tab: Tab, roots: Sequence[Path]) -> None:
    gr.Markdown(tab.about)
    runs = {folder.name: folder for folder in usable_runs(tab, roots)} if tab.study else {}
    if tab.study and not runs:
        time = discovery.find_study(tab.study).times.get("laptop", "")
        gr.HTML(f'<p class="refused">{html.escape(how_to_make(tab, time))}</p>')
        return
    chooser = [gr.Dropdown(list(runs), value=next(iter(runs)), label="Run", interactive=True)] if tab.study else []
    inputs = _inputs(tab.fields)
    button = gr.Button(tab.button, variant="primary")
    out = gr.HTML(elem_classes="shown")
    button.click(_action(tab, runs), [*chooser, *inputs], out, show_progress="minimal")


def _action(tab: Tab, runs: Mapping[str, Path]) -> Callable[..., Iterator[str]]:
    """What the button does. A run is known by its name in ``runs``; no path comes from the page."""

    def act(*values: Any) -> Iterator[str]:
        if not tab.study:
            yield from shown(tab, None, values)
        else:
            yield from shown(tab, runs[values[0]], values[1:])

    return act


def _inputs(fields: Mapping[str, Field]) -> list[Any]:
    drawn: dict[str, Any] = {}
    for name, field in fields.items():
        drawn[name] = _input(field, fields)
    for name, field in fields.items():
        if isinstance(field, Ticks):
            drawn[field.of].change(_all_ticked(field), drawn[field.of], drawn[name])
    return list(drawn.values())


def _input(field: Field, fields: Mapping[str, Field]) -> Any:
    if isinstance(field, Text):
        return gr.Textbox(field.value, label=field.label, lines=field.lines)
    if isinstance(field, Number):
        return gr.Slider(field.low, field.high, value=field.value, step=1, label=field.label)
    if isinstance(field, Choice):
        return gr.Dropdown(list(field.choices), value=field.choices[0], label=field.label)
    of = fields[field.of]
    assert isinstance(of, Choice)
    first = list(field.choices(of.choices[0]))
    return gr.CheckboxGroup(first, value=first, label=field.label)


def _all_ticked(field: Ticks) -> Callable[[str], Any]:
    def update(value: str) -> Any:
        choices = list(field.choices(value))
        return gr.CheckboxGroup(choices, value=choices)

    return update
