"""Starts the processes of ``trainer.devices=N``: each carries out the same run, and nothing but this run.

Lightning's own launcher repeats the command line instead, which under ``-m`` is the whole sweep, and whose copies would
wait for the lock that their first sibling holds.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import ProcessException, start_processes

from kd_lab import memory, quiet
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import Interrupted, UserError
from kd_lab.planning import Plan
from kd_lab.stopping import SIGNALS

GRACE = 600.0  # seconds in which the others may end by themselves, and write what they have to
LOOK = 5.0  # seconds from one look at what they say to the next


def launch(run: Plan, teachers: Sequence[Checkpoint]) -> None:
    """:func:`kd_lab.training.fit_and_test` by as many processes as ``run.settings.trainer.devices`` says.

    Raises:
        UserError, Interrupted: as it would here; UserError also where a process ends without a word.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UserError("trainer.devices: several processes can only be started and stopped by the main thread")
    quiet.libraries()
    words: Any = get_context("spawn").SimpleQueue()
    given = (run.settings.trainer.devices, find_free_network_port(), words, run, teachers)
    together: Any = start_processes(_work, given, run.settings.trainer.devices, join=False)  # type: ignore
    forwarded: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in forwarded:
            signal.signal(number, _forward_to(together.pids()))
        _wait(together, words)
    except ProcessException as error:
        said = []
        while not words.empty():
            said.append(words.get())
        if not said:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"{reason}; the same command goes on from the last checkpoint") from error
        _, text, number = min(said)  # the first process knows what is saved
        raise (Interrupted(text, number) if number else UserError(text)) from None
    finally:
        for number, handler in forwarded.items():
            signal.signal(number, handler)


def _wait(together: Any, words: Any, grace: float = GRACE) -> None:
    """Until all have ended; ``grace`` seconds after one has reported an error or an interruption, the rest are killed.

    They may wait for it: only some backends tell them that it has gone.
    """
    deadline = math.inf
    while not together.join(min(grace, LOOK)):
        if time.monotonic() >= deadline:
            for process in together.processes:
                process.kill()
        elif not words.empty():
            deadline = min(deadline, time.monotonic() + grace)


def _work(rank: int, count: int, port: int, words: Any, run: Plan, teachers: Sequence[Checkpoint]) -> None:
    os.setpgid(0, 0)  # a Ctrl-C of the terminal's reaches the parent, which hands it on once
    take_place(rank, count, port)
    memory.keep_freed()
    from kd_lab import ranks
    from kd_lab.training import fit_and_test

    try:
        fit_and_test(run, teachers)
        ranks.part()
    except (UserError, OSError) as error:
        words.put((rank, str(error), 0))
    except Interrupted as error:
        words.put((rank, str(error), error.signal))
    except KeyboardInterrupt:
        words.put((rank, "interrupted; the same command goes on from the last checkpoint", signal.SIGINT.value))
    else:
        return
    # The end of one by an error ends the others: only the first, when it has written all there is to write.
    sys.exit(2 if rank == 0 else 0)


def take_place(rank: int, count: int, port: int) -> None:
    """Be process ``rank`` of ``count`` that meet at ``port`` of this machine."""
    ours = {"KD_LAB_PROCESS": rank, "KD_LAB_PROCESSES": count}
    lightnings = {"LOCAL_RANK": rank, "NODE_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in (ours | lightnings).items()})
    # Lightning would take a job of Slurm's for one whose processes Slurm has started.
    os.environ.pop("SLURM_NTASKS", None)


def _forward_to(children: Sequence[int]) -> Any:
    def forward(number: int, frame: FrameType | None) -> None:
        for child in children:
            with suppress(ProcessLookupError):  # it has ended
                os.kill(child, number)

    return forward
