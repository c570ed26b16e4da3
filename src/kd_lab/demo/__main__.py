"""The door: python -m kd_lab.demo [RUN ...] [name=value ...]: a page on which models answer."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kd_lab import composition, doors, finished, memory, terminal
from kd_lab.demo import choosing, serving
from kd_lab.demo.choosing import Candidate
from kd_lab.errors import UserError
from kd_lab.finished import Finished
from kd_lab.sections import Section, Text

USAGE = """A page on this machine: type a text, and teachers and students say what they make of it.

python -m kd_lab.demo [RUN ...] [name=value ...]

RUN         a run's folder (its student and its teachers), any model folder, or a hub id; at most 6 models.
            Without one: the newest MetaDistil students of one and of several teachers, the newest KD student
host=       127.0.0.1 (default): this machine only; 0.0.0.0: everyone who can reach it
port=       7860 (default), or the next that is free

Every other word of kd_lab.run is understood as well, such as output_dir= and precision=."""

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from kd_lab.demo.answering import Panel


class Place(Section):
    """The door's own words."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 7860


@dataclass(frozen=True)
class Request:
    """What is asked for: the models, where the page is, and the folder of the report."""

    found: Sequence[tuple[Candidate, Finished]]
    place: Place
    output_dir: Path


def main() -> None:
    """Read the command line, load the models, and serve the page until Ctrl-C."""
    doors.opened(USAGE, lambda words: show(read(words)))


def read(words: Sequence[str]) -> Request:
    """The request that the words of a command line make.

    Raises:
        UserError: for a bad word, a folder without a classifier, or if there is no finished run.
    """
    place, rest = doors.own(Place, words)
    names, given = doors.named(rest, "models", most=sys.maxsize)
    # What pipelines of other libraries compute in, so that the answers are theirs.
    given = ["precision=float32", *given]
    checked = composition.settings_of(given)
    candidates = choosing.choose(names, checked.output_dir)
    found = [(candidate, finished.under(checked, candidate.name, given)) for candidate in candidates]
    return Request(found, place, checked.output_dir)


def show(request: Request) -> None:
    """Serve the page until Ctrl-C."""
    if find_spec("gradio") is None:
        raise UserError("the demo needs one more package: pip install 'kd_lab[demo]'")
    place = request.place
    with serving.listen(place.host, place.port) as listening:
        memory.keep_freed()
        serving.keep_to_oneself()
        terminal.say(f"loading {len(request.found)} {'models' if request.found[1:] else 'model'}")
        # Seconds of imports, after everything that can be refused.
        from kd_lab.demo.answering import Panel

        panel = Panel(request.found)
        for candidate, found in request.found:
            terminal.say(f"{candidate.role}: {candidate.shown} ({found.checkpoint.folder})")
        serving.serve(lambda: _announced(request, panel, serving.url(listening)), listening)
    terminal.say("stopped")


def _announced(request: Request, panel: "Panel", address: str) -> "ASGIApp":
    from kd_lab.demo import page

    app = serving.application(page.build(panel, request.output_dir))
    if request.place.port and not address.endswith(f":{request.place.port}"):
        terminal.say(f"port {request.place.port} is taken")
    terminal.say(f"the page is at {address}; Ctrl-C ends it")
    return app


if __name__ == "__main__":
    main()
