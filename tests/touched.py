"""The tabs of the papers that have one, by the name of the paper."""

from tenfold.core import discovery

TABS = {
    paper.name: module.TAB
    for paper in discovery.papers()
    if paper.available and (module := discovery.touch_module(paper.name))
}
