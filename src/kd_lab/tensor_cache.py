"""Tensors that are worked out once and kept on disk, memory-mapped, under a digest of all that decides them."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kd_lab import terminal
from kd_lab.downloads import cache_folder

FORMAT = 1
"""Raised whenever the same key would lead to other tensors."""


def cached(kind: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that ``make`` returned when it was first asked under ``key``, mapped from their file.

    A file that is damaged is made anew; a folder that cannot be written only costs the work again.

    Args:
        kind: of tensors: the folder's name.
        key: everything that decides them, as plain values.
        make: works them out.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()
    path = cache_folder() / kind / f"{digest}.safetensors"
    if (found := _read(path)) is not None:
        return found
    made = make()
    try:
        _write(path, made)
    except (OSError, SafetensorError) as error:
        _say_once(path.parent, str(getattr(error, "strerror", None) or error))
        return made
    return _read(path) or made


@lru_cache(maxsize=8)
def _say_once(folder: Path, reason: str) -> None:
    terminal.say(f"warning: {folder} cannot be written ({reason}): nothing is kept there")


def _read(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata, names = file.metadata() or {}, sorted(file.keys())
            found = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError):
        found, metadata = {}, {}
    if not found or _digest(found) != metadata.get("sha256"):
        terminal.say(f"{path} is damaged: it is made anew")
        return None
    return found


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, whole, {"sha256": _digest(tensors)})
        whole.replace(path)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
