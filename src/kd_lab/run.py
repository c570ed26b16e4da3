"""The door: python -m kd_lab.run method=metadistil teacher=bert+roberta."""

import os
import sys
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig
from rich.markup import escape

from kd_lab import composition, doors, settings, sweeps, terminal
from kd_lab.results import Result, percentages

if TYPE_CHECKING:
    from kd_lab.planning import Purpose

INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"


def run(config: DictConfig) -> float | None:
    """One job: check the settings, find or carry out the run, print its result; returns its validation accuracy."""
    if sweeps.running():
        return sweeps.job(config, lambda: _train(config, "job"))
    with doors.one_line_errors(debug=settings.is_true(config.get("debug")), interrupted=INTERRUPTED):
        result = _train(config)
    show(result)
    return result.student.validation.accuracy


def show(result: Result) -> None:
    """The result as a small table, its warnings, and where everything is."""
    table = terminal.ruled(["", "model"], ["valid. %", "test %", "before %", "parameters", "smaller"], result.name)
    for teacher in result.teachers:
        before = f"{100 * teacher.accuracy_before:.2f}"
        table.add_row("teacher", escape(teacher.name), *percentages(teacher), before, f"{teacher.parameters:,}")
    if result.ensemble and len(result.teachers) > 1:
        table.add_row("teachers", f"mean of {len(result.teachers)}", *percentages(result.ensemble))
    student, smaller = result.student, f"{result.times_smaller:.1f}×" if result.times_smaller else ""
    table.add_row("student", escape(student.name), *percentages(student), "", f"{student.parameters:,}", smaller)
    terminal.console.print(table)
    harder = [f"{scores.noise} {scores.p:g}: {100 * scores.accuracy:.2f}" for scores in result.under_noise]
    terminal.say(f"student's test % under noise: {', '.join(harder)}")
    for warning in result.warnings:
        terminal.say(f"warning: {warning}")
    updates = f", {result.teacher_updates} teacher updates" if result.teacher_updates else ""
    epochs = f"best after epoch {result.best_epoch} of {result.epochs}"
    terminal.say(f"{result.method}: {result.steps} steps{updates}, {epochs}, {result.seconds:.0f} s")
    terminal.say(f"everything is in {result.folder}")


def _train(config: DictConfig, purpose: "Purpose" = "single") -> Result:
    checked = settings.check(config, HydraConfig.get().overrides.task)
    # Not at the top: --help and a mistyped name answer before it.
    from kd_lab.experiment import train

    return train(checked, purpose)


def _list_at_once() -> None:
    """Spare --help half of its time: Hydra copies all it has loaded for each of the hundred groups that it lists."""

    def listed(self: ConfigLoaderImpl, group_name: str, results_filter: Any = ObjectType.CONFIG) -> Any:
        return self.repository.get_group_options(group_name, results_filter)

    ConfigLoaderImpl.get_group_options = listed  # type: ignore[method-assign, assignment]


def main() -> None:
    """Compose the configuration from the command line and run it."""
    # Hydra hands its errors on, instead of printing them over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with doors.one_line_errors(debug=doors.wants_traceback(sys.argv), interrupted=INTERRUPTED):
        sys.argv[1:] = composition.readable(sys.argv[1:])
        if {"--help", "-h"} & set(sys.argv):
            _list_at_once()
        hydra.main(version_base="1.3", config_path=str(composition.CONF), config_name="config")(run)()


if __name__ == "__main__":
    main()
