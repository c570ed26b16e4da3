"""Library remarks that say nothing to a user are silenced here, one by one, and nowhere else."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kd_lab import streams

SILENCED: list[tuple[str, str]] = [
    (r"The '.*dataloader' does not have many workers", "batches are ready-made tensors; a worker would only copy them"),
    (r"The `?srun`? command is available", "whoever is on a cluster and starts a single process means to"),
    (r"Checkpoint directory .* exists and is not empty", "the folder is the run's own"),
    (
        r"Found \d+ module\(s\) in eval mode",
        "teachers are in eval mode on purpose; Distiller keeps the student in train mode",
    ),
    (r"Experiment logs directory .* exists", "the folder is the run's own"),
    (
        r"The number of training batches \(\d+\) is smaller than the logging interval",
        "the last step of an epoch is logged",
    ),
    (
        r"You're resuming from a checkpoint that ended before the epoch",
        "batches that were learned from are left out",
    ),
    (r"It is recommended to use `self.log\(.*sync_dist=True", "what is logged is the same in all processes"),
    (r"`torch.jit.script` is deprecated", "torch's own call, where its forward mode is first used"),
    (r"`?isinstance\(treespec, LeafSpec\)`? is deprecated", "Lightning's own call; nothing a user can change"),
    (r"# The axis name: .* will not be used", "all inputs of a graph have the same batch and length on purpose"),
]
"""Library warnings that mean nothing to a user: a pattern and the reason for each."""

LOUD: list[tuple[str, str]] = [
    ("lightning.pytorch", "lists devices, tips and hooks at every start"),
    ("lightning.fabric", "says which seed was set"),
    ("httpx", "a line per request to the hub"),
    ("torch.multiprocessing.spawn", "says that it ends the others when one has ended"),
    ("torch.onnx._internal.exporter._registration", "misses torchvision, whose operators no text classifier has"),
]
"""Loggers whose remarks below an error say nothing to a user, and the reason for each."""


def libraries() -> None:
    """Silence what is listed above, one by one."""
    for pattern, _ in SILENCED:
        warnings.filterwarnings("ignore", message=pattern)
    for name, _ in LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """For imports of what sets up the logging of the whole process, as onnxruntime's quantizer in blocks does."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def transformers() -> None:
    """Silence the reports and bars of loading: what they warn of, models.load checks itself."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def datasets() -> None:
    """Silence the reader of files: what it cannot read, sources says; a bar in a pipe or a log file is noise."""
    from datasets import disable_progress_bars
    from datasets.utils import logging as datasets_logging

    datasets_logging.set_verbosity(logging.CRITICAL)
    if not streams.err.isatty():
        disable_progress_bars()


def hub() -> None:
    """Silence the hub's client: what comes of its retries is said once, a bar in a pipe or a log file is noise."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    # Where the user's environment decides about bars, the client would warn of this call.
    if not streams.err.isatty() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()
