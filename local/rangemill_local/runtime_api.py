"""The Lambda Runtime API for one worker, on a loopback port of its own (awslambdaric takes host:port and no path)."""

import http.server
import queue
import threading
from dataclasses import dataclass
from typing import Final, Literal

from rangemill_local.settings import RESPONSE_MAX_BYTES

PREFIX: Final = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event on its way to the function."""

    request_id: str
    payload: bytes
    function_arn: str
    trace_id: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a worker or of its invocation; `request_id` is empty for what has none."""

    kind: Literal["ready", "init_error", "response", "error", "too_large", "exited", "out_of_memory", "timed_out"]
    request_id: str = ""
    payload: bytes = b""


class RuntimeApi:
    """Hands invocations to the process and its answers to `reports`."""

    def __init__(self, reports: "queue.Queue[Report]") -> None:
        self.reports = reports
        self.invocations: queue.Queue[Invocation | None] = queue.Queue()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.5,), name="runtime-api", daemon=True).start()

    def close(self) -> None:
        """Stop serving; a process that waits for its next event is let go."""
        self.invocations.put(None)
        threading.Thread(target=self._close, daemon=True).start()  # shutdown() waits for the poll of serve_forever

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    api: RuntimeApi


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # headers and body in one segment: two small ones cost a delayed acknowledgement, 40 ms
    server: _Server

    def handle_expect_100(self) -> bool:
        """Let the client send a large body at once."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def do_GET(self) -> None:
        """`invocation/next`: the first call says that init is over."""
        if self.path != f"{PREFIX}/invocation/next":
            self._answer(404)
            return
        self.server.api.reports.put(Report("ready"))
        invocation = self.server.api.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(
            200,
            invocation.payload,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    def do_POST(self) -> None:
        """`invocation/<id>/response`, `invocation/<id>/error`, `init/error`."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path.removeprefix(PREFIX).strip("/").split("/"):
            case ["init", "error"]:
                report = Report("init_error", "", body)
            case ["invocation", request_id, "response"] if len(body) > RESPONSE_MAX_BYTES:
                report = Report("too_large", request_id)
            case ["invocation", request_id, "response"]:
                report = Report("response", request_id, body)
            case ["invocation", request_id, "error"]:
                report = Report("error", request_id, body)
            case _:
                self._answer(404)
                return
        self._answer(413 if report.kind == "too_large" else 202, b'{"status":"OK"}\n')
        self.server.api.reports.put(report)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: LocalStack's log is about AWS calls."""
