"""What runs, their models and their folders are called."""

import re
from collections.abc import Sequence

SEED_AND_HASH = re.compile(r"_seed\d+_[0-9a-f]{8}")
"""The end of the name of a run's folder."""


def pair(teachers: Sequence[str], student: str) -> str:
    """``teacher + teacher → student``, or the student alone."""
    return f"{' + '.join(teachers)} → {student}" if teachers else student


def extras(noise: str, warmup_epochs: int) -> list[str]:
    """What a title says beside the models, where there is any."""
    return [f"{noise} noise"] * (noise != "none") + [f"warm-up {warmup_epochs}"] * bool(warmup_epochs)


def teacher_folder(place: int, name: str) -> str:
    """Where in a run's folder the teacher ``name`` lies, if it learned; ``place`` counts from 0."""
    return f"teachers/{place + 1}-{name.replace('/', '-')}"


def plain(name: str) -> str:
    """The name of a model: of a run's folder without its seed and digest, of plain fine-tuning only the student's."""
    bare = without_seed(name)
    tuned = re.fullmatch(r"finetune_(.+)_[^_]+", bare)
    return tuned[1] if tuned and bare != name else bare


def without_seed(text: str) -> str:
    """``text`` without the seeds and digests that end the names of runs' folders."""
    return SEED_AND_HASH.sub("", text)
