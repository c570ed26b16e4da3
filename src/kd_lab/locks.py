"""One process at a time works on a run, whoever else works in the same folder.

The system releases a lock with the process that holds it, however that ends: what is left of it is an empty file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_lab import terminal


@contextmanager
def held(folder: Path, title: str) -> Iterator[None]:
    """Within, no other process is at work on the run in ``folder``; waits for one that is.

    Args:
        folder: of the run; its lock lies beside it, in ``.locks``.
        title: of the run, for whoever waits.
    """
    from filelock import FileLock, Timeout

    place = folder.parent / ".locks"
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / f"{folder.name}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            terminal.say(f"another process is at work on {title}: waiting for it")
            lock.acquire()
    except NotImplementedError:
        terminal.say(f"warning: {place} lies on a file system without locks: start one process at a time there")
    try:
        yield
    finally:
        lock.release()
