"""Which frontend needs a view of its own for what lives, and what a display carries there. VS Code and Colab do not run here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from romancy_nb.notebook import frontends, identity, pages
from romancy_nb.notebook.frontends import VIEW_MIME, needs_view
from romancy_nb.notebook.shown import ShownRun

NAMES = ("VSCODE_PID", "VSCODE_CWD", "VSCODE_IPC_HOOK_CLI", "JPY_SESSION_NAME", "COLAB_RELEASE_TAG")
STATIC = {"text/plain": "a run", "text/html": "<div>a run</div>"}


class Kernel:
    """A shell whose cells have ids, as ipykernel tells them."""

    def __init__(self, cell: str | None = "cell-1", **names: Any) -> None:
        self.user_ns = names
        self._cell = cell

    def get_parent(self) -> dict[str, Any]:
        return {"metadata": {"cellId": self._cell}}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], None]:
    """Say which shell runs; nothing of the environment in which the tests run counts."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    return lambda made: monkeypatch.setattr(identity, "shell", lambda: made)


def test_jupyter_needs_no_view_also_when_it_was_started_in_a_terminal_of_vs_code(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(Kernel())
    assert not needs_view()
    monkeypatch.setenv("VSCODE_PID", "1")
    monkeypatch.setenv("JPY_SESSION_NAME", "book.ipynb")
    assert not needs_view()


def test_vs_code_is_known_by_the_notebook_that_it_names_or_by_its_environment(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(Kernel(__vsc_ipynb_file__="/books/book.ipynb"))
    assert needs_view()
    shell(Kernel())
    monkeypatch.setenv("VSCODE_PID", "1")
    assert needs_view()
    shell(Kernel(cell=None))
    assert not needs_view(), "papermill in a terminal of VS Code has no page"


def test_colab_is_known_by_its_module_or_by_its_release(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(Kernel(cell=None))
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-1")
    assert needs_view()
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert needs_view()


class Cell:
    """The output of a cell: keeps each bundle that it is given."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def within(self, function: Callable[[], Any]) -> Any:
        return function()

    def place(self, bundle: dict[str, Any], metadata: dict[str, Any]) -> str:
        self.shown.append(bundle)
        return "display"

    def replace(self, display: str, bundle: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.shown.append(bundle)


@pytest.fixture
def run_in_cell(journal: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Show a real run in a cell, draw it once more, and let it end; return what the cell was given."""
    import romancy_nb as rn

    monkeypatch.setattr(pages, "look", lambda: True)

    @rn.activity
    def step() -> int:
        return 1

    @rn.workflow
    def flow() -> int:
        return step()

    handle = flow.start()  # before the test says which shell there is
    handle.result(20)

    def show() -> list[dict[str, Any]]:
        cell = Cell()
        shown = ShownRun(handle, handle.run, cell, STATIC)  # type: ignore[arg-type]
        shown.update(handle.timeline())
        shown.end(handle.timeline())
        return cell.shown

    return show


def test_where_a_view_is_needed_a_display_carries_one_until_its_last_update(
    shell: Any, run_in_cell: Callable[[], list[dict[str, Any]]]
) -> None:
    pytest.importorskip("anywidget")
    shell(Kernel(__vsc_ipynb_file__="/books/book.ipynb"))
    first, second, last = run_in_cell()
    assert first[VIEW_MIME] == second[VIEW_MIME] and first[VIEW_MIME]["version_major"] == 2
    assert first["text/html"] == STATIC["text/html"] and "completed" in second["text/plain"]
    assert VIEW_MIME not in last and "completed" in last["text/plain"]


def test_jupyters_displays_never_carry_a_view(shell: Any, run_in_cell: Callable[[], list[dict[str, Any]]]) -> None:
    shell(Kernel())
    assert all(VIEW_MIME not in bundle for bundle in run_in_cell())


def test_the_widget_of_a_view_knows_what_it_shows_and_is_the_hubs(shell: Any) -> None:
    pytest.importorskip("anywidget")
    runs = SimpleNamespace(soon=lambda work: work(), in_order=lambda work: work())
    view, widget = frontends.view_of("timeline:order-7:1", runs)
    assert view[VIEW_MIME]["model_id"] == widget.model_id
    assert widget.anchor == "timeline:order-7:1" and "render" in widget._esm
    widget.close()


def test_without_anywidget_the_display_is_static(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontends.hub, "_class", lambda: None)
    assert frontends.view_of("timeline:order-7:1", SimpleNamespace()) == ({}, None)  # type: ignore[arg-type]
