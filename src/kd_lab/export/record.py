"""What an export holds and how it was checked: export.json."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from kd_lab import files
from kd_lab.sections import Count, NotNegative, Section, listed

FOLDER = "exports"
FILE = "export.json"
CARD = "README.md"
Format = Literal["folder", "onnx", "int8"]
Scale = Literal["batch", "blocks"]
"""How activations are scaled in int8: see writing.write_int8."""
FORMATS: tuple[Format, ...] = ("folder", "onnx", "int8")
PATHS = {"folder": "model.safetensors", "onnx": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
"""Where the weights lie in an export, as the hub's other tools look for them."""


class ExportOptions(Section):
    """What is made, and when it is refused.

    ``rows`` are compared with the original, if the data has so many; ``difference`` is the largest that a logit of the
    folder or of ONNX may differ by, ``points`` the percentage points of accuracy that int8 may lose.
    """

    format: Annotated[tuple[Format, ...], BeforeValidator(listed), Field(min_length=1)] = FORMATS
    rows: Count = 2000
    difference: NotNegative = 1e-4
    points: NotNegative = 0.5


class Weights(BaseModel):
    """One format.

    Attributes:
        format: folder, onnx or int8.
        path: in the export.
        bytes: of that file.
        sha256: of that file.
        difference: the largest between a logit and the original's.
        accuracy: in [0, 1], on the rows it was checked on.
        agreement: the share of those rows on which it gives the original's label.
        scale: of the activations, in int8.
        refused: why the file is not there, where it strayed too far.
    """

    format: Format
    path: str
    bytes: int
    sha256: str
    difference: float
    accuracy: float
    agreement: float
    scale: Scale | None = None
    refused: str | None = None


class Export(BaseModel):
    """One export.

    Attributes:
        name: of the classifier.
        role: student or teacher of the run; model, where it comes out of none.
        run: the name of that run's folder.
        fingerprint: of that run.
        identity: a digest of what the original computes.
        parameters: embeddings and head included.
        label_names: in order.
        max_length: tokens of a text that are read.
        data: its settings, of the rows it was checked on.
        rows: how many of each split.
        accuracy: of the original on these rows, in [0, 1].
        order: rows and tolerances that were asked for.
        weights: one for each format.
        command: that made it.
        versions: of the libraries.
    """

    name: str
    role: Literal["student", "teacher", "model"]
    run: str | None
    fingerprint: str | None
    identity: str
    parameters: int
    label_names: list[str]
    max_length: int
    data: dict[str, Any]
    rows: dict[str, int]
    accuracy: float
    order: ExportOptions
    weights: list[Weights]
    command: str
    versions: dict[str, str]

    def of(self, kind: str) -> Weights | None:
        """The weights of a format."""
        return next((weights for weights in self.weights if weights.format == kind), None)

    def write(self, folder: Path) -> None:
        """As export.json, whole or not at all."""
        files.write_whole(folder / FILE, self.model_dump_json(indent=2) + "\n")


def read(folder: Path) -> Export | None:
    """The export in ``folder``, or None where there is none that can be read."""
    try:
        return Export.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def holds(export: Export, folder: Path, kind: str) -> bool:
    """Whether the format ``kind`` is in the export, and is what was written there."""
    weights = export.of(kind)
    path = folder / weights.path if weights else folder
    return weights is not None and path.is_file() and files.sha256_of(path) == weights.sha256
