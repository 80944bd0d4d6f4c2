#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The pages of the rooms: prose with steps that can be played and are checked.

    tests/host/rooms.py list            the pages and their steps
    tests/host/rooms.py play [PAGE]     play them at your own pace: `make tour`
    tests/host/rooms.py states          print the page-state diagram from the table in vm/vm_pageq.c

A step is a fenced block of a page.  ```tour holds lines for the monitor, ```gdb a session with the machine booted with
the words after it.  A line `faultline> COMMAND` or `(gdb) COMMAND` is what is typed; the lines below it are what is
expected, where * stands for anything in a line and a line ... for any number of lines.  Blanks count as one, and empty lines not at all.
tests/host/test_rooms.py plays all steps and compares.
"""

import os
import re
import sys
import tempfile
import typing

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ("README.md", "boot/README.md", "vm/README.md", "kernel/README.md", "kernel/fs/README.md", "kernel/user/README.md",
         "drivers/README.md", "tests/README.md")
PROMPTS = {"tour": "faultline> ", "gdb": "(gdb) "}
TABLE = "vm/vm_pageq.c"


class Step(typing.NamedTuple):
    command: str
    expected: list          # lines


class Block(typing.NamedTuple):
    page: str
    kind: str               # "tour" or "gdb"
    words: list             # of the kernel's command line
    prose: str              # what stands above it
    steps: list


def blocks(page):
    """The blocks of a page, in order."""
    with open(os.path.join(TOP, page), encoding="utf-8") as f:
        text = f.read()
    found, at = [], 0
    for m in re.finditer(r"^```(tour|gdb)\b([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        prompt, steps = PROMPTS[m.group(1)], []
        for line in m.group(3).splitlines():
            if line.startswith(prompt):
                steps.append(Step(line[len(prompt):], []))
            elif steps:
                steps[-1].expected.append(line)
            else:
                raise ValueError(f"{page}: a block begins with {line!r} and not with a command")
        found.append(Block(page, m.group(1), m.group(2).split(), text[at:m.start()].strip(), steps))
        at = m.end()
    return found


def squeeze(line):
    return " ".join(line.split())


def differs(expected, answer):
    """The first expected line that the answer does not have in its place, or None."""
    lines, at, free = [squeeze(line) for line in answer.splitlines() if line.strip()], 0, False
    for want in filter(None, map(squeeze, expected)):
        if want == "...":
            free = True
            continue
        pattern = re.compile(".*".join(map(re.escape, want.split("*"))))
        while at < len(lines) and not pattern.fullmatch(lines[at]):
            if not free:
                return want
            at += 1
        if at == len(lines):
            return want
        at, free = at + 1, False
    return None if free or at == len(lines) or not expected else f"nothing after the last line, but {lines[at]!r}"


# ---- the diagram ----------------------------------------------------------------------------------

def states():
    """The page-state diagram, as mermaid draws it: an arrow for each pair that the table allows."""
    with open(os.path.join(TOP, TABLE), encoding="utf-8") as f:
        table = re.search(r"legal\[PQ_COUNT\] = \{\n(.*?)\n\};", f.read(), re.S).group(1)
    arrows = [(a.lower(), b.lower()) for a, row in re.findall(r"\[PQ_(\w+)\] = (.*),$", table, re.M)
              for b in re.findall(r"TO\(PQ_(\w+)\)", row)]
    lines = [f"    {a} --> {b}" for a, b in arrows if a != b]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```"


# ---- playing --------------------------------------------------------------------------------------

def machine(scratch):
    """A machine with a disk of its own and a swap disk, at its monitor's prompt."""
    import guest
    import mkimage
    import subprocess
    disk, swap = os.path.join(scratch, "disk.img"), os.path.join(scratch, "swap.img")
    subprocess.run(["cp", "--sparse=always", mkimage.ensure_default(), disk], check=True)
    with open(swap, "wb") as f:
        f.truncate(8 << 20)
    return guest.Live("--disk", disk, "--disk", swap, words=["swap=vdb"], timeout=24 * 3600)


def play_gdb(block, scratch, name):
    """The answers of a gdb block's commands."""
    sys.path.insert(0, os.path.join(TOP, "tests", "gdb"))
    import mkimage
    import play as gdb_play
    script = "".join(f"step{n} {step.command}\n" for n, step in enumerate(block.steps)) + "- kill\n"
    session = gdb_play.Session(mkimage.ensure_default(), scratch, name, script, block.words)
    return [session.said.get(f"step{n}", "") for n in range(len(block.steps))]


def wait(prompt):
    try:
        return input(prompt).strip().lower() != "q"
    except EOFError:
        return False


def play(pages):
    """For a person: prose, a command, Enter, what the machine says."""
    print("Enter goes on, q ends.\n")
    with tempfile.TemporaryDirectory(prefix="faultline-tour-") as scratch:
        for page in pages:
            live = None
            for n, block in enumerate(blocks(page)):
                print(f"\n{block.prose}\n")
                answers = play_gdb(block, scratch, f"play{n}") if block.kind == "gdb" else None
                if block.kind == "tour" and live is None:
                    live = machine(scratch)
                for i, step in enumerate(block.steps):
                    if not wait(f"{PROMPTS[block.kind]}{step.command}"):
                        return 0
                    print(answers[i] if answers is not None else live.ask(step.command).partition("\n")[2])
            if live is not None:
                live.end()
    return 0


def main(argv):
    what, names = (argv + ["list"])[0], argv[1:]
    pages = [p for p in PAGES if not names or p in names or os.path.dirname(p) in names]
    if not pages:
        print(f"rooms: no page is called {' '.join(names)}; ROOM= may be {', '.join(os.path.dirname(p) or p for p in PAGES)}", file=sys.stderr)
        return 1
    if what == "play":
        return play(pages)
    if what == "states":
        print(states())
        return 0
    for page in pages:
        for block in blocks(page):
            print(f"{page}: {block.kind} {' '.join(block.words)}")
            for step in block.steps:
                print(f"    {step.command}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
