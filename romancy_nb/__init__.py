"""Durable workflows that live in a notebook.

>>> import romancy_nb as rn
>>> @rn.activity
... def reserve(item: str) -> str: ...
>>> @rn.workflow
... def order(item: str) -> str:
...     return reserve(item)

Everything that people need is here; what is heavy is imported when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from romancy_nb.definitions.activity import Activity, Compensation, activity
from romancy_nb.definitions.ambient import Context, context, use_launcher
from romancy_nb.definitions.batches import Batch, FailedRow
from romancy_nb.definitions.channels import publish, receive, subscribe
from romancy_nb.definitions.compensation import compensation
from romancy_nb.definitions.helpers import gather, now, random, side_effect, sleep, sleep_until, uuid4
from romancy_nb.definitions.limits import limit
from romancy_nb.definitions.mapping import map
from romancy_nb.definitions.options import RetryPolicy
from romancy_nb.definitions.recurring import recur
from romancy_nb.definitions.sagas import compensate_with, saga
from romancy_nb.definitions.sending import send
from romancy_nb.definitions.waits import ask, wait_event
from romancy_nb.definitions.workflow import Workflow, workflow
from romancy_nb.errors import ActivityError, TerminalError, Waiting

if TYPE_CHECKING:
    from romancy_nb.definitions.ambient import Handle as Instance  # definitions cannot name the runtime's class
    from romancy_nb.notebook.durable import durable_notebook, fresh
    from romancy_nb.notebook.extension import load_ipython_extension, unload_ipython_extension
    from romancy_nb.payloads.codec import register_codec
    from romancy_nb.runtime.checking import check
    from romancy_nb.runtime.launch import connect, disconnect, forget, instance, instances, questions, sql, start

__version__ = "0.1.0"

__all__ = [
    "Activity",
    "ActivityError",
    "Batch",
    "Compensation",
    "Context",
    "FailedRow",
    "Instance",
    "RetryPolicy",
    "TerminalError",
    "Waiting",
    "Workflow",
    "activity",
    "ask",
    "check",
    "compensate_with",
    "compensation",
    "connect",
    "context",
    "disconnect",
    "durable_notebook",
    "forget",
    "fresh",
    "gather",
    "instance",
    "instances",
    "limit",
    "load_ipython_extension",
    "map",
    "now",
    "publish",
    "questions",
    "random",
    "receive",
    "recur",
    "register_codec",
    "saga",
    "send",
    "side_effect",
    "sleep",
    "sleep_until",
    "sql",
    "start",
    "subscribe",
    "unload_ipython_extension",
    "uuid4",
    "wait_event",
    "workflow",
]

_LATER = {
    "Instance": "romancy_nb.runtime.instance",
    "check": "romancy_nb.runtime.checking",
    "connect": "romancy_nb.runtime.launch",
    "disconnect": "romancy_nb.runtime.launch",
    "durable_notebook": "romancy_nb.notebook.durable",
    "forget": "romancy_nb.runtime.launch",
    "fresh": "romancy_nb.notebook.durable",
    "instance": "romancy_nb.runtime.launch",
    "instances": "romancy_nb.runtime.launch",
    "load_ipython_extension": "romancy_nb.notebook.extension",
    "questions": "romancy_nb.runtime.launch",
    "register_codec": "romancy_nb.payloads.codec",
    "sql": "romancy_nb.runtime.launch",
    "start": "romancy_nb.runtime.launch",
    "unload_ipython_extension": "romancy_nb.notebook.extension",
}


def __getattr__(name: str) -> Any:
    where = _LATER.get(name)
    if where is None:
        raise AttributeError(f"module 'romancy_nb' has no attribute {name!r}")
    _wire()
    value = globals()[name] = getattr(import_module(where), name)
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def _timeline(found: Any) -> Any:
    from romancy_nb import settings
    from romancy_nb.widgets.timeline import Timeline

    return Timeline.of(found, whole=settings.get("embed") == "full")


def _wire() -> None:
    """Connect the rooms that may not know each other: definitions to the engine, the engine to what shows it."""
    if _wired:
        return
    _wired.append(True)
    from romancy_nb.runtime.branching import use_comparison
    from romancy_nb.runtime.instance import use_display, use_living, use_timeline
    from romancy_nb.runtime.instances import use_table
    from romancy_nb.runtime.observers import use_observer
    from romancy_nb.runtime.questions import use_form

    use_observer(lambda: import_module("romancy_nb.notebook.output").observer())
    use_form(lambda asked: import_module("romancy_nb.widgets.forms").form_of(asked).data())
    use_living(lambda found: import_module("romancy_nb.notebook.in_marimo").display(found))
    use_timeline(_timeline)
    use_comparison(lambda one, other: import_module("romancy_nb.notebook.comparing").compare(one, other))
    use_display(lambda found: import_module("romancy_nb.notebook.output").display(found))
    use_table(
        lambda: import_module("romancy_nb.widgets.table"), lambda: import_module("romancy_nb.notebook.pages").look()
    )


def _launcher() -> Any:
    _wire()
    return import_module("romancy_nb.runtime.launch").EngineLauncher()


_wired: list[bool] = []
use_launcher(_launcher)


def _stand_in() -> None:
    """In IPython, let the magics of who forgets ``%load_ext romancy_nb`` load it."""
    running = sys.modules.get("IPython.core.getipython")
    shell = running.get_ipython() if running is not None else None
    if shell is not None and "romancy_nb" not in shell.extension_manager.loaded:
        import_module("romancy_nb.notebook.stubs").install(shell)


_stand_in()
