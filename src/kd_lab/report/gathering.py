"""From a folder to settings: all runs that differ in their seed only are one setting, one row of a table."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_lab import naming, outcomes, results
from kd_lab.errors import UserError
from kd_lab.report import runs
from kd_lab.report.runs import Run


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed only, in the order of their seeds, under a label that no other table row has."""

    label: str
    runs: Sequence[Run]

    @property
    def first(self) -> Run:
        """Any of them: for what they have in common."""
        return self.runs[0]

    @property
    def method(self) -> str:
        """Its name."""
        return self.first.result.method

    @property
    def models(self) -> tuple[str, tuple[str, ...]]:
        """Student and teachers."""
        return self.first.student, self.first.teachers


@dataclass(frozen=True)
class Group:
    """Settings that can be compared, since their rows are the same.

    Attributes:
        name: of the data.
        digest: of their content.
        sizes: of each split, in rows.
        settings: rows of the table.
    """

    name: str
    digest: str
    sizes: dict[str, int]
    settings: Sequence[Setting]

    @property
    def title(self) -> str:
        """Data in words, with the head of the digest."""
        return f"{self.name}, data {self.digest[:8]}"


@dataclass
class Gathered:
    """Groups, the one with most runs first, and lines about what is in none of them or should be known of them."""

    groups: list[Group] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [run for group in self.groups for setting in group.settings for run in setting.runs]


def gather(folder: Path) -> Gathered:
    """All runs below ``folder``: of an output folder, or of a sweep's.

    Raises:
        UserError: if there is no finished run.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; name one that holds runs")
    if (folder / results.FILE).is_file():
        raise UserError(f"{folder} is a single run; name the folder that holds it: {folder.absolute().parent}")
    gathered = Gathered()
    found = [run for path in _folders(folder, gathered.notes) if (run := _read(path, gathered.notes))]
    if not found:
        seen = f" ({'; '.join(gathered.notes[:3])})" if gathered.notes else ""
        raise UserError(f"{folder} holds no finished run{seen}; runs are made by python -m kd_lab.run")
    by_digest: dict[str, list[Run]] = defaultdict(list)
    for run in found:
        by_digest[run.result.data.digest].append(run)
    for those in sorted(by_digest.values(), key=len, reverse=True):
        gathered.groups.append(_group(those, gathered.notes))
    for group in gathered.groups[1:]:
        count = sum(len(setting.runs) for setting in group.settings)
        gathered.notes.append(f"not comparable, other rows than most: {group.title} ({_of(count)}); a table of its own")
    return gathered


def _of(count: int) -> str:
    return f"{count} runs" if count > 1 else "1 run"


def _folders(folder: Path, notes: list[str]) -> Iterator[Path]:
    """Of runs; in a sweep's folder those that its jobs found or made."""
    if not (folder / outcomes.SWEEP).is_file():
        yield from sorted(path for path in folder.iterdir() if path.is_dir())
        return
    for outcome in outcomes.outcomes(folder):
        if outcome.folder:
            yield outcome.folder
        else:
            notes.append(f"failed: job {outcome.number + 1} ({' '.join(outcome.words)}): {outcome.error}")


def _read(folder: Path, notes: list[str]) -> Run | None:
    if folder.name.endswith(".unfinished"):
        notes.append(f"unfinished: {folder.name}")
        return None
    if not (folder / results.FILE).is_file():
        # Sweeps, evaluations and benches have folders beside the runs.
        if (folder / results.SETTINGS).is_file():
            notes.append(f"no result: {folder.name}")
        return None
    if not (run := runs.find(folder)):
        notes.append(f"cannot be read: {folder.name}")
    return run


def _group(found: Sequence[Run], notes: list[str]) -> Group:
    """The settings of runs on the same rows."""
    by_setting: dict[str, dict[int, Run]] = defaultdict(dict)
    for run in sorted(found, key=_age):
        key = repr(sorted(run.decides.items(), key=lambda pair: pair[0]))
        if older := by_setting[key].get(run.result.seed):
            notes.append(f"two runs of one setting and seed, the later counts: not {older.result.folder.name}")
        by_setting[key][run.result.seed] = run
    ordered = [[run for _, run in sorted(seeds.items())] for seeds in by_setting.values()]
    ordered.sort(key=lambda same: (same[0].result.method, same[0].teachers, same[0].student))
    data = found[0].result.data
    settings = [Setting(label, same) for label, same in zip(_labels([s[0] for s in ordered]), ordered, strict=True)]
    return Group(data.name, data.digest, data.sizes, settings)


def _age(run: Run) -> tuple[float, str]:
    return (run.result.folder / results.FILE).stat().st_mtime, run.result.folder.name


def _labels(found: Sequence[Run]) -> list[str]:
    """One per setting: what it is, and whatever tells it from those that are called the same."""
    names = [_name(run) for run in found]
    labels = []
    for name, run in zip(names, found, strict=True):
        alike = [other.decides for other, called in zip(found, names, strict=True) if called == name]
        every = sorted({key for decides in alike for key in decides})
        differ = [key for key in every if len({repr(decides.get(key)) for decides in alike}) > 1]
        labels.append(", ".join([name, *(f"{key}={_value(run.decides.get(key))}" for key in differ)]))
    return [
        f"{label} ({labels[:i].count(label) + 1})" if Counter(labels)[label] > 1 else label
        for i, label in enumerate(labels)
    ]


def _name(run: Run) -> str:
    who = naming.pair(run.teachers, run.student)
    return ", ".join([f"{run.result.method}: {who}", *naming.extras(run.result.noise, run.result.warmup_epochs)])


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
