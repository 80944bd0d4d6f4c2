# SPDX-License-Identifier: BSD-2-Clause
"""vm attach: the beginning of a session; and QEMU's monitor, which can be asked about the same machine."""

import atexit
import json
import os
import re
import socket as sockets
import subprocess
import time

import gdb
from common import Command, say

PATIENCE_SECONDS = 60       # only how long a failure takes
attached = None         # the path of the socket
machine = None          # the process of boot/qemu, if it was started here


def monitor(command):
    """What QEMU's monitor answers about the selected processor, or None: there is no way to ask it.

    gdb's own `monitor` is no way: QEMU puts the whole answer in one packet, and breaks off when that is too long.
    """
    if attached is None or not os.path.exists(attached + ".qmp"):
        return None
    with sockets.socket(sockets.AF_UNIX) as s:
        s.settimeout(PATIENCE_SECONDS)
        try:
            s.connect(attached + ".qmp")
            lines = s.makefile("r", encoding="utf-8")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"},
                            {"execute": "human-monitor-command",
                             "arguments": {"command-line": command, "cpu-index": gdb.selected_thread().num - 1}}):
                s.sendall(json.dumps(request).encode() + b"\n")
                reply = {}
                while not {"return", "error"} & set(reply):
                    reply = json.loads(lines.readline())
            return reply.get("return")
        except (OSError, ValueError):
            return None


TLB_LINE = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) ([-XGPDACTUW]{9})\r?$", re.M)


def tlb():
    """{virtual address: (physical address, letters of the bits)}: QEMU's own walk of the page tables that are loaded, or None."""
    answer = monitor("info tlb")
    if answer is None:
        return None
    return {int(va, 16): (int(pa, 16), set(bits) - {"-"}) for va, pa, bits in TLB_LINE.findall(answer)}


def connect(socket):
    """QEMU makes the socket a moment before it listens; and its launcher has tried before whether one can be made there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            gdb.execute(f"target remote {socket}", to_string=True)
            return
        except gdb.error as e:
            if not re.search("refused|No such file", str(e)) or time.monotonic() > end:
                raise
        time.sleep(0.05)


def start_again():
    """Put the same recorded machine before its first instruction, in another QEMU.

    => it was started by `boot/qemu --replay --gdb`, which has left its own words beside the socket.

    QEMU can also load a snapshot instead; but 7.2 hangs for ever when a disk request is under way at that moment.
    """
    global machine, attached
    base, _, number = re.fullmatch(r"(.*?)(\.again(\d+))?", attached).groups()
    with open(base + ".again", encoding="utf-8") as f:
        words = json.load(f)
    try:
        gdb.execute("kill", to_string=True)
    except gdb.error:
        pass        # QEMU ends before it has answered
    end_machine()
    # Another socket each time: whoever ends removes its own, and may do so late.
    attached = f"{base}.again{int(number or 0) + 1}"
    end_of_options = words.index("--") if "--" in words else len(words)
    words.insert(end_of_options, "--gdb=" + attached)
    machine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    while not os.path.exists(attached) and machine.poll() is None:
        time.sleep(0.02)
    connect(attached)


@atexit.register
def end_machine():
    if machine is not None and machine.poll() is None:
        machine.terminate()
        machine.wait()


class Attach(Command):
    """Connect to the machine that `boot/qemu --gdb` has stopped, and run it to a named place.

WHERE is anything that `break` takes; without it the machine stays before its first instruction.

    (gdb) vm attach build/gdb.sock vnode_pager_leaf_getpages

    vm attach SOCKET [WHERE]"""

    NAME = "attach"

    def run(self, args):
        global attached
        if not args:
            self.usage()
        if gdb.selected_thread() is not None:
            raise gdb.GdbError("gdb is connected to a machine already: `kill` or `detach` ends that")
        socket, where = args[0], " ".join(args[1:])
        if not os.path.exists(socket):
            raise gdb.GdbError(f"{socket} does not exist: start the machine with `boot/qemu --gdb`")
        connect(socket)
        attached = socket
        say("The machine stands before its first instruction.")
        if not where:
            return
        gdb.execute("set breakpoint pending off")
        try:
            gdb.execute(f"tbreak {where}", to_string=True)
        except gdb.error as e:
            look = "ktest_SUITE_` lists the tests of a suite" if where.startswith("ktest_") else "NAME` looks for names"
            raise gdb.GdbError(f"{e}  The machine stays where it is; `info functions {look}.") from None
        say(f"Running to {where} ...")
        try:
            gdb.execute("continue")
        except gdb.error as e:
            raise gdb.GdbError(f"The machine ended before it came to {where} ({e}).") from None
        if gdb.selected_thread() is None:
            raise gdb.GdbError(f"The machine ended before it came to {where}.")


Attach()
