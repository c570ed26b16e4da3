"""A finished classifier by the name a user gives it: where it lies, the run it came out of, its data and labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_lab import catalogue, composition, files, naming, results, settings
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import UserError
from kd_lab.settings import Data, Settings
from kd_lab.sources import Rows


@dataclass(frozen=True)
class Finished:
    """A classifier, with what is known of it.

    Attributes:
        checkpoint: of the classifier.
        run_folder: the folder of the run it came out of, or None.
        settings: with the data of that run, unless the user names others.
        max_length: tokens of a text that it reads, special ones included; where neither a run nor the user says, the
            model's own limit is what counts.
    """

    checkpoint: Checkpoint
    run_folder: Path | None
    settings: Settings
    max_length: int

    @property
    def teacher(self) -> int | None:
        """Its place among its run's teachers, from 0; None for a student, and for what its run does not name."""
        if self.run_folder is None or (run := results.read(self.run_folder)) is None:
            return None
        here = self.checkpoint.folder.resolve()
        folders = [self.run_folder / naming.teacher_folder(place, of.name) for place, of in enumerate(run.teachers)]
        return next((place for place, folder in enumerate(folders) if folder.resolve() == here), None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Of the C labels, as the classifier numbers them.

        Raises:
            UserError: where its configuration does not number them.
        """
        file = self.checkpoint.folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        try:
            known = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
        except (AttributeError, ValueError) as error:
            raise UserError(f"{file}: id2label should number the labels from 0") from error
        return tuple(known[number] for number in sorted(known)) or ("LABEL_0", "LABEL_1")


def find(name: str, words: Sequence[str], *, writes: bool = False) -> Finished:
    """The classifier ``name``, under the settings ``words``.

    Args:
        name: a run's folder (its student), one of its teachers/ folders, any model folder, a name or a hub id.
        words: of a command line, as in kd_lab.run.
        writes: whether something is to be written below ``output_dir``.

    Raises:
        UserError: for a bad word, a place that cannot be written, or a folder without a classifier.
    """
    checked = composition.settings_of(words)
    if writes:
        files.refuse_unwritable(checked.output_dir)
    return under(checked, name, words)


def under(checked: Settings, name: str, words: Sequence[str]) -> Finished:
    """The classifier ``name`` under settings that are checked; the arguments and errors are those of :func:`find`."""
    folder = catalogue.folder_named(name)
    run_folder = run_folder_of(folder) if folder else None
    typed = any(word.startswith("data=") for word in words)
    if not typed:
        if lone := [word for word in words if word.startswith("data.")]:
            raise UserError(f"{lone[0]}: say which data as well, with data=…")
        checked = checked.model_copy(update={"data": data_of(run_folder)} if run_folder else {})
    checkpoint = catalogue.locate(name, checked.models)
    if not checkpoint.classifies:
        raise UserError(f"{name} holds no trained classifier; name a run's folder, or fine-tune it first")
    return Finished(
        checkpoint, run_folder, checked, checked.data.max_length if typed or run_folder else settings.LONGEST
    )


def run_folder_of(path: Path) -> Path | None:
    """The run's folder, where ``path`` is one or lies in one."""
    around = (path, path.parent, path.parent.parent)
    return next((folder for folder in around if path.is_dir() and (folder / results.FILE).is_file()), None)


def data_of(run_folder: Path) -> Data:
    """The data that a run was trained on.

    Raises:
        UserError: if its folder does not say.
    """
    try:
        return Data.model_validate(results.settings_in(run_folder)["data"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{run_folder} holds no config.yaml that can be read: say which data, with data=…") from error


def numbered_by(found: Finished, rows: Rows) -> Rows:
    """``rows`` with their labels numbered as the classifier numbers them.

    Raises:
        UserError: if it knows other labels.
    """
    names = found.label_names
    if set(names) == set(rows.label_names):
        return replace(rows, labels=[names.index(rows.label_names[label]) for label in rows.labels], label_names=names)
    if len(names) == len(rows.label_names) and all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        return rows
    raise UserError(
        f"{found.checkpoint.name} knows the labels {', '.join(names)}; the data has {', '.join(rows.label_names)}"
    )
