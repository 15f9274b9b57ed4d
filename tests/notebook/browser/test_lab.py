"""The kit of the browser tests does what it says: it runs notebooks, sees what is shown, and notices what it must."""

from __future__ import annotations

import pytest
from lab import Lab, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.browser]


def test_a_notebook_is_run_cell_by_cell_and_a_restart_forgets(lab: Lab) -> None:
    book = lab.open("seen = []", "seen.append(1); print(len(seen), 'seen')", dark=True)
    assert book.page.get_attribute("body", "data-jp-theme-light") == "false"
    book.theme(dark=False)
    book.run_all()
    book.run(1)
    book.wait_for_text("2 seen", 1)
    book.run(book.insert("print('new', seen)"))
    book.wait_for_text("new [1, 1]", 2)
    assert book.screenshot("kit-lab").stat().st_size > 10_000
    assert book.save().cells[1].outputs[0].text == "2 seen\n"
    book.restart()
    book.run(2)
    book.wait_for_text("NameError", 2)
    book.is_clean()


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
