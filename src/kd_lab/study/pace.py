"""How long the jobs of a study take, by those that are done."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, median

from kd_lab import terminal
from kd_lab.outcomes import outcome_of
from kd_lab.study.plans import Job


def took(job: Job) -> float | None:
    """Seconds that it took; None where it has not been carried out."""
    outcome = outcome_of(job.folder, job.number)
    result = outcome.result if outcome and tuple(outcome.words) == job.words else None
    # What was found finished took no time, this time.
    return max(outcome.seconds, result.seconds) if outcome and result else None


def time_left(left: Sequence[Job], done: Sequence[tuple[Job, float]], processes: int = 1) -> str:
    """How long the jobs ``left`` will take so many processes, by the seconds of those that are ``done``; nothing where
    none is done or left.
    """
    paces: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for job, seconds in done:
        paces[job.kind].append(seconds / job.epochs)
    ended = {job.words for job, _ in done}
    still = [job for job in left if job.words not in ended]
    if not paces or not still:
        return ""
    usual = fmean(median(those) for those in paces.values())
    alone = sum(job.epochs * median(paces.get(job.kind, [usual])) for job in still)
    return terminal.duration(alone / processes)
