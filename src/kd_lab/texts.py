"""Texts out of lines, CSV or JSONL, one at a time, with the lines they stand on."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import BinaryIO, TypeVar

from kd_lab.errors import UserError

T = TypeVar("T")
TABLES = {".csv": ",", ".tsv": "\t"}
NOT_LINES = {".json", ".parquet", ".xlsx", ".gz", ".zip"}
LONGEST_CELL = 2**31 - 1  # characters; the csv module's own limit is 131,072
SECONDS_OF_SILENCE = 0.2


@dataclass(frozen=True)
class NumberedText:
    """A text and the number of the line it begins on, from 1."""

    number: int
    text: str


class Source:
    """Reads a file or standard input.

    Args:
        path: of a .csv, .tsv or .jsonl file, or of any other whose lines are texts; None for standard input's lines.
        column: that holds the text, in CSV and JSONL.

    Attributes:
        size: of the file in bytes; None where it cannot be known.
        read: bytes read so far.

    Raises:
        UserError: for a file that is not there, or holds no lines.
    """

    def __init__(self, path: Path | None, column: str):
        self.path, self.column, self.read = path, column, 0
        self.name = str(path) if path else "standard input"
        self.suffix = path.suffix.lower() if path else ""
        if path and (not path.exists() or path.is_dir()):
            raise UserError(f"{path}: there is no such file of texts; - is standard input")
        if self.suffix in NOT_LINES:
            raise UserError(f"{path}: cannot read {self.suffix}; give lines, .csv, .tsv or .jsonl")
        self.size = path.stat().st_size if path and path.is_file() else None

    def __iter__(self) -> Iterator[NumberedText]:
        """Every text, in order.

        Raises:
            UserError: for what is not UTF-8, no table, no object of JSON, or lacks the column.
        """
        # A duplicate: what Python itself has open must not be busy when the program ends.
        with self.path.open("rb") if self.path else os.fdopen(os.dup(0), "rb") as stream:
            if self.suffix in TABLES:
                yield from self._rows(stream)
            elif self.suffix == ".jsonl":
                yield from self._objects(stream)
            else:
                for number, line in self._lines(stream):
                    yield NumberedText(number, line.removesuffix("\n").removesuffix("\r"))

    def _lines(self, stream: BinaryIO) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(stream, 1):
            self.read += len(line)
            try:
                # -sig: some editors begin a file with a mark.
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{self.name}, line {number} is not UTF-8: save it as UTF-8") from error

    def _rows(self, stream: BinaryIO) -> Iterator[NumberedText]:
        csv.field_size_limit(LONGEST_CELL)
        table = csv.reader((line for _, line in self._lines(stream)), delimiter=TABLES[self.suffix])
        begins = 0
        try:
            titles = next(table, [])
            if self.column not in titles:
                raise UserError(f"text={self.column}: {self.name} has no such column; it has {', '.join(titles)}")
            place = titles.index(self.column)
            begins = table.line_num
            for row in table:
                if row:  # an empty line is no row
                    yield NumberedText(begins + 1, row[place] if place < len(row) else "")
                begins = table.line_num
        except csv.Error as error:
            raise UserError(f"{self.name}, line {begins + 1} is no row of a table: {error}") from error

    def _objects(self, stream: BinaryIO) -> Iterator[NumberedText]:
        for number, line in self._lines(stream):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{self.name}, line {number} is not JSON: {error}") from error
            if not isinstance(found, dict) or self.column not in found:
                has = f"; it has {', '.join(found)}" if isinstance(found, dict) else ""
                raise UserError(
                    f"{self.name}, line {number} is no object with {self.column!r}{has}: name it with text="
                )
            value = found[self.column]
            yield NumberedText(number, value if isinstance(value, str) else "" if value is None else str(value))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """All ``items`` in order, up to ``size`` at a time; fewer where the next one is slow to come.

    They are read ahead in a thread; what that raises is raised here, after all that came before it.
    """
    queue: Queue[T | BaseException | None] = Queue(2 * size)
    done = Event()

    def put(item: T | BaseException | None) -> None:
        while not done.is_set():
            with suppress(Full):
                queue.put(item, timeout=SECONDS_OF_SILENCE)
                return

    def read() -> None:
        try:
            for item in items:
                put(item)
                if done.is_set():
                    return
        except BaseException as error:
            put(error)
        else:
            put(None)

    Thread(target=read, daemon=True).start()
    try:
        yield from _gathered(queue, size)
    finally:
        done.set()


def _gathered(queue: "Queue[T | BaseException | None]", size: int) -> Iterator[list[T]]:
    gathered: list[T] = []
    while True:
        try:
            item = queue.get(timeout=SECONDS_OF_SILENCE) if gathered else queue.get()
        except Empty:
            yield gathered
            gathered = []
            continue
        if item is None or isinstance(item, BaseException):
            if gathered:
                yield gathered
            if item is not None:
                raise item
            return
        gathered.append(item)
        if len(gathered) == size:
            yield gathered
            gathered = []
