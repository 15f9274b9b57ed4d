"""A user's function as the engine sees it: how a call becomes a journaled intent, and an intent a call.

::

    reserve("a", n=2) --bind--> {"item": "a", "n": 2} --validate--> the same, checked --encode_inputs--> Inputs
    Inputs --decode_inputs--> (), {"item": "a", "n": 2}

Arguments go by the parameter's name, so that adding a parameter with a default changes no recorded call; an argument that
equals its default is left out for the same reason (A6). Secrets are kept out of both payload and digest (D5).

Annotations are resolved at the first call and not where the function is defined: in a notebook the class may come in a later
cell.
"""

from __future__ import annotations

import difflib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import Parameter
from typing import Any

from romancy_nb.definitions.annotations import Field, Misfit, same_value, short
from romancy_nb.errors import CannotRestore, DefinitionError, WrongArguments
from romancy_nb.payloads.codec import ANY, canonical_digest, decode, encode
from romancy_nb.payloads.fields import decode_fields, encode_fields
from romancy_nb.payloads.payload import Payload
from romancy_nb.payloads.redact import is_secret

__all__ = ["Inputs", "Signature"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_OF_A_START = frozenset({"instance_id", "new", "redo"})  # what says how a workflow is started, and is no argument of it
_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Inputs:
    """The encoded arguments of one call.

    Attributes:
        payload: one JSON object, parameter name to value.
        digest: canonical digest of the arguments.
        secrets: arguments that are not journaled, by name: they live in this process only.
    """

    payload: Payload
    digest: str
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)


