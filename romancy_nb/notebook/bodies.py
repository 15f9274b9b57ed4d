"""A cell's body as a workflow (N3): ``%%romancy_workflow research topic="tides"``.

The body is module code. It runs in a shallow copy of the notebook's namespace, as globals and locals at once, so that it
behaves as it would in a plain cell and every replay starts from the same values. The names that it bound are copied to the
notebook when it has completed; when it pauses or fails nothing is, and ``Instance.locals()`` shows them.

What stands on the magic's line are the inputs that make the instance's id. The notebook's variables that the body reads are
inputs, too, but no part of the id: their digests are part of the fingerprint, so that a change of one is an edit that the
line can name, and their values (up to 1 MB each) are journaled with the start, so that a new kernel can go on without the
cells that made them.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import types
from collections.abc import Iterator
from typing import Any, Final, cast

from romancy_nb.core.activation import Body
from romancy_nb.core.context import Ambient
from romancy_nb.definitions import registry
from romancy_nb.definitions.ambient import Request, launcher
from romancy_nb.definitions.bodies import names_of, statements_digest
from romancy_nb.definitions.fingerprint import Fingerprint
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.definitions.reading import read_body
from romancy_nb.definitions.signature import Inputs
from romancy_nb.definitions.watch import MISSING, digest_of
from romancy_nb.definitions.workflow import New, Workflow
from romancy_nb.errors import CannotRestore, DefinitionError, NotJournalable
from romancy_nb.notebook import bodies_stored, cells, shell_steps
from romancy_nb.payloads.codec import ANY, canonical_digest, encode
from romancy_nb.payloads.fields import decode_fields, encode_fields
from romancy_nb.payloads.payload import NULL, Payload
from romancy_nb.payloads.redact import is_secret
from romancy_nb.payloads.registry import SPACES

__all__ = ["CellBody"]

RESULT: Final = "__romancy_result__"
"""Where the value of the last expression is put."""

_REMEMBERED: Final = 20
"""Instances of whose start values this kernel knows by itself."""


class CellBody(Workflow[..., Any]):
    """The body of one execution of a cell, as a workflow.

    Args:
        shell: the IPython shell.
        name: what stands on the magic's line.
        cell: the cell without the magic's line.
        first_line: the magic's line.
        options: of the workflow.

    Attributes:
        tree: the body as it was written.

    Raises:
        DefinitionError: the body has a ``return`` or ``yield`` of its own.
        SyntaxError: as Python says.
    """

    may_be_child = False

    def __init__(self, shell: Any, name: str, cell: str, first_line: str, options: WorkflowOptions) -> None:
        before = registry.find("workflow", name)
        self._shell = shell
        source = cells.parsed(shell, cell, first_line)
        _refuse_return(source.tree, name)
        self.tree = copy.deepcopy(source.tree)
        self._digest = statements_digest(source.tree)
        self.only_defines = all(
            isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) for each in source.tree.body
        ) and bool(source.tree.body)
        code = source.compile()
        self.is_async = bool(code.co_flags & 0x80)  # inspect.CO_COROUTINE
        self._names = names_of(source.tree, code)
        if self.is_async:
            shell_steps.await_steps(source.tree)
        _keep_result(source.tree)
        self._code = source.compile()
        self._base: dict[str, Any] | None = None
        self._print: Fingerprint | None = None
        self._own: frozenset[str] = frozenset()  # the names of the inputs on the magic's line
        self._instance: str | None = None
        self._completed: tuple[dict[str, Any], dict[str, Any], Any] | None = None
        self._spaces: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._remembered: dict[str, dict[str, tuple[Any, Any]]] = {}
        if isinstance(before, CellBody):
            self._spaces, self._remembered = before._spaces, before._remembered
        super().__init__(_stand_in(name), name, options)

    # -- running it ----------------------------------------------------------------------------------------------------

    def execute(self, inputs: dict[str, Any], **options: Any) -> Any:
        """Run it here and set the names that it bound in the notebook; return the value of its last expression.

        Args:
            inputs: by name, as on the magic's line.
            **options: ``instance_id``, ``new``, ``redo``.
        """
        __tracebackhide__ = True
        self._refuse_inside()
        self._note_changes_in_place()
        request = self.request((), inputs, **options)
        instance = self._instance
        launcher().run(request)
        if self._completed is None:  # the run was advanced elsewhere: the journal has all that is needed for the names
            launcher().run(self.request((), inputs, instance_id=instance))
        return self._publish(instance)

    def begin(self, inputs: dict[str, Any], **options: Any) -> Any:
        """Start it in the background. It sets no names; the same cell without ``--start`` does when it has completed."""
        return launcher().start(self.request((), inputs, **options))

    def request(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        instance_id: str | None = None,
        new: New = False,
        redo: Any = (),
        site: str = "",
    ) -> Request:
        """Return the call as a wish for the engine, with what the notebook has now."""
        secrets = {name: value for name, value in kwargs.items() if is_secret(name, value)}
        given = {name: value for name, value in kwargs.items() if name not in secrets}
        what = f"workflow {self.name}"
        digest = canonical_digest(given)
        wanted = Request(
            self, Inputs(NULL, digest, secrets), instance_id, new, tuple([redo] if isinstance(redo, str) else redo)
        )
        self._instance = bodies_stored.instance_of(wanted)
        self._own = frozenset(kwargs)
        read, instead = self._values(wanted, kwargs)
        kept = {name: value for name, value in read.items() if _journalable(name, value)}
        payload = encode_fields({**given, **kept}, {}, redacted=secrets, what=what)
        found = read_body(self._digest, self._names, self._shell.user_ns, instead, kwargs)
        self._print = Fingerprint(*found)
        self._base = {name: value for name, value in {**self._shell.user_ns, **instead}.items() if value is not MISSING}
        facts: dict[str, Any] = {"inputs": sorted(kwargs)}
        if origins := bodies_stored.origins(self._shell, sorted(self._present(kwargs) - kept.keys())):
            facts["names"] = origins
        return Request(self, Inputs(payload, digest, secrets), instance_id, new, wanted.redo, site, facts)

    def fingerprint(self) -> Fingerprint:
        if self._print is None:
            self._print = Fingerprint(*read_body(self._digest, self._names, self._shell.user_ns, {}, ()))
        return self._print

    def body(self, inputs: Inputs) -> Body:
        return self._body(inputs, keep=True)

    def rehearsal(self, inputs: Inputs) -> Body:
        return self._body(inputs, keep=False)

    def _body(self, inputs: Inputs, *, keep: bool) -> Body:
        """Return what an execution runs; *keep*: what it binds is for the notebook and ``Instance.locals()``."""

        async def run(found: Ambient) -> Payload:
            space, before = self._space(inputs)
            SPACES[found.instance_id] = (space, before)
            if keep:
                self._spaces[found.instance_id] = (space, before)
            with shell_steps.namespace(space):
                if self.is_async:
                    await eval(self._code, space)
                else:
                    await found.drive(functools.partial(exec, self._code, space))
            value = space.pop(RESULT, None)
            SPACES.pop(found.instance_id, None)
            if keep:
                self._spaces.pop(found.instance_id, None)
                self._completed = (space, before, value)
            try:
                return encode(value, ANY, what=f"the result of workflow {self.name}")
            except NotJournalable:  # a figure, say: it is made anew whenever the cell runs
                return NULL

        return run

    def locals(self, instance_id: str) -> dict[str, Any] | None:
        """Return what an unfinished execution in this kernel has bound so far; None when there was none."""
        found = self._spaces.get(instance_id)
        return None if found is None else dict(_bound(*found))

    # -- the namespace -------------------------------------------------------------------------------------------------

    def _space(self, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a fresh namespace to run in, and what stood in it before."""
        space = dict(self._base if self._base is not None else self._shell.user_ns)
        journaled, redacted = decode_fields(inputs.payload, {}, what=f"workflow {self.name}")
        for name in redacted:
            if name not in inputs.secrets:
                raise CannotRestore(
                    f"Workflow {self.name} was called with the secret `{name}`, which is never journaled, and the process that "
                    f'had it is gone. Read it from the environment in the body (os.environ["{name.upper()}"]) instead.'
                )
        given = set(journaled) - set(self._names.roots) | self._own  # they win over the notebook's variables
        for name, value in {**journaled, **inputs.secrets}.items():
            if name in given or name not in space or self._base is None:
                space[name] = value
        space.pop(RESULT, None)
        space["get_ipython"] = functools.partial(shell_steps.Steps, self._shell, space)
        return space, dict(space)

    def _values(self, request: Request, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the notebook's variables that are read, and those that stand in for missing or overwritten ones.

        Raises:
            DefinitionError: an earlier run read a variable that this kernel does not have and that was not journaled.
        """
        namespace, instead = self._shell.user_ns, {}
        roots = [name for name in self._names.roots if name not in inputs]
        for name, (left, first) in self._remembered.get(self._instance or "", {}).items():
            if namespace.get(name, MISSING) is left:
                instead[name] = first
        missing = [name for name in roots if name not in namespace and not hasattr(builtins, name)]
        if missing:
            stored = bodies_stored.recorded(request, self.name, missing)
            instead.update({name: value for name, value in stored.values.items() if name in missing})
            lost = [name for name in missing if name not in instead and name in stored.origins]
            if lost:
                raise DefinitionError(_lost(self.name, {name: stored.origins[name] for name in lost}))
        read = {name: instead.get(name, namespace.get(name, MISSING)) for name in roots}
        return {name: value for name, value in read.items() if value is not MISSING}, instead

    def _present(self, inputs: dict[str, Any]) -> set[str]:
        """Names of the notebook's own that the body reads."""
        return {name for name in self._names.roots if name in self._shell.user_ns and name not in inputs}

    def _publish(self, instance_id: str | None) -> Any:
        """Copy what the body bound to the notebook."""
        if self._completed is None:
            return None
        space, before, value = self._completed
        namespace, base = self._shell.user_ns, self._base or {}
        bound = dict(_bound(space, before))
        for name in before.keys() - space.keys():
            if namespace.get(name, MISSING) is before[name]:
                del namespace[name]
        namespace.update(bound)
        changed = {name: (bound[name], base.get(name, MISSING)) for name in self._names.roots if name in bound}
        if instance_id is not None and changed:
            while len(self._remembered) >= _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[instance_id] = changed
        self._completed = self._base = None
        return value

    def _note_changes_in_place(self) -> None:
        for name in sorted(self._names.written):
            kind = type(self._shell.user_ns.get(name))
            if kind.__name__ in _MUTABLE:
                print(
                    f"note: this body changes {name} in place, and {name} is the notebook's: a replay changes it again. Make a "
                    f"new one instead, for example {name} = {_instead(kind.__name__, name)}."
                )


_MUTABLE = {"list", "dict", "set", "bytearray", "deque", "DataFrame", "Series", "ndarray", "defaultdict", "Counter"}


def _instead(kind: str, name: str) -> str:
    if kind == "list":
        return f"[*{name}, ...]"
    if kind in {"dict", "defaultdict", "Counter"}:
        return f"{{**{name}, ...}}"
    if kind == "DataFrame":
        return f"{name}.assign(...)"
    return f"{name}.copy()"


def _bound(space: dict[str, Any], before: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is new or another object than before."""
    for name, value in space.items():
        if name not in {RESULT, "get_ipython", "__builtins__"} and value is not before.get(name, MISSING):
            yield name, value


def _journalable(name: str, value: Any) -> bool:
    """Whether a notebook variable is kept with the start: plain data up to 1 MB, and no secret."""
    if isinstance(value, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)):
        return False
    if digest_of(name, value).text is None:
        return False
    try:
        encode(value, ANY, what=name)
    except NotJournalable:
        return False
    return True


def _lost(workflow: str, lost: dict[str, str]) -> str:
    where = "; ".join(f"`{name}` ({line})" if line else f"`{name}`" for name, line in lost.items())
    cells, define, them = ("cells", "define", "them") if len(lost) > 1 else ("cell", "defines", "it")
    return (
        f"{workflow} reads {where}, and this kernel does not have {them}. Run the {cells} above that {define} {them} first, then "
        "this one: what is recorded is not executed again."
    )


# -- the code ----------------------------------------------------------------------------------------------------------


def _refuse_return(tree: ast.Module, name: str) -> None:
    """A body is no function."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            word = "return" if isinstance(node, ast.Return) else "yield"
            raise DefinitionError(
                f"Line {node.lineno} of this cell has a `{word}`, and the body of {name} is no function: its result is the value "
                "of its last expression. Put the value on the last line by itself; or write a function, "
                "`def name(...): ...`, and leave the NAME out of the magic's line."
            )
        pending.extend(ast.iter_child_nodes(node))


def _keep_result(tree: ast.Module) -> None:
    """Make the last expression leave its value where it can be found."""
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        target = ast.Name(RESULT, ast.Store())
        kept = ast.Assign([ast.copy_location(target, last)], last.value)
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))


def _stand_in(name: str) -> types.FunctionType:
    """A function that carries the name, for everything that asks a workflow for its function."""

    def body() -> Any: ...

    body.__name__ = body.__qualname__ = name
    body.__module__ = "__main__"
    body.__doc__ = None
    return cast(types.FunctionType, body)
