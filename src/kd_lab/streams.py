"""Standard output and error, whatever became of them: closed, a broken pipe, a full disk, an alphabet without arrows.

A line that nobody can read is no reason to lose a training.
"""

import codecs
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

PLAIN = {"→": "->", "±": "+-", "×": "x", "−": "-", "–": "-", "—": "-", "…": "...", "·": "*", "─": "-", "‖": "||"}
"""What is written instead where a terminal's alphabet lacks a sign; ? for any other."""
STANDARD = (1, 2)  # numbers of the files that are standard output and error


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("kd_lab", _plainly)


class Careful:
    """A stream that takes what it can of what is written, and never fails.

    Args:
        now: finds the stream itself, which may be None: so Python has it where it was closed from the start.
    """

    def __init__(self, now: Callable[[], TextIO | None]):
        self.now = now

    def write(self, text: str) -> int:
        """The whole of ``text``, in the signs that the stream has."""
        if (stream := self.now()) is not None:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode(stream.encoding, "kd_lab").decode(stream.encoding))
            except (OSError, ValueError) as error:  # ValueError: it was closed
                _give_up(stream, error)
        return len(text)

    def flush(self) -> None:
        """As a stream's."""
        if (stream := self.now()) is not None:
            try:
                stream.flush()
            except (OSError, ValueError) as error:
                _give_up(stream, error)

    def isatty(self) -> bool:
        """Whether a person is reading."""
        try:
            return bool((stream := self.now()) is not None and stream.isatty())
        except (AttributeError, ValueError):  # it was closed, at once or later
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now(), name)


def _give_up(stream: TextIO, error: Exception) -> None:
    """What comes after goes nowhere; whoever closed the other end knows, of anything else one line tells."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    if number not in STANDARD:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    if number == 1 and isinstance(error, OSError) and error.errno != errno.EPIPE:
        err.write(f"kd_lab: standard output cannot be written ({error.strerror}): going on without it\n")


@contextmanager
def careful() -> Iterator[None]:
    """Within, everything that is printed is printed carefully, also by libraries."""
    if isinstance(sys.stdout, Careful):
        yield
        return
    # A file that is opened later must not get the number of a closed standard stream, and what is printed to it.
    for number in (0, *STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    new: Any = [Careful(lambda stream=stream: stream) for stream in before]  # type: ignore[misc]
    sys.stdout, sys.stderr = new
    try:
        yield
    finally:
        for stream in new:
            stream.flush()
        sys.stdout, sys.stderr = before


out, err = Careful(lambda: sys.stdout), Careful(lambda: sys.stderr)
"""Standard output and error as they are at the moment of writing."""


def bare() -> TextIO:
    """Standard output itself, which fails where nobody reads, in UTF-8 whatever the locale: for lines of JSON."""
    stream: Any = sys.stdout
    while isinstance(stream, Careful):
        stream = stream.now()
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", newline="\n")
    plain: TextIO = stream
    return plain
