"""From the words of a command line to settings, by Hydra's grammar and the files in conf/."""

import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kd_lab import settings
from kd_lab.errors import UserError
from kd_lab.settings import Method, Settings

CONF = next(path for path in (Path(__file__).parent / "conf", Path(__file__).parents[2] / "conf") if path.is_dir())
"""The folder of the settings: inside the wheel, or at the top of a checkout."""
PLAIN = re.compile(r"[A-Za-z0-9_./+-]*")


def settings_of(words: Sequence[str]) -> Settings:
    """What the words of a command line stand for, checked.

    Raises:
        UserError: naming the first bad word and what would be right.
    """
    return settings.check(compose(words))


def compose(overrides: Sequence[str]) -> DictConfig:
    """The configuration that the words ``overrides`` of a command line stand for."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from yaml import YAMLError

    # A notebook or an application may have a Hydra of its own.
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="kd_lab"):
            return hydra_compose("config", overrides=readable(overrides))
    except (HydraException, YAMLError) as error:
        raise UserError(one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = outer


def method_named(name: str) -> Method:
    """The method of conf/method/``name``.yaml as it stands there."""
    return Method.model_validate(OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{name}.yaml")))


def one_line(error: Exception) -> str:
    """What Hydra says of a bad word, without where it searched."""
    said = str(error).split("Config search path")[0].replace("\t", " ").split("\n")
    word = getattr(error, "override", None)
    return " ".join([f"{word}:"] * bool(word) + [part.strip() for part in said if part.strip()])


def readable(words: Sequence[str]) -> list[str]:
    """``words``, with quotes where Hydra's grammar needs them: around =, # and brackets, and any letter but a to z.

    Raises:
        UserError: for a word that is not UTF-8, which nothing could write down again.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import HydraException

    parser = OverridesParser.create()

    def reads(word: str) -> bool:
        try:
            parser.parse_overrides([word])
        except HydraException:
            return False
        return True

    def read(word: str) -> str:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(f"{word!a} is not UTF-8: give it another name, or set PYTHONUTF8=1") from error
        name, _, value = word.partition("=")
        # Whoever begins with a quote or a bracket, or lists with commas, means the grammar; parsing takes milliseconds.
        if PLAIN.fullmatch(value) or word.startswith("-") or value[0] in "'\"[{" or "," in value:
            return word
        if "\\" not in value and reads(word):  # of two backslashes the grammar would make one
            return word
        quoted = f"{name}={QuotedString(value, Quote.single).with_quotes()}"
        return quoted if reads(quoted) else word

    return [read(word) for word in words]
