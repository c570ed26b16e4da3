"""The words of a command line, as Hydra can read them."""

import re
from collections.abc import Sequence

from kd_lab.errors import UserError

PLAIN = re.compile(r"[A-Za-z0-9_./+-]*")


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
