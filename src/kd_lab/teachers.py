"""Who teaches: a teacher is a finished fine-tuning run, or a classifier from outside."""

from collections import Counter
from collections.abc import Iterator

from kd_lab.composition import method_named
from kd_lab.settings import Settings

SEED_STEP = 1000
"""The second teacher of a name is fine-tuned with seed + 1000, the third with seed + 2000."""


def members(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Each member of ``teacher=a+b`` and the settings of the run that would make it, in order."""
    repeats: Counter[str] = Counter()
    for name in settings.teacher_names:
        yield name, making(settings, name, repeats[name])
        repeats[name] += 1


def making(settings: Settings, name: str, repeat: int = 0) -> Settings:
    """The fine-tuning run that makes a teacher for the run ``settings``.

    It shares that run's data, seed, precision, micro-batches and processes and nothing else that decides a result:
    neither its noise, warm-up and patience nor the student's learning rate.
    """
    method = method_named("finetune")
    if settings.teacher_train_on_quiz:
        method = method.model_copy(update={"train_on_quiz": True})
    return settings.model_copy(
        update={
            "method": method,
            "student": name,
            "seed": settings.seed + SEED_STEP * repeat,
            "noise": settings.noise.model_copy(update={"name": "none", "p": 0.0}),
            "warmup_epochs": 0,
            "patience": None,
            "max_epochs": settings.teacher_epochs,
            "lr": settings.teacher_finetune_lr,
            "batch_size": settings.teacher_batch_size,
            "weight_decay": settings.teacher_weight_decay,
            "force": False,
        }
    )
