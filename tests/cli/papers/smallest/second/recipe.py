"""The experiment of the first study, under a claim of its own."""

from dataclasses import replace

from tenfold.core.types import Plan
from tenfold.papers.smallest.first import recipe as first
from tenfold.papers.smallest.first.recipe import ARMS as ARMS
from tenfold.papers.smallest.first.recipe import GRID as GRID
from tenfold.papers.smallest.first.recipe import estimate as estimate
from tenfold.papers.smallest.first.recipe import figures as figures
from tenfold.papers.smallest.first.recipe import run as run
from tenfold.papers.smallest.first.recipe import validation_score as validation_score

CLAIMS = tuple(replace(claim, id="again") for claim in first.CLAIMS)
CHOSEN_ON = (1000,)
PLAN = Plan(laptop=(20, 21, 22, 23, 24), why="five, the fewest")
