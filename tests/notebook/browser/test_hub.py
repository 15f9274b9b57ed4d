"""The hub in JupyterLab: what is static comes to life, asks, follows, and is static again when the kernel goes."""

from __future__ import annotations

import pytest
from lab import Lab

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

SETUP = """
import threading
from IPython.display import display
from romancy_nb.widgets import hub, modules

class Threads:
    def soon(self, work): threading.Thread(target=work, daemon=True).start()
    def in_order(self, work): work()

class Trivial:
    def __init__(self): self.n, self.sends, self.closed = 0, {}, []
    def open(self, anchor, send):
        if anchor.endswith("unknown"): return False
        self.sends[anchor] = send
        send({"kind": "whole", "anchor": anchor, "what": "trivial", "n": self.n, "view": {"text": "whole", "rows": []}})
        return True
    def close(self, anchor): self.closed.append(anchor)
    def ask(self, anchor, what, arguments):
        if what == "fail": raise ValueError("no, thanks")
        return [what, arguments]
    def tell(self, **more):
        self.n += 1
        for anchor, send in self.sends.items(): send({"kind": "delta", "anchor": anchor, "n": self.n, **more})

hub_module = modules.module
KIND = '''
kinds.trivial = (root, view, link) => {
  const draw = (text) => { root.textContent = `alive ${text}`; };
  draw(view.text);
  link.ask("hello", { a: 1 }).then((said) => draw(JSON.stringify(said)));
  link.ask("fail").catch((error) => { root.dataset.said = error.message; });
  return { update: (delta) => draw(delta.set.text), whole: (next) => draw(next.text), destroy: () => {} };
};
'''
modules.module = lambda *names: hub_module(*names).replace("export default", KIND + "export default")
trivial = Trivial()
hub.serve("trivial", trivial)
assert hub.connect(Threads())
def still(text, name="one"):
    display({"text/html": f'<div data-romancy-live="trivial:{name}"><em>{text}</em></div>', "text/plain": text}, raw=True)
"""


def test_what_is_static_comes_to_life_and_goes_back_to_rest(lab: Lab) -> None:
    book = lab.open(SETUP + "still('static'); still('nobody knows', 'unknown')")
    book.run_all()
    book.wait_for_text('alive ["hello",{"a":1}]', 0)
    assert "nobody knows" in book.text(0)
    assert book.output(0).locator(".rn-live").get_attribute("data-said") == "no, thanks"
    book.run(book.insert("trivial.tell(set={'text': 'changed'})"))
    book.wait_for_text("alive changed", 0)
    book.save()
    book.load()
    book.wait_for_text('alive ["hello",{"a":1}]', 0)
    book.run(book.insert("still('second'); trivial.tell(set={'text': 'both'})"))
    book.page.wait_for_function("() => document.querySelectorAll('.rn-live').length === 2")
    book.wait_for_text("alive both", 0)
    assert "romancy-live" in str(book.save().cells[0].outputs) and "widget-view" not in str(book.save().cells)
    book.restart()
    book.wait_for_text("static", 0)
    assert "alive" not in book.text(0)
    book.is_clean()
    book.run(0)
    book.wait_for_text('alive ["hello",{"a":1}]', 0)
    lab.close()
    again = lab.show(book.path)  # in the same page, where the hub of the kernel that has gone must not ask any more
    again.wait_for_text("static", 0)
    again.run(0)
    again.wait_for_text('alive ["hello",{"a":1}]', 0)
    again.is_clean()
