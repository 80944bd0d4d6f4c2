# SPDX-License-Identifier: BSD-2-Clause
"""vm selftest: every command against the machine as it stands."""

import gdb
from common import Command, Prefix, machine_mode, say
import cpus
import walk

# Arguments for those that want some.  What is not here runs without.
ARGUMENTS = {
    "walk": "vm_page_array", "page": "vm_page_array", "why": "vm_page_array", "whatis": "vm_page_array",
    "object": "$vm_first_object", "vnode": "rootfs->mnt_devvp 0", "bt": "pageout",
    "mem": "vm_page_array->pfn 64", "trace": "5", "map": "main", "break": None, "attach": None, "step": None, "undo": None, "story": None,
    "freeze": None, "selftest": None,
}
# What is no failure: there may be nothing to show.
NOTHING = {"map": "has no address space of its own", "object": "there is no object",
           "user": "there is no program", "touched": "there is no program"}
# What a command may say as long as the kernel has not come to what it shows, and only so long.
EARLY = ("has not come to that yet", "there are no vm_page structures yet", "runs no thread yet", "there is no thread", "not (yet) what they should be",
         "nothing to compare with")
WHY_NOT = "it would run or change the machine"


def too_early():
    """Has this processor not come to the VM yet?"""
    if machine_mode() is not None:
        return True
    try:
        return int(gdb.parse_and_eval("vm_page_array")) == 0 or cpus.index_here() is None
    except gdb.error:
        return True


def names():
    return sorted(c.NAME for c in Command.__subclasses__() if c.NAME)


class Selftest(Command):
    """Run every `vm` command that only looks, and say which of them fail; each must also have help with an example.

    (gdb) vm selftest

    vm selftest"""

    NAME = "selftest"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        failed = 0
        gdb.set_convenience_variable("vm_first_object", gdb.parse_and_eval("'vm/vm_object.c'::object_list")["first"]
                                     if machine_mode() is None else 0)
        early = too_early()
        for name in sorted(names(), key=lambda n: n == "diff"):     # what it compares with comes first
            wrong = self.help_of(name) or self.run_one(name, early)
            failed += wrong is not None
            argument = ARGUMENTS.get(name, "")
            say(f"  vm {name:<9} " + (f"FAILED: {wrong}" if wrong else "ok" if argument is not None else f"help only: {WHY_NOT}"))
        if machine_mode() is None:
            compared, listed, wrong = walk.compare_with_tlb()
            say(f"  vm walk: {compared} of the {listed} mappings in QEMU's info tlb were compared: " + (wrong[0] if wrong else "all agree"))
            failed += bool(wrong)
        say(f"{len(names()) - failed} of {len(names())} commands are in order.")
        if failed:
            raise gdb.GdbError(f"{failed} failed")

    def help_of(self, name):
        text = gdb.execute(f"help vm {name}", to_string=True)
        if f"(gdb) vm {name}" not in text:
            return "its help has no example"
        return None if f"vm {name} " in Prefix.__doc__ + " " else "`help vm` does not list it"

    def run_one(self, name, early):
        argument = ARGUMENTS.get(name, "")
        if argument is None:
            return None
        try:
            text = gdb.execute(f"vm {name} {argument}", to_string=True)
        except gdb.error as e:
            expected = [NOTHING[name]] if name in NOTHING else []
            return None if any(words in str(e) for words in expected + list(EARLY if early else ())) else str(e)
        return None if text.strip() else "it says nothing"


Selftest()
