"""Just enough HTTP/2, by hand, for clients that gRPC's own would never be: RFC 9113 and 7541."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
DEFAULT_WINDOW = (1 << 16) - 1
MAX_FRAME = 1 << 14
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Frame(NamedTuple):
    """What the server sends."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class RawClient:
    """A connection that keeps the server's flow control, and reads only when told.

    Args:
        address: ``HOST:PORT``.
        window: How many bytes of each answer the server may send before it is let on.
        patience: Seconds until a read or a write fails.
    """

    def __init__(self, address: str, window: int, patience: float):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=patience)
        self._stream = -1
        self._initial = DEFAULT_WINDOW
        self._windows = {0: DEFAULT_WINDOW}
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, settings))

    def begin(self, path: str) -> int:
        """Opens a call of a gRPC method; returns its stream."""
        self._stream += 2
        self._windows[self._stream] = self._initial
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "test",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        # Literals that are not to be indexed, with new names (RFC 7541, 6.2.2).
        block = b"".join(
            b"\0" + _text(name.encode()) + _text(value.encode()) for name, value in headers.items()
        )
        self._socket.sendall(_frame(HEADERS, END_HEADERS, self._stream, block))
        return self._stream

    def send(self, stream: int, data: bytes, *, last: bool = False) -> None:
        """Sends one frame at most as large as ``room`` says."""
        for each in (0, stream):
            self._windows[each] -= len(data)
        self._socket.sendall(_frame(DATA, END_STREAM if last else 0, stream, data))

    def room(self, stream: int) -> int:
        """How many bytes may be sent now."""
        return min(self._windows[0], self._windows[stream], MAX_FRAME)

    def frames(self) -> Iterator[Frame]:
        """Reads, and answers settings and pings, until the server closes."""
        while head := self._read(9):
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
            frame = Frame(kind, flags, stream, self._read(length))
            self._obey(frame)
            yield frame

    def _obey(self, frame: Frame) -> None:
        if frame.kind == SETTINGS and not frame.flags & ACK:
            for key, value in struct.iter_unpack(">HI", frame.payload):
                if key == INITIAL_WINDOW_SIZE:
                    for stream in self._windows.keys() - {0}:
                        self._windows[stream] += value - self._initial
                    self._initial = value
            self._socket.sendall(_frame(SETTINGS, ACK, 0, b""))
        elif frame.kind == PING and not frame.flags & ACK:
            self._socket.sendall(_frame(PING, ACK, 0, frame.payload))
        elif frame.kind == WINDOW_UPDATE and frame.stream in self._windows:
            self._windows[frame.stream] += int.from_bytes(frame.payload, "big")

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (more := self._socket.recv(size - len(found))):
            found += more
        return found

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()


def grpc_message(data: bytes, claimed: int | None = None) -> bytes:
    """A message as gRPC frames it; it may claim another length."""
    return b"\0" + struct.pack(">I", len(data) if claimed is None else claimed) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value
