"""The room plan, held by reading every import: who may know whom, who has threads, who knows a database (docs/architecture.md).

All imports count: those under ``TYPE_CHECKING``, those inside functions, and modules named as text for ``import_module``.
A cycle that exists only for type-checkers is a cycle for the people who read the code.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import romancy_nb

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "romancy_nb"
FACADE = "romancy_nb"
MODULES = sorted(PACKAGE.rglob("*.py"))

EVERYTHING = {
    "clock", "core", "definitions", "demo", "doctor", "errors", "journal", "notebook", "payloads", "runtime", "settings", "shown",
    "testing", "widgets", "words", FACADE,
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "clock": set(),
    "errors": set(),
    "settings": set(),
    "words": set(),
    "payloads": {"errors"},
    "core": {"payloads.payload", "errors"},
    "definitions": {"core", "payloads", "errors"},
    "journal": {"core.events", "payloads", "errors", "clock", "words"},
    "runtime": {"journal", "definitions", "core", "payloads", "errors", "clock", "settings", "words"},
    "widgets": {"journal", "core", "payloads", "errors", "clock", "words"},
    "shown": {"widgets", "errors", "words"},
    "testing": {"runtime", "journal", "definitions", "core", "payloads", "errors", "clock", FACADE},
    "doctor": EVERYTHING - {"demo", "notebook", "shown", "widgets"},
    "notebook": EVERYTHING - {"demo", "shown"},
    "demo": EVERYTHING - {"doctor", "shown"},
    "integrations": {"errors", FACADE},
    "doors": EVERYTHING - {"demo", "notebook", "shown", "widgets"},
    "terminal": {"words"},
    "headless": EVERYTHING - {"demo", "notebook", "shown", "widgets"} | {"doors"},
    "cli": EVERYTHING | {"doors", "headless", "terminal"},
    FACADE: {"definitions", "errors"},
}
"""What a room may import besides itself: a whole room, or one module of it. The facade may import the rest when asked."""

THREADS = {"threading", "_thread", "concurrent", "multiprocessing"}
IDENTITY_OF_THREADS = {"get_ident", "current_thread", "main_thread"}
LOCKS = {"Lock"}
MAY_START_THREADS = {"runtime", "cli", "demo", "headless", "notebook", "testing"}
MAY_LOCK = {"core", "definitions", "journal", "payloads"}
NOT_IN_CORE = (THREADS - {"threading"}) | {
    "time",
    "random",
    "os",
    "socket",
    "signal",
    "secrets",
    "pathlib",
    "subprocess",
    "queue",
}
MACHINE = [
    re.compile(pattern)
    for pattern in (
        r"/" + r"home/\w",
        r"/" + r"root/\w",
        r"/" + r"Users/\w",
        r"[A-Z]:\\" + r"Users\\",
        r"py" + r"pi\.org",
        r"files\.python" + r"hosted",
        r"regis" + r"try\.npm",
        r"arti" + r"factory",
        r"index" + r"[-_]url",
    )
]
"""Paths of somebody's machine, and hosts of package registries; cut in two so that this file does not find itself."""


@dataclass(frozen=True)
class Import:
    """One import: what, and whether it happens when the module is imported."""

    module: str
    line: int
    eager: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """``romancy_nb.core.loop`` -> ``core``; the package itself is the facade."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACADE


NAMES = {name_of(path) for path in MODULES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@cache
def imports_of(path: Path) -> list[Import]:
    """Return all imports of a module, wherever they stand."""
    here, found = name_of(path), []
    package = here if path.name == "__init__.py" else here.rpartition(".")[0]
    for node, eager in walk(tree_of(path), True):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, eager) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])]
                )
            for alias in node.names:  # ``from romancy_nb import clock`` imports a module, not a name of the facade
                inner = f"{base}.{alias.name}"
                found.append(Import(inner if inner in NAMES else base, node.lineno, eager))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES - {FACADE}:
            found.append(Import(node.value, node.lineno, False))
    return found


def walk(node: ast.AST, eager: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Walk a tree; *eager* is False inside functions and under ``if TYPE_CHECKING``."""
    yield node, eager
    typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    inside = eager and not typing_only and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in ast.iter_child_nodes(node):
        yield from walk(child, inside)


def ours(path: Path) -> list[Import]:
    return [each for each in imports_of(path) if each.module.split(".")[0] == FACADE]


def of_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- rooms -----------------------------------------------------------------------------------------------------------


