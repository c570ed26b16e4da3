"""The door: python -m kd_lab.run method=metadistil teacher=bert+roberta."""

import sys

import hydra
from omegaconf import DictConfig

from kd_lab import settings, terminal
from kd_lab.errors import UserError


def run(config: DictConfig) -> None:
    """One job: check the settings, find or carry out the run, print its result.

    Raises:
        SystemExit: with 2 after a line about what the user can put right, with 130 after Ctrl-C.
    """
    debug = bool(config.get("debug"))
    try:
        checked = settings.check(config)
        # Not at the top: --help and a mistyped name answer before it.
        from kd_lab.experiment import train

        terminal.show(train(checked))
    except UserError as error:
        if debug:
            raise
        terminal.complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        terminal.complain("interrupted: nothing unfinished counts; the same command starts this run again")
        sys.exit(130)


def main() -> None:
    """Compose the configuration from the command line and run it."""
    hydra.main(version_base="1.3", config_path=str(settings.CONF), config_name="config")(run)()


if __name__ == "__main__":
    main()