class Signature:
    """What is known of a user's function. Built once, by ``Signature.of``.

    Attributes:
        what: "activity reserve".
        function: the plain function.
        is_async: whether it is ``async def``.
        takes_context: whether its first parameter receives the context; that one is no argument of a call.
        parameters: the others, by name.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        _refuse_odd(function, what)
        self.what = what
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            raise DefinitionError(
                f"Python cannot tell the parameters of {what}, a {type(function).__name__}. Wrap it in a `def` of your own."
            ) from None
        parameters = list(signature.parameters.values())
        self.takes_context = bool(parameters) and self._is_context(parameters[0])
        if self.takes_context:
            parameters = parameters[1:]
        self.parameters = {each.name: each for each in parameters}
        self._signature = signature.replace(parameters=parameters)
        self._positional = tuple(each.name for each in parameters if each.kind in _POSITIONAL)
        self._by_keyword = frozenset(
            each.name for each in parameters if each.kind in (_POSITIONAL[1], Parameter.KEYWORD_ONLY)
        )
        self._plain = not any(each.kind in _VARIADIC for each in parameters)
        self._by_name_only = not any(
            each.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
            for each in parameters
        )
        self._required = frozenset(
            each.name for each in parameters if each.default is Parameter.empty and each.kind not in _VARIADIC
        )
        self._defaults = tuple((each.name, each.default) for each in parameters if each.default is not Parameter.empty)
        self._fields: dict[str, Field] | None = None
        self._annotations: dict[str, Any] = {}
        self._result: Any = ANY

    @classmethod
    def of(cls, function: Callable[..., Any], *, what: str) -> Signature:
        """Return the signature of *function*.

        Args:
            function: ``def`` or ``async def``.
            what: how to call it in messages, such as "activity reserve".

        Raises:
            DefinitionError: it is a generator, a lambda without a name, or no function.
        """
        return cls(function, what)

    def _is_context(self, parameter: Parameter) -> bool:
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = _look_up(annotation, getattr(self.function, "__globals__", {}))
        ours = isinstance(annotation, type) and annotation.__module__.startswith("romancy_nb.")
        if parameter.name != "ctx" and not (ours and annotation.__name__ == "Context"):
            return False
        if parameter.kind not in _POSITIONAL:
            raise DefinitionError(
                f"{_capital(self.what)}: `{parameter.name}` receives the context and has to be an ordinary first parameter, "
                f"as in `def f({parameter.name}, item)`."
            )
        return True

    @property
    def name(self) -> str:
        """The last word of ``what``."""
        return self.what.rpartition(" ")[2]

    @cached_property
    def text(self) -> str:
        """The call as it is defined: ``reserve(item: str, n: int = 1)``."""
        plain = self._signature.replace(return_annotation=inspect.Signature.empty)
        return f"{self.name}{plain}".replace("__main__.", "")

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the parameters that are never journaled (D5)."""
        return frozenset(name for name, each in self.fields.items() if each.secret)

    @property
    def result(self) -> Any:
        """The annotation of the result, ANY without one."""
        return self._result if self._fields is not None else (self.fields, self._result)[1]

    # -- annotations -------------------------------------------------------------------------------------------------------

    @property
    def fields(self) -> dict[str, Field]:
        """The parameters with their annotations resolved."""
        return self._fields if self._fields is not None else self._resolve()

    def _resolve(self) -> dict[str, Field]:
        hints, complete = _hints(self.function)
        fields = {}
        for name, parameter in self.parameters.items():
            annotation: Any = hints.get(name, ANY)
            secret = is_secret(name, None if annotation is ANY else annotation)
            if annotation is not ANY and parameter.kind is Parameter.VAR_POSITIONAL:
                annotation = types.GenericAlias(tuple, (annotation, ...))
            elif annotation is not ANY and parameter.kind is Parameter.VAR_KEYWORD:
                unpacked = typing.get_origin(annotation) is typing.Unpack
                annotation = typing.get_args(annotation)[0] if unpacked else types.GenericAlias(dict, (str, annotation))
            fields[name] = Field(name, annotation, secret, parameter.kind is Parameter.VAR_KEYWORD)
        self._result = hints.get("return", ANY)
        self._annotations = {name: each.annotation for name, each in fields.items()}
        if complete:
            self._fields = fields  # else a later cell may define what is missing
        return fields

    # -- a call ------------------------------------------------------------------------------------------------------------

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by parameter name.

        Args:
            args, kwargs: as the call has them, without the context.

        Returns:
            What was passed and differs from its default, in the order of the parameters. ``*args`` is a tuple under its
            name, ``**kwargs`` a dict.

        Raises:
            WrongArguments: one is missing, unexpected or given twice.
        """
        positional = self._positional
        if self._plain and len(args) <= len(positional):
            bound = dict(zip(positional, args, strict=False))
            if kwargs:
                if not self._by_keyword.issuperset(kwargs) or not bound.keys().isdisjoint(kwargs):
                    raise self._wrong_call(args, kwargs)
                bound.update(kwargs)
                bound = {name: bound[name] for name in self.parameters if name in bound}
            if not bound.keys() >= self._required:
                raise self._wrong_call(args, kwargs)
        else:
            try:
                bound = self._signature.bind(*args, **kwargs).arguments
            except TypeError:
                raise self._wrong_call(args, kwargs) from None
        return self._without_defaults(bound) if self._defaults else bound

    def _without_defaults(self, bound: dict[str, Any]) -> dict[str, Any]:
        for name, default in self._defaults:
            if name in bound and same_value(bound[name], default):
                del bound[name]
        return bound

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return *arguments* (of ``bind``) as their annotations have them: ``"3"`` becomes 3 where ``int`` is asked for.

        Raises:
            WrongArguments: one does not fit its annotation.
        """
        fields = self.fields
        checked = arguments
        for name, value in arguments.items():
            each = fields[name]
            if each.free or type(value) is each.exact:
                continue
            try:
                new = each.check(value)
            except Misfit as misfit:
                given = "(a secret)" if each.secret else short(value)
                raise WrongArguments(f"{_capital(self.what)}: {name}={given} does not fit, {misfit}.") from None
            if new is not value:
                checked = dict(arguments) if checked is arguments else checked
                checked[name] = new
        return checked if checked is arguments else self._without_defaults(checked)

    def encode_inputs(self, arguments: dict[str, Any]) -> Inputs:
        """Encode validated *arguments*.

        Raises:
            NotJournalable: one that no codec can keep.
        """
        fields = self.fields
        secrets: dict[str, Any] = {}
        for name, value in arguments.items():
            if fields[name].secret or (type(value) not in _PLAIN and _has_secret(value, fields[name])):
                secrets, arguments = self._without_secrets(arguments)
                break
        payload = encode_fields(arguments, self._annotations, redacted=secrets, what=self.what)
        return Inputs(payload, canonical_digest(arguments), secrets)

    def _without_secrets(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part the secrets from the rest; one in ``**kwargs`` goes by "kwargs.api_key"."""
        secrets: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        for name, value in arguments.items():
            each = self.fields[name]
            if each.keywords and not each.secret:
                hidden = {key: inner for key, inner in value.items() if is_secret(key, type(inner))}
                secrets.update({f"{name}.{key}": inner for key, inner in hidden.items()})
                kept[name] = {key: inner for key, inner in value.items() if key not in hidden}
            elif each.secret or _has_secret(value, each):
                secrets[name] = value
            else:
                kept[name] = value
        return secrets, kept

    # -- an intent ---------------------------------------------------------------------------------------------------------

    def decode_inputs(
        self, payload: Payload, secrets: Mapping[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a journaled call as ``(args, kwargs)``, without the context. Defaults are left to the function.

        Args:
            payload: of ``encode_inputs``.
            secrets: the secrets of that call, where this is still its process.

        Raises:
            CannotRestore: the call does not fit the function any more, or a secret is gone.
        """
        if self._fields is None:
            self._resolve()
        values, redacted = decode_fields(payload, self._annotations, what=self.what)
        for name in redacted:
            if secrets is None or name not in secrets:
                raise self._secret_is_gone(name.rpartition(".")[2])
            outer, _, inner = name.partition(".")
            if inner:
                values[outer] = {**values.get(outer, {}), inner: secrets[name]}
            else:
                values[name] = secrets[name]
        if not values.keys() <= self.parameters.keys() or not values.keys() >= self._required:
            raise self._outgrown(values)
        return ((), values) if self._by_name_only else self._spread(values)

    def _spread(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments by name as a call, where some cannot be passed by name."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        rest = any(values.get(name) for name, each in self.parameters.items() if each.kind is Parameter.VAR_POSITIONAL)
        last = max((i for i, name in enumerate(self.parameters) if name in values), default=-1)
        for i, (name, parameter) in enumerate(self.parameters.items()):
            only_here = parameter.kind is Parameter.POSITIONAL_ONLY
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args.extend(values.get(name, ()))
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs.update(values.get(name, {}))
            elif (only_here and i <= last) or (rest and parameter.kind in _POSITIONAL):
                args.append(values.get(name, parameter.default))
            elif name in values:
                kwargs[name] = values[name]
        return tuple(args), kwargs

    # -- a result ----------------------------------------------------------------------------------------------------------

    def encode_result(self, value: Any, what: str = "") -> Payload:
        """Encode what the function returned; *what* names it in errors.

        Raises:
            NotJournalable: no codec can keep it.
        """
        return encode(value, self.result, what=what or f"the result of {self.what}")

    def decode_result(self, payload: Payload) -> Any:
        """Return the journaled result.

        Raises:
            CannotRestore: it does not fit the return annotation any more.
        """
        return decode(payload, self.result, what=f"the result of {self.what}")

    # -- errors ------------------------------------------------------------------------------------------------------------

    def _wrong_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> WrongArguments:
        """Say what is wrong with a call."""
        given = dict(zip(self._positional, args, strict=False))
        problems = []
        unexpected = [name for name in kwargs if name not in self._by_keyword]
        if any(each.kind is Parameter.VAR_KEYWORD for each in self.parameters.values()):
            unexpected = []
        twice = [name for name in kwargs if name in given and name in self._by_keyword]
        missing = [
            name for name in self.parameters if name in self._required and name not in given and name not in kwargs
        ]
        if missing:
            problems.append(f"lacks {_listed(missing)}")
        for name in unexpected:
            near = difflib.get_close_matches(name, list(self._by_keyword), 1, 0.6)
            more = f" (did you mean `{near[0]}`?)" if near else ""
            if name == "ctx" and self.takes_context:
                more = " (the context is passed for you)"
            if name in _OF_A_START and self.what.startswith("workflow "):
                more = f" (write {self.what.removeprefix('workflow ')}.run(…, {name}=…))"
            positional = " by name" if name in self.parameters else ""
            problems.append(f"does not take `{name}`{positional}{more}")
        if twice:
            problems.append(f"got {_listed(twice)} twice")
        many = len(self._positional)
        if len(args) > many and not any(each.kind is Parameter.VAR_POSITIONAL for each in self.parameters.values()):
            takes = f"{many or 'no'} positional argument{'' if many == 1 else 's'}"
            problems.append(f"takes {takes}, and {len(args)} were given")
        said = " and ".join(problems) or "cannot be called like this"
        return WrongArguments(f"{_capital(self.what)} {said}. It is called as {self.text}.")

    def _secret_is_gone(self, name: str) -> CannotRestore:
        return CannotRestore(
            f"{_capital(self.what)} was called with the secret `{name}`, which is never journaled, and the process that had "
            f'it is gone. Read it from the environment inside the function (`os.environ["{name.upper()}"]`) and leave the '
            "parameter out."
        )

    def _outgrown(self, values: dict[str, Any]) -> CannotRestore:
        gone = [name for name in values if name not in self.parameters]
        missing = sorted(self._required - values.keys())
        said = [f"has {_listed(gone)}, which it no longer takes"] if gone else []
        said += [f"lacks {_listed(missing)}, which it takes now"] if missing else []
        return CannotRestore(
            f"The journaled call of {self.what} {' and '.join(said)}: it is now {self.text}. Give a new parameter a default, "
            "or run the workflow again with new=True."
        )

    def __repr__(self) -> str:
        return f"<signature of {self.what}: {self.text}>"


# -- the function ------------------------------------------------------------------------------------------------------------


def _refuse_odd(function: Any, what: str) -> None:
    """Refuse what cannot be executed, retried and found again by name."""
    if isinstance(function, type):
        raise DefinitionError(f"{_capital(what)} is a class. Write a `def` that makes and uses the object.")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"{_capital(what)} is a generator (it has `yield`), and a result is journaled as one value. Return a list; or "
            "make each item a call of its own."
        )
    if not inspect.isroutine(function):
        raise DefinitionError(
            f"{_capital(what)} is a {type(function).__name__}, not a function. Wrap it in a `def` that calls it."
        )
    if getattr(function, "__name__", "") == "<lambda>" and "<lambda>" in what:
        raise DefinitionError(
            "A lambda has no name, and a journal knows things by name. Make it a `def`, or give name=."
        )


def _look_up(dotted: str, namespace: dict[str, Any]) -> Any:
    """What ``rn.Context``, an annotation in quotes, stands for; None when that is not known."""
    root, *attributes = dotted.split(".")
    found = namespace.get(root)
    for name in attributes:
        found = getattr(found, name, None)
    return found


def _hints(function: Any) -> tuple[dict[str, Any], bool]:
    """The annotations that can be resolved now, and whether that was all of them."""
    try:
        return typing.get_type_hints(function, include_extras=True), True
    except Exception:
        pass  # one name that is not defined (yet) fails them all: take them one by one
    plain = inspect.unwrap(function)
    namespace = getattr(plain, "__globals__", None) or vars(sys.modules.get(plain.__module__, typing))
    hints: dict[str, Any] = {}
    complete = True
    for name, annotation in dict(getattr(plain, "__annotations__", {})).items():
        holder = type("holder", (), {"__annotations__": {name: annotation}})
        try:
            hints[name] = typing.get_type_hints(holder, namespace, include_extras=True)[name]
        except Exception:
            complete = False
    return hints, complete


def _has_secret(value: Any, parameter: Field) -> bool:
    """Whether a value is a secret by its type, or has one among the keywords that it is."""
    if parameter.keywords:
        return any(is_secret(key, type(inner)) for key, inner in value.items())
    return is_secret("", type(value))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
