# SPDX-License-Identifier: BSD-2-Clause
"""vm attach: the beginning of a session."""

import os

import gdb
from common import Command, say


class Attach(Command):
    """Connect to the machine that `boot/qemu --gdb` has stopped, and run it to a named place.

WHERE is anything that `break` takes; without it the machine stays before its first instruction.

    (gdb) vm attach build/gdb.sock vnode_pager_leaf_getpages

    vm attach SOCKET [WHERE]"""

    NAME = "attach"

    def run(self, args):
        if not args:
            self.usage()
        if gdb.selected_thread() is not None:
            raise gdb.GdbError("gdb is connected to a machine already: `kill` or `detach` ends that")
        socket, where = args[0], " ".join(args[1:])
        if not os.path.exists(socket):
            raise gdb.GdbError(f"{socket} does not exist: start the machine with `boot/qemu --gdb`")
        gdb.execute(f"target remote {socket}", to_string=True)
        say("The machine stands before its first instruction.")
        if not where:
            return
        gdb.execute("set breakpoint pending off")
        try:
            gdb.execute(f"tbreak {where}", to_string=True)
        except gdb.error as e:
            raise gdb.GdbError(f"{e}  The machine stays where it is; `info functions NAME` looks for names.") from None
        say(f"Running to {where} ...")
        try:
            gdb.execute("continue")
        except gdb.error as e:
            raise gdb.GdbError(f"The machine ended before it came to {where} ({e}).") from None
        if gdb.selected_thread() is None:
            raise gdb.GdbError(f"The machine ended before it came to {where}.")


Attach()
