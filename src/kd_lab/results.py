"""What a run found: result.json, written and read."""

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from kd_lab.errors import UserError

FILE = "result.json"
MODELS = ("student", "teachers")
LIBRARIES = ("kd_lab", "torch", "lightning", "transformers", "datasets", "torchmetrics")


class Scores(BaseModel):
    """On one split: accuracy in [0, 1], mean cross-entropy in nats, and on how many rows."""

    accuracy: float
    loss: float
    rows: int


class ModelResult(BaseModel):
    """A model as it was at the best epoch.

    ``milliseconds`` is what a sentence of the test split took, in batches, without its tokenizing.
    """

    name: str
    parameters: int
    validation: Scores
    test: Scores
    milliseconds: float | None = None


class NoisyScores(Scores):
    """On the test split with ``noise`` of probability ``p`` on its sentences."""

    noise: str
    p: float


class Snapshot(BaseModel):
    """A teacher at another moment."""

    validation: Scores
    test: Scores


class TeacherResult(ModelResult):
    """A teacher at the student's best epoch, and before and after all training.

    ``accuracy_before`` is its test accuracy before the distillation, ``made_by`` the name of the run that made it.
    """

    accuracy_before: float
    before: Snapshot
    at_end: Snapshot
    learned: bool
    made_by: str | None


class DataResult(BaseModel):
    """The rows that were used: how many in each split, how many left out and why, and the digest of their content."""

    name: str
    digest: str
    sizes: dict[str, int]
    dropped: dict[str, int]


class Result(BaseModel):
    """One finished run; ``folder`` is where it lies and is not written.

    ``rest`` is the student's on the rows that no split uses and none touches, where they were asked for (data.rest).
    ``processor`` is what it was made on, since its kind and the number of threads decide the last bits of a sum.
    ``files`` is the SHA-256 of each file of its models, by its path inside the folder.
    """

    version: int = Field(alias="schema")
    fingerprint: str
    name: str
    method: str
    seed: int
    data: DataResult
    noise: str
    warmup_epochs: int
    student: ModelResult
    teachers: list[TeacherResult]
    ensemble: Snapshot | None
    under_noise: list[NoisyScores]
    rest: Scores | None = None
    best_epoch: int
    epochs: int
    steps: int
    teacher_updates: int
    teacher_displacement: float
    times_smaller: float | None
    seconds: float
    warnings: list[str]
    versions: dict[str, str]
    git_revision: str | None
    processor: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True)

    def without_times(self) -> "Result":
        """What two runs of the same command share."""
        student = self.student.model_copy(update={"milliseconds": None})
        return self.model_copy(update={"seconds": 0.0, "student": student})

    def write(self, folder: Path) -> None:
        """Write result.json whole or not at all: its presence is what makes a run finished."""
        self.files = self.files or _digests(folder)
        write_whole(folder / FILE, self.model_dump_json(indent=2, by_alias=True) + "\n")


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


def _digests(folder: Path) -> dict[str, str]:
    files = [path for part in MODELS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(folder: Path) -> Result | None:
    """The result of the finished run in ``folder``, or None where there is none that this version can read."""
    try:
        result = Result.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    return result.model_copy(update={"folder": folder})


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


def teacher_folder(place: int, name: str) -> str:
    """Where in a run's folder the teacher ``name`` lies, if it learned; ``place`` counts from 0."""
    return f"teachers/{place + 1}-{name.replace('/', '-')}"


def pair(teachers: Sequence[str], student: str) -> str:
    """``teacher + teacher → student``, or the student alone."""
    return f"{' + '.join(teachers)} → {student}" if teachers else student


def extras(noise: str, warmup_epochs: int) -> list[str]:
    """What a title says beside the models, where there is any."""
    return [f"{noise} noise"] * (noise != "none") + [f"warm-up {warmup_epochs}"] * bool(warmup_epochs)


def shortened(text: str, size: int) -> str:
    """The first ``size`` bytes of ``text``, as far as they are whole letters: file systems count bytes."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")


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
