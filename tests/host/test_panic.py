#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a panic prints, provoked through the monitor: the reason, registers, a backtrace with names,
the threads, the counters."""

import re
import sys

sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import check, contains, equal, test  # noqa: E402

PANIC = 126


class Panic:
    """A boot that ended in the panic that `command` asked for."""

    def __init__(self, command, *options):
        lines = ["sum /tour/story.txt", command]
        run = guest.Run(*options, words=["monitor"],
                        stdin="".join(line + "\n" for line in lines).encode())
        equal(f"the exit status of {command} ({run.err.strip()})", run.status, PANIC)
        contains("the launcher", run.err, "panicked")
        reasons = re.findall(r"^panic: (.*)$", run.out, re.M)
        check(len(reasons) == 2 and reasons[1] == "the machine stops here", f"panics: {reasons}")
        self.out, self.reason = run.out, reasons[0]
        self.text = run.out[run.out.index("\npanic: "):]

    def register(self, name):
        found = re.search(rf"\b{name} ([0-9a-f]+)\b", self.text)
        check(found, f"no register {name} in {self.text[:600]!r}")
        return int(found.group(1), 16)

    def backtrace(self):
        """The functions of the backtrace, innermost first."""
        frames = re.findall(r"^  #(\d+) +0x([0-9a-f]{16}) (.*)$", self.text, re.M)
        check(frames, "there is no backtrace")
        equal("the numbers of the frames", [int(n) for n, _, _ in frames], list(range(len(frames))))
        for _, address, name in frames:
            check(re.fullmatch(r"\w+\+0x[0-9a-f]+", name), f"no name for {address}: {name!r}")
        return [name.partition("+")[0] for _, _, name in frames]

    def complete(self, function):
        """All the parts are there, and `function` is in the backtrace below monitor_main."""
        for name in ("rip", "rsp", "rbp", "rflags", "CR2", "CR3", "CR4"):
            self.register(name)
        names = self.backtrace()
        for name in (function, "monitor_main", "main_thread", "thread_start"):
            check(name in names, f"{name} is not in the backtrace {names}")
        check(names.index(function) < names.index("monitor_main") < names.index("main_thread"),
              f"out of order: {names}")
        threads = dict(re.findall(r"^ +\d+  (\w+) +(\w+) ", self.text, re.M))
        equal("the state of thread main", threads.get("main"), "running")
        equal("the state of thread idle", threads.get("idle"), "runnable")
        check(re.search(r"^ +\d+  pageout +asleep +pageout psleep +on 0x[0-9a-f]+$", self.text, re.M),
              "the thread list does not say that pageout sleeps in psleep")
        check(re.search(r"^ +\d+  v_vnodepgsin ", self.text, re.M), "there is no counter v_vnodepgsin")
        counted = int(re.search(r"^ +(\d+)  v_vnodepgsin ", self.text, re.M).group(1))
        equal("pages brought in (the story has 64)", counted, 64)
        check(re.search(r"^pages: \d+ in all, \d+ free, ", self.text, re.M), "the page queues are missing")
        return self


@test
def asked_for():
    p = Panic("panic").complete("cmd_panic")
    equal("the reason", p.reason, "the monitor was asked to panic")
    equal("the innermost function", p.backtrace()[0], "panic")
    check(p.register("rip") >> 32 == 0xFFFFFFFF, "rip does not point into the kernel image")


@test
def other_cpus_are_stopped_and_tell_what_they_did():
    p = Panic("panic", "--smp", "4")
    stopped = re.findall(r"^CPU (\d) was in thread (\S+) \(tid \d+\), \d+ spin locks held:\n  #0 +0x[0-9a-f]{16} (\w+)",
                         p.text, re.M)
    here = int(re.search(r"thread main \(tid \d+\) on CPU (\d)", p.text).group(1))
    equal("the CPUs that were stopped", sorted(int(n) for n, _, _ in stopped), [n for n in range(4) if n != here])
    for n, thread, function in stopped:
        check(thread.startswith("idle"), f"CPU {n} was in {thread}, in {function}")
    check(p.text.index("backtrace:") < p.text.index(" was in thread "), "the reason's backtrace does not come first")


@test
def stack_overflow():
    p = Panic("overflow")
    check(re.fullmatch(r"kernel stack overflow of thread main \(guard page touched at 0x[0-9a-f]+\)", p.reason),
          f"the reason is {p.reason!r}")
    names = p.backtrace()
    check(names.count("overflow_step") > 20, f"the backtrace is {names}")
    at = int(p.reason.rpartition("0x")[2].rstrip(")"), 16)
    check(abs(at - p.register("rsp")) < 4096, "the address of the guard page is not near rsp")


def null_pointer(*options):
    p = Panic("crash null", *options).complete("cmd_crash")
    contains("the reason", p.reason,
             "page fault: write to 0x0 (page 0: a null pointer) by kernel code: not mapped")
    equal("CR2", p.register("CR2"), 0)
    contains("the registers", p.text, "vector 14 error 2")
    equal("the innermost function", p.backtrace()[0], "write_to")


@test
def null_dereference():
    null_pointer()


@test
def null_dereference_without_smap():
    null_pointer("--cpu", "qemu64")


@test
def wild_kernel_pointer():
    p = Panic("crash wild").complete("cmd_crash")
    contains("the reason", p.reason, "write to 0xffffc01000000000 (the kernel's mapped memory) "
             "by kernel code: not mapped")
    equal("CR2", p.register("CR2"), 0xFFFFC01000000000)


@test
def write_to_kernel_text():
    p = Panic("crash text").complete("cmd_crash")
    contains("the reason", p.reason, "(the kernel image) by kernel code: mapped, but not for that")
    at = int(re.search(r"write to 0x([0-9a-f]+)", p.reason).group(1), 16)
    equal("the address in the reason", at, p.register("CR2"))
    contains("the registers", p.text, "vector 14 error 3")


@test
def data_is_not_executed():
    p = Panic("crash code")
    contains("the reason", p.reason, "execution of 0x")
    contains("the reason", p.reason, "(the kernel image) by kernel code: mapped, but not for that")
    equal("the address in rip", p.register("rip"), p.register("CR2"))


@test
def jump_to_user_memory():
    p = Panic("crash jump")
    contains("the reason", p.reason, "(the user half) by kernel code")
    contains("the reason", p.reason, "; the kernel jumped to a user address")


@test
def stray_user_pointer():
    p = Panic("crash stray").complete("cmd_crash")
    contains("the reason", p.reason, "a user address used outside of copyin, copyout and user_access_begin")


@test
def user_memory_under_a_spin_lock():
    p = Panic("crash lock").complete("cmd_crash")
    contains("the reason", p.reason, "; user memory touched while holding a spin lock")
    contains("what is told before it", p.out[:p.out.index("panic: ")], "crash")


@test
def user_memory_in_an_interrupt():
    p = Panic("crash interrupt").complete("cmd_crash")
    contains("the reason", p.reason, "; user memory touched by an interrupt handler")
    names = p.backtrace()
    check("trap" in names and names.index("trap") < names.index("cmd_crash"), f"the backtrace is {names}")


@test
def locks_taken_both_ways_round():
    p = Panic("crash order").complete("nest")
    equal("the reason", p.reason, "lock order: crash a wanted while crash b is held, but the other way round was seen, too")
    stacks = re.findall(r"^  (crash \w), then (crash \w) \(thread \d+\):\n((?:    \w+\+0x[0-9a-f]+\n)+)", p.out, re.M)
    equal("the steps", [s[:2] for s in stacks], [("crash b", "crash a"), ("crash a", "crash b")])
    calls = [re.search(r"^    nest\+\w+\n    (\w+\+0x[0-9a-f]+)$", s[2], re.M) for s in stacks]
    check(all(calls) and calls[0].group(1) != calls[1].group(1), f"the two stacks are not told apart: {stacks}")


@test
def damaged_page_tables():
    p = Panic("crash tables").complete("cmd_crash")
    contains("the reason", p.reason, "reserved bit set in the page tables; the page tables are damaged")
    check(re.search(r"vector 14 error [ab]$", p.text, re.M), "the error code does not say that a reserved bit was set")


@test
def fault_that_never_helps():
    p = Panic("crash livelock").complete("cmd_crash")
    check(re.fullmatch(r"fault livelock: thread main took the same fault 1001 times, write to 0x[0-9a-f]+, error 2; "
                       "vm_fault succeeds, but the processor doesn't see the mapping", p.reason), f"the reason is {p.reason!r}")


@test
def with_little_memory():
    Panic("panic", "--mem", "8M").complete("cmd_panic")


if __name__ == "__main__":
    sys.exit(guest.main("panic"))
