"""A TCP relay of the tests' own: a wire that can be cut, silenced and healed."""

import socket
import struct
import threading
from contextlib import suppress

_PIECE_BYTES = 64 << 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST, as a peer that is gone does


class Relay:
    """Passes bytes between any client of `port` and `target_port`, both on loopback."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_cut = self._is_closed = False
        self._lock = threading.Lock()  # guards the two below, between the pumps and the test
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name=f"relay-{self.port}", daemon=True).start()

    def cut(self) -> None:
        """Resets every connection, and every new one, until it is healed."""
        with self._lock:
            self._is_cut = True
            ends = list(self._open)
        for end in ends:
            self._reset(end)

    def silence(self) -> None:
        """Takes connections and bytes, and passes nothing on until it is healed; then everything, late."""
        self._is_open.clear()

    def heal(self) -> None:
        """Passes on as before."""
        self._is_cut = False
        self._is_open.set()

    def close(self) -> None:
        """Ends every connection, and takes no more."""
        self._is_closed = True
        self.cut()
        self._is_open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            if self._is_cut:
                self._reset(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
            except OSError:
                self._reset(near)
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                self._is_open.wait()
                sink.sendall(data)
        for end in (source, sink):
            with self._lock:
                self._open.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other pump
            end.close()

    def _reset(self, end: socket.socket) -> None:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # Wakes the pump that reads it; the peer gets the reset that follows.
            end.shutdown(socket.SHUT_RD)
        end.close()
