"""Where rows come from: the hub, files, a package, or the toy grammar. Rows know nothing of splits or models."""

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from kd_lab import downloads, quiet, splits, toy
from kd_lab.errors import UserError
from kd_lab.settings import Data
from kd_lab.splits import Splits

SENTIMENT = ("negative", "positive")
SST2_FILES = ("train.tsv", "dev.tsv")
VADER = "vaderSentiment==3.3.2"
VADER_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
LEAST_RATING = 0.5  # a mean rating nearer to zero than this says neither negative nor positive


@dataclass(frozen=True)
class Rows:
    """Labelled texts.

    Attributes:
        texts: the sentences, as they came.
        labels: one per text, an index into ``label_names``.
        label_names: what the labels are called.
        validation: the rows that the source itself sets apart for validation, always the last ones; or None.
        empty: how many rows were left out for an empty text or label.
    """

    texts: Sequence[str]
    labels: Sequence[int]
    label_names: tuple[str, ...]
    validation: range | None = None
    empty: int = 0


def load(data: Data) -> Rows:
    """The rows that the settings ask for; what is missing is downloaded once and kept.

    Raises:
        UserError: if they cannot be had, or are not what they should be.
    """
    rows = {"sst2": _sst2, "files": _files, "snippets": _snippets, "toy": _toy}[data.name](data)
    if len(rows.label_names) < 2:
        raise UserError(f"data={data.name} has the one label {rows.label_names}; a classifier needs at least two")
    return rows


def cut(rows: Rows, data: Data) -> Splits:
    """Which of ``rows`` are train, quiz, validation and test, as ``data`` has it: :func:`kd_lab.splits.cut`."""
    return splits.cut(rows.texts, rows.labels, data.sizes, data.holdout, data.seed, rows.validation)


def load_and_cut(data: Data) -> tuple[Rows, Splits]:
    """The rows that ``data`` names and how they are split.

    Raises:
        UserError: as :func:`load` and :func:`cut` do.
    """
    rows = load(data)
    return rows, cut(rows, data)


def stamp(path: Path | None) -> tuple[object, ...]:
    """Names, sizes and times of the files at ``path``: another stamp, another content."""
    files = sorted(path.iterdir()) if path and path.is_dir() else [path] if path and path.is_file() else []
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def _toy(data: Data) -> Rows:
    texts, labels = toy.sentences(data.rows)
    return Rows(texts, labels, SENTIMENT)


def _sst2(data: Data) -> Rows:
    parts = [_glue_file(data.path / name) for name in SST2_FILES] if data.path else _glue_hub()
    (train, train_labels), (dev, dev_labels) = parts
    return Rows(train + dev, train_labels + dev_labels, SENTIMENT, range(len(train), len(train) + len(dev)))


def _glue_file(path: Path) -> tuple[list[str], list[int]]:
    text = _read(path, f"data.path must be a folder with GLUE's {' and '.join(SST2_FILES)}")
    # Quotation marks are words here, not quoting; and the csv module knows a longest cell.
    lines = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line]
    names = lines[0][1] if lines else []
    texts, labels = [], []
    for number, cells in lines[1:]:
        row = dict(zip(names, cells, strict=False))
        if not row.get("sentence") or row.get("label") not in {"0", "1"}:
            said = f"label {row.get('label')!r}; a line is sentence<TAB>label, the label 0 or 1"
            raise UserError(f"{path}, line {number}: {said}")
        texts.append(row["sentence"])
        labels.append(int(row["label"]))
    return texts, labels


def _glue_hub() -> list[tuple[list[str], list[int]]]:
    folder = downloads.from_hub("nyu-mll/glue", ["sst2/train-*.parquet", "sst2/validation-*.parquet"], kind="dataset")
    parts = []
    for split in ("train", "validation"):
        files = sorted(str(path) for path in (folder / "sst2").glob(f"{split}-*.parquet"))
        if not files:
            raise UserError(
                f"the data set nyu-mll/glue on the hub has no sst2/{split}-*.parquet; give data.path=FOLDER"
            )
        columns = _columns("parquet", files)
        parts.append(([str(text) for text in columns["sentence"]], [int(str(label)) for label in columns["label"]]))
    return parts


