"""What a Matplotlib program draws, as a record: strings, layout, plotting calls and colours, from one run.

ChartMimic starts four interpreters for a program and writes log files; here hooks watch a single run in the code
sandbox, and plain data come out. Two readings of colours are kept apart: ``all`` takes each artist's colour when the
program has ended; ``published`` takes what the public code does: a set of (call, colour at the call), each with the
colour that its last artist has in the end. A box plot whose nine boxes are coloured afterwards has nine colours in the
first reading and one in the second.

A record says what foreign code let us see. A program may spoil the hooks, and then its own record; so records serve
evaluation, and no reward in training rests on them.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from tenfold.core.errors import UserError
from tenfold.envs.render.literals import why_refused
from tenfold.envs.render.matplotlib_renderer import BEFORE, MODULES, left_by
from tenfold.envs.sandbox import Limits, Sandbox

Colours = Literal["all", "published"]
LIMITS = Limits(seconds=20.0, memory_bytes=2 << 30, output_characters=4000)
MOST_RECORDED = 5000
"""Entries of each kind that are kept of a program."""

HOOKS = r"""
import json as _json
class _Recorder:
    calls, drawn, depth = [], [], 0
    CALLS = (
        "bar barh plot scatter pie hist hist2d boxplot violinplot fill_between fill_betweenx fill errorbar "
        "imshow matshow pcolor pcolormesh contour contourf quiver barbs streamplot stem stackplot step hexbin "
        "broken_barh eventplot loglog semilogx semilogy stairs tricontour tricontourf tripcolor triplot bar3d "
        "plot_surface plot_wireframe plot_trisurf scatter3D plot3D "
    ).split()
    @classmethod
    def watch(cls, owner):
        import functools
        for name in cls.CALLS:
            if name in vars(owner):
                setattr(owner, name, cls.wrapped(name, vars(owner)[name]))
    @classmethod
    def wrapped(cls, name, function):
        import functools
        @functools.wraps(function)
        def watched(axes, *args, **options):
            cls.depth += 1
            try:
                made = function(axes, *args, **options)
            finally:
                cls.depth -= 1
            if cls.depth == 0:
                call = "polar " + name if getattr(axes, "name", "") == "polar" else name
                cls.calls.append(call)
                for artist in cls.artists(made):
                    cls.drawn.append((call, cls.colours(artist), artist))
            return made
        return watched
    @classmethod
    def artists(cls, made):
        from matplotlib.artist import Artist
        if isinstance(made, Artist):
            return [made]
        if isinstance(made, dict):
            made = list(made.values())
        if isinstance(made, (list, tuple)) or hasattr(made, "patches"):
            return [one for each in made for one in cls.artists(each)]
        import numpy
        if isinstance(made, numpy.ndarray) and made.dtype == object:
            return [one for each in made.flat for one in cls.artists(each)]
        return []
    @staticmethod
    def colours(artist):
        from matplotlib.colors import to_hex
        from matplotlib.cm import ScalarMappable
        if isinstance(artist, ScalarMappable) and artist.get_array() is not None:
            return [artist.get_cmap().name]
        for name in ("get_facecolor", "get_color", "get_edgecolor"):
            if hasattr(artist, name):
                value = getattr(artist, name)()
                import numpy
                rows = numpy.atleast_2d(numpy.asarray(value, dtype=object)) if not isinstance(value, str) else [value]
                found = []
                for row in rows:
                    try:
                        found.append(to_hex(row if isinstance(row, str) else [float(v) for v in row], keep_alpha=False))
                    except (TypeError, ValueError):
                        pass
                if found:
                    return sorted(set(found))
        return []
import matplotlib.axes as _axes, matplotlib.projections.polar as _polar
_Recorder.watch(_axes.Axes)
_Recorder.watch(_polar.PolarAxes)
try:
    from mpl_toolkits.mplot3d import Axes3D as _three
    _Recorder.watch(_three)
except ImportError:
    pass
"""
TAKE = r"""
import json, matplotlib.pyplot as _pyplot
from matplotlib.backends.backend_agg import RendererAgg as _Agg
if not _pyplot.get_fignums():
    class NothingDrawn(Exception):
        __module__ = "builtins"
    raise NothingDrawn("the program made no figure")
_figure = _pyplot.gcf()
_texts, _layout = [], []
_draw_text = _Agg.draw_text
def _noted(self, gc, x, y, s, *rest, **options):
    if s.strip():
        _texts.append(s)
    return _draw_text(self, gc, x, y, s, *rest, **options)
