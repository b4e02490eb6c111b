"""Started by root instead of bubblewrap: shows it the folders it needs, stops being root, and becomes bubblewrap.

    python as_unprivileged.py FOLDER [SHOWN …] -- COMMAND …

An unprivileged user cannot look below, say, ``/root``, where an interpreter may live. So each ``SHOWN`` folder is
mounted as ``FOLDER/0``, ``FOLDER/1``, … in a mount namespace that only the command gets.
"""

import ctypes
import os
import sys

NEW_MOUNTS, BIND, RECURSIVE, PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
NOBODY = 65534


def main() -> None:
    """Do what the module says; never returns."""
    folder, *words = sys.argv[1:]
    border = words.index("--")
    shown, command = words[:border], words[border + 1 :]
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: bytes, target: str, kind: bytes | None, flags: int, options: bytes | None = None) -> None:
        if libc.mount(source, target.encode(), kind, flags, options):
            raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}")

    if libc.unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    mount(b"none", "/", None, RECURSIVE | PRIVATE)
    mount(b"tmpfs", folder, b"tmpfs", 0, b"mode=755")
    for number, path in enumerate(shown):
        os.mkdir(f"{folder}/{number}")
        mount(path.encode(), f"{folder}/{number}", None, BIND | RECURSIVE)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
