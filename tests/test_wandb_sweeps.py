"""The files for wandb sweep: W&B's agents start commands that kd_lab understands."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps import utils

from kd_lab import composition

FILES = {path.stem: path for path in (composition.CONF / "wandb").iterdir()}


def loaded(name: str) -> dict[str, Any]:
    """As W&B reads it; its own function leaves the file open."""
    found: dict[str, Any] = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))
    return found


def started(config: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The command that an agent starts, by W&B's own rules."""
    arguments = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    replaced = {**arguments, "env": ["/usr/bin/env"], "interpreter": ["python"], "program": [config["program"]]}
    command: list[str] = []
    for part in utils.create_sweep_command(config["command"]):
        command += replaced[part[2:-1]] if part.startswith("${") else [part]
    return command


def draws(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each value, and both ends of each range, beside the first of all others."""
    choices = {
        name: part.get("values") or [part.get("value", part.get("min")), *([part["max"]] if "max" in part else [])]
        for name, part in config["parameters"].items()
    }
    first = {name: values[0] for name, values in choices.items()}
    yield first
    for name, values in choices.items():
        yield from ({**first, name: value} for value in values[1:])


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_one_of_ours(name: str) -> None:
    config = loaded(name)
    for values in draws(config):
        program, words = started(config, values)[:4], started(config, values)[4:]
        assert program == ["/usr/bin/env", "python", "-m", "kd_lab.run"]
        checked = composition.settings_of(words)
        flat = {"method": checked.method.name, "noise": checked.noise.name, **checked.method.arguments()}
        for parameter, value in values.items():
            short = parameter.removeprefix("method.")
            assert flat.get(short, getattr(checked, short, None)) == value, parameter


@pytest.mark.parametrize("name", FILES)
def test_what_is_maximised_is_what_a_run_logs(name: str) -> None:
    """tests/test_dashboard.py holds that a run logs it."""
    from kd_lab.dashboard import panels

    config = loaded(name)
    assert config["metric"] == {"name": panels.JUDGED, "goal": "maximize"}
    assert config["method"] in {"grid", "random", "bayes"}


def test_the_ranges_are_those_of_our_own_search() -> None:
    ours: Any = OmegaConf.to_container(OmegaConf.load(composition.CONF / "sweep" / "search.yaml"))
    ranges = {**ours["search"]["ranges"]}
    ranges |= {f"method.{name}": found for name, found in ranges.pop("method").items()}
    kinds = {"uniform": "linear", "log_uniform_values": "log"}
    theirs = {
        name: {"low": part["min"], "high": part["max"], "scale": kinds[part["distribution"]]}
        for name, part in loaded("search")["parameters"].items()
        if "distribution" in part
    }
    assert theirs == ranges
    assert all(isinstance(part[end], float) for part in theirs.values() for end in ("low", "high"))


def test_the_grid_is_our_own_without_fine_tuning() -> None:
    ours: Any = OmegaConf.to_container(OmegaConf.load(composition.CONF / "sweep" / "ablation.yaml"))
    grid = {name: str(values).split(",") for name, values in ours["hydra"]["sweeper"]["params"].items()}
    grid["method"].remove("finetune")
    theirs = {name: [str(value) for value in part["values"]] for name, part in loaded("ablation")["parameters"].items()}
    assert theirs == grid
