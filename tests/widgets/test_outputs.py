"""What steps printed and displayed, in timelines: folded, escaped, limited (N4, N7)."""

from __future__ import annotations

from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.widgets.fallback import HISTORY_MIME, mimebundle
from romancy_nb.widgets.outputs import folded, in_brief
from romancy_nb.widgets.snapshot import Snapshot, snapshot

from .histories import S, Story, T


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def picture(size: int = 100) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"image/png": "A" * size, "text/plain": "<Figure>"}, "metadata": {}}


def view(*outputs: dict[str, Any], steps: int = 1) -> Snapshot:
    story = Story()
    for n in range(steps):
        story.asks(f"0:{n}", "step", T + n * S)
        story.add(ev.ATTEMPT_OUTPUT, T + n * S + 5, f"0:{n}", value=list(outputs))
        story.gets(f"0:{n}", T + n * S + 10)
    return snapshot(story.ends(T + steps * S).rows(), now=0)


def test_a_step_has_what_its_attempts_put_out_in_order() -> None:
    story = Story().asks("0:0", "step", T)
    story.add(ev.ATTEMPT_OUTPUT, T + 1, "0:0", value=[stream("one\n")])
    story.add(ev.ATTEMPT_FAILED, T + 2, "0:0", attempt=1, value={"type": "OSError", "message": "no"}, next_at=T + 3)
    story.add(ev.ATTEMPT_STARTED, T + 3, "0:0", attempt=2)
    story.add(ev.ATTEMPT_OUTPUT, T + 4, "0:0", value=[stream("two\n")])
    (step,) = snapshot(story.gets("0:0", T + 5, attempt=2).ends(T + 6).rows(), now=0).steps
    assert [output["text"] for output in step.outputs] == ["one\n", "two\n"]
    assert [attempt.outcome for attempt in step.attempts] == ["failed", "ok"]


def test_output_is_folded_and_escaped_in_html_and_one_line_in_text() -> None:
    shown = mimebundle(view(stream("first\n<b>&\n"), stream("oops\n", "stderr")))
    assert "&lt;b&gt;&amp;" in shown["text/html"]
    assert shown["text/html"].index("<details") < shown["text/html"].index("oops")
    assert "  │ oops  (2 lines before)" in shown["text/plain"].splitlines()


def test_pictures_stand_in_a_timeline_by_itself_and_not_below_the_output_of_a_call() -> None:
    shown = view(picture())
    assert 'src="data:image/png;base64,AAAA' in mimebundle(shown)["text/html"]
    below = mimebundle(shown, pictures=False)["text/html"]
    assert "data:image" not in below and "&lt;Figure&gt;" in below


def test_a_file_stays_small_whatever_steps_put_out() -> None:
    shown = mimebundle(view(stream("<" * 100_000), picture(50_000), picture(50_000), steps=300))
    assert len(shown["text/html"].encode()) <= 300_000
    assert "data:image" not in shown["text/html"]
    assert "outputs" not in str(shown[HISTORY_MIME])
    assert len(shown["text/plain"]) < 20_000


def test_long_text_is_cut_and_large_pictures_are_named() -> None:
    html = folded([stream("x" * 10_000), picture(100_000)], pictures=True)
    assert "…" in html and len(html) < 5_000
    assert "&lt;Figure&gt;" in folded([picture(100_000)], pictures=True)


def test_a_brief_line_hides_nothing_that_would_disturb_the_table() -> None:
    assert in_brief([]) == ""
    assert in_brief([stream("\n \n")]) == ""
    assert "\x1b" not in in_brief([stream("\x1b[31mred\x1b[0m\n")])
    assert in_brief([picture()]) == "<Figure>"


def test_what_coloured_a_terminal_or_hides_text_is_not_in_the_file() -> None:
    html = mimebundle(view(stream("\x1b[32mgreen\x1b[0m\n\tin\u202edented\x00\n")))["text/html"]
    assert ">green&#10;\tindented&#10;</pre>" in html


def test_what_was_printed_ends_no_html_where_the_notebook_becomes_markdown() -> None:
    html = mimebundle(view(stream("one\n\n# heading\n\n    indented\n"), stream("\n\n", "stderr")))["text/html"]
    assert "\n" not in html and "one&#10;&#10;# heading" in html
