"""The folder that a run writes to: one process at a time, swept of leftovers, and storage that fails told in one line.

The lock is the operating system's own, on the folder, and ends with the process, however that ends. Where a file
system knows no such locks, as some shared ones, nothing is locked.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.core.cell import is_main_process
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.files import is_leftover

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNUSABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
FAILED_WRITERS = ("PytorchStreamWriter failed", "unexpected pos", "(os error ")
"""How torch and safetensors, which raise errors of their own, begin to say that they could not write."""


@contextmanager
def writing_to(folder: Path, go_on: str) -> Iterator[None]:
    """Hold a folder while it is written to; only the main process holds it.

    Args:
        folder: made if it is missing, and taken away again if nothing was written.
        go_on: what to do once the place can be written to again, as the second half of a sentence.

    Raises:
        UserError: another process holds the folder, it cannot be written to, it is full, or it was removed meanwhile.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place, writing_to(Path(place), "run it again"):
        ...     try:
        ...         with writing_to(Path(place), "run it again"):
        ...             pass
        ...     except UserError as error:
        ...         print(str(error).replace(place, "runs/a"))
        runs/a is being written to by another process; wait until that has ended, or end it
    """
    held: int | None = None
    try:
        if is_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            held = _hold(folder)
            sweep(folder)
        yield
        if held is not None and not os.fstat(held).st_nlink:
            raise UserError(f"{folder} was removed while it was written to; {go_on}")
    except (UserError, Interrupted):
        raise
    except Exception as error:
        reason = _storage_fault(folder, held, error)
        if reason is None:
            raise
        raise UserError(f"{reason}; {go_on}") from error
    finally:
        if held is not None:
            _leave_nothing(folder)
            os.close(held)


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that were killed in mid-write (``tenfold.core.files``)."""
    for place, _, names in os.walk(folder):
        for name in names:
            if is_leftover(name):
                (Path(place) / name).unlink(missing_ok=True)


def _hold(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{folder} is being written to by another process; wait until that has ended, or end it"
        ) from None
    except OSError:  # a file system without locks
        return descriptor
    return descriptor


def _leave_nothing(folder: Path) -> None:
    """A start that was refused leaves no empty folder."""
    try:
        folder.rmdir()
    except OSError:
        return


def _storage_fault(folder: Path, held: int | None, error: BaseException) -> str | None:
    """What storage has done, where ``error``, or one that led to it, comes from there."""
    if held is not None and not os.fstat(held).st_nlink:
        return f"{folder} was removed while it was written to"
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and _is_about(folder, at):
            return f"{at.filename or folder} cannot be written: {(at.strerror or str(at)).lower()}"
        if any(words in str(at) for words in FAILED_WRITERS):
            return f"a file in {folder} could not be written whole, as on a full disk ({str(at).splitlines()[0]})"
        at = at.__cause__ or at.__context__
    return None


def _is_about(folder: Path, error: OSError) -> bool:
    """Whether the folder, something in it or one above it could not be written."""
    if error.errno in FULL:
        return True
    if error.errno not in UNUSABLE or error.filename is None:
        return False
    named, folder = Path(os.fsdecode(error.filename)).absolute(), folder.absolute()
    return named.is_relative_to(folder) or folder.is_relative_to(named)
