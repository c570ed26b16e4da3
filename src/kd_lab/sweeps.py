"""Many runs by one command: each job leaves an outcome, a failing one stops no other, the end is one table of all.

Outcomes are files, so that nothing is lost with the process, and jobs in other processes can be counted.
"""

import gc
import shlex
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from pydantic import ValidationError
from rich.markup import escape
from yaml import YAMLError

from kd_lab import composition, files, naming, settings, terminal
from kd_lab.errors import BusyError, UserError
from kd_lab.outcomes import SWEEP, Outcome, Sweep, outcomes, own_folder, sweep_of
from kd_lab.results import Result, percentages
from kd_lab.search import Search

BROKEN = "cannot_be_composed"


class Table(Callback):
    """Hydra's hook in the process of the sweep itself: counts the jobs, and at the end sets the exit code."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep of no jobs, and let a job that cannot be composed fail alone: Hydra would end the sweep."""
        try:
            files.refuse_unwritable(Path(config.output_dir))
            jobs = _count(config)
            folder = own_folder(Path(config.hydra.sweep.dir))
            Sweep(jobs=jobs).write(folder)
        except (HydraException, YAMLError, UserError) as error:
            terminal.complain(composition.one_line(error))
            sys.exit(2)
        except OSError as error:
            place = f"output_dir={config.output_dir}: the sweep's folder {config.hydra.sweep.dir}"
            terminal.complain(f"{place} cannot be written ({error.strerror}); name a place that can")
            sys.exit(2)
        config.hydra.sweep.dir = str(folder)
        loader: Any = GlobalHydra.instance().config_loader()
        loader.load_sweep_config = partial(_compose, loader.load_sweep_config, str(folder))
        terminal.say(f"sweep of {jobs} jobs")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit with 1 where a job failed."""
        folder, failed = Path(config.hydra.sweep.dir), True
        try:
            failed = show(folder)
            if config.get("search"):
                show_best(folder)
        except Exception as error:  # Hydra would make a warning of it, and the exit code 0
            terminal.complain(f"the table of {folder} cannot be shown: {type(error).__name__}: {error}")
        if failed:
            sys.exit(1)


def running() -> bool:
    """Whether this is a job of a sweep."""
    return bool(HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN)


def job(config: DictConfig, train: Callable[[], Result]) -> float | None:
    """Carry out one job of a sweep; whatever happens to it, its outcome is kept and the next job can start.

    Returns:
        Its validation accuracy; None where it failed.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir)

    def composed() -> Result:
        if BROKEN in config:
            raise UserError(config[BROKEN])
        return train()

    words = _words(config, hydra.overrides.task)
    result = attempt(folder, hydra.job.num, words, composed, debug=settings.is_true(config.get("debug")))
    say_progress(folder)
    return None if result is None else result.student.validation.accuracy


def attempt(
    folder: Path, number: int, words: Sequence[str], train: Callable[[], Result], *, debug: bool
) -> Result | None:
    """Carry out job ``number`` of the sweep in ``folder`` and keep its outcome, whatever it is.

    Returns:
        Its result; None where it failed.

    Raises:
        BusyError: by ``train``: nothing has come of it.
    """
    started, result = time.monotonic(), None
    ended: dict[str, Any] = {}
    try:
        result = train()
        ended = {"folder": result.folder.absolute()}
    except KeyboardInterrupt:
        show(folder)
        raise
    except BusyError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ended = {"error": " ".join(said.split())}
        terminal.complain(f"job {number + 1} failed: {ended['error']}")
        if debug:
            traceback.print_exc()
    outcome = Outcome(number=number, words=list(words), seconds=time.monotonic() - started, **ended)
    try:
        outcome.write(folder)
    except OSError as error:  # a full disk: the next job may find room again
        terminal.complain(f"the outcome of job {number + 1} cannot be kept in {folder} ({error.strerror})")
    # Trainer, models and optimizers refer to each other in circles.
    gc.collect()
    return result


def _words(config: DictConfig, given: Sequence[str]) -> list[str]:
    """The words of a command that repeats the job: what a search drew stands there as settings."""
    if not config.get("search"):
        return list(given)
    plain: Any = OmegaConf.to_container(config)
    try:
        drawn = Search.model_validate(plain["search"]).drawn(plain)
    except ValidationError:
        return list(given)
    kept = [word for word in given if not word.lstrip("+~").startswith("search.") and word != "sweep=search"]
    # A sweep of the user's own may set more than its search.
    done = ["search=null"] if any(word.startswith("sweep=") for word in kept) else []
    return kept + done + [f"{name}={value:g}" for name, value in drawn.items()]


