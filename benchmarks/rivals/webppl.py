"""WebPPL 0.9.15, the language of the paper's programs, on Node: the programs of ``programs.py`` in its own words.

It is installed once, by npm, into a folder of its own: ``TENFOLD_WEBPPL`` names it, ``~/.cache/tenfold/webppl`` is the
default. Each run is a process, as the paper's pipeline uses it.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "0.9.15"
STRENGTH = "var strength = mem(function(a) { return Math.max(gaussian(100, 20), 0) })\n"
LEVEL = "var level = categorical({ps: [0.2, 0.6, 0.2], vs: [40, 60, 80]})\n"
DEPENDENT_LEVEL = """var s = strength(a)
    var level = s > 140 ? categorical({ps: [0.05, 0.15, 0.8], vs: [40, 60, 80]}) :
      s < 90 ? categorical({ps: [0.8, 0.15, 0.05], vs: [40, 60, 80]}) :
      categorical({ps: [0.2, 0.6, 0.2], vs: [40, 60, 80]})
"""
WORLD = """
  var effort = mem(function(a, m) {
    %s
    return Math.min(Math.max(gaussian(level, 10), 0), 100)
  })
  var pull = function(team, m) { return sum(map(function(a) { return strength(a) * effort(a, m) / 50 }, team)) }
  var beats = function(winners, losers, m) { return pull(winners, m) > pull(losers, m) }
  condition(beats(['bob', 'mary'], ['tom', 'sue'], 1))
  condition(beats(['sue'], ['mary'], 2))
  condition(beats(['tom', 'jim'], ['bob', 'sue'], 3))
  condition(beats(['jim'], ['bob'], 4))
"""
TUG_OF_WAR = f"""
var model = function() {{
  {STRENGTH}{WORLD % LEVEL}
  condition(strength('bob') > 100)
  return [strength('bob'), effort('jim', 3), beats(['bob', 'mary'], ['jim', 'sue'], 5) ? 1 : 0]
}}
"""
FULL = f"""
var model = function() {{
  {STRENGTH}{WORLD % DEPENDENT_LEVEL}
  var bob = strength('bob')
  var rank = sum(map(function(i) {{ return bob > strength('fresh' + i) ? 1 : 0 }}, _.range(99)))
  var wins = sum(map(function(i) {{
    return beats(['bob', 'sue'], ['tom', 'jim'], 100 + i) ? 1 : 0
  }}, _.range(100)))
  return [rank, effort('jim', 3), wins]
}}
"""
MEANS = """
var found = Infer({{method: 'rejection', samples: {n}, model: model}})
console.log(JSON.stringify(map(function(i) {{ return expectation(found, function(v) {{ return v[i] }}) }}, [0, 1, 2])))
"""


class WebPPL:
    """The installed package.

    Raises:
        FileNotFoundError: node or npm are not there.
        subprocess.CalledProcessError: npm could not install it.
    """

    def __init__(self) -> None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise FileNotFoundError(f"{program} is not installed")
        self.folder = Path(os.environ.get("TENFOLD_WEBPPL", Path.home() / ".cache/tenfold/webppl"))
        self.program = self.folder / "node_modules/webppl/webppl"
        if not self.program.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "package.json").write_text("{}")
            install = ["npm", "install", f"webppl@{VERSION}", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=self.folder, check=True, capture_output=True)

    def start_up(self) -> None:
        """A program that does nothing."""
        self._run("console.log('[]')")

    def means(self, model: str, n: int) -> list[float]:
        """The means of the three queries over ``n`` accepted samples."""
        return self._run(model + MEANS.format(n=n))

    def _run(self, source: str) -> list[float]:
        with tempfile.NamedTemporaryFile("w", suffix=".wppl") as file:
            file.write(source)
            file.flush()
            done = subprocess.run(
                ["node", str(self.program), file.name], cwd=self.folder, check=True, capture_output=True, text=True
            )
        return list(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("["))))
