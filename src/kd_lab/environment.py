"""What a result was made with and on: versions, processor, commit."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

LIBRARIES = ("kd_lab", "torch", "lightning", "transformers", "datasets", "torchmetrics")


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def processor() -> str:
    """The name of the one at hand."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, str | int]:
    """What a time depends on beside the program."""
    return {"processor": processor(), "cores": os.cpu_count() or 1, "system": platform.system()}


def git_revision() -> str | None:
    """The commit of the checkout this runs from, marked where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, check=True, capture_output=True)  # noqa: S603
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
