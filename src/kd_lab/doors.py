"""What all doors share: whatever a user can put right is one line on standard error, and an exit code."""

import errno
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hydra.errors import HydraException
from pydantic import ValidationError
from yaml import YAMLError

from kd_lab import composition, settings, streams, terminal
from kd_lab.errors import Interrupted, UserError
from kd_lab.sections import Section

S = TypeVar("S", bound=Section)

ADVICE = {
    errno.ENOSPC: "free some space in output_dir, KD_LAB_CACHE or TMPDIR, and run again",
    errno.EDQUOT: "free some space in output_dir, KD_LAB_CACHE or TMPDIR, and run again",
    errno.EFBIG: "allow larger files (ulimit -f), and run again",
    errno.EMFILE: "allow more open files (ulimit -n), and run again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a place where you may read and write",
    errno.EPERM: "choose a place where you may read and write",
    errno.EROFS: "choose a place that can be written",
}
"""What can be done about an error of the system; of any other it is only said where more is to be seen."""


def wants_traceback(words: Sequence[str]) -> bool:
    """Whether ``debug=true`` is among the words of a command line."""
    return any(settings.is_true(word.partition("=")[2]) for word in words if word.lower().startswith("debug="))


def opened(usage: str, carry_out: Callable[[list[str]], object], *, empty: bool = True) -> None:
    """Answer the words of the command line: with ``usage`` where that is asked for, else by carrying them out.

    Args:
        usage: of the door.
        carry_out: what it does with its words.
        empty: whether it has something to do without any.
    """
    words = sys.argv[1:]
    asks = bool({"-h", "--help"} & set(words)) or not (words or empty)
    with one_line_errors(debug=not asks and wants_traceback(words)):
        if asks:
            print(usage)
        else:
            carry_out(words)


def named(words: Sequence[str], what: str, least: int = 0, most: int = 1) -> tuple[list[str], list[str]]:
    """The words that name something and set nothing (a file's or folder's name may hold a =), and the others.

    Raises:
        UserError: saying that ``what`` is to be named, where those are fewer than ``least`` or more than ``most``.
    """
    names = [word for word in words if "=" not in word or Path(word).exists()]
    if not least <= len(names) <= most:
        raise UserError(f"name {what}, and settings as name=value; got {' '.join(names) or 'none'}")
    return names, [word for word in words if word not in names]


def own(kind: type[S], words: Sequence[str]) -> tuple[S, list[str]]:
    """What ``words`` say of a door's own settings ``kind``, and the other words.

    Raises:
        UserError: naming a bad value and what would be right.
    """
    mine = {name: word for word in words if (name := word.partition("=")[0]) in kind.model_fields and "=" in word}
    if empty := [word for word in mine.values() if not word.partition("=")[2]]:
        raise UserError(f"{empty[0]}: say what it should be, or leave it out")
    try:
        read = kind.model_validate({name: word.partition("=")[2] for name, word in mine.items()})
    except ValidationError as error:
        raise UserError(settings.first_problem(error)) from error
    # A file may be called as an option is.
    return read, [word for word in words if "=" not in word or word.partition("=")[0] not in mine]


@contextmanager
def one_line_errors(*, debug: bool = False, interrupted: str = "interrupted") -> Iterator[None]:
    """Say errors in one line.

    Args:
        debug: show the whole traceback instead.
        interrupted: what is said after Ctrl-C.

    Raises:
        SystemExit: with 2 after a line about what the user can put right, with 128 + the signal's number after one.
    """
    with streams.careful():
        try:
            yield
        except (UserError, HydraException, YAMLError, OSError) as error:
            if debug:
                raise
            # What Hydra does not find it calls an error of the system as well.
            foreign = isinstance(error, OSError) and not isinstance(error, HydraException)
            terminal.complain(_of_the_system(error) if foreign else composition.one_line(error))
            sys.exit(2)
        except Interrupted as error:
            terminal.complain(str(error))
            sys.exit(128 + error.signal)
        except KeyboardInterrupt:
            terminal.complain(interrupted)
            sys.exit(128 + signal.SIGINT)


def _of_the_system(error: Any) -> str:
    """A full disk, a missing permission: whatever can befall any file at any time."""
    said = error.strerror or str(error) or type(error).__name__
    what = f"{error.filename}: {said}" if error.filename else said
    return f"{what}; {ADVICE.get(error.errno or 0, 'debug=true shows where')}"
