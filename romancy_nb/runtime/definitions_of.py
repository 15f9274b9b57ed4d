"""The definitions of a file or module, for who looks at a journal from outside of the program that writes it.

Loading executes the code at the top level of the module, as importing does. What stands under ``if __name__ == "__main__":``
is left out, and a workflow that is called at the top level is refused: whoever looks must not set anything going.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from romancy_nb.definitions.ambient import use_launcher
from romancy_nb.errors import RomancyError

if TYPE_CHECKING:
    from romancy_nb.definitions.ambient import Request

__all__ = ["load"]


def load(code: str, before: str = "%romancy check", *, then: Callable[[], Any] | None = None) -> None:
    """Define what *code*, a ``.py`` file or the name of a module, defines.

    Meanwhile this process starts no workflow, and afterwards neither, unless *then* says who does. A file is loaded under the
    name of a program, ``__main__``, since that is how it was executed and how the journal knows its classes.

    Args:
        code: the file or module.
        before: what is to be done in a notebook in place of this.
        then: who starts workflows from then on (``use_launcher``).

    Raises:
        RomancyError: it cannot be loaded, or it calls a workflow at its top level.
    """
    use_launcher(_Refuses)
    try:
        if code.endswith(".py"):
            _load_file(Path(code))
        elif code.endswith(".ipynb"):
            raise RomancyError(
                f"{code} is a notebook: executing its cells would execute its steps. Open it, run the cells that define the "
                f"workflows, then {before}."
            )
        else:
            sys.path.insert(0, str(Path.cwd()))
            import_module(code)
    except RomancyError:
        raise
    except Exception as error:
        raise RomancyError(f"{code} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        if then is not None:
            use_launcher(then)


class _Refuses:
    """Stands where the engine stands elsewhere."""

    def start(self, request: Request) -> NoReturn:
        raise RomancyError(
            f"The code calls workflow {request.workflow.name} at its top level, and loading it is to execute nothing. Put the "
            'call under `if __name__ == "__main__":`.'
        )

    def schedule(self, request: Request) -> NoReturn:
        self.start(request)

    def run(self, request: Request) -> NoReturn:
        self.start(request)

    def run_async(self, request: Request) -> NoReturn:
        self.start(request)

    def run_steps(self, request: Request) -> NoReturn:
        self.start(request)

    def run_instances(self, requests: Sequence[Request], concurrency: int, *, total: int, failed: int) -> NoReturn:
        raise RomancyError(
            "The code calls the map of a workflow at its top level, and a check executes nothing. Put the call under "
            '`if __name__ == "__main__":`.'
        )

    def send(
        self, instance_id: str, event: str, payload: object, event_id: str | None, via: str, by: str | None
    ) -> NoReturn:
        raise RomancyError(
            f"The code sends event {event!r} at its top level, and loading it is to execute nothing. Put it under "
            '`if __name__ == "__main__":`.'
        )

    def publish(self, channel: str, payload: object) -> NoReturn:
        raise RomancyError(
            f"The code publishes on channel {channel!r} at its top level, and loading it is to execute nothing. Put it under "
            '`if __name__ == "__main__":`.'
        )


def _load_file(path: Path) -> None:
    source = path.read_bytes()
    tree = ast.parse(source, str(path))
    tree.body = [each for each in tree.body if not _is_main_guard(each)]
    module = ModuleType("__main__")
    module.__file__ = str(path.resolve())
    sys.modules["__main__"] = module
    sys.path.insert(0, str(path.resolve().parent))
    exec(compile(tree, str(path.resolve()), "exec"), vars(module))


def _is_main_guard(node: ast.stmt) -> bool:
    test: Any = node.test if isinstance(node, ast.If) else None
    if not isinstance(test, ast.Compare) or len(test.comparators) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = {ast.unparse(test.left), ast.unparse(test.comparators[0])}
    return sides == {"__name__", "'__main__'"}
