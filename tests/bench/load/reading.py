"""Reading clients: h2load, a client in C that costs so little that the server's cost is measured.

A gRPC call is an HTTP/2 POST of a framed message. Every call of a run is the same request. The number of
bytes proves that all were answered in full: a refusal has trailers and no body.
"""

import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_DATA = re.compile(r"space savings [\d.]+%\), [^(]*\((\d+)\) data")
_DONE = re.compile(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded")


@dataclass(frozen=True)
class Read:
    """One request to one server: its method's path, its message, and the answer's number of bytes."""

    endpoint: str
    path: str
    message: bytes
    answer_bytes: int
    token: str


def frame(message: bytes) -> bytes:
    """The message as gRPC sends it, not compressed."""
    return struct.pack(">BI", 0, len(message)) + message


def load(read: Read, clients: int, seconds: int) -> dict[str, object]:
    """Calls from `clients` connections, one call at a time each; every latency in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(frame(read.message))
        command = ["h2load", "--clients", str(clients), "--duration", str(seconds)]
        command += ["--data", str(body), "--log-file", str(log), "--max-concurrent-streams", "1"]
        for header in (
            "content-type: application/grpc",
            "te: trailers",
            f"authorization: Bearer {read.token}",
        ):
            command += ["--header", header]
        done = subprocess.run(
            [*command, f"http://{read.endpoint}{read.path}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + 30,
        )
        taken = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    _check(done.stdout, read)
    return {"calls": len(taken), "seconds": float(seconds), "microseconds": taken}


def _check(output: str, read: Read) -> None:
    """Every answer must have been the whole one; as many as there are connections may be cut by the end."""
    requests, data = _DONE.search(output), _DATA.search(output)
    if requests is None or data is None:
        raise RuntimeError(f"h2load printed:\n{output}")
    answered = int(data[1]) / (read.answer_bytes + len(frame(b"")))
    if abs(answered - int(requests[2])) > 0.01 * int(requests[2]) + 16:
        raise RuntimeError(
            f"{answered:.0f} whole answers to {requests[2]} requests of {read.path}:\n{output}"
        )
