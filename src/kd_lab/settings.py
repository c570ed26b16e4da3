"""What a user may set: names, types and ranges, checked before anything heavy is imported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kd_lab.errors import UserError

CONF = next(path for path in (Path(__file__).parent / "conf", Path(__file__).parents[2] / "conf") if path.is_dir())
"""The folder of the settings: inside the wheel, or at the top of a checkout."""

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Precision = Literal["float32", "bf16-matmul", "bf16-mixed"]


class Section(BaseModel):
    """A frozen part of the settings; a name that is not listed is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Method(Section, extra="allow"):
    """How a training step works: the class and its arguments.

    The names below mean the same and have the same range in every method that takes them; a method of your own may
    bring further names, which go to its class as they are.
    """

    name: str
    target: str = Field(alias="_target_")
    uses_teachers: bool = True
    alpha: Share = 0.5
    temperature: Positive = 2.0
    soft_loss: Literal["kl", "mse_probabilities", "mse_logits"] = "kl"
    inner_lr: Positive = 5e-5
    teacher_lr: NotNegative = 2e-6
    hypergradient: Literal["forward_mode", "finite_difference", "unrolled"] = "forward_mode"
    teacher_every: Count = 1
    quiz_batch_size: Count = 32
    quiz_batches: Count = 1

    def arguments(self) -> dict[str, Any]:
        """What the method's own file sets, and nothing else."""
        return self.model_dump(exclude_unset=True, exclude={"name", "target", "uses_teachers"})


class Data(Section):
    """Where the rows come from and how they are cut; see docs of each file in conf/data."""

    name: Literal["sst2", "files", "snippets", "toy"]
    path: Path | None = None
    text: str = "text"
    label: str = "label"
    rows: Count = 400
    seed: Whole
    holdout: Literal["row", "sentence"]
    train: Size
    quiz: Size
    validation: Size
    test: Size
    max_length: Annotated[int, Field(ge=8, le=8192)]

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
    """What lightning.Trainer is told of the machine; none of it may change a result."""

    accelerator: str
    devices: Literal[1]
    log_every_n_steps: Count
    enable_progress_bar: bool


class Logger(Section):
    """Where metrics go beside the run folder."""

    name: Literal["wandb", "csv"]
    project: str = "kd_lab"


class Origin(Section):
    """Where a checkpoint of the catalogue comes from: exactly one of ``hub``, ``package`` and ``random``."""

    hub: str | None = None
    revision: str = "main"
    package: str | None = None
    package_sha256: Digest | None = None
    folder: str = "."
    weights_sha256: Digest | None = None
    random: dict[str, Any] | None = None
    layers: Count | None = None

    @model_validator(mode="after")
    def one_source(self) -> Self:
        """Refuse a model from nowhere or from two places."""
        if sum(source is not None for source in (self.hub, self.package, self.random)) != 1:
            raise ValueError("a model comes from exactly one of hub, package and random")
        return self


class Settings(Section):
    """One run, whole."""

    method: Method
    teacher: Annotated[str, Field(min_length=1)]
    student: Annotated[str, Field(min_length=1)]
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
    lr: Positive
    weight_decay: NotNegative
    precision: Precision
    teacher_epochs: Count
    teacher_finetune_lr: Positive
    teacher_batch_size: Count
    teacher_weight_decay: NotNegative
    output_dir: Path
    force: bool
    debug: bool

    @property
    def teacher_names(self) -> tuple[str, ...]:
        """The members of ``teacher=a+b``."""
        return tuple(self.teacher.split("+"))

    @property
    def noise_in_words(self) -> str:
        """Name and probability of the noise as far as they decide anything, or ``none``."""
        noise = self.noise
        if noise.name == "none" or noise.p == 0:
            return "none"
        apart = noise.teacher_sees == "clean" and noise.name != "labels" and self.method.uses_teachers
        return f"{noise.name} {noise.p}{' for the student' if apart else ''}"


def check(config: DictConfig | Mapping[str, Any]) -> Settings:
    """The composed configuration as settings.

    Raises:
        UserError: naming the first bad value and what would be right.
    """
    try:
        plain = (
            OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            if isinstance(config, DictConfig)
            else config
        )
        return Settings.model_validate(plain)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key} must be set: {error.full_key}=…") from error
    except ValidationError as error:
        problems = [(_name(problem["loc"]), problem) for problem in error.errors(include_url=False)]
        name, first = problems[0]
        # Each member of a union has its own problem with the same value.
        wanted = dict.fromkeys(
            problem["msg"].partition("should ")[2] or problem["msg"] for n, problem in problems if n == name
        )
        raise UserError(f"{name}={first['input']}: should {' or '.join(wanted)}") from error


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(
        str(part) for part in location if part not in {"constrained-int", "constrained-float", "int", "float"}
    )


def compose(overrides: Sequence[str]) -> DictConfig:
    """The configuration that the words ``overrides`` of a command line stand for."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    # A notebook or an application may have a Hydra of its own.
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="kd_lab"):
            return hydra_compose("config", overrides=list(overrides))
    except HydraException as error:
        raise UserError(one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = outer


def one_line(error: Exception) -> str:
    """What Hydra says of a bad word, without where it searched."""
    said = str(error).split("Config search path")[0].replace("\t", " ").split("\n")
    word = getattr(error, "override", None)
    return " ".join([f"{word}:"] * bool(word) + [part.strip() for part in said if part.strip()])


def method_named(name: str) -> Method:
    """The method of conf/method/``name``.yaml as it stands there."""
    return Method.model_validate(OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{name}.yaml")))
