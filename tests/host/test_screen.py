#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The screen and the keyboard, from outside: keys by QMP, the picture read back with our own font's glyphs
(VGA's text mode: its memory read back)."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import check, scratch, test  # noqa: E402

WIDTH, HEIGHT = 8, 16
SECONDS = 150           # a limit for a loaded host, not a measure
NAMES = {" ": "spc", "\n": "ret", "/": "slash", ".": "dot", "-": "minus"}


def load_font():
    """drivers/font.c -> {sixteen bytes: character}, and the same inverted."""
    with open(os.path.join(guest.TOP, "drivers", "font.c"), encoding="ascii") as f:
        rows = re.findall(r"^\t\{ (0x.*) \},", f.read(), re.M)
    check(len(rows) == 96, f"{len(rows)} glyphs in the font")
    glyphs = {}
    for code, row in enumerate(rows, 32):
        glyph = bytes(int(n, 16) for n in row.split(", "))
        check(glyph not in glyphs, f"the glyph of {chr(code)!r} is that of another character, too")
        glyphs[glyph] = chr(code)
    glyphs.update({bytes(b ^ 0xFF for b in g): c for g, c in glyphs.copy().items()})
    return glyphs


FONT = load_font()


def read_pixels(path):
    """A PPM of text in our font -> its lines."""
    with open(path, "rb") as f:
        magic, size, _, data = f.read().split(b"\n", 3)
    check(magic == b"P6", f"the dump is {magic!r}")
    width, height = map(int, size.split())
    lines = []
    for top in range(0, height - HEIGHT + 1, HEIGHT):
        line = []
        for left in range(0, width - WIDTH + 1, WIDTH):
            glyph = []
            for y in range(top, top + HEIGHT):
                at = (y * width + left) * 3
                glyph.append(sum(0x80 >> x for x in range(WIDTH) if data[at + 3 * x] > 0x60))
            line.append(FONT.get(bytes(glyph), "\N{REPLACEMENT CHARACTER}"))
        lines.append("".join(line).rstrip())
    return lines


class Machine:
    """A running guest with a screen, a keyboard, and nobody at its serial line."""

    def __init__(self, *options, words=()):
        path = scratch("qmp.sock")
        if os.path.exists(path):
            os.unlink(path)
        self.child = subprocess.Popen(
            [os.path.join(guest.TOP, "boot", "qemu"), "--kernel", guest.KERNEL, "--log", scratch("qemu.log"), "--no-disk",
             "--timeout", str(SECONDS), *options, "--qemu", f"-qmp unix:{path},server=on,wait=off", "--", "monitor", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.watchdog = threading.Timer(SECONDS + 20, self.child.kill)
        self.watchdog.start()
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                check(self.child.poll() is None, "QEMU did not start")
                time.sleep(0.05)
        self.stream = self.sock.makefile("rw", encoding="utf-8")
        self.stream.readline()
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.watchdog.cancel()
        self.stream.close()
        self.sock.close()
        self.child.terminate()
        self.child.wait()

    def ask(self, command, **arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            check(line, "the machine is gone")
            answer = json.loads(line)
            check("error" not in answer, f"{command}: {answer.get('error')}")
            if "return" in answer:
                return

    def type(self, text):
        for c in text:
            keys = ["shift", c.lower()] if c.isupper() else [NAMES.get(c, c)]
            self.ask("send-key", keys=[{"type": "qcode", "data": k} for k in keys])

    def pixels(self):
        path = scratch("screen.ppm")
        self.ask("screendump", filename=path)
        return read_pixels(path)

    def cells(self):
        path = scratch("screen.vga")
        self.ask("pmemsave", val=0xB8000, size=80 * 25 * 2, filename=path)
        with open(path, "rb") as f:
            text = f.read()[::2].decode("latin-1")
        return [text[at:at + 80].rstrip() for at in range(0, len(text), 80)]

    def wait_for(self, look, wanted):
        """Look until a line matches -> all lines.  The launcher's timeout ends the wait."""
        while True:
            lines = look()
            if any(re.search(wanted, line) for line in lines):
                return lines
            time.sleep(0.1)


def session(machine, look):
    """Boot messages, a typed command, a scrolled answer."""
    machine.wait_for(look, r"^faultline> $|^faultline>$")
    machine.type("nosuch Command\n")
    lines = machine.wait_for(look, r"nosuch.*(no command|unknown|help)|(no command|unknown).*nosuch")
    check(any(line == "faultline> nosuch Command" for line in lines), f"no echo of what was typed in {lines}")
    for _ in range(3):
        machine.type("help\n")
    machine.wait_for(look, "^Numbers may be")
    machine.type("selftest boot.unsorted.nothing\n")
    lines = machine.wait_for(look, "no test matches")
    check(len(lines[-1]) == 0 or lines[-1].startswith("faultline>"), f"the last line is {lines[-1]!r}")
    check(not any("Faultline: " in line for line in lines), "what was printed first has not scrolled away")
    check(not any("\N{REPLACEMENT CHARACTER}" in line for line in lines), f"unreadable cells in {lines}")


def panic_page(machine, look):
    """The panic is at the top, and stays there until somebody has pressed a key."""
    machine.wait_for(look, "^faultline>")
    machine.type("panic\n")
    lines = machine.wait_for(look, "^Press a key to leave")
    check("threads:" in lines, f"no threads in {lines}")
    check("panic: the monitor was asked to panic" in lines[:3], f"the page begins with {lines[:3]}")
    check("backtrace:" in lines and any("cmd_panic+" in line for line in lines), f"no backtrace in {lines}")
    machine.type("x")
    status = machine.child.wait()
    check(status == 126, f"the launcher's status is {status}")


@test
def vga_text():
    with Machine("--qemu", "-vga std") as m:
        session(m, m.cells)


@test
def vga_panic():
    with Machine("--qemu", "-vga std", words=["screen=hold"]) as m:
        panic_page(m, m.cells)


@test
def framebuffer_from_grub():
    with Machine("--boot", "bios") as m:
        session(m, m.pixels)


@test
def framebuffer_from_uefi():
    with Machine("--boot", "efi", "--machine", "q35", words=["screen=hold"]) as m:
        session(m, m.pixels)
        panic_page(m, m.pixels)


@test
def no_screen_is_no_harm():
    run = guest.Run("--no-disk", words=["selftest=boot.unsorted*"])
    check(run.status == 0, f"the exit status is {run.status}")
    run = guest.Run("--no-disk", "--qemu", "-vga std", words=["selftest=boot.unsorted*", "screen=none"])
    check(run.status == 0, f"the exit status is {run.status}")


if __name__ == "__main__":
    sys.exit(guest.main("screen"))
