"""How a compensation is bound to the activity that it undoes (U2)."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from inspect import Parameter
from typing import Any, Literal

from romancy_nb.definitions.signature import Signature
from romancy_nb.errors import DefinitionError, WrongArguments
from romancy_nb.payloads.codec import ANY
from romancy_nb.payloads.fields import encode_fields, pick_fields
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["Undo", "undo_inputs"]

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_RESULT = "result"


class Undo:
    """How a compensation is bound to an activity: what the activity's intent journals of it.

    Args:
        signature: the activity's.
        compensation: a ``Compensation``.
        when: does it undo completed calls only, or those that may have had their effect as well?

    Raises:
        DefinitionError: the compensation asks for what the activity does not have; the message shows both.
    """

    def __init__(self, signature: Signature, compensation: Any, when: Literal["completed", "started"]) -> None:
        self.compensation = compensation
        wanted: Signature = compensation.signature
        own = wanted.parameters
        if any(each.kind in _VARIADIC for each in own.values()):
            raise self._refuse(signature, "takes `*args` or `**kwargs`. Name the parameters that it needs")
        if _RESULT in own and _RESULT in signature.parameters:
            raise self._refuse(
                signature, "takes `result`, which is a parameter of the activity, too. Rename one of the two"
            )
        unknown = [
            name
            for name, each in own.items()
            if name not in signature.parameters and name != _RESULT and each.default is Parameter.empty
        ]
        if unknown:
            listed = ", ".join(f"`{name}`" for name in unknown)
            raise self._refuse(
                signature,
                f"takes {listed}, which the activity does not have. It can take the activity's parameters by their names, "
                "and `result`; anything else needs a default",
            )
        self.takes = tuple(name for name in own if name in signature.parameters)
        self.takes_result = _RESULT in own
        if when == "started" and self.takes_result and not _admits_none(wanted.fields[_RESULT].annotation):
            raise self._refuse(
                signature,
                'takes `result`, and with compensate_if="started" there may be none. Annotate it as `... | None`',
            )
        defaults = {name: signature.parameters[name].default for name in self.takes}
        self._defaults = {name: value for name, value in defaults.items() if value is not Parameter.empty}
        for name in self.takes:  # a call that gave none is recorded without them
            if signature.parameters[name].kind in _VARIADIC:
                self._defaults[name] = [] if signature.parameters[name].kind is Parameter.VAR_POSITIONAL else {}
        self._facts: dict[str, Any] = {"name": self.compensation.name, "with": list(self.takes)}
        if self.compensation.__module__ != "__main__":  # another module may have one of the same name
            self._facts["in"] = self.compensation.__module__
        if self.takes_result:
            self._facts["result"] = True
        if when == "started":
            self._facts["if"] = when

    def facts(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return what the intent of a call with these *arguments* journals: defaults that the call left out are kept, too.

        Raises:
            WrongArguments: such a default cannot be kept.
        """
        left_out = {name: value for name, value in self._defaults.items() if name not in arguments}
        if not left_out:
            return self._facts
        payload = encode_fields(left_out, {}, what=f"the undo {self.compensation.name}")
        if payload.parts:  # the intent has room for text alone, and without it the call could never be undone
            listed = ", ".join(f"`{name}`" for name in left_out)
            raise WrongArguments(
                f"{self.compensation.signature.text} takes {listed}, and a default that is a table or an array cannot be kept "
                "for it. Make the default None, and the table in the activity."
            )
        return {**self._facts, "defaults": payload.text}

    def _refuse(self, signature: Signature, why: str) -> DefinitionError:
        return DefinitionError(f"{self.compensation.signature.text} cannot undo {signature.text}: it {why}.")


def undo_inputs(inputs: Payload, facts: Mapping[str, Any], result: Payload | None) -> Payload:
    """Return the inputs of an undo.

    Args:
        inputs: of the call that it undoes.
        facts: what that call's intent journals of the undo (``Undo.facts``).
        result: of the call; None: there is none.

    >>> undo_inputs(Payload('{"item":"lamp"}'), {"with": ["item"], "result": True}, Payload('"R-1"')).text
    '{"item":"lamp","result":"R-1"}'
    """
    left_out: dict[str, Any] = json.loads(facts.get("defaults") or "{}")
    more = {name: Payload(json.dumps(value)) for name, value in left_out.items()}
    if facts.get("result"):
        more[_RESULT] = result if result is not None else NULL
    return pick_fields(inputs, facts.get("with", ()), more)


def _admits_none(annotation: Any) -> bool:
    if annotation in {ANY, Any, None, type(None), object}:
        return True
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return type(None) in typing.get_args(annotation)
    return False
