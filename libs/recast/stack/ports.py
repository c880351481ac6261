"""Ports that are chosen before the process that listens on them starts."""

import socket


def hold_port(port: int = 0) -> socket.socket:
    """Holds a port of 127.0.0.1, a free one for 0, until the socket is closed. OSError for a port in use.

    A port that is only chosen may be taken before it is used: by another program, or as the local port of a
    connection. A socket that is bound and does not listen prevents that; and because it sets SO_REUSEADDR
    (Linux, socket(7)) one that sets it too, as gRPC does, may listen on the port meanwhile.
    """
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
    except BaseException:
        held.close()
        raise
    return held


def address_of(held: socket.socket) -> str:
    """`host:port` of a held port."""
    host, port = held.getsockname()
    return f"{host}:{port}"
