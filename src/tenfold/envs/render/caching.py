"""A renderer that remembers: equal code is drawn once; and many pieces of code are drawn at the same time."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tenfold.core.errors import UserError
from tenfold.envs.render.renderer import Renderer, RenderResult


class CachedRenderer:
    """Keeps what a renderer drew, by the hash of the code. Safe to use from several threads.

    Args:
        renderer: draws what is new.
        most: results that are kept; the oldest unused one goes first.
        workers: pieces of code that :meth:`render_all` draws at the same time.

    Example:
        >>> from tenfold.envs.render.chart_language import ChartRenderer
        >>> cached = CachedRenderer(ChartRenderer())
        >>> [found.ran for found in cached.render_all(["bar red 3 5 end", "nothing", "bar red 3 5 end"])], cached.hits
        ([True, False, True], 1)
    """

    def __init__(self, renderer: Renderer, *, most: int = 4096, workers: int = 4) -> None:
        for name, value in (("most", most), ("workers", workers)):
            if value < 1:
                raise UserError(f"{name} = {value}: must be at least 1")
        self.renderer, self.most, self.workers = renderer, most, workers
        self.hits = 0
        self._found: OrderedDict[str, RenderResult] = OrderedDict()
        self._lock = threading.Lock()

    def render(self, code: str) -> RenderResult:
        """What the code draws; a result that was kept took no seconds."""
        key = hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()
        with self._lock:
            if key in self._found:
                self.hits += 1
                self._found.move_to_end(key)
                return replace(self._found[key], seconds=0.0)
        result = self.renderer.render(code)
        if not result.error.startswith("TimeoutError"):  # a busy machine is no property of the code
            with self._lock:
                self._found[key] = result
                while len(self._found) > self.most:
                    self._found.popitem(last=False)
        return result

    def render_all(self, codes: Sequence[str]) -> list[RenderResult]:
        """What each piece of code draws, in order; equal ones are drawn once."""
        unique = list(dict.fromkeys(codes))
        with ThreadPoolExecutor(self.workers) as pool:
            found = dict(zip(unique, pool.map(self.render, unique), strict=True))
        self.hits += len(codes) - len(unique)
        return [found[code] for code in codes]
