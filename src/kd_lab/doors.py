"""What all doors share: whatever a user can put right is one line on standard error, and an exit code."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException
from yaml import YAMLError

from kd_lab import settings, terminal
from kd_lab.errors import Interrupted, UserError


def wants_traceback(words: Sequence[str]) -> bool:
    """Whether ``debug=true`` is among the words of a command line."""
    return any(word.lower() == "debug=true" for word in words)


@contextmanager
def one_line_errors(*, debug: bool = False, interrupted: str = "interrupted") -> Iterator[None]:
    """Say errors in one line.

    Args:
        debug: show the whole traceback instead.
        interrupted: what is said after Ctrl-C.

    Raises:
        SystemExit: with 2 after a line about what the user can put right, with 128 + the signal's number after one.
    """
    try:
        yield
    except (UserError, HydraException, YAMLError) as error:
        if debug:
            raise
        terminal.complain(settings.one_line(error))
        sys.exit(2)
    except Interrupted as error:
        terminal.complain(str(error))
        sys.exit(128 + error.signal)
    except KeyboardInterrupt:
        terminal.complain(interrupted)
        sys.exit(128 + signal.SIGINT)
