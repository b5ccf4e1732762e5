"""Real Jupyter kernels for the stories that happen in a notebook."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager

PATIENCE = 60.0


@dataclass
class Cell:
    """What a cell has answered so far. `panels` are the snapshots that left the kernel while it ran."""

    message_id: str
    stdout: str = ""
    stderr: str = ""
    value: str = ""
    html: str = ""
    error: str = ""
    ended: bool = False
    panels: list[dict[str, Any]] = field(default_factory=list)

    def take(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "stream" if content["name"] == "stdout":
                self.stdout += content["text"]
            case "stream":
                self.stderr += content["text"]
            case "execute_result":
                self.value = content["data"]["text/plain"]
                self.html = content["data"].get("text/html", "")
            case "error":
                self.error = f"{content['ename']}: {content['evalue']}"
            case "status":
                self.ended = content["execution_state"] == "idle"
                if not self.ended:
                    self.panels.clear()  # those from before it began


class Kernel:
    """A kernel in a process of its own, spoken to over its sockets as any front end does."""

    def __init__(self, home: Path) -> None:
        self._log = (home / "stderr.txt").open("w+", encoding="utf-8")
        self.manager = KernelManager(kernel_name="python3", connection_file=os.fspath(home / "kernel.json"))
        self._start = {"env": {**os.environ, "IPYTHONDIR": os.fspath(home / "ipython")}, "stderr": self._log}
        self.manager.start_kernel(**self._start)
        self.client = self._connect()

    def _connect(self) -> BlockingKernelClient:
        client = self.manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        return client

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        return self.manager.provisioner.process

    def send(self, code: str) -> Cell:
        """Starts a cell, and returns at once."""
        return Cell(self.client.execute(code))

    def follow(self, cell: Cell, until: Callable[[Cell], bool]) -> Cell:
        """Reads what the kernel publishes until the cell says enough."""
        deadline = time.monotonic() + PATIENCE
        while not until(cell):
            try:
                message = self.client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"the kernel has gone quiet; its cell said {cell}")
            content = message["content"]
            if message["parent_header"].get("msg_id") == cell.message_id:
                cell.take(message["msg_type"], content)
            if message["msg_type"] == "comm_msg" and "snap" in content["data"].get("state", {}):
                cell.panels.append(content["data"]["state"]["snap"])
        return cell

    def finish(self, cell: Cell) -> Cell:
        return self.follow(cell, lambda cell: cell.ended)

    def run(self, code: str) -> Cell:
        """Runs a cell to its end, which must not be an error."""
        cell = self.finish(self.send(code))
        assert not cell.error, cell.error
        return cell

    def completed(self, code: str) -> list[str]:
        """What the tab key shows at the end of the code."""
        reply = self.client.complete(code, reply=True, timeout=PATIENCE)
        return list(reply["content"]["matches"])

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        """As the button of a notebook does: a request to leave, and force only where that takes too long."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=False)
        self.client = self._connect()

    def kill(self) -> None:
        """As a crash does: nothing is asked, and the next kernel has none of its memory."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self._connect()

    def stop(self) -> None:
        if self.manager.has_kernel:
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=False)
            self._log.close()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for the tests of a module; each makes an engine of its own, which closes the one before."""
    shared = Kernel(tmp_path_factory.mktemp("kernel"))
    yield shared
    shared.stop()


@pytest.fixture
def fresh_kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that a test may break."""
    own = Kernel(tmp_path)
    yield own
    own.stop()
