"""Lambda functions as local processes: LocalStack's executor interface, without Docker."""

import json
import logging
import threading
import time
from enum import Enum
from typing import Any

from localstack import config
from localstack.runtime import events
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from rangemill_local import store
from rangemill_local.logs import InvocationLog
from rangemill_local.runtime_api import Invocation, Report
from rangemill_local.settings import INIT_MAX_SECONDS, RESPONSE_MAX_BYTES, settings
from rangemill_local.worker import Worker, WorkerSpec

LOG = logging.getLogger(__name__)

# LocalStack's own means of talking to its init binary; AWS has none of these in a function's environment.
NOT_ON_AWS = ("LOCALSTACK_", "EDGE_PORT", "AWS_LAMBDA_FUNCTION_TIMEOUT")


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: a process, started again after it was killed or died."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 - the base class's name
        super().__init__(id, function_version)
        self._spec: WorkerSpec | None = None
        self._worker: Worker | None = None
        self._starts = 0
        self._idle = threading.Event()
        self._idle.set()

    def start(self, env_vars: dict[str, Any]) -> None:
        """Start the process; the first invocation waits for its init."""
        settings = self.function_version.config
        code = store.code_folder(settings.code)
        opt = store.opt_folder([layer.code for layer in settings.layers]) if settings.layers else None
        self._spec = WorkerSpec(
            handler=settings.handler,
            code=code,
            opt=opt,
            environment=_environment(env_vars, str(code), None if opt is None else str(opt)),
            memory_mib=settings.memory_size,
            tmp_mib=settings.ephemeral_storage.size,
        )
        self._worker = self._new_worker()

    def stop(self) -> None:
        """End the process. One that is at work may finish first, as on AWS when a function is updated."""
        if not events.infra_stopping.is_set():
            self._idle.wait(self.function_version.config.timeout + INIT_MAX_SECONDS)
        self._end_worker()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run one event; every failure of the function is a result, spelled as AWS spells it."""
        self._idle.clear()
        try:
            return self._invoke(payload)
        finally:
            self._idle.set()

    def _invoke(self, payload: dict[str, str]) -> InvocationResult:
        settings = self.function_version.config
        request_id = payload["invoke-id"]
        log = InvocationLog(request_id, self.function_version.id.qualifier, settings)
        worker, is_new = self._ready_worker()
        report = self._wait_for_init(worker, log) if is_new else Report("ready")
        log.start()
        began = time.perf_counter()
        if report.kind == "ready":
            report = worker.invoke(self._invocation(payload), settings.timeout)
        duration_ms = (time.perf_counter() - began) * 1000
        log.add(worker.take_log())
        error = self._error_of(report, request_id, worker)
        if error is not None:
            log.failed(error)
        log.end(duration_ms, settings.memory_size if report.kind == "out_of_memory" else worker.peak_mib)
        if report.kind not in ("response", "error"):
            self._end_worker()
        body = report.payload if error is None else json.dumps(error).encode()
        return InvocationResult(request_id, body, is_error=report.kind != "response", logs=log.text())

    def _wait_for_init(self, worker: Worker, log: InvocationLog) -> Report:
        report = worker.wait_ready(INIT_MAX_SECONDS + self.function_version.config.timeout)
        if report.kind == "ready":
            log.init_ms = worker.init_ms
        log.add(worker.take_log())
        return report

    def _invocation(self, payload: dict[str, str]) -> Invocation:
        return Invocation(
            request_id=payload["invoke-id"],
            payload=payload["payload"].encode(),
            function_arn=payload["invoked-function-arn"],
            trace_id=payload["trace-id"],
            deadline_ms=int((time.time() + self.function_version.config.timeout) * 1000),
        )

    def _error_of(self, report: Report, request_id: str, worker: Worker) -> dict[str, str] | None:
        """Return AWS's document for a failure that the function could not report itself."""
        match report.kind:
            case "timed_out":
                seconds = self.function_version.config.timeout
                kind = "Sandbox.Timedout"
                text = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
            case "exited" | "out_of_memory":
                reason = worker.exit_reason or "exit status 1"
                kind, text = "Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with error: {reason}"
            case "too_large":
                kind = "Function.ResponseSizeTooLarge"
                text = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_MAX_BYTES} bytes)."
            case _:
                return None
        return {"errorType": kind, "errorMessage": text}

    def _ready_worker(self) -> tuple[Worker, bool]:
        """Return the process and whether its init has not been waited for yet."""
        if self._worker is not None and not self._worker.alive and self._starts == 0:
            return self._worker, True  # died during its first init: that is the first invocation's answer
        if self._worker is None or not self._worker.alive:
            self._end_worker()
            self._worker = self._new_worker()
        fresh = self._starts == 0
        self._starts += 1
        return self._worker, fresh

    def _new_worker(self) -> Worker:
        self._starts = 0
        if self._spec is None:
            raise RuntimeError("invoked before it was started")
        return Worker(f"{self.id}-{time.monotonic_ns():x}", self._spec)

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def get_address(self) -> str:
        """Return where the process is: here."""
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        """Return where the process finds LocalStack."""
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        """Return nothing of use: this executor has no callback through LocalStack's gateway."""
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}"

    def get_logs(self) -> str:
        """Return what the process wrote and no invocation has taken."""
        return self._worker.take_log() if self._worker else ""

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unzip and merge ahead of the first invocation; refuse what AWS would refuse for its size."""
        settings = function_version.config
        folders = [store.code_folder(settings.code)]
        if settings.layers:
            folders.append(store.opt_folder([layer.code for layer in settings.layers]))
        store.check_size(folders)

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Keep the folders: they are stored by content, and pruned at the next start."""


def _environment(env_vars: dict[str, Any], code: str, opt: str | None) -> dict[str, str]:
    """Return the whole environment of a function: LocalStack's and the function's variables, nothing of the host's."""
    environment = {
        name: str(value.value if isinstance(value, Enum) else value)
        for name, value in env_vars.items()
        if not name.startswith(NOT_ON_AWS)
    }
    layers = [] if opt is None else [f"{opt}/python/lib/python3.13/site-packages", f"{opt}/python"]
    return {
        "PATH": ":".join([*([f"{opt}/bin"] if opt else []), "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": ":".join([f"{code}", f"{code}/lib", *([f"{opt}/lib"] if opt else [])]),
        "PYTHONPATH": ":".join([code, *layers]),
        # There is no home folder to read a profile from; this says so to a botocore that would look one up.
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
        **settings().function_environment,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "LAMBDA_TASK_ROOT": code,
    }
