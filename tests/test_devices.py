"""Which device a process takes; GPUs are pretended, there need be none."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from kd_lab import devices, downloads, process


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"gpu-{number}"))
    monkeypatch.setattr(devices, "_held", [])
    devices._free_gpu.cache_clear()
    yield
    devices._free_gpu.cache_clear()


@pytest.mark.parametrize("others", [(), (0,), (1,)])
def test_a_process_takes_a_gpu_that_no_other_has_and_stays_there(others: tuple[int, ...], two_gpus: None) -> None:
    folder = downloads.cache_folder() / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f"gpu-{number}.lock") for number in others]
    for lock in locks:
        lock.acquire(timeout=0)
    (taken,) = devices.own("auto")  # type: ignore[misc]
    assert taken not in others
    for lock in locks:
        lock.release()
    assert devices.own("gpu") == [taken]
    with pytest.raises(TimeoutError):
        FileLock(folder / f"gpu-{taken}.lock").acquire(timeout=0)


def test_where_all_are_taken_one_is_shared(two_gpus: None) -> None:
    folder = downloads.cache_folder() / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f"gpu-{number}.lock") for number in range(2)]
    for lock in locks:
        lock.acquire(timeout=0)
    assert devices.own("auto") in ([0], [1])
    for lock in locks:
        lock.release()


def test_a_cache_that_cannot_be_written_costs_no_run(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", "/proc/kd_lab")
    assert devices.own("auto") in ([0], [1])


def test_processes_of_one_run_have_a_gpu_each_and_the_processor_is_one(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert devices.own("cpu") == 1
    monkeypatch.setattr(process, "is_distributed", lambda: True)
    monkeypatch.setattr(process, "local_rank", lambda: 1)
    assert devices.own("auto") == [1]
    assert devices.own("cpu") == 1


def test_the_kind_is_what_the_accelerator_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.kind("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (devices.kind("cpu"), devices.kind("auto"), devices.kind("gpu")) == ("cpu", "cuda", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert (devices.kind("cpu"), devices.kind("auto")) == ("cpu", "mps")
