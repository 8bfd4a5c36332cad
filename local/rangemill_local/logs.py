"""What Lambda writes around a function's own output: START, END and REPORT, as text or as JSON."""

import datetime as dt
import json
import math

from localstack.services.lambda_.invocation.lambda_models import VersionFunctionConfiguration


class InvocationLog:
    """The log of one invocation, in order."""

    def __init__(self, request_id: str, version: str, settings: VersionFunctionConfiguration) -> None:
        self.request_id = request_id
        self.version = version
        self.memory_mib = settings.memory_size
        self.as_json = (settings.logging_config or {}).get("LogFormat") == "JSON"
        self.init_ms: float | None = None
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Add what the function wrote."""
        if text:
            self._parts.append(text if text.endswith("\n") else text + "\n")

    def start(self) -> None:
        """Add the START line."""
        if self.as_json:
            self._platform("start", {"version": self.version})
        else:
            self.add(f"START RequestId: {self.request_id} Version: {self.version}")

    def failed(self, error: dict[str, str]) -> None:
        """Add the line that names a time-out or an exit."""
        self.add(f"{_now()} {self.request_id} {error['errorMessage'].removeprefix(f'RequestId: {self.request_id} ')}")

    def end(self, duration_ms: float, peak_mib: int) -> None:
        """Add END and REPORT."""
        billed_ms = math.ceil(duration_ms + (self.init_ms or 0))
        if self.as_json:
            metrics: dict[str, float] = {
                "durationMs": round(duration_ms, 3),
                "billedDurationMs": billed_ms,
                "memorySizeMB": self.memory_mib,
                "maxMemoryUsedMB": peak_mib,
            }
            if self.init_ms is not None:
                metrics["initDurationMs"] = round(self.init_ms, 3)
            self._platform("report", {"metrics": metrics})
            return
        self.add(f"END RequestId: {self.request_id}")
        report = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {billed_ms} ms",
            f"Memory Size: {self.memory_mib} MB",
            f"Max Memory Used: {peak_mib} MB",
        ]
        if self.init_ms is not None:
            report.append(f"Init Duration: {self.init_ms:.2f} ms")
        self.add("\t".join(report))

    def text(self) -> str:
        """Return the whole."""
        return "".join(self._parts)

    def _platform(self, kind: str, record: dict[str, object]) -> None:
        document = {"time": _now(), "type": f"platform.{kind}", "record": {"requestId": self.request_id, **record}}
        self.add(json.dumps(document))


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
