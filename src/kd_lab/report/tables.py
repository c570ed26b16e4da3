"""The report's tables: which figures stand in which column, and how they are joined to a cell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kd_lab.report import figures
from kd_lab.report.figures import Figures
from kd_lab.report.gathering import Gathered, Group
from kd_lab.report.published import Published

Columns = dict[str, tuple[str, ...]]
"""Heading: parts of a cell; a part whose figures are not all known is left out."""

RESULTS: Columns = {
    "#": ("{number}",),
    "setting": ("{setting}",),
    "seeds": ("{seeds}",),
    "test %": ("{test}", " ± {test deviation}"),
    "95% interval": ("[{test low}, {test high}]",),
    "validation %": ("{validation}", " ± {validation deviation}"),
    "test loss": ("{test loss}", " ± {test loss deviation}"),
    "difference": ("{difference}", " [{low}, {high}]"),
    "p (Holm)": ("{p holm}",),
    "published %": ("{published}",),
}
REST: Columns = {
    "#": ("{number}",),
    "setting": ("{setting}",),
    "seeds": ("{rest seeds}",),
    "rest %": ("{rest}", " ± {rest deviation}"),
    "95% interval": ("[{rest low}, {rest high}]",),
    "rest loss": ("{rest loss}", " ± {rest loss deviation}"),
}
SUMMARY: Columns = {
    "setting": ("{setting}",),
    "seeds": ("{seeds}",),
    "rest %": ("{rest}", " ± {rest deviation}"),
    "test %": ("{test}", " ± {test deviation}"),
    "validation %": ("{validation}", " ± {validation deviation}"),
    "rest loss": ("{rest loss}",),
    "test loss": ("{test loss}",),
    "parameters": ("{parameters}",),
    "times smaller": ("{times smaller}",),
    "seconds": ("{seconds}",),
}
TESTS: Columns = {
    "#": ("{number}",),
    "setting": ("{setting}",),
    "minus": ("# {against number}",),
    "n": ("{seeds in common}",),
    "difference": ("{difference}",),
    "95% t interval": ("[{low}, {high}]",),
    "detectable": ("{detectable}",),
    "p": ("{p}",),
    "p (Holm)": ("{p holm}",),
    "95% over rows too": ("[{over rows low}, {over rows high}]",),
    "McNemar p by seed": ("{mcnemar}",),
    "only baseline : only setting right": ("{only baseline, only setting}",),
}
COSTS: Columns = {
    "#": ("{number}",),
    "setting": ("{setting}",),
    "teachers %": ("{teachers before}", " → {teachers after}"),
    "parameters": ("{parameters}",),
    "times smaller": ("{times smaller}",),
    "ms a sentence": ("{milliseconds}",),
    "seconds": ("{seconds}",),
    "warnings": ("{warnings}",),
}
LEARNING: Columns = {
    "#": ("{number}",),
    "setting": ("{setting}",),
    "quiz loss": ("{quiz loss before}", " → {quiz loss}"),
    "gradient norm": ("{gradient norm}",),
    "cosine": ("{gradient cosine}",),
    "cosine's size": ("{gradient cosine size}",),
    "teachers moved %": ("{teachers moved}",),
    "teachers' test loss": ("{teachers loss before}", " → {teachers loss after}"),
}
EXPORTS: Columns = {
    "export": ("{setting}",),
    "format": ("{format}",),
    "MB": ("{megabytes}",),
    "of folder": ("{of folder}",),
    "accuracy %": ("{exported}",),
    "minus original": ("{exported difference}",),
    "same label %": ("{same label}",),
    "largest logit difference": ("{largest logit difference}",),
    "on rows": ("{exported rows}",),
    "refused": ("{refused}",),
}
PUBLISHED: Columns = {
    "system": ("{setting}",),
    "published %": ("{published}",),
    "rows": ("{published split}",),
    "parameters": ("{published parameters}",),
    "times smaller": ("{published times smaller}",),
    "source": ("{published source}",),
}
LEARNING_NOTE = (
    "Means over all that was logged, and over seeds. Quiz loss: the student's on a quiz batch, without → with the "
    "assumed step that the teachers learn from; where it rises, that step is too long. Gradient: of the teachers, with "
    "their label loss; its norm, and its cosine with the one before, as it is and without its sign: where that is "
    "far larger, teachers are pushed to and fro. Moved: their weights, in % of their length. Test loss: before the "
    "distillation → at the student's best epoch."
)
WORDS = {"setting", "system", "source", "rows", "export", "format", "refused"}
"""Headings of columns that hold words."""


@dataclass(frozen=True)
class Table:
    """A heading, columns and cells, and lines below; nothing in it is escaped yet."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    below: Sequence[str] = ()


def of(group: Group, found: Sequence[Figures], split: str, mean: bool) -> list[Table]:
    """Results, tests and costs of a group, first what is on ``split``; without the tests where nothing is compared."""
    large = [f for f in found if "rest" in f]
    compared = any("against" in f for f in found)
    note = _results_note(group, found, split if compared else None)
    tables = [_table(f"Results on {group.title}", RESULTS, found, note)]
    if large:
        note = f"On rest.csv, the rows that no split has touched. {_means_note(large, 'rest')}"
        tables.insert(0 if split == "rest" else 1, _table(f"Large holdout of {group.title}", REST, large, note))
    if compared:
        tables.append(tests(group, found, split))
    if learned := [f for f in found if "teachers moved" in f]:
        tables.append(_table(f"How the teachers learned on {group.title}", LEARNING, learned, LEARNING_NOTE))
    tables.append(_table(f"Teachers and costs on {group.title}", COSTS, found, _costs_note(group, mean)))
    return tables