for _one in _figure.axes:
    for _axis in (getattr(_one, name, None) for name in ("xaxis", "yaxis", "zaxis")):
        if _axis is not None:
            _axis.set_ticks([])
    _place = _one.get_subplotspec() if hasattr(_one, "get_subplotspec") else None
    if _place is not None:
        _rows, _columns = _place.get_gridspec().get_geometry()
        _layout.append([_rows, _columns, _place.rowspan.start, _place.rowspan.stop - 1, _place.colspan.start,
                        _place.colspan.stop - 1])
_Agg.draw_text = _noted
try:
    _figure.savefig("drawn.png", format="png", dpi=min(50.0, 1000 / max(_figure.get_size_inches())))
finally:
    _Agg.draw_text = _draw_text
_all = [(call, colour) for call, _, artist in _Recorder.drawn for colour in _Recorder.colours(artist)]
_last = {}
for _call, _before, _artist in _Recorder.drawn:
    for _colour in _before:
        _last[_call, _colour] = _artist
_published = sorted({(call, colour) for (call, _), artist in _last.items() for colour in _Recorder.colours(artist)})
_most = MOST_RECORDED
json.dump({"texts": _texts[:_most], "layout": _layout[:_most], "calls": _Recorder.calls[:_most], "all": _all[:_most],
           "published": _published[:_most]}, open("record.json", "w"))
""".replace("MOST_RECORDED", str(MOST_RECORDED))


@dataclass(frozen=True)
class Recording:
    """What one program drew, as plain data.

    Args:
        texts: drawn strings, ticks left out.
        layout: of each axes with a place in a grid: rows, columns, first and last row, first and last column.
        calls: outermost plotting calls, in order.
        colours: (call, colour) in the reading ``all``.
        published_colours: the same in the reading ``published``.
        error: why nothing was drawn.
    """

    texts: tuple[str, ...] = ()
    layout: tuple[tuple[int, ...], ...] = ()
    calls: tuple[str, ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    published_colours: tuple[tuple[str, str], ...] = ()
    error: str = ""

    def fields(self, colours: Colours = "all") -> dict[str, Any]:
        """As ``tenfold.eval.charts.ChartRecord`` takes it, in one reading of colours.

        Example:
            >>> Recording(error="NameError: x").fields()["error"]
            'NameError: x'
        """
        chosen = self.colours if colours == "all" else self.published_colours
        return {
            "texts": self.texts,
            "layout": self.layout,
            "calls": self.calls,
            "colours": chosen,
            "error": self.error,
        }


class ChartRecorder:
    """Runs programs with hooks, each in a session of its own.

    Args:
        limits: of one program.
        allow_unsafe: where programs cannot be isolated, run them all the same.

    Raises:
        UserError: programs cannot be isolated on this machine.

    Example:
        >>> with ChartRecorder() as recorder:
        ...     found = recorder.record("from pylab import *; bar([1], [2], color='red'); title('T')")
        >>> found.calls, found.colours, found.texts
        (('bar',), (('bar', '#ff0000'),), ('T',))
    """

    def __init__(self, *, limits: Limits = LIMITS, allow_unsafe: bool = False) -> None:
        modules = (*MODULES, "mpl_toolkits.mplot3d", "json")
        self._sandbox = Sandbox(limits=limits, modules=modules, allow_unsafe=allow_unsafe)

    def record(self, code: str) -> Recording:
        """What a program draws; why not, where it draws nothing."""
        if refused := why_refused(code):
            return Recording(error=refused)
        with self._sandbox.open() as session:
            content, error = left_by(session, (BEFORE, HOOKS, code, TAKE), "record.json")
        if error:
            return Recording(error=error)
        try:
            return _read(json.loads(content or b"{}"))
        except (ValueError, KeyError, TypeError, RecursionError):
            return Recording(error="RecordError: the program spoilt its record")

    def close(self) -> None:
        """End the sandbox."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def record_of(recorder: ChartRecorder, code: str, name: str) -> Recording:
    """The record of a reference, which must draw.

    Raises:
        UserError: it does not; with its error.
    """
    found = recorder.record(code)
    if found.error:
        raise UserError(f"{name}: its program draws nothing ({found.error})")
    return found


def _read(found: Any) -> Recording:
    """Foreign data, so that every entry is made what it should be."""
    return Recording(
        texts=tuple(str(text) for text in found["texts"][:MOST_RECORDED]),
        layout=tuple(tuple(int(number) for number in place) for place in found["layout"][:MOST_RECORDED]),
        calls=tuple(str(call) for call in found["calls"][:MOST_RECORDED]),
        colours=tuple((str(call), str(colour)) for call, colour in found["all"][:MOST_RECORDED]),
        published_colours=tuple((str(call), str(colour)) for call, colour in found["published"][:MOST_RECORDED]),
    )
