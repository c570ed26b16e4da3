"""Random search (Bergstra and Bengio, JMLR 2012): settings drawn from ranges, each a function of (seed, draw, name)."""

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from kd_lab.noise import generator_of
from kd_lab.sections import Positive, Section, Whole


class Range(Section):
    """Where a setting is drawn from: evenly (``linear``), or evenly in its logarithm (``log``)."""

    low: Positive
    high: Positive
    scale: Literal["log", "linear"]

    @model_validator(mode="after")
    def not_empty(self) -> Self:
        """Refuse a range that holds nothing."""
        if self.low >= self.high:
            raise ValueError("low should lie below high")
        return self

    def value(self, share: float) -> float:
        """At ``share`` in [0, 1) of the way, with three significant digits, so that a command can repeat it exactly."""
        if self.scale == "linear":
            return float(f"{self.low + share * (self.high - self.low):.3g}")
        return float(f"{self.low * math.exp(share * math.log(self.high / self.low)):.3g}")


class Search(Section):
    """A random search; ``draw`` counts its runs. Ranges stand nested like the settings they are for, or dotted."""

    seed: Whole
    draw: Whole
    ranges: dict[str, Range]

    @field_validator("ranges", mode="before")
    @classmethod
    def dotted(cls, ranges: Any) -> Any:
        """``{"method": {"alpha": …}}`` as ``{"method.alpha": …}``."""
        if not isinstance(ranges, Mapping):
            return ranges
        flat: dict[str, Any] = {}
        for name, limits in ranges.items():
            if isinstance(limits, Mapping) and not limits.keys() & Range.model_fields.keys():
                flat |= {f"{name}.{inner}": rest for inner, rest in cls.dotted(limits).items()}
            else:
                flat[name] = limits
        return flat

    def drawn(self, plain: Mapping[str, Any]) -> dict[str, float]:
        """The value of each range, by dotted name, for the configuration ``plain``.

        A range on a setting that the chosen method does not have draws nothing.
        """
        return {
            name: limits.value(generator_of("search", self.seed, self.draw, name).random())
            for name, limits in self.ranges.items()
            if name.rpartition(".")[2] in _section(name, plain)
        }

    def applied(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with the drawn values in their places, and the search done with."""
        changed = {name: dict(part) if isinstance(part, Mapping) else part for name, part in plain.items()}
        for name, value in self.drawn(plain).items():
            _section(name, changed)[name.rpartition(".")[2]] = value
        return changed | {"search": None}


def _section(name: str, plain: Mapping[str, Any]) -> Any:
    section = name.rpartition(".")[0]
    return plain.get(section, {}) if section else plain