def tests(group: Group, found: Sequence[Figures], split: str) -> Table:
    """The tests of those settings that are compared with another."""
    tested = [f for f in found if "against" in f]
    return _table(f"Tests on the {split} split of {group.title}", TESTS, tested, _tests_note(tested, split))


def summary(group: Group, found: Sequence[Figures]) -> Table:
    """Accuracy and size, as the reference slides have them: what most readers want to see first."""
    note = f"{_deviation_note(found, 'test')} Seconds are of training with all tests."
    return _table(f"Accuracy and size on {group.title}", SUMMARY, found, note)


def _results_note(group: Group, found: Sequence[Figures], compared_on: str | None) -> str:
    rows = f"{group.sizes.get('test', 0):,} test rows, {group.sizes.get('validation', 0):,} validation rows"
    differences = f" The difference to the baseline in points, on the {compared_on} split." if compared_on else ""
    return f"{rows}. {_means_note(found, 'test')}{differences}"


def _means_note(found: Sequence[Figures], part: str) -> str:
    """What stands in the cells: of one seed there is no deviation, of two no interval."""
    interval = ", 95% t interval of the mean" if any(f"{part} low" in f for f in found) else ""
    return _deviation_note(found, part, interval)


def _deviation_note(found: Sequence[Figures], part: str, interval: str = "") -> str:
    many = any(f"{part} deviation" in f for f in found)
    return f"Mean ± standard deviation over seeds{interval}." if many else "One seed each."


def _tests_note(tested: Sequence[Figures], split: str) -> str:
    on = {(f["rows"], f["clusters"]) for f in tested if "rows" in f}
    count = sum("p holm" in f for f in tested)
    values = "p-value" if count == 1 else "p-values"
    counted = "; ".join(f"{rows} rows in {clusters} clusters" for rows, clusters in sorted(on)) or "no predictions"
    nested = any(f["rows"] != f["clusters"] for f in tested if "rows" in f)
    takes = ", which takes rows of one sentence for independent and is too sure where they are not" if nested else ""
    return (
        f"On the {split} split. The test of record is the paired t-test over the n seeds in common; Holm's correction "
        f"is over the {count} {values} of this table. McNemar's exact test for each seed{takes}, "
        f"and the interval for other seeds and other clusters of rows: {counted}."
    )


def _costs_note(group: Group, mean: bool) -> str:
    names = ", ".join(figures.teachers_sizes(group))
    against = f"the mean of the table's teachers ({names})" if mean else "the largest teacher of its run"
    return (
        "Teachers' test accuracy before the distillation → at the student's best epoch. Times smaller: against "
        f"{against}. Seconds of training with all tests, and milliseconds a sentence, are means over seeds."
    )


def of_published(known: Sequence[Published]) -> Table:
    """Figures of others: other rows, other splits, mostly one run."""
    found = [figures.of_published(entry) for entry in known]
    note = "Published by others on SST-2, on other rows than the runs above, mostly one run each: for orientation only."
    return _table("Published figures", PUBLISHED, found, note)


def of_exports(found: Sequence[Figures]) -> Table:
    """Files for other programs: what they weigh and answer."""
    note = "Each beside its original, on the rows it was checked on (python -m kd_lab.export)."
    return _table("Exports", EXPORTS, found, note)


def csv_rows(found: Sequence[Figures], exports: Sequence[Figures], known: Sequence[Published]) -> list[list[str]]:
    """One row per setting, export and published figure, one column per figure, under a row of their names."""
    every = [{"kind": "own", **f} for f in found] + [{"kind": "export", **f} for f in exports]
    every += [{"kind": "published", **figures.of_published(entry)} for entry in known]
    names = list(dict.fromkeys(name for row in every for name in row))
    return [names, *([row.get(name, "") for name in names] for row in every)]


def warnings(gathered: Gathered) -> list[str]:
    """One line per warning: in how many runs of which settings, by their number in the table."""
    said: dict[str, list[str]] = {}
    for group in gathered.groups:
        of = f" of {group.title}" if len(gathered.groups) > 1 else ""
        for number, setting in enumerate(group.settings, 1):
            for warning, count in figures.warnings(setting).items():
                said.setdefault(warning, []).append(f"# {number}{of} ({count} of {len(setting.runs)} runs)")
    return [f"{warning}: {', '.join(places)}" for warning, places in said.items()]


def _table(title: str, columns: Columns, found: Sequence[Figures], below: str) -> Table:
    """Columns in which no row has anything are left out."""
    cells = {heading: [_cell(parts, f) for f in found] for heading, parts in columns.items()}
    kept = [heading for heading in cells if any(cells[heading])]
    return Table(title, kept, list(zip(*(cells[heading] for heading in kept), strict=True)), (below,))


def _cell(parts: Sequence[str], found: Figures) -> str:
    known = [part for part in parts if all(name in found for name in re.findall(r"{([^}]*)}", part))]
    return "".join(part.format_map(found) for part in known)
