"""A proxy in front of the local cloud: what passes through it meets the faults that S3 and DynamoDB really have.

    proxy = FaultProxy(seed=7)
    proxy.upstream = cloud.endpoint_url
    rule = proxy.add(Rule("slow_down", "GetObject", keys="lines/*", share=0.3))
    ...
    assert rule.count > 0

Functions reach it by `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL_DYNAMODB`, boto3's own variables. It listens on
loopback.
"""

import fnmatch
import http.client
import http.server
import random
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

Fault = Literal[
    "slow_down",  # 503, or DynamoDB's throttling; not carried out
    "internal_error",  # 500; not carried out
    "denied",  # 403; not carried out
    "missing",  # 404; not carried out
    "dropped",  # the connection ends without an answer; not carried out
    "lost_answer",  # the same; but it was carried out
    "reset",  # the connection is reset in the middle of the body
    "truncated",  # the connection ends in good order in the middle of the body
    "short",  # a whole response that holds less than was asked for
    "other_range",  # 206 with other bytes, and saying so
    "whole_body",  # 200 with the whole object
    "flipped",  # one byte is not what it was
    "slow",  # the body takes `seconds`
    "late",  # the request waits for `seconds` before it is carried out
    "before",  # `act` is called before the request is carried out, and the connection dropped
    "after",  # the same, after it was carried out
    "beside",  # `act` is called before the request is carried out, and the request goes on
]
_OF_RANGES: Final = ("short", "other_range", "whole_body")  # a whole object's length is what the answer says it is
_PIECE_BYTES: Final = 64 * 1024
_DYNAMODB: Final = "DynamoDB_20120810."
_OBJECT: Final = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_HOP_BY_HOP: Final = ("connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "content-length")
_ANSWERS: Final = {
    "slow_down": (503, "SlowDown", "ThrottlingException"),
    "internal_error": (500, "InternalError", "InternalServerError"),
    "denied": (403, "AccessDenied", "AccessDeniedException"),
    "missing": (404, "NoSuchKey", "ResourceNotFoundException"),
}


@dataclass(frozen=True)
class Request:
    """A request as rules see it. `key` is empty for what is not about one object; `port` is the client's own."""

    operation: str
    bucket: str
    key: str
    span: str
    port: int


@dataclass
class Rule:
    """What befalls a share of the requests; `count` says how many it has befallen, of `seen`.

    `keys` is a pattern with `*` over an object's key; `most` bounds the count. A rule `beside` that has
    no `act` only counts.
    """

    fault: Fault
    operation: str = "GetObject"
    keys: str = "*"
    share: float = 1.0
    most: int | None = None
    seconds: float = 0.0
    act: Callable[[Request], None] | None = None
    count: int = 0
    seen: int = 0

    def covers(self, request: Request) -> bool:
        """Whether the rule is about requests like this one."""
        if self.fault in _OF_RANGES and not request.span:
            return False
        return request.operation == self.operation and fnmatch.fnmatchcase(request.key, self.keys)


@dataclass
class FaultProxy:
    """The proxy with its rules, which may change while it runs. A request that is repeated is decided upon anew.

    Whether a rule befalls the n-th request that it covers depends on the seed alone.
    """

    seed: int = 0
    upstream: str = ""
    rules: list[Rule] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="fault-proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """The variables that lead a function's clients through it."""
        return {"AWS_ENDPOINT_URL_S3": self.url, "AWS_ENDPOINT_URL_DYNAMODB": self.url}

    def add(self, rule: Rule) -> Rule:
        """A further rule; of several that befall a request the first one holds."""
        with self._lock:
            self.rules = [*self.rules, rule]
        return rule

    def remove(self, rule: Rule) -> None:
        """End a rule."""
        with self._lock:
            self.rules = [other for other in self.rules if other is not rule]

    @contextmanager
    def while_adding(self, *rules: Rule) -> Iterator[tuple[Rule, ...]]:
        """Rules for a while."""
        for rule in rules:
            self.add(rule)
        try:
            yield rules
        finally:
            for rule in rules:
                self.remove(rule)

    def befalls(self, request: Request) -> Rule | None:
        """The rule that holds for a request, counted."""
        with self._lock:
            self.requests[request.operation] += 1
            for number, rule in enumerate(self.rules):
                if not rule.covers(request):
                    continue
                rule.seen += 1
                strikes = random.Random(f"{self.seed}/{number}/{rule.seen}").random() < rule.share
                if strikes and (rule.most is None or rule.count < rule.most):
                    rule.count += 1
                    self.faults[rule.fault] += 1
                    return rule
        return None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, and one to the local cloud for it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _PIECE_BYTES
    server: _Server
    _upstream: http.client.HTTPConnection | None = None

    def handle(self) -> None:
        """Serve until the client leaves, however it leaves."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError, ValueError):  # ValueError: our own end of it was closed on purpose
            self.close_connection = True
        finally:
            if self._upstream is not None:
                self._upstream.close()

    def handle_expect_100(self) -> bool:
        """Let the client send its body at once."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def handle_request(self) -> None:
        """One request: read, decided upon, passed on or not."""
        request, body = self._described(), self._body()
        rule = self.server.proxy.befalls(request)
        fault = rule.fault if rule is not None else None
        if rule is not None and fault in ("before", "beside") and rule.act is not None:
            rule.act(request)
        if fault in _ANSWERS:
            self._refuse(str(fault), is_dynamodb=request.operation.startswith("dynamodb:"))
            return
        if fault in ("dropped", "before"):
            self._reset()
            return
        if rule is not None and fault == "late":
            time.sleep(rule.seconds)
        response = self._ask(body, self._changed_span(request, fault))
        if fault in ("lost_answer", "after"):
            response.read()
            if rule is not None and rule.act is not None:
                rule.act(request)
            self._reset()
            return
        self._answer(response, fault, rule.seconds if rule is not None else 0.0)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815 - the base class looks for these

    def _described(self) -> Request:
        target, span = self.headers.get("X-Amz-Target", ""), self.headers.get("Range", "")
        port = int(self.client_address[1])
        if target.startswith(_DYNAMODB):
            return Request(f"dynamodb:{target.removeprefix(_DYNAMODB)}", "", "", span, port)
        path, _, query = self.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
        names = {part.partition("=")[0] for part in query.split("&")}
        if "attributes" in names:
            operation = "GetObjectAttributes"
        elif "delete" in names:
            operation = "DeleteObjects"
        elif key:
            operation = _OBJECT.get(self.command, self.command)
        else:
            operation = "ListObjectsV2" if self.command == "GET" else f"{self.command} bucket"
        return Request(operation, bucket, key, span, port)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _changed_span(self, request: Request, fault: Fault | None) -> dict[str, str | None]:
        """The Range header instead of the client's: None leaves it out."""
        if fault == "whole_body":
            return {"range": None}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.span)
        if fault != "other_range" or match is None:
            return {}
        first, last = int(match[1]), int(match[2])
        return {"range": f"bytes={first + 1}-{last}" if first < last else f"bytes={max(0, first - 1)}-{last}"}

    def _ask(self, body: bytes, changed: dict[str, str | None]) -> http.client.HTTPResponse:
        """The local cloud's answer."""
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers = {name: text for name, text in headers.items() if name.lower() not in changed}
        headers |= {name: text for name, text in changed.items() if text is not None}
        headers["Content-Length"] = str(len(body))
        for attempt in range(2):
            if self._upstream is None:
                host = self.server.proxy.upstream.removeprefix("http://")
                self._upstream = http.client.HTTPConnection(host, timeout=120)
            try:
                self._upstream.request(self.command, self.path, body, headers)
                return self._upstream.getresponse()
            except (http.client.HTTPException, ConnectionError):
                # A connection that was kept open and that the cloud has closed meanwhile.
                self._upstream.close()
                self._upstream = None
                if attempt:
                    raise ConnectionError("the local cloud does not answer") from None
        raise ConnectionError

    def _answer(self, response: http.client.HTTPResponse, fault: Fault | None, seconds: float) -> None:
        told = response.getheader("Content-Length")
        is_empty = self.command == "HEAD" or response.status in (204, 304)
        buffered = b"" if is_empty or told is not None else response.read()
        length = int(told) if told is not None else len(buffered)
        sent = length // 2 if fault in ("short", "truncated", "reset") else length
        self.send_response_only(response.status, response.reason)
        for name, text in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, text)
        self.send_header("Content-Length", str(sent if fault == "short" else length))
        self.end_headers()
        if is_empty:
            response.read()
            return
        pieces = self._pieces(response, sent) if told is not None else iter([buffered[:sent]])
        parts = -(-sent // _PIECE_BYTES) or 1
        for number, piece in enumerate(pieces):
            if fault == "slow":
                time.sleep(seconds / parts)
                self.wfile.flush()
            is_flipped = fault == "flipped" and number == parts // 2
            self.wfile.write(bytes([piece[0] ^ 1]) + piece[1:] if is_flipped and piece else piece)
        self.wfile.flush()
        response.read()
        if fault == "reset":
            self._reset()
        elif fault == "truncated":
            self.close_connection = True

    def _pieces(self, response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
        left = most
        while left > 0 and (piece := response.read(min(_PIECE_BYTES, left))):
            left -= len(piece)
            yield piece

    def _refuse(self, fault: str, *, is_dynamodb: bool) -> None:
        status, code, dynamodb_code = _ANSWERS[fault]
        if is_dynamodb:
            status = 500 if fault == "internal_error" else 400
            body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{dynamodb_code}","message":"made to fail"}}'.encode()
        else:
            body = f"<Error><Code>{code}</Code><Message>made to fail</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0" if is_dynamodb else "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """End the connection with a reset instead of an orderly close."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
