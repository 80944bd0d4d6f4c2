#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The pages of the rooms cannot go stale: their steps are played, and what they name exists."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import guest  # noqa: E402
import rooms  # noqa: E402
from guest import check, equal, scratch, test  # noqa: E402

TOP = rooms.TOP
SEED = "vm/SEED.md"
# Every function of FreeBSD's vnode_pager.c of 1996, and its table.
SEED_NAMES = {"vnodepagerops", *("vnode_pager_" + n for n in (
    "alloc", "dealloc", "haspage", "setsize", "umount", "uncache", "freepage", "addr", "iodone", "input_smlfs",
    "input_old", "getpages", "leaf_getpages", "putpages", "leaf_putpages", "lock"))}


def sources():
    """{path: text} of the kernel's files."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h", "*.S"], cwd=TOP,
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for path in out.split():
        if os.path.exists(os.path.join(TOP, path)):
            with open(os.path.join(TOP, path), encoding="utf-8") as f:
                found[path] = f.read()
    return found


def page_text(page):
    with open(os.path.join(TOP, page), encoding="utf-8") as f:
        return f.read()


def defines(text, name):
    return re.search(rf"^(?:[a-z].*[ *])?{name}\(|^#define\s+{name}\(|^{name}:|\b{name} = \{{", text, re.M)


def check_steps(block, answers):
    for step, answer in zip(block.steps, answers):
        wrong = rooms.differs(step.expected, answer)
        check(wrong is None, f"{block.page}: `{step.command}`: not found: {wrong!r} in:\n{answer[-2500:]}")


@test
def steps_for_the_monitor_are_as_written():
    for page in rooms.PAGES:
        todo = [b for b in rooms.blocks(page) if b.kind == "tour"]
        if not todo:
            continue
        folder = scratch(page.replace("/", "-"))
        os.makedirs(folder)
        live = rooms.machine(folder)
        for block in todo:
            check_steps(block, [live.ask(s.command).partition("\n")[2] for s in block.steps])
        equal("the exit status", live.end()[0], 0)
        fsck = subprocess.run(["e2fsck", "-fn", os.path.join(folder, "disk.img")], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False,
                              env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
        equal(f"e2fsck's status ({fsck.stdout[-300:]})", fsck.returncode, 0)


@test
def steps_in_gdb_are_as_written():
    for page in rooms.PAGES:
        for n, block in enumerate(b for b in rooms.blocks(page) if b.kind == "gdb"):
            check_steps(block, rooms.play_gdb(block, guest.SCRATCH.name, f"{page.replace('/', '-')}-{n}"))


@test
def a_programs_start_is_counted():
    """The numbers of kernel/user/README.md agree with each other and with the file, and a second start is cheaper."""
    first, second = ("\n".join(rooms.play_gdb(b, guest.SCRATCH.name, f"start-{n}"))
                     for n, b in enumerate(rooms.blocks("kernel/user/README.md")[:2]))
    counted = r"its file has (\d+) pages; (\d+) are in memory, (\d+) of them touched"
    for text, pages, there, touched in ((text, *map(int, m)) for text in (first, second) for m in re.findall(counted, text)):
        equal("the pages of the file", pages, -(-os.path.getsize("/bin/busybox") // 4096))
        check(0 < touched < there < pages, f"touched {touched} of {there} in memory of {pages}")
    letters = "".join(re.findall(r"^ +\d+ ([#o.]+)$", first, re.M))
    pages, there, touched = map(int, re.search(counted, first).groups())
    equal("the letters of the picture", (len(letters), letters.count("#"), len(letters) - letters.count(".")), (pages, touched, there))
    read = [int(n) for n in re.findall(r"^counters: .*?(\d+) pages read$", first + "\n" + second, re.M)]
    again = int(re.search(r"^since the last look: .*?\+(\d+) pages read$", second, re.M).group(1))
    start, prompt = (tuple(map(int, m)) for m in re.findall(counted, second))
    equal("the pages gained by the second start", again, read[2] - read[1])
    equal("the pages read of other files, until the prompt", read[2] - prompt[1], read[0] - there)
    equal("what the shell touches, started second", prompt[2], touched)
    check(again < read[0] // 2, f"started first the shell reads {read[0]} pages, second {again}; {start[1]} were there")


@test
def there_are_steps():
    for page in rooms.PAGES:
        steps = [s for b in rooms.blocks(page) for s in b.steps]
        check(len(steps) >= 3 and all(s.expected for s in steps[:1]), f"{page} has {len(steps)} steps")


# What the tour is about: each has a heading, and steps below it.
TOPICS = {
    "vm/README.md": ("One cold fault", "The soft fault, and read-ahead", "Copy on write", "Truncation under a mapping", "Memory pressure",
                     "Swap"),
    "kernel/README.md": ("A dirty page's way to disk", "A panic, read with gdb"),
    "kernel/user/README.md": ("What a shell touches before its first prompt", "What the second start costs", "A program with libraries"),
}


@test
def each_topic_has_steps():
    for page, headings in TOPICS.items():
        for heading in headings:
            part = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page_text(page), re.M | re.S)
            check(part, f"{page} has no part `{heading}`")
            check(re.search(r"^```(tour|gdb)\b", part.group(1), re.M), f"{page}: `{heading}` has no steps")


@test
def each_room_has_a_page():
    """Every folder of the house with sources in it, as README.md's table lists them, is told of in a page of its own or the room above."""
    rooms_listed = re.findall(r"^\| `((?:boot|kernel|vm|drivers|tests)[\w/]*)/` \|", page_text("README.md"), re.M)
    check(len(rooms_listed) >= 6, f"README.md lists only {rooms_listed}")
    for folder in {f.split("/")[0] for f in rooms_listed} | {"kernel/fs", "kernel/user"}:
        check(f"{folder}/README.md" in rooms.PAGES, f"{folder}/README.md is no page of the tour")


