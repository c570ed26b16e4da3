"""A run before it happens: what is looked up, and who it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from kd_lab import catalogue, files, fingerprint, naming, results, sources, splits, teachers
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import UserError
from kd_lab.results import NoisyScores, Result, Scores
from kd_lab.settings import Data, Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits

Purpose = Literal["single", "job", "teacher"]


@dataclass(frozen=True)
class Plan:
    """A run before it happens: everything that decides its result is here and has been looked up.

    Attributes:
        settings: of the run.
        rows, splits: its data.
        data_digest: of their content.
        student: the checkpoint it starts from.
        teachers: one per member: the run that makes it, or a classifier that is there already.
        purpose: a single run that somebody wants, a job of a sweep, or a teacher: only what somebody wants is tested
            under noise, and names and ids that W&B's variables give are a single run's.
    """

    settings: Settings
    rows: Rows = field(repr=False)
    splits: Splits = field(repr=False)
    data_digest: str
    student: Checkpoint
    teachers: "tuple[Plan | Checkpoint, ...]"
    purpose: Purpose = "single"

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides the result, 64 hexadecimal digits."""
        identities = [t.fingerprint if isinstance(t, Plan) else t.identity() for t in self.teachers]
        distils = self.settings.method.uses_teachers
        return fingerprint.run_digest(
            self.settings, self.data_digest, self.student.identity(), identities, distils=distils
        )

    @property
    def title(self) -> str:
        """What a person calls the run: method, teachers, student, data and what is special about it."""
        s = self.settings
        names = [t.student.name if isinstance(t, Plan) else t.name for t in self.teachers]
        who = naming.pair(names, self.student.name)
        extras = naming.extras(s.noise_in_words, s.warm_up)
        return ", ".join([f"{s.method.name}: {who} on {s.data.name}", *extras, f"seed {s.seed}"])

    @cached_property
    def folder(self) -> Path:
        """Named after the run, with the head of its fingerprint; never with a +."""
        words = self.title.replace(" + ", "-and-").replace(" → ", "-to-").replace(": ", "_").replace(", ", "_")
        plain = "".join(
            c if c.isalnum() or c in "._-" else "-" for c in words.replace(" on ", "_").replace("seed ", "seed")
        )
        return self.settings.output_dir / f"{files.shortened(plain, 150)}_{self.fingerprint[:8]}"

    def under_noise(self, folder: Path) -> list[NoisyScores]:
        """The scores on the test split under noise of the student in ``folder``, where this run has written it.

        Nothing of a teacher, until somebody wants its own result.
        """
        from kd_lab import evaluation

        if self.purpose == "teacher":
            return []
        return evaluation.under_noise(self._student_in(folder), self.settings, self.rows, self.splits.test)

    def rest(self, folder: Path) -> Scores | None:
        """The finished student's scores on all that is left, where asked for; its answers lie beside the others."""
        from kd_lab import evaluation

        if self.purpose == "teacher" or not self.settings.data.rest:
            return None
        return evaluation.rest(self._student_in(folder), self.settings, self.rows, self.left, folder / "predictions")

    def _student_in(self, folder: Path) -> Checkpoint:
        return Checkpoint(self.student.name, folder / "student", classifies=True)

    @cached_property
    def left(self) -> Sequence[int]:
        """The rows that no split has touched.

        Raises:
            UserError: if there is none.
        """
        found = splits.rest(self.rows.texts, self.rows.labels, self.splits, self.settings.data.holdout)
        if not found:
            raise UserError("data.rest=true: the splits leave no row; make data.train smaller")
        return found

    def sentences(self, name: str) -> Sequence[int]:
        """Of each row of a split, the number of the row that holds its whole sentence."""
        numbers = dict(self.splits.items())[name]
        if self.settings.data.holdout == "sentence":  # held-out texts stand inside no other
            return numbers
        return splits.sentences(self.rows.texts, self.rows.labels, numbers)

    def finished(self) -> Result | None:
        """The result of this very run, where it has been carried out already."""
        result = results.read(self.folder)
        return result if result and self.made(result) else None

    def made(self, result: Result) -> bool:
        """Whether ``result`` is this very run's."""
        return (result.version, result.fingerprint) == (fingerprint.SCHEMA, self.fingerprint)


def plan(settings: Settings, purpose: Purpose = "single") -> Plan:
    """Look up data, student and teachers; download what is missing.

    Raises:
        UserError: if any of it cannot be had.
    """
    for name in (settings.student, *settings.teacher_names):
        catalogue.refuse_unknown(name, settings.models)
    rows, cut, digest = _data(settings.data, sources.stamp(settings.data.path))
    if (wanted := settings.method.quiz_rows) and wanted > len(cut.quiz):
        raise UserError(f"method.quiz_rows={wanted}: the quiz has {len(cut.quiz)} rows; make data.quiz larger")
    return _plan(settings, rows, cut, digest, purpose)


@lru_cache(maxsize=4)
def _data(data: Data, stamp: tuple[object, ...]) -> tuple[Rows, Splits, str]:
    """Once for all jobs of a sweep; ``stamp`` changes with the files."""
    rows, cut = sources.load_and_cut(data)
    return rows, cut, fingerprint.data_digest(rows, cut, data.max_length)


def _plan(settings: Settings, rows: Rows, cut: Splits, digest: str, purpose: Purpose) -> Plan:
    student = catalogue.locate(settings.student, settings.models)
    members: list[Plan | Checkpoint] = []
    for name, making in teachers.members(settings):
        teacher = catalogue.locate(name, settings.models)
        members.append(teacher if teacher.classifies else _plan(making, rows, cut, digest, "teacher"))
    return Plan(settings, rows, cut, digest, student, tuple(members), purpose)
