"""The door: python -m kd_lab.report [FOLDER] [name=value ...]: tables, tests and pictures of all runs in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kd_lab import doors, files, terminal
from kd_lab.errors import UserError
from kd_lab.sections import Section

if TYPE_CHECKING:
    from kd_lab.report.figures import Figures
    from kd_lab.report.gathering import Gathered

USAGE = """All runs of a folder in one report: means over seeds, differences with tests, costs, pictures.

python -m kd_lab.report [FOLDER] [name=value ...]

FOLDER      holds runs, or is a sweep's in outputs/sweeps; outputs, if none is named
baseline=   what settings are compared with: a method (kd, if there is one), or words of one setting's label
split=      test (default) or rest: the rows that the tests are made on
keep=       a folder for what this report needs of the runs: small, without sentences, fit to be committed
smaller=    largest (default): times smaller than the largest teacher of the run; mean: than the mean of all teachers

The report is in FOLDER/report: report.html, report.md, report.csv and report.tex."""
FOLDER = "report"
PLACE = "outputs"


class Ways(Section):
    """The door's own words."""

    baseline: str | None = None
    split: Literal["test", "rest"] = "test"
    keep: Path | None = None
    smaller: Literal["largest", "mean"] = "largest"
    debug: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked for of which folder."""

    folder: Path
    ways: Ways


def main() -> None:
    """Read the command line, gather, compare, print the tables and write the files."""
    doors.opened(USAGE, lambda words: report(read(words)))


def read(words: Sequence[str]) -> Request:
    """The request that the words of a command line make.

    Raises:
        UserError: for a word that is none.
    """
    folders, settings = doors.named(words, "one folder")
    ways, unknown = doors.own(Ways, settings)
    for word in unknown:
        name = word.partition("=")[0]
        raise UserError(f"{word}: there is no setting {name}; choose one of {', '.join(Ways.model_fields)}")
    return Request(Path(folders[0] if folders else PLACE), ways)


def compare(request: Request) -> "tuple[Gathered, list[list[Figures]]]":
    """The settings of the folder, in groups, and the figures of each.

    Raises:
        UserError: if there is no run, or none of what the tests ask for.
    """
    from kd_lab.report import baselines, gathering

    gathered, ways = gathering.gather(request.folder), request.ways
    chosen = baselines.choose(gathered.groups, ways.baseline, gathered.notes)
    _refuse_unknown(ways.split, gathered)
    # Seconds of imports, after what can be refused.
    from kd_lab.report import comparing, figures

    compared = [comparing.compare(g.settings, b, ways.split) for g, b in zip(gathered.groups, chosen, strict=True)]
    pairs = zip(gathered.groups, compared, strict=True)
    return gathered, [figures.of(group, those, ways.split, ways.smaller == "mean") for group, those in pairs]


def report(request: Request) -> Path:
    """Make it; the folder it is in."""
    gathered, found = compare(request)
    split, place = request.ways.split, request.ways.keep
    from kd_lab.report import exported, gallery, keeping, page, published, rendering, tables

    own = [tables.of(g, f, split, request.ways.smaller == "mean") for g, f in zip(gathered.groups, found, strict=True)]
    known = published.load() if any(group.name == published.DATA for group in gathered.groups) else ()
    exports = exported.find(request.folder, gathered)
    in_files = exported.figures(exports)
    of_files = [tables.of_exports(in_files)] if exports else []
    printed = [tables.of_published(known)] if known else []
    lists = [("note", gathered.notes), ("warning", tables.warnings(gathered))]
    title = f"Report on {len(gathered.runs)} runs in {request.folder.resolve().name}"
    if place:
        keeping.keep(gathered.runs, place)
        terminal.say(f"{len(gathered.runs)} runs are kept in {place}")
    folder = request.folder / FOLDER
    folder.mkdir(exist_ok=True)
    every = [*(table for group in own for table in group), *of_files]
    files.write_whole(folder / "report.md", rendering.markdown(title, [*every, *printed], lists))
    rows = tables.csv_rows([f for group in found for f in group], in_files, known)
    files.write_whole(folder / "report.csv", rendering.comma_separated(rows))
    files.write_whole(folder / "report.tex", rendering.latex([*every, *printed]))
    rendering.show(every, lists)
    drawn = [gallery.draw(g, split) for g in gathered.groups]
    others = [*((table, exported.draw(exports)) for table in of_files), *((table, []) for table in printed)]
    files.write_whole(folder / "report.html", page.write(title, own, drawn, others, lists))
    terminal.say(f"the report is in {folder}: report.html, report.md, report.csv, report.tex")
    return folder


def _refuse_unknown(split: str, gathered: "Gathered") -> None:
    if split != "test" and not any(split in run.answers for run in gathered.runs):
        raise UserError(f"split={split}: no run has predictions/{split}.csv; choose split=test")


if __name__ == "__main__":
    main()
