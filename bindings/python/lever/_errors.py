"""The two kinds of errors that a call ends with."""

from __future__ import annotations

from . import _codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

_EXECUTED_NO = 1


class LeverError(Exception):
    """Trouble of the platform: the call got no answer from its method.

    `code` is the name of a status, as `"UNAVAILABLE"` or `"NOT_FOUND"` (include/lever/status.h has them
    all). `executed` is `"no"` where the method surely did not run, so that it may be called again; else
    `"unknown"`. With the code `DEADLINE_EXCEEDED` the error is a `TimeoutError`, too.
    """

    code: str
    executed: Literal["no", "unknown"]
    # (token, received). Not the business of whoever is sent the error.
    _resume: tuple[bytes, int] | None = None

    def __init__(self, code: str, message: str = "",
                 executed: Literal["no", "unknown"] = "unknown") -> None:
        super().__init__(message or code)
        self.code = code
        self.executed = executed

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self), self.code, str(self), self.executed, self._resume)

    @property
    def resume_token(self) -> bytes | None:
        """Of a stream that has ended and could be resumed: the last token that came with a message, `b""`
        without; else None. `client.stream(..., resume=(error.resume_token, error.resume_received))` takes it
        up again. What the method had read of the messages before is not known."""
        return None if self._resume is None else self._resume[0]

    @property
    def resume_received(self) -> int:
        """Of such a stream: how many messages of the method's had come."""
        return 0 if self._resume is None else self._resume[1]

    def _set_resume(self, token: bytes, received: int) -> None:
        self._resume = (token, received)

    def __repr__(self) -> str:
        return f"LeverError({self.code!r}, {str(self)!r}, executed={self.executed!r})"

    def __str__(self) -> str:
        return str(self.args[0])


class LeverTimeoutError(LeverError, TimeoutError):
    """The deadline has passed: a `LeverError` with the code `DEADLINE_EXCEEDED`, and a `TimeoutError`."""


class MethodError(Exception):
    """The method itself answered with an error.

    `value` is what it sent: mostly a dict with `name`, `message` and more fields. The text of the error is
    the message. A method that raises `MethodError(value)` sends just this value.
    """

    value: Any

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, dict) and isinstance(self.value.get("message"), str):
            message: str = self.value["message"]
            return message
        return f"the method answered with an error: {self.value!r}"


class Moved(Exception):
    """Raised where a method reads a stream whose resource moves to another instance.

    A method that lets it through has its stream go on there, in `resume` of the resource.
    """


def _rebuilt(kind: type[LeverError], code: str, message: str, executed: Any,
             resume: tuple[bytes, int] | None = None) -> LeverError:
    error = kind(code, message, executed)
    error._resume = resume
    return error


def error_for(status: int, message: str, executed: int) -> LeverError:
    """The error for a status of the library."""
    code = _codes.NAMES.get(status, "UNKNOWN")
    kind = LeverTimeoutError if status == _codes.DEADLINE_EXCEEDED else LeverError
    text = message or _codes.TEXTS.get(status, code)
    return kind(code, text, "no" if executed == _EXECUTED_NO else "unknown")


def refusal(status: int, message: str = "") -> LeverError:
    """What was refused before anything was sent."""
    return error_for(status, message, _EXECUTED_NO)


def invalid(message: str) -> LeverError:
    """An argument that cannot be used."""
    return refusal(_codes.INVALID_ARGUMENT, message)


def _text(exception: BaseException) -> str:
    try:
        text = str(exception)
    except Exception:  # of a class whose __str__ fails
        text = type(exception).__name__
    return text.encode("utf-8", "replace").decode("utf-8")


def value_of(exception: BaseException) -> tuple[Any, Any]:
    """What the caller of a method that raised `exception` is sent, and what is sent if that cannot be."""
    name = type(exception).__name__
    plain = {"name": name, "message": _text(exception)}
    if isinstance(exception, MethodError):
        return exception.value, plain
    fields = {key: value for key, value in getattr(exception, "__dict__", {}).items()
              if isinstance(key, str) and not key.startswith("_")}
    return {**fields, **plain}, plain
