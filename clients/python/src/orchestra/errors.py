"""What can go wrong."""

from __future__ import annotations

from .models import FieldError


class OrchestraError(Exception):
    """Anything that this client raises by itself."""


class Unreachable(OrchestraError):
    """No answer came, or none that can be read."""


class Refused(OrchestraError):
    """The master's answer is a problem (RFC 9457)."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: list[FieldError],
        hint: str | None,
        offset: int | None,
    ) -> None:
        super().__init__(_sentence(detail, errors, hint))
        self.status = status
        #: The last part of the problem's type, like ``not-found``; it never changes.
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.hint = hint
        #: Where an upload goes on, for ``artifact-offset``.
        self.offset = offset

    @property
    def is_temporary(self) -> bool:
        """Whether the same may be accepted a little later."""
        return self.status in (408, 429) or self.status >= 500


def _sentence(detail: str, errors: list[FieldError], hint: str | None) -> str:
    fields = "".join(f"; {error.pointer} {error.detail}" for error in errors)
    return f"{detail}{fields}" + (f" ({hint})" if hint else "")
