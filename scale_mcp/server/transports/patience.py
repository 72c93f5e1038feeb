"""Connections whose requests do not come to their end: each holds a descriptor, and anybody can open thousands."""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_DUE = 20.0  # seconds from the connection's or the request's beginning to the end of its head
BODY_DUE = 60.0  # seconds from there to the end of its body


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's, which closes a connection when a request has begun and does not end. Answers may take their time."""

    head_due = HEAD_DUE
    body_due = BODY_DUE
    _due: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(self.head_due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect(self.head_due)

    def on_headers_complete(self) -> None:
        self._expect(self.body_due)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expect(None)
        super().on_message_complete()

    def _expect(self, seconds: float | None) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._due = None
        if self.flow.read_paused:  # it is us who do not read on
            self._expect(self.body_due)
        elif not self.transport.is_closing():
            self.transport.close()
