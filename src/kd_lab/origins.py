"""Where the models of the catalogue come from."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from kd_lab.sections import Count, Digest, Section, Text


def _tiny(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("model_type") not in {"bert", "distilbert", "roberta"}:
        raise ValueError("should be {model_type: …, …} with model_type bert, distilbert or roberta")
    return config


class Origin(Section):
    """Where a checkpoint of the catalogue comes from: exactly one of ``hub``, ``package``, ``random`` and ``stand_in``,
    which is another name of the catalogue.
    """

    hub: Text | None = None
    revision: Text = "main"
    package: Annotated[str, Field(pattern=r"^[\w.-]+==[\w.+!-]+$")] | None = None
    package_sha256: Digest | None = None
    folder: Annotated[str, Field(pattern=r"^\.$|^\w[\w-]*(/\w[\w-]*)*$")] = "."
    weights_sha256: Digest | None = None
    random: Annotated[dict[str, Any], AfterValidator(_tiny)] | None = None
    stand_in: Text | None = None
    layers: Count | None = None

    @model_validator(mode="after")
    def one_source(self) -> Self:
        """Refuse a model from nowhere or from two places."""
        if sum(source is not None for source in (self.hub, self.package, self.random, self.stand_in)) != 1:
            raise ValueError("a model comes from exactly one of hub, package, random and stand_in")
        return self
