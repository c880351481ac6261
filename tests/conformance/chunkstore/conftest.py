"""An S3 endpoint in this process: as much of the protocol as the chunk store speaks, and no signatures."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

PAGE = 3  # keys a listing page holds, so that every test lists by several


class S3Handler(BaseHTTPRequestHandler):
    """Answers PUT (with If-None-Match), GET, HEAD, ListObjectsV2 and DeleteObjects."""

    protocol_version = "HTTP/1.1"
    server: "S3Server"

    def do_PUT(self) -> None:
        """Store an object, atomically."""
        name, data = unquote(urlsplit(self.path).path), self._body()
        with self.server.lock:
            is_taken = name in self.server.objects
            if not (is_taken and self.headers["If-None-Match"] == "*"):
                self.server.objects[name] = data
                is_taken = False
        self._answer(412 if is_taken else 200)

    def do_GET(self) -> None:
        """Answer an object, or a page of a listing."""
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            self._list(parts.path.rstrip("/"), query)
            return
        data = self.server.objects.get(unquote(parts.path))
        self._answer(404 if data is None else 200, data or b"")

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def do_POST(self) -> None:
        """Delete objects, those that are not there included."""
        bucket = urlsplit(self.path).path.rstrip("/")
        keys = [key.text for key in ElementTree.fromstring(self._body()).iter() if key.tag.endswith("Key")]
        for key in keys:
            self.server.objects.pop(f"{bucket}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{escape(key or '')}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        first = f"{bucket}/{query.get('prefix', '')}"
        after = query.get("continuation-token", "")
        names = sorted(name for name in list(self.server.objects) if name.startswith(first) and name > after)
        entries = "".join(
            f"<Contents><Key>{escape(name.removeprefix(bucket + '/'))}</Key><ETag>e</ETag>"
            f"<LastModified>2025-01-01T00:00:00.000Z</LastModified>"
            f"<Size>{len(self.server.objects[name])}</Size></Contents>"
            for name in names[:PAGE]
        )
        if len(names) > PAGE:
            entries += f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>"
        self._answer(200, f"<ListBucketResult>{entries}</ListBucketResult>".encode())

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class S3Server(ThreadingHTTPServer):
    """The objects of all buckets, by /bucket/key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), S3Handler)
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()


@pytest.fixture
def s3_options() -> Iterator[dict[str, str]]:
    """Run an S3 endpoint, and give the options that reach it."""
    with S3Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield {
            "endpoint": f"http://127.0.0.1:{server.server_port}",
            "allow_http": "true",
            "access_key_id": "anybody",
            "secret_access_key": "anything",
            "region": "nowhere",
            "max_retries": "0",
        }
        server.shutdown()
        thread.join()
