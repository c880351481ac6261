"""A gRPC client that costs so little that the server's cost is measured: unary calls, one at a time on each
connection, and one thread for all connections.

A call is an HTTP/2 POST (RFC 9113) whose headers are written without compression (RFC 7541, 6.2.2) and are
the same each time, so they are written once. A server's answer is read by its frames alone: an answer has
data, a refusal has none.
"""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_FRAME = struct.Struct(">HBBBI")  # length in 24 bits, type, flags, stream
_POST, _HTTP = b"\x83", b"\x86"  # of the static table
_MOST = (1 << 31) - 1


class Refused(Exception):
    """The server did not answer the call with a message."""


class Connection:
    """One connection to one method. A request is small, and is sent at once; an answer is waited for by a
    selector on `fileno`.
    """

    def __init__(self, endpoint: str, path: str, token: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = _POST + _HTTP
        for name, value in (
            (":path", path),
            (":authority", endpoint),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", f"Bearer {token}"),
        ):
            self._headers += b"\x00" + _text(name) + _text(value)
        self._stream = -1
        self._unread = b""
        self._answered = 0
        # The server may send as much as it likes: nothing is ever given back to its window.
        grown = struct.pack(">I", _MOST - 65_535)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW_UPDATE, 0, 0, grown))

    def fileno(self) -> int:
        """Of its socket, for a selector."""
        return self._socket.fileno()

    def send(self, message: bytes) -> None:
        """Begins a call; the one before it is answered."""
        self._stream += 2
        self._answered = 0
        body = struct.pack(">BI", 0, len(message)) + message
        self._socket.sendall(
            _frame(_HEADERS, _END_HEADERS, self._stream, self._headers)
            + _frame(_DATA, _END_STREAM, self._stream, body)
        )

    def is_answered(self) -> bool:
        """Receives, waiting if nothing has come; Refused when the server refuses."""
        came = self._socket.recv(65_536)
        if not came:
            raise Refused("the server closed the connection")
        data, at, is_over = self._unread + came, 0, False
        while len(data) >= at + _FRAME.size:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + (high << 8 | low)
            if len(data) < end:
                break
            is_over |= self._take(kind, flags, stream, data[at + _FRAME.size : end])
            at = end
        self._unread = data[at:]
        return is_over

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Whether this frame is the last of the call."""
        if kind == _DATA:
            self._answered += len(payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RST_STREAM, _GOAWAY):
            raise Refused(f"the server ended the call: {payload!r}")
        elif kind == _HEADERS and flags & _END_STREAM and stream == self._stream:
            if not self._answered:
                raise Refused(f"no answer: {payload!r}")
            return True
        return False


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _FRAME.pack(length >> 8, length & 255, kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """A string as HPACK has it, not coded: its length with a prefix of seven bits, and its bytes."""
    encoded = text.encode()
    length = len(encoded)
    if length < 127:
        return bytes([length]) + encoded
    head, length = bytes([127]), length - 127
    while length >= 128:
        head, length = head + bytes([length % 128 + 128]), length // 128
    return head + bytes([length]) + encoded
