"""Renderers: from code that a model wrote to an image."""

from tenfold.envs.render.chart_language import Chart, ChartRenderer
from tenfold.envs.render.renderer import Renderer, RenderResult

__all__ = ["Chart", "ChartRenderer", "RenderResult", "Renderer"]
