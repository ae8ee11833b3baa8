"""What can go wrong, as one tree.

SculptorError
├─ ContextError             the caller asked for what the context cannot do
│  ├─ FragmentNotFound      no fragment has that ID
│  ├─ FragmentProtected     system text, the newest user message or a pin stands in the way
│  ├─ OperationNotFound     no operation has that ID
│  ├─ UndoRefused           later operations depend on the one to undo
│  └─ InvalidMessage        a message or list of messages breaks the wire's rules
├─ ToolError                the model called a tool wrongly: told to it, never raised to a user
├─ StoreError               what is stored cannot be read or written
│  ├─ StoreLocked           another process serves this file
│  ├─ StaleHead             a lane's head moved while an operation was being made
│  └─ StoreCorrupt          a stored hash does not match its bytes
├─ SettingsError            the settings contradict themselves or the machine
├─ EvalError                a draw, a data file or a line to score cannot be used
└─ UpstreamError            the provider failed
   ├─ UpstreamTimeout       it did not answer in time
   ├─ UpstreamStatus        it answered with an error status
   └─ UpstreamBroken        the connection or the stream broke, or what came is not the protocol

An error carries fields and makes its text from them. What the model did wrong is an answer to the
model; what the user did wrong is an exception; what we did wrong crashes.
"""

from collections.abc import Mapping, Sequence


class SculptorError(Exception):
    """The root of every error raised on purpose."""


class ContextError(SculptorError):
    """The caller asked for what the context cannot do."""


class FragmentNotFound(ContextError):
    """Raised when an ID names no fragment of this context."""

    def __init__(self, fragment_id: str, known: Sequence[str] = ()) -> None:
        self.fragment_id, self.known = fragment_id, tuple(known)
        listed = ", ".join(self.known[:10]) or "none yet"
        super().__init__(f"No fragment {fragment_id!r} in this context; known: {listed}.")


class FragmentProtected(ContextError):
    """Raised when a protected stretch would be hidden or cut."""

    def __init__(self, fragment_id: str, reason: str) -> None:
        self.fragment_id, self.reason = fragment_id, reason
        super().__init__(f"{fragment_id} is protected: {reason}.")


class OperationNotFound(ContextError):
    """Raised when an ID names no operation of this context."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        super().__init__(
            f"No operation {operation_id!r} in this context; they are named o1, o2, … in order."
        )


class UndoRefused(ContextError):
    """Raised when later operations depend on the one to undo, or it is out of force already."""

    def __init__(self, operation_id: str, blockers: Sequence[str] = (), why: str = "") -> None:
        self.operation_id, self.blockers = operation_id, tuple(blockers)
        text = why or f"later operations depend on it: {', '.join(self.blockers)}"
        super().__init__(f"{operation_id} cannot be undone: {text}.")


class InvalidMessage(ContextError):
    """Raised when a message, or its place in the list, breaks the wire's rules."""

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


class ToolError(SculptorError):
    """What the model did wrong, in words that help it to try again.

    ``details`` is merged into the tool's answer, so it holds JSON values only.
    """

    def __init__(
        self, code: str, message: str, details: Mapping[str, object] | None = None
    ) -> None:
        self.code, self.message, self.details = code, message, dict(details or {})
        super().__init__(f"{code}: {message}")


class StoreError(SculptorError):
    """What is stored cannot be read or written."""


class StoreLocked(StoreError):
    """Raised when another server process holds the store file."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"Another server holds {path}. Stop it, or give this one its own file with --store."
        )


class StaleHead(StoreError):
    """Raised when a lane's head moved between reading and writing it."""

    def __init__(self, lane_id: str) -> None:
        self.lane_id = lane_id
        super().__init__(f"The head of lane {lane_id} moved; read it again.")


class StoreCorrupt(StoreError):
    """Raised when a stored hash does not match its bytes."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"The store is damaged: {what}.")


class SettingsError(SculptorError):
    """The settings contradict themselves or the machine; the text says what to change."""


class EvalError(SculptorError):
    """A draw, a data file or a line to score cannot be used; the text says why."""


class UpstreamError(SculptorError):
    """The provider failed."""


class UpstreamTimeout(UpstreamError):
    """The provider did not answer in time."""

    def __init__(self, phase: str, limit_s: float) -> None:
        self.phase, self.limit_s = phase, limit_s
        super().__init__(f"The upstream did not answer within {limit_s:g} s ({phase}).")


class UpstreamStatus(UpstreamError):
    """The provider answered with an error status."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, dict(headers or {})
        super().__init__(f"The upstream answered {status}.")


class UpstreamBroken(UpstreamError):
    """The connection or the stream broke, or what came is not the protocol."""