def _snippets(data: Data) -> Rows:
    archive = downloads.from_pip(VADER, VADER_SHA256, source=True)
    package = VADER.replace("==", "-")
    try:
        with tarfile.open(archive) as outer:
            inner = io.BytesIO(_member(outer, f"{package}/additional_resources/hutto_ICWSM_2014.tar.gz"))
            with tarfile.open(fileobj=inner) as resources:
                text = _member(resources, "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").decode("utf-8")
    except (tarfile.TarError, EOFError, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"{archive} does not hold the sentences of {VADER} ({error}): delete it") from error
    fields = [line.split("\t", 2) for line in text.splitlines() if line]
    rated = [(sentence.strip(), float(rating)) for _, rating, sentence in fields]
    clear = [(sentence, int(rating > 0)) for sentence, rating in rated if abs(rating) >= LEAST_RATING]
    return Rows([sentence for sentence, _ in clear], [label for _, label in clear], SENTIMENT)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """One file's content, in memory: nothing is unpacked, so no name or link can lead out of a folder."""
    if not (member := archive.getmember(name)).isreg():
        raise KeyError(f"{name} is no plain file")
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


READERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def _files(data: Data) -> Rows:
    path = data.path
    if path is None or not path.is_file():
        raise UserError(f"data.path={path}: there is no such file; data=files reads a {', '.join(READERS)} file")
    if path.suffix.lower() not in READERS:
        raise UserError(
            f"data.path={path}: cannot read {path.suffix or 'it without an ending'}; choose one of {', '.join(READERS)}"
        )
    columns = _columns(READERS[path.suffix.lower()], [str(path)], tabs=path.suffix.lower() == ".tsv")
    for setting, column in (("text", data.text), ("label", data.label)):
        if column not in columns:
            raise UserError(f"data.{setting}={column}: {path.name} has no such column; it has {', '.join(columns)}")
    every = [(_name(text), _name(label)) for text, label in zip(columns[data.text], columns[data.label], strict=True)]
    pairs = [(text, label) for text, label in every if text.strip() and label.strip()]
    names = tuple(sorted({label for _, label in pairs}, key=lambda name: (len(name) * name.isdigit(), name)))
    if len(names) > max(10, len(pairs) // 2):
        raise UserError(
            f"data.label={data.label}: {len(names)} labels on {len(pairs)} rows; is that the label's column?"
        )
    index = {name: i for i, name in enumerate(names)}
    labels = [index[label] for _, label in pairs]
    return Rows([text for text, _ in pairs], labels, names, empty=len(every) - len(pairs))


def _name(cell: object) -> str:
    # Whole numbers stay whole where an empty cell made floats of the column.
    whole = isinstance(cell, float) and cell.is_integer()
    return "" if cell is None else str(int(cell) if whole else cell)  # type: ignore[call-overload]


def _columns(reader: str, files: Sequence[str], *, tabs: bool = False) -> dict[str, Iterable[object]]:
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError

    read = {"csv": Dataset.from_csv, "json": Dataset.from_json, "parquet": Dataset.from_parquet}[reader]
    quiet.datasets()
    try:
        # "None" and "NA" are texts and labels like others.
        options = {"sep": "\t" if tabs else ",", "keep_default_na": False} if reader == "csv" else {}
        # The library knows a file by its name and time, and would hand out what stood there before; it takes *, ? and [
        # in a name for a pattern, and :: for an address. So the files have plain names and nothing is kept.
        with tempfile.TemporaryDirectory() as scratch:
            plain = [Path(scratch) / f"{number}{Path(file).suffix}" for number, file in enumerate(files)]
            for link, file in zip(plain, files, strict=True):
                _give_plain_name(Path(file), link)
            table = read([str(link) for link in plain], cache_dir=scratch, keep_in_memory=True, **options)
            return {name: table[name][:] for name in table.column_names}
    except (DatasetGenerationError, OSError, ValueError, BadZipFile) as error:
        cause = error.__cause__ or error
        said = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise UserError(f"{files[0]} cannot be read as UTF-8 {reader}: {said}") from error


def _give_plain_name(file: Path, link: Path) -> None:
    try:
        link.symlink_to(file.absolute())
    except OSError:  # where links are a privilege
        shutil.copyfile(file, link)


def _read(path: Path, hint: str) -> str:
    try:
        # -sig: some editors begin a file with a mark.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {hint}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
