#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""gdb on a machine with several processors: each is a thread of gdb's, and the `vm` commands are about the selected one.

The tour's first fault on three processors, looked at from each of them.  Which of them runs what is the scheduler's choice.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import play  # noqa: E402
from play import SECONDS, TOP, Session, equal, frame_names, number  # noqa: E402
import mkimage  # noqa: E402

TESTS = []

# Thread 2 of gdb's has not been started when kernel_main begins.
LOOK = """\
reset           vm cpus
-               tbreak kernel_main
-               continue
early           vm cpus
-               thread 2
early_there     vm threads
early_selftest  vm selftest
-               thread 1
-               tbreak vnode_pager_leaf_getpages
-               continue
cpus            vm cpus
bt              bt
threads         vm threads
selftest        vm selftest
fault           vm fault
idle            vm bt idle
bystander       vm bt bystander
-               python t = gdb.selected_thread().num; gdb.execute(f"thread {t % 3 + 1}")
other_cpus      vm cpus
other_tour      vm bt tour
other_selftest  vm selftest
-               python gdb.execute(f"thread {(t + 1) % 3 + 1}")
third_selftest  vm selftest
-               python gdb.execute(f"thread {t}")
-               delete
step            vm step disk submitted
story           vm story
detach          detach
"""


def test(function):
    TESTS.append(function)
    return function


class Evidence:
    def __init__(self, scratch):
        self.look = Session(mkimage.ensure_default(), scratch, "cpus", LOOK, ["tour"], ["--smp", "3"])


def rows(text):
    """vm cpus -> [(star, gdb's number, CPU or -, the rest)]"""
    return re.findall(r"^([ *]) +(\d+) +(-|\d+)  (.*)$", text, re.M)


@test
def no_command_breaks(e):
    for word in ("Traceback", "Python Exception", "gdb hung", "Error occurred"):
        equal(f"gdb says {word}", word in e.look.text, False)


@test
def processors_are_listed_from_the_first_instruction_on(e):
    for label in ("reset", "early"):
        found = rows(e.look.says(label))
        equal(f"what {label} lists", [(star, n) for star, n, _, _ in found], [("*", "1"), (" ", "2"), (" ", "3")])
        equal(f"who has a thread at {label}", {"none yet" in rest for _, _, _, rest in found}, {True})
    e.look.says("early", re.compile(r"kernel_main at kernel/main\.c:\d+"))
    e.look.says("early_there", "has not come to that yet: paging is off")


@test
def each_processor_runs_its_thread(e):
    found = rows(e.look.says("cpus", "tour"))
    equal("the CPUs", sorted(cpu for _, _, cpu, _ in found), ["0", "1", "2"])
    names = [re.match(r"\d+ (\S+)", rest).group(1) for _, _, _, rest in found]
    equal(f"processors that run the same thread of {names}", len(set(names)), 3)
    star = [rest for mark, _, _, rest in found if mark == "*"]
    equal("the selected ones", len(star), 1)
    equal("where the selected one stands", re.search(r"tour .* vnode_pager_leaf_getpages at vm/vnode_getpages.c:\d+", star[0]) is not None, True)


@test
def a_thread_is_looked_at_from_any_processor(e):
    """A thread that runs has saved no stack pointer that is good: its processor's registers are the truth."""
    tour = next(cpu for _, _, cpu, rest in rows(e.look.said["cpus"]) if " tour " in f" {rest} ")
    text = e.look.says("other_tour", f"tour, runs on CPU {tour}, gdb's thread ")
    names = frame_names(e.look.says("bt", "vnode_pager_leaf_getpages"))
    equal("the frames seen from another processor", frame_names(text), names)
    equal("the processor that is selected afterwards", [n for mark, n, _, _ in rows(e.look.said["other_cpus"]) if mark == "*"]
          != [n for mark, n, _, _ in rows(e.look.said["cpus"]) if mark == "*"], True)
    e.look.says("bystander", re.compile(r"bystander(, runs on CPU \d|: runnable)"), "thread_trampoline")
    e.look.says("idle", re.compile(r"idle(, runs on CPU \d|: runnable)"), "kernel_main")
    e.look.says("threads", re.compile(rf"^\* +\d+ +tour .* runs now$", re.M), " runs on CPU ")


@test
def every_command_works_on_every_processor(e):
    for label in ("early_selftest", "selftest", "other_selftest", "third_selftest"):
        e.look.says(label, re.compile(r"^(\d+) of \1 commands are in order\.$", re.M))
    for label in ("selftest", "other_selftest", "third_selftest"):
        text = e.look.says(label, "mappings in QEMU's info tlb were compared: all agree")
        equal("mappings compared", number(r"vm walk: (\d+) of the", text) >= 64, True)
    e.look.says("fault", "page fault at 0x12000, error 0x0")


@test
def stages_are_followed_across_processors(e):
    e.look.says("step", "disk submitted: vda, sector ", "disk_strategy at drivers/disk.c:")
    e.look.says("story", "fault enter", "return", re.compile(r"^  \d+ stages?\.$", re.M))
    equal("the machine's end", e.look.status, 0)


@test
def make_gdb_with_several_processors_is_one_command(e):
    """As `make gdb SMP=2 TEST=...`: it stops at the test's first line."""
    with tempfile.TemporaryDirectory(prefix="faultline-gdb-") as scratch:
        command = [os.path.join(TOP, "tests", "gdb", "run"), "ktest_vnpager_hole_data_and_eof_in_one_page", "--smp", "2",
                   "--disk", mkimage.ensure_default() + ",ro", "--log", os.path.join(scratch, "qemu.log"),
                   "--", "selftest=vnpager.hole_data_and_eof_in_one_page"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP,
                              timeout=SECONDS, env={**os.environ, "CONSOLE": os.path.join(scratch, "console.log")})
        text = done.stdout.decode(errors="replace")
        equal(f"the exit status ({text[-500:]})", done.returncode, 0)
        line = number(r"ktest_vnpager_hole_data_and_eof_in_one_page \(.*\) at tests/kernel/t_\w+\.c:(\d+)", text)
        equal("a line of that test", line > 0, True)
        equal("`run_one` or its like below it", "thread_start" in text or "ktest_main" in text, True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="faultline-gdb-") as folder:
        sys.exit(play.main("cpus", TESTS, Evidence(folder)))
