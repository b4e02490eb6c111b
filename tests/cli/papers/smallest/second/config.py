"""Configuration of the second study: that of the first, which alone trains on data of one's own."""

from tenfold.papers.smallest.first.config import Config as Config
from tenfold.papers.smallest.first.config import laptop as laptop
from tenfold.papers.smallest.first.config import smoke as smoke
