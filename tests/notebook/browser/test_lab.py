"""The kit of the browser tests does what it says: it runs notebooks, sees what is shown, and notices what it must."""

from __future__ import annotations

import pytest
from lab import Lab, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.browser]


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_notebook_is_run_in_a_browser_without_asking_another_machine(lab: Lab, app: str) -> None:
    book = lab.open("answer = 6 * 7", "print('it is', answer)", app=app)
    book.run_all()
    book.wait_for_text("it is 42", 1)
    assert book.screenshot(f"kit-{app}").stat().st_size > 10_000
    saved = book.save()
    assert saved.cells[1].outputs[0].text == "it is 42\n"
    book.is_clean()


def test_cells_are_added_and_run_one_by_one_and_a_restart_forgets(lab: Lab) -> None:
    book = lab.open("seen = []", "seen.append(1); print(len(seen), 'seen')")
    book.run_all()
    book.run(1)
    book.wait_for_text("2 seen", 1)
    book.run(book.insert("print('new', seen)"))
    book.wait_for_text("new [1, 1]", 2)
    book.restart()
    book.run(2)
    book.wait_for_text("NameError", 2)


def test_a_request_to_another_machine_and_an_error_in_the_console_are_noticed(lab: Lab) -> None:
    book = lab.open(
        "from IPython.display import HTML, Javascript, display\n"
        "display(HTML('<img src=\"http://example.invalid/x.png\">'))\n"
        "display(Javascript('console.error(\"a bad day\")'))"
    )
    book.run_all()
    eventually(lambda: book.page.title() and book.strays and book.complaints, "both to be noticed")
    assert set(book.strays) == {"http://example.invalid/x.png"}
    assert [said for said in book.complaints if "bad day" in said]


def test_the_theme_can_be_changed(lab: Lab) -> None:
    book = lab.open("1", dark=True)
    assert book.page.get_attribute("body", "data-jp-theme-light") == "false"
    book.theme(dark=False)
