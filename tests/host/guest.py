# SPDX-License-Identifier: BSD-2-Clause
"""Boot the kernel, talk to its monitor through a pipe, and report tests as TAP.

A test script registers functions with @guest.test and ends in guest.main("suite"); a function that
raises Wrong (or fails to finish) is `not ok`, with the sentence as its diagnosis.  FAULTLINE_KERNEL
names another kernel to test with.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback

import mkimage

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KERNEL = os.environ.get("FAULTLINE_KERNEL", os.path.join(TOP, "build", "kernel.elf"))
PROMPT = "faultline> "
SCRATCH = tempfile.TemporaryDirectory(prefix="faultline-guest-")
TESTS = []


class Wrong(Exception):
    """What was found instead of what had to be."""


def test(function):
    TESTS.append(function)
    return function


def scratch(name):
    return os.path.join(SCRATCH.name, name)


def default_disk():
    """The default disk, in a copy of our own: QEMU lets nobody share an image that may be written."""
    path = scratch("root.img")
    if not os.path.exists(path):
        subprocess.run(["cp", "--sparse=always", mkimage.ensure_default(), path], check=True)
    return path


def check(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def equal(what, got, wanted):
    check(got == wanted, f"{what} is {got!r}, not {wanted!r}")


def contains(what, text, part):
    check(part in text, f"{what} does not say {part!r} but {text.strip()[-400:]!r}")


class Run:
    """One boot that has ended, from the default disk unless the options name another.

    err: what the launcher said; log: QEMU's own log.
    """

    def __init__(self, *options, words=(), stdin=b"", timeout=150):
        log = scratch("qemu.log")
        if "--disk" not in options and "--no-disk" not in options:
            options += ("--disk", default_disk())
        command = [os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--log", log,
                   "--timeout", str(timeout), *options, "--", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout + 30, check=False)
        self.status = done.returncode
        self.out = done.stdout.decode(errors="replace").replace("\r", "")
        self.err = done.stderr.decode(errors="replace").replace("\r", "")
        with open(log, encoding="utf-8", errors="replace") as f:
            self.log = f.read()


class Session(Run):
    """A boot whose monitor was given these lines at once.  answers[i]: what it printed to the i-th."""

    def __init__(self, lines, *options, words=(), timeout=150, end="poweroff"):
        self.lines = list(lines) + ([end] if end else [])
        super().__init__(*options, words=["monitor", *words], timeout=timeout,
                         stdin="".join(line + "\n" for line in self.lines).encode())
        parts = self.out.split("\n" + PROMPT)[1:]
        self.answers = []
        for line, part in zip(self.lines, parts):
            echo, _, answer = part.partition("\n")
            equal("the line that the monitor read", echo, line)
            self.answers.append(answer)
        check(len(self.answers) == len(self.lines), f"the monitor read {len(self.answers)} of "
              f"{len(self.lines)} lines, then: {(self.out + self.err)[-400:]!r}")

    def expect_end(self, status=0):
        equal(f"the launcher's exit status ({self.err.strip()})", self.status, status)
        return self


class Live:
    """A boot whose monitor is talked to line by line, while QEMU can be asked about it as well (QMP)."""

    def __init__(self, *options, words=(), timeout=150):
        self.qmp_path = scratch("qmp.sock")
        if os.path.exists(self.qmp_path):
            os.unlink(self.qmp_path)
        command = [os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--log", scratch("qemu.log"), "--timeout",
                   str(timeout), "--qemu", f"-qmp unix:{self.qmp_path},server=on,wait=off", *options, "--", "monitor", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.answer()
        self.qmp = socket.socket(socket.AF_UNIX)
        self.qmp.settimeout(timeout)
        self.qmp.connect(self.qmp_path)
        self.qmp_lines = self.qmp.makefile("r", encoding="utf-8")
        self.qmp_lines.readline()
        self.query("qmp_capabilities")

        Live.running.append(self.process)

    running = []        # launchers that a test which failed has left behind: main() ends them

    def until(self, end):
        """What the guest says up to these words."""
        text = b""
        while not text.endswith(end.encode()):
            byte = self.process.stdout.read(1)
            check(byte, f"the machine ended: {text[-300:]!r}")
            text += byte
        return text.decode(errors="replace").replace("\r", "")[:-len(end)]

    def answer(self):
        """What the monitor says up to its next prompt."""
        return self.until(PROMPT)

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.say(line)
        return self.answer()

    def query(self, command, **arguments):
        self.qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            reply = json.loads(self.qmp_lines.readline())
            if "return" in reply:
                return reply["return"]
            check("error" not in reply, f"QMP {command}: {reply}")

    def end(self):
        """Power off -> the launcher's exit status, and QEMU's own log."""
        self.process.stdin.write(b"poweroff\n")
        self.process.stdin.close()
        self.process.stdout.read()
        self.qmp.close()
        status = self.process.wait()
        with open(scratch("qemu.log"), encoding="utf-8", errors="replace") as f:
            return status, f.read()


def ask(lines, *options, words=()):
    """Boot, ask the monitor these lines, power off -> its answers."""
    return Session(lines, *options, words=words).expect_end().answers


def main(suite):
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        try:
            function()
            print(f"ok {number} - {suite}.{function.__name__}", flush=True)
        except Exception as e:      # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {suite}.{function.__name__}")
            text = str(e) if isinstance(e, Wrong) else traceback.format_exc()
            for line in text.strip().splitlines():
                print(f"# {line}", flush=True)
        for process in Live.running:
            if process.poll() is None:
                process.terminate()
                process.wait()
        Live.running.clear()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit("guest.py is what the test_*.py scripts share; run one of them")
