"""How the HTTP server has to be set up for this API: its own refusals in our shape too, and room for the documented sizes.

uvicorn answers what is not HTTP, or has too large a head, by itself: with a line of text and without a request id. `HTTP_OPTIONS` go into
its configuration.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from headwater.api.errors import bad_request, error_body
from headwater.api.gate import HEADERS_BYTES_MAX, URI_BYTES_MAX


class JsonRefusals(H11Protocol):
    """uvicorn's protocol, except for the answer to what it can't read."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer once, in the API's shape, and hang up; where an answer is under way already, only hang up."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(self._refusal())
        self.transport.close()

    def _refusal(self) -> bytes:
        error, request_id = bad_request("This is not HTTP, or its first line and headers are too large."), uuid.uuid4().hex
        body = json.dumps(error_body(error.code, error.message, request_id)).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Request-Id", request_id),
            ("Connection", "close"),
        ]
        events = (h11.Response(status_code=error.status, headers=headers, reason=b"Bad Request"), h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self.conn.send(event) or b"" for event in events)


HTTP_OPTIONS: dict[str, Any] = {
    "http": JsonRefusals,
    "h11_max_incomplete_event_size": URI_BYTES_MAX + HEADERS_BYTES_MAX + 4096,  # so that what is over a limit of ours gets our answer
    "lifespan": "off",
    "server_header": False,
}
"""Keyword arguments of `uvicorn.Config`."""
