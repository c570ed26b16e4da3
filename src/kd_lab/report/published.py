"""What others published, from conf/published.yaml: shown beside own figures, never among them."""

from collections.abc import Sequence
from functools import cache

import yaml
from pydantic import BaseModel

from kd_lab import composition
from kd_lab.report.gathering import Setting

FILE = "published.yaml"
DATA = "sst2"  # all of them are SST-2's


class Published(BaseModel, extra="forbid"):
    """One figure and where it stands.

    Attributes:
        system: in words; ``method``, ``teachers``, ``student``, ``noise``, ``warmup_epochs`` where it is one of ours.
        accuracy: in percent, as it was printed; ``split`` says on which rows.
        parameters, times_smaller: as they were printed, or None.
        source: of the figure.
    """

    system: str
    method: str | None = None
    teachers: tuple[str, ...] = ()
    student: str | None = None
    noise: str = "none"
    warmup_epochs: int = 0
    accuracy: float
    split: str
    parameters: int | None = None
    times_smaller: float | None = None
    source: str


@cache
def load() -> tuple[Published, ...]:
    """All of them, in the order of the file."""
    text = (composition.CONF / FILE).read_text(encoding="utf-8")
    return tuple(Published.model_validate(entry) for entry in yaml.safe_load(text))


def of(setting: Setting, known: Sequence[Published]) -> Published | None:
    """The published figure of the same method, models, kind of noise and warm-up."""
    result = setting.first.result
    if result.data.name != DATA:
        return None
    student, teachers = setting.models
    mine = (setting.method, teachers, student, result.noise.split()[0], result.warmup_epochs)
    return next((p for p in known if mine == (p.method, p.teachers, p.student, p.noise, p.warmup_epochs)), None)
