"""The house: who may import whom, and how large a room may be."""

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import kd_lab

HOUSE = Path(kd_lab.__file__).parent
ROOMS = {".".join(path.relative_to(HOUSE).with_suffix("").parts): path for path in HOUSE.rglob("*.py")}
ROOMS = {name: path for name, path in ROOMS.items() if not name.endswith("__init__")}
Graph = dict[str, set[str]]

MATHEMATICS = {
    "noise",
    "losses",
    "gradients",
    "hypergradient",
    "lesson",
    "tangent",
    "excerpt",
    "batching",
    "splits",
    "significance",
}
AROUND_METHODS = {"checkpoints", "evaluation", "planning", "findings", "fitting", "training", "launcher", "experiment"}
"""What carries methods out, and which they know nothing of."""
BUILDS_ON = {
    "evaluation": {"methods"},  # a classifier is evaluated, and a student warmed up, as one that is fine-tuned
    "training": {"methods"},
    "bench": {"methods"},
    "report": {"export"},
    "study": {"report"},
}
"""Which packages a package, or a room outside of all, imports; beside them all may import the rooms outside."""
DOORS = {name for name, path in ROOMS.items() if "\ndef main()" in path.read_text(encoding="utf-8")}
BEFORE_TORCH = DOORS | {"experiment", "export.bases", "export.sending"}
BEFORE_TORCH |= {name for name in ROOMS if name.startswith(("report.", "study."))}
HEAVY = {"torch", "lightning", "transformers", "datasets", "wandb", "torchmetrics"}


def imports(path: Path, *, at_the_top: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = (
        {n for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.If) for n in ast.walk(node)}
        if at_the_top
        else set()
    )
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@cache
def graph(*, at_the_top: bool = False) -> Graph:
    """The rooms that each room imports."""
    found = {room: imports(path, at_the_top=at_the_top) for room, path in ROOMS.items()}
    return {room: {name.removeprefix("kd_lab.") for name in names} & ROOMS.keys() for room, names in found.items()}


def reached(roots: Iterable[str], imported: Graph) -> set[str]:
    """The rooms ``roots`` and all that they import, and what those do."""
    seen: set[str] = set()
    left = set(roots)
    while left:
        seen.add(room := left.pop())
        left |= imported[room] - seen
    return seen


def package(room: str) -> str:
    return room.rpartition(".")[0]


def test_imports_go_downwards() -> None:
    TopologicalSorter(graph()).prepare()  # which raises where there is a circle


def test_nothing_imports_a_door() -> None:
    assert len(DOORS) > 10
    assert {(room, door) for room, others in graph().items() for door in others & DOORS} == set()


def test_packages_build_on_few_others() -> None:
    for room, others in graph().items():
        allowed = {"", package(room)} | BUILDS_ON.get(package(room) or room, set())
        assert {package(other) for other in others} <= allowed, room


def test_methods_know_neither_each_other_nor_what_carries_them_out() -> None:
    assert ROOMS.keys() >= AROUND_METHODS
    for method in (room for room in ROOMS if package(room) == "methods"):
        assert {room for room in reached([method], graph()) if package(room) == "methods"} == {method}
        assert not reached([method], graph()) & AROUND_METHODS


def test_the_mathematics_knows_no_machinery() -> None:
    assert reached(MATHEMATICS, graph()) <= MATHEMATICS | {"errors"}
    for room in MATHEMATICS:
        outside = {name.split(".")[0] for name in imports(ROOMS[room])}
        assert not outside & {"lightning", "hydra", "omegaconf", "wandb", "datasets", "pydantic"}, room


def test_packages_import_nothing() -> None:
    """Looking for a method's file imports its package."""
    for path in {path.parent / "__init__.py" for path in ROOMS.values()} - {HOUSE / "__init__.py"}:
        assert not imports(path), path


@pytest.mark.parametrize("root", sorted(BEFORE_TORCH))
def test_doors_answer_before_torch_is_imported(root: str) -> None:
    for room in reached([root], graph(at_the_top=True)):
        outside = {name.split(".")[0] for name in imports(ROOMS[room], at_the_top=True)}
        assert not outside & HEAVY, f"{root} imports {room}"


def test_rooms_and_functions_stay_small() -> None:
    for room, path in ROOMS.items():
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 250, room
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{room}.{node.name}"
