"""What ends a fit before its time: a signal, after the step at hand and with everything saved; or too little memory."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lightning import Trainer

from kd_lab.errors import Interrupted, UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
OF_MEMORY = re.compile("out of memory|not enough memory|can't allocate memory")
"""In what torch says where a device has too little of it: CUDA and Apple's GPUs, Windows, Linux."""


class Stopped(BaseException):
    """Raised between two steps; no ``except Exception`` may take it for a failure. Its text says what is saved."""


class StopRequest:
    """Whether somebody wishes the run to end, and by which signal."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    def listen(self) -> None:
        """From now on the first signal is a request, and the second ends the run at once."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def between_steps(trainer: Trainer, request: StopRequest | None = None) -> Iterator[None]:
    """A signal that ends a fit or an evaluation within is a KeyboardInterrupt outside; its handlers are put back.

    Lightning itself exits on Ctrl-C, and ignores it from then on.

    Raises:
        Interrupted: where everything was saved before.
        UserError: where the memory of the device is not enough.
    """
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
        # In an evaluation Lightning notes SIGTERM and goes on.
        if trainer.received_sigterm:
            raise Interrupted("interrupted; the same command goes on", signal.SIGTERM)
    except Stopped as stopped:
        assert request is not None
        # The signal may have been another process's.
        raise Interrupted(str(stopped), request.signal or signal.SIGTERM) from None
    except RuntimeError as error:
        if not OF_MEMORY.search(str(error)):
            raise
        said = str(error).partition(". ")[0]
        raise UserError(f"{said}: set micro_batch_size (rows in memory at a time) or a smaller batch_size") from error
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            for number, handler in handlers.items():
                signal.signal(number, handler)
