"""The live form of a question: fields to fill in and a button, in every notebook that shows anywidgets.

The browser draws it (``static/form.js``) from the form's data. What it sends is an answer; what it gets back is that the answer is
recorded, or what is wrong with it, field by field. What has become of the question (somebody may have answered it elsewhere)
comes as the widget's state, so every view of it shows the same, also after the page was loaded again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from romancy_nb.errors import EventRefused
from romancy_nb.widgets import form_html, modules
from romancy_nb.widgets.forms import Form

__all__ = ["LiveForm", "answer_while_busy", "live_form"]


class LiveForm(Protocol):
    """A form on the screen."""

    def show(self, form: Form) -> None:
        """Show what has become of the question, in every view. May be called on any thread."""

    def close(self) -> None:
        """Take the form off every page."""

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is displayed: the live form, and beside it the static one; and the metadata."""
        ...


def live_form(
    form: Form, answer: Callable[[Any], str], *, run: Callable[[Callable[[], None]], object] | None = None
) -> LiveForm | None:
    """Return a form that can be filled in, to be displayed; None where anywidget is not installed.

    Args:
        form: the question.
        answer: takes what was filled in, as JSON, and returns in a sentence that it is recorded; raises ``EventRefused``, whose
            ``problems`` are shown beside the fields. It is called on whatever thread the kernel handles a browser's messages.
        run: calls what it is given, so that a message is handled elsewhere and the kernel is free at once; by default it is
            handled where it arrives.

    Example:
        >>> display(live_form(form_of(question), lambda value: rn.instance(id).answer(value).says))  # doctest: +SKIP
    """
    made = _class()
    if made is None:
        return None
    live: LiveForm = made(form, answer, run or (lambda work: work()))
    return live


@functools.cache
def _class() -> Any:
    """anywidget and ipywidgets take a while to import, and are not needed where nobody looks."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        return None

    class QuestionForm(anywidget.AnyWidget):
        """A question to a person, with fields to fill in."""

        _esm = modules.module(*modules.FORM)
        _css = modules.styles(*modules.FORM_STYLES)
        form = traitlets.Dict().tag(sync=True)

        def __init__(self, form: Form, answer: Callable[[Any], str], run: Callable[..., object]) -> None:
            super().__init__(form=form.data())
            self._shown, self._answer, self._run = form, answer, run
            self.on_msg(self._heard)
            answer_while_busy(self.comm)

        def show(self, form: Form) -> None:
            self._shown = form
            self.form = form.data()

        def _heard(self, _widget: object, message: Any, _buffers: object) -> None:
            if isinstance(message, dict) and message.get("kind") == "answer":
                self._run(lambda: self.send(_reply(message, self._answer)))

        def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
            return self._repr_mimebundle_() or (form_html.mimebundle(self._shown), {})

        def _repr_mimebundle_(self, **options: Any) -> Any:
            found = super()._repr_mimebundle_(**options)
            if found is None:
                return None
            data, metadata = found if isinstance(found, tuple) else (found, {})
            return {**data, **form_html.mimebundle(self._shown)}, metadata

    return QuestionForm


def _reply(message: dict[str, Any], answer: Callable[[Any], str]) -> dict[str, Any]:
    told: dict[str, Any] = {"number": message.get("number")}
    try:
        said = answer(message.get("value"))
    except EventRefused as refused:
        return {**told, "kind": "refused", "problems": [list(each) for each in refused.problems], "said": str(refused)}
    except Exception as error:  # a person waits for a word, whatever went wrong
        return {**told, "kind": "refused", "problems": [], "said": f"{type(error).__name__}: {error}"}
    return {**told, "kind": "accepted", "said": said}


def answer_while_busy(comm: Any) -> None:
    """Let a browser's message come on the thread that the frontend chose for it, which a busy cell does not block.

    ipykernel 7.4 sends it to whichever thread last published on this comm, mostly the main one, and a form would be dead until
    the cell ends. Older ones do as the frontend says already.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
