"""What a run found: result.json, written and read; and the settings that lie beside it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from kd_lab.files import sha256_of, write_whole

FILE = "result.json"
SETTINGS = "config.yaml"
MODELS = ("student", "teachers")


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


def percentages(scores: ModelResult | Snapshot) -> list[str]:
    """Accuracy on validation and test, as text."""
    return [f"{100 * part.accuracy:.2f}" for part in (scores.validation, scores.test)]


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


def _digests(folder: Path) -> dict[str, str]:
    files = [path for part in MODELS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def read(folder: Path) -> Result | None:
    """The result of the finished run in ``folder``, or None where there is none that this version can read."""
    try:
        result = Result.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    return result.model_copy(update={"folder": folder})


def settings_in(folder: Path) -> dict[str, Any]:
    """The settings that the run in ``folder`` has written down, as plain values.

    Raises:
        OSError, ValueError: where they cannot be read.
    """
    try:
        found = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / SETTINGS} is no YAML") from error
    if not isinstance(found, dict):
        raise ValueError(f"{folder / SETTINGS} holds no settings")
    return found
