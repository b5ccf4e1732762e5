"""A wire between two ends on loopback that can be cut, or swallow what goes one way."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Wire:
    """Passes on what comes to `port`, to another port. swallow_up, swallow_down: bytes in that direction vanish, and
    are counted in `swallowed`."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.swallow_up = self.swallow_down = False
        self.refuses = False
        self.connections = self.swallowed = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                if self.refuses:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs.append((near, far))
                threading.Thread(target=self._pass_on, args=(near, far, "swallow_up"), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, "swallow_down"), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, swallow: str) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if getattr(self, swallow):
                    self.swallowed += len(data)
                else:
                    other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Both ends see the connection break off; what was on its way is lost."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._listening.close()
        self.cut()


@contextlib.contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()
