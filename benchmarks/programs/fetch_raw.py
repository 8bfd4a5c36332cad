"""An object over a bare socket into one reused buffer: `fetch_raw OUT PURPOSE PORT PATH SIZE RANGE_BYTES`."""

import socket
import sys

from awscrt import checksums
from benchmarks.programs.timing import leave, timed

PIECE_BYTES = 1 << 20


def fetch(link: socket.socket, path: str, start: int, end: int, crc: int | None) -> int | None:
    """One range; the CRC so far when it is wanted."""
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes={start}-{end - 1}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += link.recv(4096)
    body = head.partition(b"\r\n\r\n")[2]
    left = end - start - len(body)
    crc = crc if crc is None else checksums.crc64nvme(body, crc)
    while left:
        count = link.recv_into(VIEW, min(left, PIECE_BYTES))
        if count == 0:
            raise EOFError(path)
        left -= count
        crc = crc if crc is None else checksums.crc64nvme(VIEW[:count], crc)
    return crc


VIEW = memoryview(bytearray(PIECE_BYTES))


def main() -> None:
    out, purpose, port, path, size, range_bytes = sys.argv[1:]
    link = socket.create_connection(("127.0.0.1", int(port)))
    crc = 0 if purpose == "check" else None
    fetch(link, path, 0, 1, None)
    with timed(out):
        for start in range(0, int(size), int(range_bytes)):
            crc = fetch(link, path, start, min(start + int(range_bytes), int(size)), crc)
    leave(out, crc)


if __name__ == "__main__":
    main()