def test_every_room_stands_in_the_table() -> None:
    assert {room_of(name) for name in NAMES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    room = room_of(name_of(path))
    wrong = []
    for each in ours(path):
        target = room_of(each.module)
        if target == room or (room == FACADE and not each.eager):
            continue
        inner = each.module.removeprefix(FACADE + ".")
        if target not in MAY_IMPORT[room] and inner not in MAY_IMPORT[room]:
            wrong.append(
                f"{of_path(path)}:{each.line} imports {each.module}; {room} may import {MAY_IMPORT[room] or 'nothing'}"
            )
    assert not wrong, "\n".join(wrong)


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in MODULES:
        room = room_of(name_of(path))
        targets = {room_of(each.module) for each in ours(path) if room != FACADE or each.eager}
        edges.setdefault(room, set()).update(targets - {room})
    while edges:  # take away rooms that import none of those that are left
        free = [room for room, targets in edges.items() if not targets & edges.keys()]
        assert free, f"a circle among {sorted(edges)}: {edges}"
        for room in free:
            del edges[room]


def test_modules_do_not_import_each_other_in_a_circle_when_they_are_loaded() -> None:
    """Within a room a circle for type-checkers alone is borne (an engine and the handle of its runs); one at run time is not."""
    edges = {
        name_of(path): {each.module for each in ours(path) if each.eager and each.module in NAMES} - {name_of(path)}
        for path in MODULES
    }
    while edges:
        free = [name for name, targets in edges.items() if not targets & edges.keys()]
        assert free, f"a circle among {sorted(edges)}"
        for name in free:
            del edges[name]


# -- what a room may touch of the world ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_only_the_journal_knows_a_database(path: Path) -> None:
    known = {each.module.split(".")[0] for each in imports_of(path)} & {"duckdb", "sqlite3", "psycopg"}
    assert not known or room_of(name_of(path)) == "journal", f"{of_path(path)} imports {known}"


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_only_the_runtime_has_threads(path: Path) -> None:
    """Definitions may ask which thread this is (C8), and a lock starts nothing; the command line, the demo, a warm-up and
    the crash points may have helpers of their own."""
    room = room_of(name_of(path))
    known = {each.module.split(".")[0] for each in imports_of(path)} & THREADS
    if room in MAY_START_THREADS or not known:
        return
    assert room in MAY_LOCK and known == {"threading"}, f"{of_path(path)} imports {sorted(known)}"
    used = {
        node.attr
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "threading"
    }
    strange = used - LOCKS - (IDENTITY_OF_THREADS if room == "definitions" else set())
    assert not strange, f"{of_path(path)} uses threading.{sorted(strange)[0]}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name == "core"], ids=of_path)
def test_the_core_is_pure(path: Path) -> None:
    impure = sorted({each.module.split(".")[0] for each in imports_of(path)} & NOT_IN_CORE)
    assert not impure, f"{of_path(path)} imports {impure}: the core has no I/O, thread, clock or chance"


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_only_the_clock_reads_time(path: Path) -> None:
    """``romancy_nb.testing`` replaces the clock; whoever asks ``time`` past it would not be moved by that."""
    if name_of(path) in {"romancy_nb.clock", "romancy_nb.testing"} or room_of(name_of(path)) in {"demo", "cli"}:
        return
    calls = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    reads = calls & {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.perf_counter",
        "datetime.today",
        "datetime.utcnow",
    }
    assert not reads, f"{of_path(path)} reads {sorted(reads)}; use romancy_nb.clock"


# -- the facade --------------------------------------------------------------------------------------------------------


def test_the_facade_is_sorted_and_everything_in_it_can_be_had() -> None:
    assert romancy_nb.__all__ == sorted(romancy_nb.__all__)
    assert len(set(romancy_nb.__all__)) == len(romancy_nb.__all__)
    for name in romancy_nb.__all__:
        assert getattr(romancy_nb, name) is not None, name
    assert set(romancy_nb.__all__) <= set(dir(romancy_nb))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_module_can_be_imported_and_means_what_its_all_says(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith(FACADE):
            raise
        pytest.skip(f"{missing.name} is not installed")
    listed = getattr(module, "__all__", [])
    assert [each for each in listed if not hasattr(module, each)] == []


# -- the shape of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), f"{of_path(path)} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_no_file_is_longer_than_500_lines(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= 500, f"{of_path(path)} has {lines} lines: it holds more than one idea"


@pytest.mark.parametrize("path", MODULES, ids=of_path)
def test_no_function_is_longer_than_60_lines(path: Path) -> None:
    long = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            if lines > 60:
                long.append(f"{of_path(path)}:{node.lineno} {node.name} has {lines} lines")
    assert not long, "\n".join(long)


def tracked() -> list[Path]:
    """Return the files of the repository; skip where this is no checkout."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_tells_of_the_machine_that_it_was_written_on() -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "ignore").splitlines(), 1):
            found += [f"{of_path(path)}:{number}: {match.group()}" for mark in MACHINE if (match := mark.search(line))]
    assert not found, "\n".join(found)
