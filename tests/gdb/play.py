# SPDX-License-Identifier: BSD-2-Clause
"""A machine and a gdb that plays a script at it: what the tests of the `vm` commands share.

FAULTLINE_KERNEL names another kernel than build/kernel.elf to test with.
"""

import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "host"))
KERNEL = os.environ.get("FAULTLINE_KERNEL", os.path.join(TOP, "build", "kernel.elf"))
SECONDS = 150           # only how long a failure takes


class Session:
    """One machine and one gdb -> what each labelled command said, and the machine's exit status."""

    def __init__(self, image, scratch, name, script, words=(), options=(), typed=None, mode=",ro"):
        socket = os.path.join(scratch, name + ".sock")
        started = time.monotonic()
        self.machine = subprocess.Popen(
            [os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--gdb=" + socket, "--disk", image + mode,
             "--timeout", str(SECONDS), *options, "--log", os.path.join(scratch, name + ".log"), "--", *(words or ["bench=cold"])],
            stdin=subprocess.PIPE if typed else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if typed:
            self.machine.stdin.write(typed)
            self.machine.stdin.flush()
        while not os.path.exists(socket) and time.monotonic() < started + SECONDS and self.machine.poll() is None:
            time.sleep(0.02)
        commands = ["vm attach " + socket]
        for line in script.splitlines():
            label, command = line.split(None, 1)
            if "$HEX" in command:       # the monitor knows no gdb variables
                command = f'python gdb.execute("{command}".replace("$HEX", hex(int(gdb.parse_and_eval("$va")))))'
            commands += [f"echo \\n====== {label}\\n", command]
        gdb = ["gdb", "-nx", "-q", "-batch", "-x", os.path.join(TOP, ".gdbinit")]
        for command in commands:
            gdb += ["-ex", command]
        try:
            done = subprocess.run(gdb + [KERNEL], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, cwd=TOP, timeout=SECONDS)
            self.text = done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as e:
            self.text = (e.stdout or b"").decode(errors="replace") + "\ngdb hung"
        self.console = self.machine.communicate(timeout=SECONDS + 10)[0].decode(errors="replace")
        self.status = self.machine.returncode
        self.said = {}
        for part in re.split(r"^====== ", self.text, flags=re.M)[1:]:
            label, _, text = part.partition("\n")
            if label != "-":
                self.said[label] = text.strip()

    def says(self, label, *parts):
        """The output of a command, which holds each part; a part may be a compiled pattern."""
        text = self.said.get(label, "")
        for part in parts:
            found = part.search(text) if hasattr(part, "search") else part in text
            if not found:
                raise AssertionError(f"{label}: no {getattr(part, 'pattern', part)!r} in: {text[:1500] or self.text[-1500:] or 'nothing'}")
        return text


def equal(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r}, not {wanted!r}")


def number(pattern, text, base=0):
    found = re.search(pattern, text)
    if not found:
        raise AssertionError(f"no {pattern!r} in: {text[:1500]}")
    return int(found.group(1), base)


def frame_names(text):
    return re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?<?(\w[\w ]*\w)", text, re.M)


def main(suite, tests, evidence):
    """Run the tests, each with the evidence -> exit status."""
    failed = 0
    print(f"1..{len(tests)}")
    for count, function in enumerate(tests, 1):
        try:
            function(evidence)
            print(f"ok {count} - {suite}.{function.__name__}")
        except (AssertionError, KeyError, ValueError, AttributeError, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"not ok {count} - {suite}.{function.__name__}")
            print("\n".join("# " + line for line in f"{type(problem).__name__}: {problem}".splitlines()))
    return 1 if failed else 0
