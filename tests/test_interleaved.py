"""What is measured alike is measured in turns."""

from concurrent.futures import Future
from typing import Any

import pytest

from kd_lab import interleaved
from kd_lab.interleaved import Measured


class Here:
    """Stands in for processes of their own."""

    def __init__(self, *args: object, **options: object):
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def submit(self, measure: Any, *given: object) -> "Future[object]":
        done: Future[object] = Future()
        done.set_result(measure(*given))
        return done


def test_each_is_measured_once_before_any_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interleaved, "ProcessPoolExecutor", Here)
    kept: list[str] = []

    def keep(found: str) -> str:
        kept.append(found)
        return f"it was {found}"

    interleaved.run([Measured(name, "builtins:str.upper", [name], keep) for name in "abc"], 2, "letters", [])
    assert kept == ["A", "B", "C", "A", "B", "C"]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 letters, 2 times in turns: 6 processes"
    assert said[4].startswith("4/6 a: it was A, about ")
    assert said[6] == "6/6 c: it was C"
