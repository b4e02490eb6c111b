"""Renderers: from code that a model wrote to an image. Heavy parts are imported when a renderer is made."""

from tenfold.envs.render.browser import BrowserRenderer
from tenfold.envs.render.caching import CachedRenderer
from tenfold.envs.render.chart_language import Chart, ChartRenderer
from tenfold.envs.render.matplotlib_renderer import MatplotlibRenderer
from tenfold.envs.render.recorder import ChartRecorder, Recording
from tenfold.envs.render.renderer import Renderer, RenderResult
from tenfold.envs.render.shapes import ShapeRenderer
from tenfold.envs.render.svg import SvgRenderer

__all__ = [
    "BrowserRenderer",
    "CachedRenderer",
    "Chart",
    "ChartRecorder",
    "ChartRenderer",
    "MatplotlibRenderer",
    "Recording",
    "RenderResult",
    "Renderer",
    "ShapeRenderer",
    "SvgRenderer",
]
