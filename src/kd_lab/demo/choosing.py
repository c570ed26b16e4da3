"""Which finished models stand on the page, in which role, and who taught whom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_lab import catalogue, naming, results
from kd_lab.errors import UserError
from kd_lab.results import Result

MOST = 6
TEACHER = "teacher"
METHODS = {"metadistil": "MetaDistil", "kd": "KD", "finetune": "fine-tuned"}
NUMBERS = {2: "two-teacher", 3: "three-teacher"}


@dataclass(frozen=True)
class Candidate:
    """A model of the page.

    Attributes:
        role: in words.
        name: a folder of a run or of a model, absolute; or a hub id.
        shown: what it is called on the page.
        taught_by: the names of those who taught it.
    """

    role: str
    name: str
    shown: str
    taught_by: Sequence[str] = ()


def choose(names: Sequence[str], output_dir: Path) -> list[Candidate]:
    """The models that ``names`` stand for, and those who taught them; without any, the newest below ``output_dir``.

    Teachers come first; there are at most ``MOST``.

    Raises:
        UserError: if too many are named, or there is no finished run.
    """
    if len(names) > MOST:
        raise UserError(f"name at most {MOST} models; got {len(names)}")
    found = names or [str(run.folder) for run in _newest(output_dir)]
    chosen: dict[str, Candidate] = {}
    taught: dict[str, Candidate] = {}
    for name in map(_absolute, found):
        run = results.read(Path(name))
        teachers = list(_teachers(run)) if run else []
        taught |= {teacher.name: teacher for teacher in teachers}
        shown = naming.plain(run.student.name) if run else Path(name).name
        chosen[name] = Candidate(_role(name, run), name, shown, [teacher.name for teacher in teachers])
    room = MOST - len(chosen)
    others = [teacher for name, teacher in taught.items() if name not in chosen][:room]
    students = [replace(c, role=taught[name].role) if name in taught else c for name, c in chosen.items()]
    return sorted([*others, *students], key=lambda candidate: candidate.role != TEACHER)


def _newest(output_dir: Path) -> list[Result]:
    """MetaDistil's with one teacher, with several, KD's; all of the data of the newest run that there is."""
    runs = sorted(_finished(output_dir), key=_age, reverse=True)
    if not runs:
        raise UserError(
            f"{output_dir} holds no finished run; make one with python -m kd_lab.run experiment=quickstart, or name one"
        )
    runs = [run for run in runs if run.data.name == runs[0].data.name]
    kinds = [("metadistil", False), ("metadistil", True), ("kd", False)]
    found = [_first(runs, method, several) for method, several in kinds]
    return [run for run in found if run] or runs[:1]


def _finished(output_dir: Path) -> Iterator[Result]:
    for path in sorted(output_dir.glob(f"*/{results.FILE}")):
        if (run := results.read(path.parent)) is not None:
            yield run


def _age(run: Result) -> float:
    return (run.folder / results.FILE).stat().st_mtime


def _first(runs: Sequence[Result], method: str, several: bool) -> Result | None:
    return next((run for run in runs if run.method == method and (len(run.teachers) > 1) == several), None)


def _role(name: str, run: Result | None) -> str:
    if run is None:
        return TEACHER if Path(name).parent.name == "teachers" else "model"
    method, count = METHODS.get(run.method, run.method), len(run.teachers)
    if count == 0:
        return f"{method} model"
    if count == 1:
        return f"{method} student"
    of_many = NUMBERS.get(count, f"{count}-teacher")
    return f"{of_many} student" if run.method == "metadistil" else f"{of_many} {method} student"


def _teachers(run: Result) -> Iterator[Candidate]:
    """Each teacher as it was before it taught, where the run that made it is there; else what the run kept of it."""
    for place, teacher in enumerate(run.teachers):
        made = run.folder.parent / teacher.made_by if teacher.made_by else None
        kept = run.folder / naming.teacher_folder(place, teacher.name)
        if made and results.read(made):
            yield Candidate(TEACHER, _absolute(str(made)), naming.plain(teacher.name))
        elif kept.is_dir():
            yield Candidate(TEACHER, _absolute(str(kept)), naming.plain(teacher.name))


def _absolute(name: str) -> str:
    folder = catalogue.folder_named(name)
    return str(folder.resolve()) if folder else name
