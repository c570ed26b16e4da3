"""One process at a time works on a run, whoever else works in the same folder.

The system releases a lock with the process that holds it, however that ends: a file that is left says nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_lab import terminal
from kd_lab.errors import BusyError


@contextmanager
def held(folder: Path, title: str, *, wait: bool = True) -> Iterator[None]:
    """Within, no other process is at work on the run in ``folder``.

    Args:
        folder: of the run; its lock is a hidden file beside it.
        title: of the run, for whoever waits.
        wait: for a process that is at work on it.

    Raises:
        BusyError: if one is and nobody waits.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = _file(folder)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            raise BusyError(title) from error
        terminal.say(f"another process is at work on {title}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        # While it is held: whoever waits sees that the file has gone, and makes another.
        path.unlink(missing_ok=True)
        lock.release()


def taken(folder: Path) -> bool:
    """Whether another process is at work on the run in ``folder`` at this moment."""
    from filelock import FileLock, Timeout

    path = _file(folder)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")
