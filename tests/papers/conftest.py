"""Makes ``recording`` importable, and gives each paper's part of the conformance suite to one worker."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
