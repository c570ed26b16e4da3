"""The model hub's client with an end to every wait, what it says in words a user can act on, and its files checked."""

import fnmatch
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kd_lab import files

SECONDS_OF_TROUBLE = 10  # in which the same bytes may be asked for again
REFUSALS = 4  # of a hub that is out of order, 7 seconds
BUSY = (408, 429, 500, 502, 503, 504)  # statuses after which the client asks again
OPEN_IT = "log in with `hf auth login` or set HF_TOKEN"


@contextmanager
def patience() -> Iterator[None]:
    """Within, the hub's client gives up in seconds; alone it waits as long as a hub says, and at places for ever.

    A connection may be silent for HF_HUB_DOWNLOAD_TIMEOUT seconds, 10 where the user does not set it.
    """
    from huggingface_hub import constants, get_session

    client, limits = get_session(), _Patience(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    hooks = client.event_hooks
    client.event_hooks = {"request": [*hooks["request"], limits.ask], "response": [*hooks["response"], limits.hear]}
    try:
        yield
    finally:
        client.event_hooks = hooks


class _Patience:
    """What has been asked for and refused so far, by method, address and first byte.

    Args:
        silence: seconds that a connection may say nothing.
    """

    def __init__(self, silence: float):
        self.silence = silence
        self.asked: set[tuple[str, ...]] = set()
        self.asked_again: dict[tuple[str, ...], float] = {}
        self.refused: Counter[tuple[str, ...]] = Counter()

    def ask(self, request: Any) -> None:
        """Before every request. The client goes on as long as a byte arrives, were it always the same one."""
        waits = request.extensions["timeout"].items()
        bounded = {what: self.silence if wait is None else min(wait, self.silence) for what, wait in waits}
        request.extensions = {**request.extensions, "timeout": bounded}
        place, now = _place(request), time.monotonic()
        if place in self.asked and now - self.asked_again.setdefault(place, now) > SECONDS_OF_TROUBLE:
            raise TimeoutError("it says nothing more, or breaks off at the same byte")
        self.asked.add(place)

    def hear(self, response: Any) -> None:
        """After every answer's head: the client would wait as long as the hub asks it to, five times."""
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        if response.status_code not in BUSY:
            return
        place = _place(response.request)
        self.refused[place] += 1
        if response.status_code == 429 or "Retry-After" in response.headers or self.refused[place] >= REFUSALS:
            hf_raise_for_status(response)


def _place(request: Any) -> tuple[str, ...]:
    return request.method, str(request.url), request.headers.get("Range", "")


def in_words(error: Exception, kind: str, repository: str, failed: str = "did not arrive from") -> str:
    """What an error of the hub's client means for the ``kind`` ``repository``, and what to do: one line, no secrets."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    answer = next((a for e in (error, error.__cause__) if (a := getattr(e, "response", None)) is not None), None)
    if answer is not None:
        return _without_secrets(_refusal(answer, f"{kind} {repository}"))
    if isinstance(error, LocalEntryNotFoundError):
        return f"the model hub cannot be reached for the {kind} {repository}"
    reason = _without_secrets((str(error).strip() or type(error).__name__).splitlines()[0].rstrip("."))
    return f"the {kind} {repository} {failed} the model hub ({reason}): run again"


def _refusal(answer: Any, thing: str) -> str:
    """The hub says of what is private what it says of what does not exist, and 401 or 404 for either."""
    status, headers = answer.status_code, answer.headers
    if headers.get("X-Error-Code") == "GatedRepo":
        page = str(answer.request.url).partition("/resolve/")[0]
        return f"the {thing} is open to those its owner lets in: ask at {page}, then {OPEN_IT}"
    if headers.get("X-Error-Code") == "RevisionNotFound":
        return f"the {thing} has no such revision on the model hub: its page there lists those it has"
    if "Invalid credentials" in headers.get("X-Error-Message", ""):
        return f"the model hub does not know the token it is given for the {thing}: {OPEN_IT} anew"
    if status in (401, 403, 404):
        return f"the model hub shows no {thing}: check the name; if it is private, {OPEN_IT}"
    if status == 429:
        wait = re.search(r"\d+", headers.get("Retry-After", "")) or re.search(
            r"(?<=t=)\d+", headers.get("RateLimit", "")
        )
        when = f"in {wait[0]} seconds" if wait else "later"
        return f"the model hub has been asked too often for the {thing}: run again {when}, or {OPEN_IT}"
    return f"the model hub is out of order ({status}) for the {thing}: run again later"


def _without_secrets(text: str) -> str:
    """The text without tokens, which a header may spell with escapes, and without the passwords of addresses."""
    from huggingface_hub import get_token

    text = re.sub(r"Bearer .*", "Bearer …", text)
    for secret in (os.environ.get("HF_TOKEN"), os.environ.get("HUGGING_FACE_HUB_TOKEN"), get_token()):
        text = text.replace(secret.strip(), "…") if secret and secret.strip() else text
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def damaged(folder: Path, patterns: list[str]) -> list[str]:
    """The files of a snapshot that match ``patterns`` and are not what the hub calls them.

    The client checks their size alone. Its cache keeps each file under the name that the hub has for its content: the
    SHA-256 where it is large, git's name where it is small, and a mirror may say its SHA-1. Where a cache has no links,
    or other names, nothing is checked.

    Args:
        folder: of the snapshot.
        patterns: of paths below it.
    """
    links = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_symlink()}
    return [
        file
        for file, path in links.items()
        if any(fnmatch.fnmatch(file, pattern) for pattern in patterns) and not _is_called(path, path.readlink().name)
    ]


def _is_called(path: Path, name: str) -> bool:
    if re.fullmatch("[0-9a-f]{64}", name):
        return files.sha256_of(path) == name
    if re.fullmatch("[0-9a-f]{40}", name):
        content = path.read_bytes()
        as_git_does = b"blob %d\0" % len(content) + content
        return name in [hashlib.sha1(said, usedforsecurity=False).hexdigest() for said in (as_git_does, content)]
    return True
