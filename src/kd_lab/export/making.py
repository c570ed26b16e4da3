"""An export, found or made: written aside, checked, and put in its place whole."""

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kd_lab import environment, files, results, terminal
from kd_lab.errors import UserError
from kd_lab.export import record
from kd_lab.export.record import FORMATS, Export, ExportOptions, Format, Scale, Weights
from kd_lab.finished import Finished

if TYPE_CHECKING:
    from kd_lab.export.checking import Rows

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def refuse_missing(formats: Sequence[str]) -> None:
    """Raise a UserError where ``formats`` need packages that are not there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing and set(formats) != {"folder"}:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'kd_lab[export]', or choose format=folder")


def make(found: Finished, order: ExportOptions, words: Sequence[str]) -> tuple[Path, Export]:
    """The folder of the export that ``order`` asks for, and what it holds.

    One that is there and was checked in the same way is found; formats that were made before stay.

    Args:
        found: the classifier, with the settings ``output_dir`` and ``force``.
        order: what is asked for.
        words: of the command line that asks.

    Raises:
        UserError: if the data or the model cannot be had.
    """
    identity = found.checkpoint.identity()
    name = files.shortened(found.checkpoint.name.replace("/", "-"), 150)
    folder = found.settings.output_dir / record.FOLDER / f"{name}_{identity[:8]}"
    known = record.read(folder)
    same = known is not None and known.identity == identity and known.order.rows == order.rows
    if known and same and known.data == _data(found) and not found.settings.force:
        kept = [kind for kind in FORMATS if record.holds(known, folder, kind)]
        asked = known.order.model_copy(update={"format": order.format})
        if asked == order and set(order.format) <= set(kept):
            terminal.say(f"found finished: {folder}")
            return folder, known
        order = order.model_copy(update={"format": tuple(kind for kind in FORMATS if kind in {*kept, *order.format})})
    files.refuse_unwritable(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as scratch:
        work = Path(scratch) / "export"
        export = _write(found, identity, order, words, work)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    return folder, export


def _write(found: Finished, identity: str, order: ExportOptions, words: Sequence[str], folder: Path) -> Export:
    # Seconds of imports, after everything that can be refused.
    from kd_lab.export import card, checking, writing

    terminal.say(f"{found.checkpoint.name}: asking the original")
    rows = checking.ask(found, order.rows)
    parameters = writing.write_folder(found, folder)
    if {"onnx", "int8"} & set(order.format):
        terminal.say(f"writing {' and '.join(kind for kind in order.format if kind != 'folder')}")
        writing.write_onnx(folder)
    few = "" if len(rows.texts) == order.rows else f" (rows={order.rows} is more than the data has)"
    of = ", ".join(f"{count:,} of {name}" for name, count in rows.counts.items())
    terminal.say(f"checking on {len(rows.texts):,} rows: {of}{few}")
    weights = _checked(folder, rows, order)
    run = results.read(found.run_folder) if found.run_folder else None
    export = Export(
        name=found.checkpoint.name,
        role=_role(found),
        run=found.run_folder.resolve().name if found.run_folder else None,
        fingerprint=run.fingerprint if run else None,
        identity=identity,
        parameters=parameters,
        label_names=list(found.label_names),
        max_length=found.max_length,
        data=_data(found),
        rows=rows.counts,
        accuracy=rows.accuracy,
        order=order,
        weights=weights,
        command=" ".join(shlex.join(["python", "-m", "kd_lab.export", *words]).split()),
        versions=environment.versions() | versions(order.format),
    )
    export.write(folder)
    files.write_whole(folder / record.CARD, card.text(found, export, run))
    return export


def _checked(folder: Path, rows: "Rows", order: ExportOptions) -> list[Weights]:
    """The weights of every format that ``order`` asks for; what is there for another's sake alone goes."""
    from kd_lab.export import checking

    # Before the file that it is made from is refused, and so removed, itself.
    made = {"int8": _int8(folder, rows, order)} if "int8" in order.format else {}
    for kind in ("folder", "onnx"):
        if kind in order.format:
            made[kind] = checking.check(folder, kind, rows, order)
        else:
            (folder / record.PATHS[kind]).unlink(missing_ok=True)
    return [made[kind] for kind in order.format]


def _int8(folder: Path, rows: "Rows", order: ExportOptions) -> Weights:
    """Its weights, made in the fastest way in which it keeps to its original."""
    from kd_lab.export import checking, writing

    def made(scale: Scale) -> Weights:
        writing.write_int8(folder, scale)
        return checking.check(folder, "int8", rows, order).model_copy(update={"scale": scale})

    fast = made("batch")
    if not fast.refused:
        return fast
    terminal.say(f"int8 scaled by batch {fast.refused}: once more, by blocks")
    return made("blocks")


def _role(found: Finished) -> Literal["student", "teacher", "model"]:
    if found.teacher is not None:
        return "teacher"
    return "student" if found.run_folder and found.checkpoint.folder.name == "student" else "model"


def _data(found: Finished) -> dict[str, object]:
    """Without the folders of this machine, which are nobody else's business."""
    data = found.settings.data
    return data.model_dump(mode="json", exclude_unset=True) | ({"path": data.path.name} if data.path else {})


def versions(formats: Sequence[Format]) -> dict[str, str]:
    """Of the packages that ONNX needs, where it is asked for."""
    from importlib.metadata import version

    return {name: version(name) for name in NEEDED} if set(formats) != {"folder"} else {}