@test
def what_the_pages_name_exists():
    every = sources()
    for page in (*rooms.PAGES, SEED):
        text = page_text(page)
        for name in sorted(set(re.findall(r"`([a-z_][a-z0-9_]*)\(\)`", text))):
            check(any(defines(t, name) for t in every.values()), f"{page} names `{name}()`, which is nowhere defined")
        for path in sorted(set(re.findall(r"`((?:boot|kernel|vm|drivers|tests)/[\w./-]+\.\w+)`", text))):
            check(os.path.exists(os.path.join(TOP, path)), f"{page} names `{path}`, which does not exist")


@test
def the_seed_is_all_there():
    every = sources()
    tests = {f"{m[0]}.{m[1]}" for p, t in every.items() if p.startswith("tests/kernel/")
             for m in re.findall(r"^KTEST\((\w+), (\w+)\)", t, re.M)}
    rows = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \| (.*?) \| (.+?) \| (.+?) \|$", page_text(SEED), re.M)
    equal("the functions of the seed that have no row", SEED_NAMES - {r[0] for r in rows}, set())
    equal("rows of no function of the seed", {r[0] for r in rows} - SEED_NAMES, set())
    for name, path, proofs, _, _ in rows:
        check(path in every and defines(every[path], name), f"{name} is not in {path}")
        named = re.findall(r"`(\w+\.\w+)`", proofs)
        check(named, f"{name} names no test")
        for proof in named:
            check(proof in tests, f"{name}: there is no test {proof}")


def host_tests():
    """Patterns of the names of all tests that are scripts: a part that is filled in at run time is any word."""
    found = set()
    here = os.path.dirname(os.path.abspath(__file__))
    for path in [os.path.join(here, n) for n in os.listdir(here)] + [os.path.join(TOP, "tests/gdb/test_gdb.py")]:
        if not re.fullmatch(r"(test_\w+|harness_test)\.py", os.path.basename(path)):
            continue
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for name in re.findall(r"rig\.add\(f?\"([^\"]+)\"", text):
            found.add(re.sub(r"\\\{.*?\\\}", r"[\\w-]+", re.escape(name)))
        suite = re.search(r"guest\.main\(\"(\w+)\"\)|\"?ok \{\w+\} - (\w+)\.", text)
        if suite:
            found |= {f"{suite[1] or suite[2]}\\.{m}" for m in re.findall(r"^@(?:guest\.)?test\ndef (\w+)\(", text, re.M)}
    return found


@test
def what_the_table_of_meetings_names_exists():
    named = re.findall(r"\"script:([\w.-]*\w)\"", page_text("tests/kernel/t_coverage.c"))
    check(len(named) > 15, f"only {len(named)} scripts' tests are named: {named}")
    every = host_tests()
    for name in named:
        check(any(re.fullmatch(pattern, name) for pattern in every), f"there is no test {name}")


@test
def the_diagram_is_the_tables():
    check(rooms.states() in page_text("vm/README.md"),
          "the diagram in vm/README.md is not what `tests/host/rooms.py states` prints")


@test
def a_difference_is_seen():
    for expected, answer, same in ((["a *", "..."], "a b\nc", True), (["a"], "a\nb", False), (["...", "b"], "a\nb", True),
                                   (["b"], "a\nb", False), (["a * c"], "a  x   c", True), (["a"], "", False),
                                   (["a", "...", "d"], "a\nb\nc", False)):
        equal(f"{expected} is {answer!r}", rooms.differs(expected, answer) is None, same)


if __name__ == "__main__":
    sys.exit(guest.main("rooms"))
