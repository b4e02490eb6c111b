"""A sandbox without sessions: each program gets a new interpreter in a new bubblewrap, which imports what it needs.

It shows the same folders and has the same limits, and no persistent names; an isolated tool that is written plainly
works like this. Started by root, it pays some 20 ms more than by a user, for it then has to stop being root.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from tenfold.envs.sandbox import Limits
from tenfold.envs.sandbox.launch import ENVIRONMENT, INTERPRETER, OWN_PATH, in_bubblewrap, package_folders

PROGRAM = """
import sys
sys.path = [{own!r}, *sys.path, *{paths!r}]
from inside import confine
confine.private_temporary_folder({limits.temporary_bytes})
confine.enter_new_user_namespace()
confine.set_limits(
    memory_bytes={limits.memory_bytes},
    cpu_seconds={limits.cpu_seconds},
    temporary_bytes={limits.temporary_bytes},
    processes={limits.processes},
    isolated=True,
)
confine.drop_rights()
confine.deny_system_calls(confine.system_call_filter(children=False, signals=True))
{imports}
exec(sys.argv[1])
"""


def run_once(code: str, limits: Limits, modules: Sequence[str]) -> str:
    """What the program prints."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    imports = "\n".join(f"import {module}" for module in modules)
    program = PROGRAM.format(own=OWN_PATH, paths=package_folders(), limits=limits, imports=imports)
    sources, command = in_bubblewrap([INTERPRETER, "-s", "-P", "-c", program, code], folder)
    try:
        done = subprocess.run(
            command, env=ENVIRONMENT, pass_fds=sources, capture_output=True, timeout=60, check=True, text=True
        )
    finally:
        for source in sources:
            os.close(source)
        shutil.rmtree(folder)
    return done.stdout
