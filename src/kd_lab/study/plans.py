"""What a study is to carry out: stages of settings and seeds, in order, and each of their runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from kd_lab import composition, settings
from kd_lab.composition import CONF
from kd_lab.errors import UserError
from kd_lab.sections import Section, Text, Whole
from kd_lab.settings import Settings

PLANS = CONF / "study"
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
"""Of a stage: of a folder, and of a heading that is linked to."""


class Stage(Section):
    """Settings and the seeds that each is run at.

    Attributes:
        about: what it is for, in a sentence or two for the page.
        words: of every run of the stage.
        seeds: of every row.
        rows: the words of each setting, listed, or by the names that they are to have in tables.
        split: that the stage is judged on.
        questions: that are tested, each by the names of two rows: the first minus the second.
        claims: each with the questions that all have to be answered with *better* for it to hold.
    """

    about: str = ""
    words: str = ""
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)]
    rows: Annotated[tuple[Text, ...] | dict[Text, Text], Field(min_length=1)]
    split: Literal["validation", "test", "rest"] = "test"
    questions: Annotated[dict[Text, tuple[Text, Text]], Field(default_factory=dict)]

    claims: Annotated[dict[Text, tuple[Text, ...]], Field(default_factory=dict)]

    @property
    def named(self) -> dict[str, str]:
        """The words of each row by its name."""
        return self.rows if isinstance(self.rows, dict) else {row: row for row in self.rows}

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for called, those in (("seeds", self.seeds), ("rows", tuple(self.named.values()))):
            if repeated := [one for place, one in enumerate(those) if one in those[:place]]:
                raise ValueError(f"{called}: {repeated[0]} stands there twice")
        return self

    @model_validator(mode="after")
    def _questions_are_about_rows(self) -> Self:
        asked = (name for pair in self.questions.values() for name in pair)
        if unknown := [name for name in asked if name not in self.named]:
            raise ValueError(f"questions: {unknown[0]} is none of {', '.join(self.named)}")
        needed = (question for those in self.claims.values() for question in those)
        if unknown := [question for question in needed if question not in self.questions]:
            raise ValueError(f"claims: {unknown[0]} is none of {', '.join(self.questions) or 'no questions'}")
        if self.questions and self.split == "validation":
            raise ValueError("questions: validation chose the settings and answers none; split: test or rest")
        return self


class Plan(Section):
    """Stages in the order of what each would teach; ``words`` are said to every run."""

    words: str = ""
    stages: Annotated[dict[Name, Stage], Field(min_length=1)]


@dataclass(frozen=True)
class Job:
    """One run of a stage.

    Attributes:
        folder: of the stage's outcomes.
        number: in the stage, from 0.
        row: the words that tell it from others, and its seed.
        words: of the command that would run this job alone.
        settings: checked.
    """

    folder: Path
    number: int
    row: str
    words: tuple[str, ...]
    settings: Settings

    @property
    def kind(self) -> tuple[str, int, int]:
        """What decides how long an epoch takes: the method, its number of teachers and how often they learn."""
        return self.settings.method.name, len(self.settings.teacher_names), self.settings.method.teacher_every

    @property
    def epochs(self) -> int:
        """Of the warm-up as well."""
        return self.settings.max_epochs + self.settings.warm_up


def jobs(name: str, stage: str | None, given: Sequence[str]) -> Iterator[Job]:
    """The jobs of a plan, in order.

    Args:
        name: of the plan, or its file.
        stage: the only one; None for all.
        given: words for every run.

    Raises:
        UserError: naming what is wrong.
    """
    plan = read(name)
    if stage is not None and stage not in plan.stages:
        raise UserError(f"stage={stage}: the plan has {', '.join(plan.stages)}")
    for own, part in plan.stages.items():
        if stage in (None, own):
            yield from _of_stage(title(name, own), f"{plan.words} {part.words}".split(), part, given)


def _of_stage(called: str, shared: Sequence[str], stage: Stage, given: Sequence[str]) -> Iterator[Job]:
    rows = list(stage.named.values())
    checked = [composition.settings_of([*shared, *row.split(), *given]) for row in rows]
    folder = checked[0].output_dir / "sweeps" / called
    _refuse_what_answers_nothing(called, stage, rows, checked)
    for i, seed in enumerate(stage.seeds):
        for j, (row, plain) in enumerate(zip(rows, checked, strict=True)):
            words = (*shared, *row.split(), *given, f"seed={seed}")
            of_seed = plain.model_copy(update={"seed": seed})
            yield Job(folder, i * len(rows) + j, said(row, seed), words, of_seed)


def _refuse_what_answers_nothing(called: str, stage: Stage, rows: Sequence[str], checked: Sequence[Settings]) -> None:
    """A row twice, and one that is not tested on what the stage is judged on."""
    for row, one in zip(rows, checked, strict=True):
        if (first := rows[checked.index(one)]) != row:
            raise UserError(f"{called}: {row} has the settings of {first}; keep one of them")
        if stage.split == "rest" and not one.data.rest:
            raise UserError(f"{called}: split: rest, but {row} is not tested on it; say data.rest=true to all its rows")


def said(row: str, seed: int) -> str:
    """The words that tell a run of a stage from the others."""
    return f"{row} seed={seed}"


def title(name: str, stage: str) -> str:
    """What the folders of a stage of the plan ``name`` are called."""
    return f"{Path(name).stem}-{stage}"


def read(name: str) -> Plan:
    """The plan of that name, or in that file.

    Raises:
        UserError: if there is none, or what is in it is no plan.
    """
    path = next((path for path in (Path(name), PLANS / f"{name}.yml") if path.is_file()), None)
    if path is None:
        raise UserError(f"there is no plan {name}; name a file or one of {', '.join(p.stem for p in PLANS.iterdir())}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise UserError(f"{path} is no plan: it should hold {' and '.join(Plan.model_fields)}")
        return Plan.model_validate(found)
    except ValidationError as error:
        raise UserError(f"{path}: {settings.first_problem(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