def say_progress(folder: Path) -> None:
    """One line for the whole sweep: done, failed, time left at the pace so far."""
    so_far, sweep = outcomes(folder), sweep_of(folder)
    if not so_far or sweep is None:
        return
    failed, left = sum(outcome.error is not None for outcome in so_far), sweep.jobs - len(so_far)
    counted = f"sweep: {len(so_far)} of {sweep.jobs} jobs done" + (f", {failed} failed" if failed else "")
    pace = (time.time() - sweep.started) / len(so_far)
    # A clock that was set back says nothing of the pace.
    terminal.say(f"{counted}, about {terminal.duration(pace * left)} left" if left > 0 and pace > 0 else counted)


def show(folder: Path) -> bool:
    """The table of a sweep and its failed jobs; returns whether any job failed or has not ended."""
    so_far, sweep = outcomes(folder), sweep_of(folder)
    if sweep is None:
        terminal.complain(f"{folder / SWEEP} cannot be read: how many jobs there were is not known")
    jobs = sweep.jobs if sweep else len(so_far)
    varied = _varied([outcome.words for outcome in so_far])
    ended = [(words, outcome, outcome.result) for words, outcome in zip(varied, so_far, strict=True)]
    show_results([(words.removeprefix("experiment="), result) for words, _, result in ended if result])
    for words, outcome, result in ended:
        if not result:
            reason = outcome.error or f"{outcome.folder} holds no readable result"
            terminal.complain(f"job {outcome.number + 1} ({words}) failed: {reason}")
    if len(so_far) < jobs:
        terminal.complain(f"{jobs - len(so_far)} of {jobs} jobs have not ended; the same command goes on")
    return sweep is None or len(so_far) < jobs or not all(result for *_, result in ended)


def show_results(rows: Sequence[tuple[str, Result]]) -> None:
    """One table, in which each result comes after the words that tell its job from the others; and the warnings."""
    if not rows:
        terminal.say("no results")
        return
    count = f"{len(rows)} results" if len(rows) > 1 else "1 result"
    table = terminal.ruled(["job", "teachers → student"], ["valid. %", "test %", "teachers %", "seconds"], count)
    for words, result in rows:
        teachers = f"{100 * result.ensemble.test.accuracy:.2f}" if result.ensemble else ""
        models = naming.pair([teacher.name for teacher in result.teachers], result.student.name)
        figures = [*percentages(result.student), teachers, f"{result.seconds:.0f}"]
        table.add_row(escape(words), escape(models), *figures)
    terminal.console.print(table)
    warned = Counter(warning for _, result in rows for warning in result.warnings)
    for warning, jobs in warned.items():
        terminal.say(f"warning ({jobs} {'jobs' if jobs > 1 else 'job'}): {warning}")


def show_best(folder: Path) -> None:
    """After a search: the setting with the best validation accuracy, the earliest of equal ones, as a command."""
    found = [(outcome, outcome.result) for outcome in outcomes(folder)]
    judged = [(result.student.validation.accuracy, outcome) for outcome, result in found if result]
    if judged:
        accuracy, best = max(judged, key=lambda pair: pair[0])
        terminal.say(f"best of {len(judged)} on validation ({accuracy:.2%}):")
        terminal.say(f"  python -m kd_lab.run {shlex.join([*_own_configurations(), *best.words])}")


def _own_configurations() -> list[str]:
    """``--config-dir`` as it was given."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    folders = [source.path for source in sources if source.provider == "command-line"]
    return [word for folder in folders for word in ("--config-dir", folder)]


def _varied(commands: Sequence[Sequence[str]]) -> list[str]:
    """What tells each command from the others."""
    shared = set.intersection(*(set(words) for words in commands)) if len(commands) > 1 else set()
    return [" ".join(word for word in words if word not in shared) for words in commands]


def _count(config: DictConfig) -> int:
    """How many jobs the command stands for; 0 is an error that names the words that match nothing."""
    loader = GlobalHydra.instance().config_loader()
    given = [f"{name}={value}" for name, value in (config.hydra.sweeper.get("params") or {}).items()]
    words = OverridesParser.create(config_loader=loader).parse_overrides([*given, *config.hydra.overrides.task])
    if any(w.get_key_element() == "output_dir" and w.is_sweep_override() for w in words):
        raise UserError("output_dir cannot be swept: a sweep has one place")
    count = len(BasicSweeper.split_arguments(words, None)[0])
    if not count:
        empty = [str(w.input_line) for w in words if w.is_sweep_override() and not list(w.sweep_string_iterator())]
        raise UserError(f"a sweep of no jobs: {', '.join(empty)} matches nothing")
    return count


def _compose(
    load: Callable[..., DictConfig], folder: str, master_config: DictConfig, sweep_overrides: Sequence[str]
) -> DictConfig:
    """The configuration of one job; where its words cannot be composed, one that says why and is never trained."""
    try:
        composed = load(master_config, sweep_overrides)
    except (HydraException, YAMLError) as error:
        composed = load(master_config, [])
        with open_dict(composed):
            composed.hydra.overrides.task = list(sweep_overrides)
            composed[BROKEN] = composition.one_line(error)
    composed.hydra.sweep.dir = folder
    return composed
