"""The door: python -m kd_lab.predict RUN [FILE] [name=value ...]: what a finished classifier says of any texts."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

from rich.console import Console
from rich.progress import Progress

from kd_lab import doors, finished, memory, streams, terminal, texts
from kd_lab.errors import UserError
from kd_lab.finished import Finished
from kd_lab.sections import Section, Text
from kd_lab.texts import NumberedText, Source

if TYPE_CHECKING:
    from kd_lab.predicting import Predictor

USAGE = """What a finished student or teacher says of any texts: a line of JSON each, in their order.

python -m kd_lab.predict RUN [FILE] [name=value ...]

RUN         a run's folder (its student), one of its teachers/ folders, any model folder, a name or a hub id
FILE        .csv, .tsv or .jsonl, or any file whose lines are texts; - or none: the lines of standard input
text=       the column of the texts in CSV and JSONL: text, if none is named
output=     a file for the answers instead of standard output

Every other word of kd_lab.run is understood as well, such as precision= and batch_size=."""
BATCHES_TOGETHER = 50
"""Of them the texts are sorted by length."""


class Ways(Section):
    """The door's own words."""

    text: Text = "text"
    output: Path | None = None


@dataclass(frozen=True)
class Request:
    """Who is asked about what, and where the answers go; None is standard output."""

    finished: Finished
    source: Source
    output: Path | None


def main() -> None:
    """Read the command line, and answer line by line."""
    doors.opened(USAGE, lambda words: answer(read(words)), empty=False)


def read(words: Sequence[str]) -> Request:
    """The request that the words of a command line make.

    Raises:
        UserError: for a bad word, a folder without a classifier, or a file without texts.
    """
    ways, rest = doors.own(Ways, words)
    names, given = doors.named(rest, "one run, at most one file", 1, 2)
    path = Path(names[1]) if names[1:] and names[1] != "-" else None
    source = Source(path, ways.text)
    if path and ways.output and ways.output.exists() and ways.output.samefile(path):
        raise UserError(f"output={ways.output}: holds the texts; name another file")
    # What pipelines of other libraries compute in, so that the answers are theirs.
    return Request(finished.find(names[0], ["precision=float32", *given]), source, ways.output)


def answer(request: Request) -> None:
    """Write a line of JSON per text; a reader that has seen enough ends it quietly."""
    memory.keep_freed()
    if request.source.path is None and sys.stdin is not None and sys.stdin.isatty():
        streams.err.write("kd_lab: type sentences, one a line; Ctrl-D ends\n")
    # Seconds of imports, after everything that can be refused.
    from kd_lab.predicting import Predictor

    predictor, count = Predictor(request.finished), 0
    try:
        with _opened(request.output) as out, _bar(request) as advance:
            for rows in answers(predictor, request.source):
                out.write("".join(rows))
                out.flush()
                count += len(rows)
                advance()
    except BrokenPipeError:
        return
    if request.output:
        terminal.say(f"{count:,} labels are in {request.output}")


def answers(predictor: "Predictor", lines: Iterable[NumberedText]) -> Iterator[list[str]]:
    """Some at a time, a line of JSON for each of ``lines``: its number, text, label, and each label's probability."""
    for chunk in texts.chunks(lines, BATCHES_TOGETHER * predictor.settings.batch_size):
        probabilities = predictor.logits([line.text for line in chunk]).softmax(dim=-1)
        yield [_json(predictor, line, row) for line, row in zip(chunk, probabilities.tolist(), strict=True)]


def _json(predictor: "Predictor", line: NumberedText, row: Sequence[float]) -> str:
    names = predictor.label_names
    each = {name: round(p, 6) for name, p in zip(names, row, strict=True)}
    found = {"line": line.number, "text": line.text, "label": names[row.index(max(row))], "probability": each}
    text = json.dumps(found, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON spells with letters
        text = json.dumps(found)
    return text + "\n"


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield streams.bare()
        return
    with output.open("w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def _bar(request: Request) -> Iterator[Callable[[], None]]:
    """A bar for a person who sees no answers go by; what is called after some of them."""
    shown = streams.err.isatty() and (request.output is not None or not streams.out.isatty())
    console, source = Console(file=cast(IO[str], streams.err)), request.source
    with Progress(console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task("answers", total=source.size)
        yield lambda: bar.update(task, completed=source.read)


if __name__ == "__main__":
    main()
