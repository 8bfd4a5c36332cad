"""nginx on loopback as the S3-like server: path-style GET and HEAD with Range, ETag and If-Match, nothing else."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIMIT: Final = "85m"  # a second, per connection: what one S3 connection gives
_START_SECONDS: Final = 5.0

_CONFIG: Final = """
{user}worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
  server {{ listen 127.0.0.1:{limited_port}; root {root}; limit_rate {limit}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Its two addresses, or why it does not run. `limited_url` gives 85 MiB/s a connection."""

    url: str = ""
    limited_url: str = ""
    version: str = ""
    problem: str | None = None


def binary() -> str | None:
    """Debian has it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def serving(root: Path, folder: Path) -> Iterator[Server]:
    """The server over the buckets in `root`, its files in `folder`, until the block ends."""
    nginx = binary()
    if nginx is None:
        yield Server(problem="nginx is not installed")
        return
    folder.mkdir(parents=True, exist_ok=True)
    port, limited_port = _free_port(), _free_port()
    user = "user root;\n" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(user=user, folder=folder, root=root, port=port, limited_port=limited_port, limit=LIMIT)
    )
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [nginx, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        problem = _wait(process, url, folder)
        yield Server(url, f"http://127.0.0.1:{limited_port}", _version(nginx), problem)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, folder: Path) -> str | None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return None  # it answers: a folder is not listed
        except OSError:
            time.sleep(0.02)
        else:
            return None
    return f"nginx does not start: {(folder / 'error.log').read_text(errors='replace').strip()[-200:]}"


def _version(nginx: str) -> str:
    return subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr.strip().rpartition("/")[2]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
