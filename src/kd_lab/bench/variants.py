"""What is measured: the rows of the table, times every combination of the axes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import BeforeValidator

from kd_lab import composition, doors
from kd_lab.composition import method_named
from kd_lab.errors import UserError
from kd_lab.sections import Count, Section, listed
from kd_lab.settings import Settings

DEFAULTS = ("models=hub", "teacher=minilm", "student=minilm3", "data=snippets", "logger=csv")
"""A pair and sentences that need no model hub; what rows and command line say goes over it."""
PUBLISHED_PADDING = 128  # tokens


@dataclass(frozen=True)
class Row:
    """One kind of training step.

    Attributes:
        words: settings that make it; the command line's come after them, but for those that are fixed.
        fixed: names of settings that it has of its own, whatever the axes say.
        remembers: whether the teachers' outputs are at hand.
        slow: whether a quarter of the steps, all of one width, must do.
    """

    words: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    remembers: bool = False
    slow: bool = False


META_STEP = ("method=metadistil", "method.teacher_every=1", "method.label_loss=0")
"""By default steps of distillation lie between two of these; and a label loss would hide a wrong cosine."""
PUBLISHED = (
    *META_STEP,
    "method._target_=kd_lab.bench.published.Published",
    "method.hypergradient=unrolled",
    "precision=float32",
    "micro_batch_size=null",
)
FIXED: tuple[str, ...] = ("precision", "micro_batch_size")
FIXED += tuple(
    f"method.{knob}" for knob in ("hypergradient", "teacher_every", "frozen", "label_loss", "preconditioned")
)
ROWS = {
    "finetune": Row(("method=finetune",), fixed=("teacher",)),
    "kd": Row(("method=kd",)),
    "kd-cached": Row(("method=kd",), remembers=True),
    "metadistil": Row(META_STEP),
    "finite_difference": Row((*META_STEP, "method.hypergradient=finite_difference"), fixed=("method.hypergradient",)),
    "unrolled": Row((*META_STEP, "method.hypergradient=unrolled"), fixed=("method.hypergradient",)),
    "published-grouped": Row(PUBLISHED, (*FIXED, "bench.padding"), slow=True),
    "published": Row(PUBLISHED, (*FIXED, "bench.padding"), slow=True),
}
"""The kinds of steps, the yardstick and the published form last: on batches of like length, and padded as published."""


QUICK = {"repeats": 1, "steps": 1}
QUICK_ROWS = ("finetune", "kd", "kd-cached", "metadistil", "published")


class Bench(Section):
    """How it is measured: ``bench.NAME=value``.

    ``steps`` batches are timed, in each of ``repeats`` fresh processes, when each has been trained on once before;
    ``against`` is an earlier file to compare with, else the last one. ``quick`` is one process and one step for some
    rows, and no floor for the slow ones.
    """

    quick: bool = False
    rows: Annotated[tuple[Literal[tuple(ROWS)], ...], BeforeValidator(listed)] = tuple(ROWS)  # type: ignore[valid-type]
    repeats: Count = 3
    steps: Count = 8
    against: Path | None = None


@dataclass(frozen=True)
class Variant:
    """One line of the table.

    Attributes:
        row: a name of ``ROWS``.
        axes: the words that tell it from other lines of that row.
        settings: of the step.
        padding: tokens of every batch; 0 for its longest.
    """

    row: str
    axes: tuple[str, ...]
    settings: Settings = field(repr=False)
    padding: int

    def steps(self, bench: Bench) -> int:
        """How many are timed."""
        return max(1, bench.steps // 4) if ROWS[self.row].slow else bench.steps

    @property
    def name(self) -> str:
        """Row and axes in words."""
        return " ".join([self.row, *self.axes])


def read(words: Sequence[str]) -> tuple[Bench, list[Variant]]:
    """What the words of a command line ask for: ``name=value``, and ``name=a,b`` for every combination.

    Raises:
        UserError: naming a bad word and what would be right.
    """
    axes = [_values(word) for word in words if not word.startswith("bench.") or word.startswith("bench.padding=")]
    own = [word.removeprefix("bench.") for word in words if word.startswith("bench.")]
    bench = _bench([word for word in own if not word.startswith("padding=")])
    varied = {word for axis in axes if len(axis) > 1 for word in axis}
    variants: dict[tuple[object, ...], Variant] = {}
    used: set[str] = set()
    for combination, row in itertools.product(itertools.product(*axes), bench.rows):
        heard = [word for word in combination if _applies(word, ROWS[row])]
        variant = _variant(row, heard, tuple(word for word in heard if word in varied))
        variants.setdefault((row, *heard), variant)
        used |= set(heard)
    if unheard := [axis[0] for axis in axes if not used & set(axis)]:
        raise UserError(f"{unheard[0]}: none of the rows {', '.join(bench.rows)} takes it")
    return bench, list(variants.values())


def _values(word: str) -> list[str]:
    """One word for each value that ``word`` lists."""
    if "=" not in word:
        raise UserError(f"{word}: words are name=value, or name=a,b for several values")
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _bench(words: Sequence[str]) -> Bench:
    try:
        bench, unknown = doors.own(Bench, words)
    except UserError as error:
        raise UserError(f"bench.{error}") from error
    if unknown:
        raise UserError(f"bench.{unknown[0]}: choose one of bench.{', bench.'.join(Bench.model_fields)}, bench.padding")
    rows = {} if "rows" in bench.model_fields_set else {"rows": QUICK_ROWS}
    return bench.model_copy(update=QUICK | rows) if bench.quick else bench


def _applies(word: str, row: Row) -> bool:
    """Whether a row hears a word: not if it fixes that setting (all fix their method) or has none such."""
    name = word.partition("=")[0].lstrip("+")
    if name in ("method", *row.fixed):
        return False
    method = row.words[0].partition("=")[2]
    return not name.startswith("method.") or name.removeprefix("method.") in method_named(method).arguments()


def _variant(row: str, words: Sequence[str], axes: tuple[str, ...]) -> Variant:
    padding = next((word.partition("=")[2] for word in words if word.startswith("bench.padding=")), "0")
    if row == "published":
        padding = str(PUBLISHED_PADDING)
    if not padding.isdecimal():
        raise UserError(f"bench.padding={padding}: should be a number of tokens, or 0 for the longest of a batch")
    plain = [word for word in words if not word.startswith("bench.")]
    return Variant(row, axes, composition.settings_of([*DEFAULTS, *ROWS[row].words, *plain]), int(padding))
