"""Files that are there whole or not at all, digests of their content, and places that can be written."""

import hashlib
import os
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from kd_lab.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all, wherever a disk fills up or a process ends."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.partial")  # another process may write the same
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    """Once for all jobs of a sweep: ``size`` and ``changed`` tell one content of the file from another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_unwritable(folder: Path) -> None:
    """Raise a UserError where nothing can be written to ``folder``: before the hours of training, not after."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(folder)  # which refuses too long a name
        # A link that leads nowhere is there, and no folder.
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        # Tried, not asked: a disk may be full, and permission bits say nothing of root, /proc and /sys.
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as error:
        raise UserError(f"output_dir={folder}: cannot be written ({error.strerror}); name a folder that can") from error


def shortened(text: str, size: int) -> str:
    """The first ``size`` bytes of ``text``, as far as they are whole letters: file systems count bytes."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")
