"""The door: python -m kd_lab.run method=metadistil teacher=bert+roberta."""

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from kd_lab import settings, terminal
from kd_lab.errors import UserError


def run(config: DictConfig) -> None:
    """One job: check the settings, find or carry out the run, print its result.

    Raises:
        SystemExit: with 2 after one line about what the user can put right; under ``debug=true`` the error itself.
    """
    try:
        checked = settings.check(config)
        # Not at the top: --help and a mistyped name answer before it.
        from kd_lab.experiment import train

        terminal.show(train(checked))
    except UserError as error:
        if config.get("debug"):
            raise
        terminal.complain(str(error))
        sys.exit(2)


def main() -> None:
    """Compose the configuration from the command line and run it.

    Raises:
        SystemExit: with 2 after one line about a word that Hydra refuses, with 130 after Ctrl-C.
    """
    # Hydra hands its errors on, instead of printing them over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(settings.CONF), config_name="config")(run)()
    except HydraException as error:
        terminal.complain(settings.one_line(error))
        sys.exit(2)
    except KeyboardInterrupt:
        terminal.complain("interrupted: nothing unfinished counts; the same command starts this run again")
        sys.exit(130)


if __name__ == "__main__":
    main()
