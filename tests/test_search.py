import math
from typing import Any

import pytest

from kd_lab import composition
from kd_lab.search import Range, Search

RANGES = {
    "lr": {"low": 1e-5, "high": 1e-2, "scale": "log"},
    "method": {"alpha": {"low": 0.2, "high": 0.8, "scale": "linear"}},
}


def drawn(draw: int, seed: int = 0, **ranges: Any) -> dict[str, float]:
    search = Search.model_validate({"seed": seed, "draw": draw, "ranges": ranges or RANGES})
    return search.drawn({"lr": 1.0, "method": {"alpha": 0.5}})


def test_draws_cover_their_range_evenly_in_its_scale() -> None:
    draws = [drawn(i) for i in range(2000)]
    logs = [math.log10(values["lr"]) for values in draws]
    assert -5 <= min(logs) < -4.98
    assert -2.02 < max(logs) <= -2
    assert sum(logs) / 2000 == pytest.approx(-3.5, abs=0.08)  # four standard errors
    assert sum(values["method.alpha"] for values in draws) / 2000 == pytest.approx(0.5, abs=0.016)
    assert sum((x + 3.5) * (v["method.alpha"] - 0.5) for x, v in zip(logs, draws, strict=True)) / 2000 == pytest.approx(
        0, abs=0.014
    )


def test_a_draw_is_a_function_of_seed_draw_and_name_alone() -> None:
    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(3, seed=1) != drawn(3)
    assert drawn(3, lr=RANGES["lr"])["lr"] == drawn(3)["lr"]


def test_a_command_repeats_a_draw_exactly() -> None:
    for i in range(200):
        for value in drawn(i).values():
            assert float(f"{value:g}") == value


def test_the_best_settings_word_gives_the_same_run() -> None:
    words = ["sweep=search", "method=kd", "search.draw=7"]
    searched = composition.settings_of(words)
    plain = composition.compose(words)
    values = Search.model_validate(plain.search).drawn(plain)
    typed = composition.settings_of(["method=kd", *(f"{name}={value:g}" for name, value in values.items())])
    assert searched == typed
    assert set(values) == {"lr", "method.alpha", "method.temperature"}


def test_a_range_holds_something() -> None:
    with pytest.raises(ValueError, match="low should lie below high"):
        Range(low=1, high=1, scale="log")
