"""The house: who may import whom, and how large a room may be."""

import ast
from pathlib import Path

import kd_lab

ROOMS = Path(kd_lab.__file__).parent
FLOORS = [
    {
        "errors",
        "streams",
        "measures",
        "memory",
        "quiet",
        "noise",
        "losses",
        "hypergradient",
        "lesson",
        "tangent",
        "batching",
        "dropout",
        "encoding",
        "excerpt",
        "optimization",
        "stopping",
        "rank",
        "hub",
        "significance",
        "texts",
    },
    {"splits", "sections", "origins", "search", "settings", "words", "results", "toy", "outcomes"},
    {"terminal", "downloads"},
    {"devices", "turns", "sources", "sweeps", "catalogue", "fingerprint", "teachers", "models", "finished"},
    {
        "data",
        "diagnostics",
        "distiller",
        "quizzes",
        "progress",
        "shelf",
        "tracking",
        "precision",
        "machine",
        "locks",
        "ranks",
    },
    {"methods.finetune", "methods.kd", "methods.metadistil", "building"},
    {"checkpoints"},
    {"evaluation", "planning", "findings", "fitting", "predicting"},
    {"remembered"},
    {"training"},
    {"crew"},
    {"experiment"},
    {"doors"},
    {"bench.variants", "bench.table", "bench.published", "bench.picture"},
    {"bench.passes", "bench.yardsticks"},
    {"bench.measurement"},
    {"bench.processes"},
    {"export.record"},
    {"export.runtimes", "export.writing", "export.bases", "export.sending", "export.speeds"},
    {"export.checking", "export.card", "export.stopwatch"},
    {"export.making"},
    {"report.answers"},
    {"report.runs", "report.gathering", "report.keeping"},
    {"study.plans"},
    {"study.carrying", "study.pace"},
    {"report.baselines", "report.published", "report.comparing"},
    {"report.figures", "report.tables", "report.drawing"},
    {"report.pictures", "report.rendering"},
    {"report.marks", "report.lines", "report.exported"},
    {"report.gallery", "report.page"},
    {"study.answering"},
    {"study.kept"},
    {"study.together"},
    {"study.page"},
    {"demo.choosing", "demo.answering"},
    {"demo.rendering"},
    {"demo.page"},
    {"demo.serving"},
    {"dashboard.panels"},
    {"dashboard.definition"},
    {"dashboard.saving"},
    {"run", "evaluate", "study.__main__", "bench.__main__", "bench.estimate", "dashboard.__main__", "report.__main__"}
    | {"predict", "export.__main__", "export.speed", "demo.__main__"},
]
"""From the ground up: a room imports only from lower floors, and from its own below the methods."""
MATHEMATICS = {"noise", "losses", "hypergradient", "lesson", "tangent", "excerpt", "batching", "splits", "significance"}
BEFORE_TORCH = {
    "errors",
    "streams",
    "memory",
    "quiet",
    "noise",
    "splits",
    "settings",
    "results",
    "downloads",
    "hub",
    "toy",
    "sources",
}
BEFORE_TORCH |= {
    "words",
    "outcomes",
    "sections",
    "origins",
    "search",
    "sweeps",
    "catalogue",
    "fingerprint",
    "teachers",
    "terminal",
    "turns",
}
BEFORE_TORCH |= {
    "rank",
    "locks",
    "planning",
    "experiment",
    "doors",
    "run",
    "evaluate",
    "study.__main__",
    "study.plans",
    "study.carrying",
    "study.pace",
    "study.answering",
    "study.kept",
    "study.page",
    "study.together",
    "bench.__main__",
    "bench.estimate",
    "dashboard.__main__",
    "bench.variants",
    "bench.table",
    "bench.processes",
}
BEFORE_TORCH |= {name for names in FLOORS for name in names if name.startswith(("report.", "significance"))}
BEFORE_TORCH |= {"texts", "finished", "predict", "export.__main__", "export.speed"}
BEFORE_TORCH |= {"demo.choosing", "demo.serving", "demo.__main__"}
BEFORE_TORCH |= {"export.record", "export.making", "export.sending", "export.speeds", "export.bases"}


def rooms() -> dict[str, Path]:
    found = {".".join(path.relative_to(ROOMS).with_suffix("").parts): path for path in ROOMS.rglob("*.py")}
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


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
            found |= {node.module} | (
                {f"kd_lab.{alias.name}" for alias in node.names} if node.module == "kd_lab" else set()
            )
    return found


def test_every_room_has_a_floor() -> None:
    assert set(rooms()) == set().union(*FLOORS)


def test_imports_go_downwards_only() -> None:
    floor = {room: level for level, names in enumerate(FLOORS) for room in names}
    for room, path in rooms().items():
        for name in imports(path):
            other = name.removeprefix("kd_lab.")
            if name.startswith("kd_lab.") and other in floor:
                same = floor[other] == floor[room] and "methods" not in room + other
                assert floor[other] < floor[room] or same, f"{room} imports {other}"


def test_the_mathematics_knows_no_machinery() -> None:
    for room in MATHEMATICS:
        outside = {name.split(".")[0] for name in imports(rooms()[room])}
        assert not outside & {"lightning", "hydra", "omegaconf", "wandb", "datasets", "pydantic"}, room


def test_packages_import_nothing() -> None:
    """Looking for a method's file imports its package."""
    packages = ("methods", "bench", "dashboard", "demo", "report", "export", "study")
    for path in [ROOMS / package / "__init__.py" for package in packages]:
        assert not imports(path), path


def test_a_finished_run_is_found_without_importing_torch() -> None:
    for room in BEFORE_TORCH:
        found = imports(rooms()[room], at_the_top=True)
        outside = {name.split(".")[0] for name in found}
        assert not outside & {"torch", "lightning", "transformers", "datasets", "wandb", "torchmetrics"}, room
        assert {name.removeprefix("kd_lab.") for name in found} & rooms().keys() <= BEFORE_TORCH, room


def test_rooms_and_functions_stay_small() -> None:
    for room, path in rooms().items():
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 250, room
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{room}.{node.name}"
