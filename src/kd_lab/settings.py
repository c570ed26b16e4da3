"""What a user may set: names, types and ranges, checked before anything heavy is imported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter, ValidationError

from kd_lab.errors import UserError
from kd_lab.origins import Origin
from kd_lab.search import Search
from kd_lab.sections import Count, NotNegative, Positive, Precision, Section, Share, Size, Text, Whole

LONGEST = 8192
"""Tokens of a text, where a model sets no limit itself."""
OF_THE_DATA = ("train_on_quiz", "quiz_rows")
"""Settings of methods that say which rows they see."""


class Method(Section, extra="allow"):
    """How a training step works: the class and its arguments.

    The names below mean the same and have the same range in every method that takes them; a method of your own may
    bring further names, which go to its class as they are.
    """

    name: Text
    target: Text = Field(alias="_target_")
    uses_teachers: bool = True
    alpha: Share = 0.5
    temperature: Positive = 2.0
    soft_loss: Literal["kl", "mse_probabilities", "mse_logits"] = "kl"
    teacher_weights: Literal["mean", "confidence"] = "mean"
    train_on_quiz: bool = False
    inner_lr: Positive = 5e-5
    preconditioned: bool = False
    teacher_lr: NotNegative = 2e-6
    teacher_optimizer: Literal["adamw", "sgd"] = "adamw"
    label_loss: NotNegative = 0.0
    frozen: Share = 0.0
    hypergradient: Literal["reverse_mode", "forward_mode", "finite_difference", "unrolled", "centred", "labels"] = (
        "reverse_mode"
    )
    teacher_every: Count = 1
    quiz_rows: Count | None = None
    quiz_batch_size: Count = 32
    quiz_batches: Count = 1

    def arguments(self) -> dict[str, Any]:
        """What the method's own file and the command line set for its class, and nothing else."""
        return self.model_dump(exclude_unset=True, exclude={"name", "target", "uses_teachers", *OF_THE_DATA})


class Data(Section):
    """Where the rows come from and how they are cut; see docs of each file in conf/data."""

    name: Literal["sst2", "files", "snippets", "toy"]
    path: Path | None = None
    text: Text = "text"
    label: Text = "label"
    rows: Count = 400
    seed: Whole
    holdout: Literal["row", "sentence"]
    train: Size
    quiz: Size
    validation: Size
    test: Size
    rest: bool = False
    max_length: Annotated[int, Field(ge=8, le=LONGEST)]

    @property
    def sizes(self) -> dict[str, int | float]:
        """Of each split: a count of texts, or a share of them."""
        return {"train": self.train, "quiz": self.quiz, "validation": self.validation, "test": self.test}


class Noise(Section):
    """What is done to training rows, how often, and whether the teachers see the sentences with it."""

    name: Literal["none", "word", "vocabulary", "deletion", "swap", "typos", "labels"]
    p: Share
    teacher_sees: Literal["noisy", "clean"] = "noisy"


class Machine(Section):
    """What lightning.Trainer is told of the machine; only the number of processes may change a result."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: Count
    num_nodes: Count
    log_every_n_steps: Count
    enable_progress_bar: bool
    checkpoint_minutes: NotNegative
    workers: Whole


class Logger(Section):
    """Where metrics go beside the run folder."""

    name: Literal["wandb", "csv"]
    project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")] = "kd_lab"


class Settings(Section):
    """One run, whole."""

    method: Method
    teacher: Annotated[str, Field(pattern=r"^[^+]+(\+[^+]+)*$")]
    student: Text
    data: Data
    noise: Noise
    models: dict[str, Origin]
    trainer: Machine
    logger: Logger
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    max_epochs: Count
    warmup_epochs: Whole
    patience: Count | None
    batch_size: Count
    micro_batch_size: Count | None
    lr: Positive
    weight_decay: NotNegative
    precision: Precision
    teacher_epochs: Count
    teacher_finetune_lr: Positive
    teacher_batch_size: Count
    teacher_weight_decay: NotNegative
    teacher_train_on_quiz: bool
    search: Search | None
    output_dir: Path
    force: bool
    debug: bool

    @property
    def teacher_names(self) -> tuple[str, ...]:
        """The members of ``teacher=a+b``; none where the method has no teachers."""
        return tuple(self.teacher.split("+")) if self.method.uses_teachers else ()

    @property
    def warm_up(self) -> int:
        """Epochs of warm-up; none where the method has no teachers."""
        return self.warmup_epochs if self.method.uses_teachers else 0

    @property
    def noise_in_words(self) -> str:
        """Name and probability of the noise as far as they decide anything, or ``none``."""
        noise = self.noise
        if noise.name == "none" or noise.p == 0:
            return "none"
        apart = noise.teacher_sees == "clean" and noise.name != "labels" and self.method.uses_teachers
        return f"{noise.name} {noise.p}{' for the student' if apart else ''}"


def check(config: DictConfig | Mapping[str, Any], typed: Sequence[str] = ()) -> Settings:
    """The composed configuration as settings; ``typed`` are the words of the command line it came from.

    Raises:
        UserError: naming the first bad value and what would be right.
    """
    try:
        plain: Any = (
            OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            if isinstance(config, DictConfig)
            else config
        )
        checked = Settings.model_validate(plain)
        return _with_draws(checked, checked.search, plain, typed) if checked.search else checked
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key} must be set: {error.full_key}=…") from error
    except ValidationError as error:
        raise UserError(first_problem(error)) from error


def is_true(value: object) -> bool:
    """Whether a setting that is true or false would be true with ``value``."""
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        return False


def first_problem(error: ValidationError) -> str:
    """The first bad value and what would be right, in one line."""
    problems = [(_name(problem["loc"]), problem) for problem in error.errors(include_url=False)]
    name, first = problems[0]
    if first["type"] == "missing":
        return f"{name} must be set: {name}=…"
    given = "" if isinstance(first["input"], Mapping) else f"={first['input']}"
    if first["type"] == "extra_forbidden":
        return f"{name}{given}: there is no such setting"
    if first["type"] == "value_error":
        return f"{name}{given}: {first['ctx']['error']}"
    # Each member of a union has its own problem with the same value.
    wanted = dict.fromkeys(
        problem["msg"].partition("should ")[2] or problem["msg"] for n, problem in problems if n == name
    )
    return f"{name}{given}: should {' or '.join(wanted)}"


def _with_draws(checked: Settings, search: Search, plain: Mapping[str, Any], typed: Sequence[str]) -> Settings:
    for name in search.ranges:
        if any(word.startswith(f"{name}=") for word in typed):
            raise UserError(f"{name} is both typed and drawn; to set it, leave its range out: ~search.ranges.{name}")
        section, _, setting = name.rpartition(".")
        place = getattr(checked, section, None) if section else checked
        if not isinstance(place, Section) or setting not in {*type(place).model_fields, *(place.model_extra or {})}:
            raise UserError(f"search.ranges.{name}: there is no setting {name}")
    return Settings.model_validate(search.applied(plain))


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(
        str(part) for part in location if part not in {"constrained-int", "constrained-float", "int", "float"}
    )
