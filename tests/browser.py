"""Chromium without a window, driven over a pipe with its DevTools protocol: no driver, no port, no package."""

import json
import os
import select
import shutil
import subprocess
import sys
import time

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SECONDS = 60
# The browser reads commands from descriptor 3 and answers on descriptor 4.
_START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium():
    """Path of the program; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """An open page and what it complains about.

    Args:
        program: Of ``find_chromium``.
        profile: An empty folder.
        address: Of the page.

    Attributes:
        complaints: Messages of the console that are no plain output, and exceptions.
        requests: Addresses that the page asked for, data URIs left out.
    """

    def __init__(self, program, profile, address):
        self.complaints, self.requests, self._number, self._rest, self._session = [], [], 0, b"", None
        read, self._to = os.pipe()
        self._from, write = os.pipe()
        command = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(read), str(write), *command],
            pass_fds=(read, write),
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=address)
        self.wait("document.readyState == 'complete'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def send(self, method, **params):
        """Sends a command and waits for what it gives."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def evaluate(self, expression):
        """Value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.01)

    def press(self, key):
        """Presses a key, an arrow or Enter, in the element that has the focus."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13}
        for kind in ("rawKeyDown", *["char"] * (key == "Enter"), "keyUp"):
            text = {"text": "\r"} if kind == "char" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **text)

    def choose(self, **choices):
        """Gives elements, by their ids, the values that a user would."""
        for name, value in choices.items():
            element = f"document.getElementById({json.dumps(name)})"
            self.evaluate(f"{element}.value = {json.dumps(value)}; {element}.dispatchEvent(new Event('input'))")

    def _receive(self):
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], _SECONDS)[0], "the browser does not answer"
            part = os.read(self._from, 2**16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] != "verbose":
            self.complaints.append(params["entry"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])
