#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A recorded machine runs backwards: boot/qemu --record and --replay, `vm undo`, `make gdb RR=1`.

The recording is the tour's: a page fault with a disk request, a sleep and an interrupt in it.  That the way back is the
way that was gone is checked by the stages, by the registers and by memory.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import play  # noqa: E402
from play import KERNEL, SECONDS, TOP, Session, equal, frame_names, number  # noqa: E402
import mkimage  # noqa: E402

TESTS = []
REGISTERS = 'printf "%#lx %#lx %#lx %#lx %d\\n", $rip, $rsp, $rax, $rdi, (int)cpus[0].cnt.v_vm_faults'
SCRIPT = f"""\
begin           vm undo
enter           vm step fault enter
enter_regs      {REGISTERS}
map             vm step
submitted       vm step disk submitted
submitted_regs  {REGISTERS}
asleep          vm step asleep
interrupt       vm step interrupt
entered         vm step page entered
-               set $page_va = $cr2
back_done       vm undo pager answers
-               tbreak kernel_main
back_interrupt  vm undo interrupt
selftest        vm selftest
back_asleep     vm undo asleep
back_submitted  vm undo disk submitted
back_regs       {REGISTERS}
breakpoints     info breakpoints
back_enter      vm undo fault enter
back_enter_regs {REGISTERS}
again           vm step
-               vm step return
end             vm undo
-               kill
"""


def test(function):
    TESTS.append(function)
    return function


def launch(*options, expect=0):
    """boot/qemu with our kernel and the default disk -> what it said on both outputs."""
    done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--timeout", str(SECONDS), *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP, check=False)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    equal(f"the status of boot/qemu {' '.join(options)} ({text[-500:]})", done.returncode, expect)
    return text


class Evidence:
    def __init__(self, scratch):
        self.path, self.disk = os.path.join(scratch, "recording"), mkimage.ensure_default() + ",ro"
        self.log = ["--log", os.path.join(scratch, "qemu.log")]
        self.recorded = launch(*self.log, "--disk", self.disk, "--record", self.path, "--", "tour")
        self.replayed = launch(*self.log, "--disk", self.disk, "--replay", self.path, "--", "tour")
        self.back = Session(mkimage.ensure_default(), scratch, "back", SCRIPT, ["tour"], ["--replay", self.path])


@test
def a_recording_repeats_itself(e):
    """To the microsecond: the tour prints times."""
    equal("what the tour prints when replayed", e.replayed, e.recorded)
    equal("times in it", len(re.findall(r"\d+ us", e.recorded)) >= 3, True)


@test
def it_goes_back_over_the_same_stages(e):
    for there, back in (("interrupt", "back_interrupt"), ("asleep", "back_asleep"), ("submitted", "back_submitted"),
                        ("enter", "back_enter"), ("map", "again")):
        equal(f"{back} and {there}", e.back.says(back).splitlines()[0], e.back.says(there).splitlines()[0])
    e.back.says("back_done", "pager answers: ", re.compile(r"; \d+ instructions back"))
    for there, back in (("submitted_regs", "back_regs"), ("enter_regs", "back_enter_regs")):
        equal(f"registers and faults counted at {back}", e.back.says(back, "0x"), e.back.says(there))
    e.back.says("end", "page entered: ")
    e.back.says("breakpoints", re.compile(r"breakpoint +del +y .* in kernel_main at"))


@test
def at_the_beginning_there_is_no_further_back(e):
    e.back.says("begin", "No such stage comes before: the machine stands before its first instruction.")


@test
def the_commands_work_while_it_runs_backwards(e):
    e.back.says("selftest", re.compile(r"^(\d+) of \1 commands are in order\.$", re.M))
    for word in ("Traceback", "Python Exception", "gdb hung", "Error occurred"):
        equal(f"gdb says {word}", word in e.back.text, False)


@test
def a_machine_that_is_not_replayed_says_so(e):
    with tempfile.TemporaryDirectory(prefix="faultline-undo-") as scratch:
        session = Session(mkimage.ensure_default(), scratch, "live", "undo vm undo\n- kill\n", ["tour"])
    session.says("undo", "only a recorded machine runs backwards: `make gdb RR=1` starts one")


@test
def wrong_ways_to_replay_are_explained(e):
    for options, sentence in ((["--replay", e.path, "--", "tour", "trace"], "was recorded with other options"),
                              (["--replay", e.path + "x", "--", "tour"], "does not exist: record it again"),
                              (["--replay", e.path, "--record", e.path, "--", "tour"], "exclude each other")):
        text = launch(*e.log, "--disk", e.disk, *options, expect=125)
        equal(f"{sentence!r} in {text!r}", sentence in text and len(text.splitlines()) == 1, True)


@test
def make_gdb_records_and_repeats_by_one_command(e):
    """As `make gdb RR=1 BREAK=fault_enter`."""
    with tempfile.TemporaryDirectory(prefix="faultline-undo-") as scratch:
        command = [os.path.join(TOP, "tests", "gdb", "run"), "fault_enter", "--disk", e.disk, *e.log]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP,
                              timeout=SECONDS, env={**os.environ, "RR": "1", "CONSOLE": os.path.join(scratch, "console.log")})
        text = done.stdout.decode(errors="replace")
    equal(f"the exit status ({text[-500:]})", done.returncode, 0)
    equal(f"it stands in the first fault: {text}", frame_names(text)[:1] == ["fault_enter"] and "Recording the run" in text, True)
    equal("files that it leaves", [n for n in os.listdir(os.path.join(TOP, "build")) if n.startswith("rr-")], [])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="faultline-undo-") as folder:
        sys.exit(play.main("undo", TESTS, Evidence(folder)))
