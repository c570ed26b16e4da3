"""The door: python -m kd_lab.export RUN [format=…] [name=value ...]: a finished classifier for other programs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kd_lab import doors, finished, memory, terminal
from kd_lab.export import making
from kd_lab.export.record import Export, ExportOptions
from kd_lab.finished import Finished
from kd_lab.sections import Section

USAGE = """A finished student or teacher as files that other programs load, each checked against the original.

python -m kd_lab.export RUN [name=value ...]

RUN          a run's folder (its student), one of its teachers/ folders, any model folder, a name or a hub id
format=      some of folder,onnx,int8 (default: all): a folder of transformers, ONNX, ONNX in 8 bits
rows=        compared with the original: 2000, test rows first, then validation and train
difference=  1e-4: the largest that a logit may differ by in a folder or in ONNX, else it is refused
points=      0.5: the percentage points of accuracy that int8 may lose, else it is refused
upload=      ORGANISATION/NAME on the model hub; shows what it would send, and asks
yes=true     sends without asking; private=false makes a new repository there public

Every other word of kd_lab.run is understood as well, such as data=, output_dir= and force=true.
Size and speed in a table: python -m kd_lab.export.speed"""


class Sending(Section):
    """Where to, whether that was settled before, and whether a repository that is made there is private."""

    upload: Annotated[str, Field(pattern=r"^[\w.-]{1,96}/[\w.-]{1,96}$")] | None = None
    yes: bool = False
    private: bool = True


@dataclass(frozen=True)
class Request:
    """What is asked for, and the words that ask."""

    finished: Finished
    order: ExportOptions
    sending: Sending
    words: tuple[str, ...]


def main() -> None:
    """Read the command line, make the export, say how it compares, and send it where that is asked for."""
    doors.opened(USAGE, lambda words: carry_out(read(words)), empty=False)


def read(words: Sequence[str]) -> Request:
    """The request that the words of a command line make.

    Raises:
        UserError: for a bad word, a folder without a classifier, or a package that is not there.
    """
    order, rest = doors.own(ExportOptions, words)
    sending, rest = doors.own(Sending, rest)
    (name,), given = doors.named(rest, "one run", 1)
    # What the weights are compared in: products in fewer bits would differ by more than the formats do.
    found = finished.find(name, [*given, "precision=float32"], writes=True)
    making.refuse_missing(order.format)
    return Request(
        found, order, sending, tuple(word for word in words if word.partition("=")[0] not in Sending.model_fields)
    )


def carry_out(request: Request) -> None:
    """Make, tell, send.

    Raises:
        SystemExit: with 1, if a format strays too far from the original.
    """
    memory.keep_freed()
    folder, export = making.make(request.finished, request.order, request.words)
    tell(folder, export)
    if request.sending.upload:
        from kd_lab.export import sending

        sending.send(folder, request.sending.upload, settled=request.sending.yes, private=request.sending.private)
    if refused := [f"{w.format} {w.refused}: removed" for w in export.weights if w.refused]:
        terminal.complain("; ".join(refused))
        sys.exit(1)


def tell(folder: Path, export: Export) -> None:
    """A line per format."""
    table = terminal.ruled(["format"], ["MB", "difference", "accuracy %", "before %", "same label %"])
    for w in export.weights:
        shares = [f"{100 * share:.2f}" for share in (w.accuracy, export.accuracy, w.agreement)]
        name = f"{w.format}, refused" if w.refused else w.format
        table.add_row(name, f"{w.bytes / 1e6:.1f}", f"{w.difference:.1e}", *shares)
    terminal.console.print(table)
    terminal.say(f"the export is in {folder}, with its card README.md and its figures export.json")


if __name__ == "__main__":
    main()
