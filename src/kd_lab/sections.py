"""What every part of the settings is made of: frozen sections, and the ranges that numbers and words lie in."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Precision = Literal["float32", "bf16-matmul", "bf16-mixed"]


def listed(value: object) -> object:
    """The values of name=a,b or name=[a,b], each once."""
    return list(dict.fromkeys(value.strip("[]").split(","))) if isinstance(value, str) else value


class Section(BaseModel):
    """A frozen part of the settings; a name that is not listed is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``: the form in which W&B groups and filters."""
    flattened: dict[str, Any] = {}
    for name, value in nested.items():
        flattened |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flattened
