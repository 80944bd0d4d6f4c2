# SPDX-License-Identifier: BSD-2-Clause
"""vm wait: who is asleep, on what, and who will wake them.

A sleeping thread has an address that it sleeps on (wchan) and a reason in a word (wmesg).  The address lies in a
thing, and most things say who has them:

    a sleep lock    its owner, or its readers       a page      who has it busy
    an object       who has pages of it busy        a buffer    the disk that works on it, or its owner
    a map           who is wiring one of its entries

For the rest the word says who wakes: WAKERS.  Where none is said there, nobody does but the clock.
"""

import bisect

import gdb
from common import (Command, array_text, defines, fetch, need_kernel, need_pages, offset_of, plural, pointer_to, say, tailq,
                    text)
import disk
import maps
import object as vm_objects
import page
import thread

LOCK_H = "kernel/lock.h"
# By the word for which a thread sleeps.
WAKERS = {
    "biosyn": "the buffer's owner, or the disk",
    "bforget": "the buffer's owner",
    "binval": "the buffer's owner",
    "execwait": "the last other thread of its process, by its end",
    "flock": "who gives up a lock on a file",
    "futex": "a thread that calls FUTEX_WAKE for that word",
    "getblk": "the buffer's owner, or for the whole cache whoever gives a buffer back",
    "init": "the end of the first process",
    "join": "that thread's end",
    "laundry": "a dirty page that comes to the laundry queue",
    "mapwire": "who is wiring an entry of that map",
    "mntbsy": "the last thread on its way into the filesystem",
    "pdfrz": "`vm freeze off`, or the test that froze it",
    "piperd": "a thread that writes to the pipe, or closes it",
    "pipewr": "a thread that reads from the pipe, or closes it",
    "poll": "a file that becomes ready",
    "psleep": "whoever finds that memory is short",
    "reaper": "the next thread that ends",
    "sigwait": "a signal",
    "stopped": "SIGCONT",
    "swapout": "a page that comes to the queue for swap",
    "syncfz": "the syncer, at the end of its round",
    "ttyin": "a key",
    "vfork": "the child, when it executes a program or ends",
    "vget": "who is recycling the vnode",
    "vnpobj": "who is making the vnode's object",
    "vmlook": "who chooses whom to end for want of memory, when that is done",
    "vmwait": "whoever frees a page: thread pageout does its best",
    "wait": "a child that ends or stops",
}


class Places:
    """The objects, address spaces, vnodes and threads by their addresses: what a thread sleeps on lies in one of them."""

    def __init__(self):
        self.found = []
        for pointer, _ in thread.all_threads():
            self.add("thread", pointer)
        for mount in tailq(gdb.parse_and_eval("'kernel/fs/mount.c'::mounts"), "mnt_list"):
            for pointer in tailq(fetch(mount)["mnt_vnodelist"], "v_mntvnodes"):
                self.add("vnode", pointer)
        for pointer in tailq(gdb.parse_and_eval("'vm/vmspace.c'::vmspaces"), "link"):
            self.add("vmspace", pointer)
        for pointer in tailq(gdb.parse_and_eval("'vm/vm_object.c'::object_list"), "object_list"):
            self.add("vm_object", pointer)
        self.found.sort()

    def add(self, tag, pointer):
        self.found.append((int(pointer), int(pointer) + pointer.dereference().type.sizeof, tag))

    def around(self, address):
        """(name of the structure's type, its address), or (None, 0)."""
        at = bisect.bisect_right(self.found, (address, 1 << 64)) - 1
        if at >= 0 and self.found[at][0] <= address < self.found[at][1]:
            return self.found[at][2], self.found[at][0]
        return None, 0

    def name(self, address):
        """What lies around an address, in words."""
        tag, start = self.around(address)
        if tag == "vm_object":
            return vm_objects.name(pointer_to("struct vm_object", start))
        if tag == "vmspace":
            return "the map of " + maps.pmap_name(start + offset_of("struct vmspace", "pmap"))
        if tag == "vnode":
            return f"vnode {start:#x}, inode {int(fetch(pointer_to('struct vnode', start))['v_ino'])}"
        if tag == "thread":
            t = fetch(pointer_to("struct thread", start))
            return f"thread {int(t['tid'])}, {array_text(t['name'])}"
        symbol = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
        return f"{address:#x}" if symbol.startswith("No symbol") else symbol.split(" in section")[0]


# ---- locks ----------------------------------------------------------------------------------------

def lock_at(chan, name):
    """(address, structure, what for) of the lock that a thread sleeps for, or None.  The wait's name is the lock's own."""
    for tag, kind, field, what_for in (("mutex", "LOCK_MUTEX", None, "to have"), ("rwlock", "LOCK_RW", "read_waiters", "to read"),
                                       ("rwlock", "LOCK_RW", "write_waiters", "to write")):
        at = chan - (offset_of(f"struct {tag}", field) if field else 0)
        try:
            lock = fetch(pointer_to(f"struct {tag}", at))
        except gdb.MemoryError:
            continue
        if int(lock["lk"]["name"]) == name and int(lock["lk"]["kind"]) == int(gdb.parse_and_eval(f"(int){kind}")):
            return at, lock, what_for
    return None


def lock_holders(at, lock, threads):
    """Who has a sleep lock now.  Names of readers are known in a debug kernel, where each thread lists its locks."""
    c = defines(LOCK_H)
    if lock.type.tag == "mutex":
        owner = int(lock["word"]) & ~c["MUTEX_WAITED"]
        return [array_text(fetch(pointer_to("struct thread", owner))["name"])] if owner else []
    if int(lock["word"]) & c["RW_WRITER"]:
        return [array_text(fetch(lock["writer"])["name"]) if int(lock["writer"]) else "a writer that has just come in"]
    readers = int(lock["word"]) & c["RW_READERS"]
    names = [array_text(t["name"]) for _, t in threads if at in (int(t["held"][i]) for i in range(int(t["nheld"])))]
    return names + ([plural(readers - len(names), "reader")] if readers > len(names) else [])


# ---- things ---------------------------------------------------------------------------------------

def and_list(names):
    return " and ".join(names)


def page_holder(word, tid, names):
    """Who has a page busy, by its busy word, or None."""
    c = defines(page.PAGE_H)
    if word >= c["VPB_FREED"] or word < c["VPB_EXCLUSIVE"]:
        return None
    return names.get(tid, f"thread {tid}") if word & c["VPB_EXCLUSIVE"] else plural(word // c["VPB_ONE_SHARER"], "sharer")


def paging_holders(pointer, names):
    """Who has pages of an object busy."""
    pages = page.array()
    found = [page_holder(pages.field(a, "busy"), pages.field(a, "busy_tid"), names)
             for a in pages.of_object(int(fetch(pointer)["memq"]["root"]))]
    return sorted({name for name in found if name is not None})


def wirers(space):
    """Who is wiring entries of an address space's map."""
    return sorted({array_text(fetch(e["wiring"])["name"]) for e in maps.entries(space["map"]) if int(e["wiring"])})


class Wait(Command):
    """Who is asleep, on what, and who will wake them: who has the lock, page or buffer, the disk, or the clock.

    (gdb) vm wait

    vm wait"""

    NAME = "wait"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        need_kernel()
        self.threads = list(thread.all_threads())
        self.names = {int(t["tid"]): array_text(t["name"]) for _, t in self.threads}
        self.asleep = [t for _, t in self.threads if int(t["wchan"])]
        try:
            need_pages()
            self.places, self.requests = Places(), {int(bp) for bp in disk.requests()}
            self.buffers = {int(b.address) for b in disk.buffers().values()} | self.requests
            explain = self.explain
        except gdb.GdbError:
            explain = self.explain_early
        for t in self.asleep:
            say(f"  {array_text(t['name']):<14} in {text(t['wmesg']):<10} on {explain(t)}")
        if not self.asleep:
            say("  nobody is asleep")

    @staticmethod
    def explain_early(t):
        return f"{int(t['wchan']):#x}"

    def explain(self, t):
        what, waker = self.thing(t)
        wakers = [waker] if waker else []
        if int(t["interruptible"]) and waker != "a signal":
            wakers.append("a signal")
        if int(t["wake_tick"]):
            left = int(t["wake_tick"]) - int(gdb.parse_and_eval("ticks"))
            wakers.append(f"the clock in {plural(max(left, 0), 'tick')}")
        return f"{what}; woken by {' or '.join(wakers) or 'nobody that is known here'}"

    def thing(self, t):
        """(what a thread sleeps on, who will wake it or None)"""
        chan, wmesg = int(t["wchan"]), t["wmesg"]
        if (lock := lock_at(chan, int(wmesg))) is not None:
            return self.lock(*lock, text(wmesg))
        pages = page.array()
        if 0 <= chan - pages.base < pages.count * pages.size:
            p = fetch(pointer_to("struct vm_page", chan - (chan - pages.base) % pages.size))
            holder = page_holder(int(p["busy"]), int(p["busy_tid"]), self.names)
            return (f"page {int(p['pfn'])}, {page.owner_words(p)}",
                    f"{holder}, who has it busy" if holder else "who had it busy and has just let go")
        if chan in self.buffers:
            return self.buffer(chan, t)
        return self.structure(chan, text(wmesg))

    def lock(self, at, lock, what_for, name):
        holders = lock_holders(at, lock, self.threads)
        has = "has" if len(holders) == 1 else "have"
        return (f"{self.places.name(at)}, {what_for} its lock `{name}`",
                f"{and_list(holders)}, who {has} it" if holders else "who had it and has just let go")

    def buffer(self, at, t):
        b = fetch(pointer_to("struct buf", at))
        what = f"buf {at:#x}, {disk.request_words(b)}"
        owner = next((u for u in self.asleep if int(u["wchan"]) == at and text(u["wmesg"]) not in WAKERS), None)
        if int(b["b_disk"]) and (at in self.requests or owner is not None and int(t["tid"]) == int(owner["tid"])):
            return what, f"the interrupt of {array_text(fetch(b['b_disk'])['dk_name'])}, which got it {plural(disk.age(b), 'tick')} ago"
        return what, "who has it busy" if owner is None else \
            f"thread {int(owner['tid'])}, {array_text(owner['name'])}, who has it busy"

    def structure(self, chan, wmesg):
        tag, start = self.places.around(chan)
        name, waker = self.places.name(chan), WAKERS.get(wmesg)
        if tag == "vm_object" and chan == start + offset_of("struct vm_object", "paging_in_progress"):
            holders = paging_holders(pointer_to("struct vm_object", start), self.names)
            return (f"the end of paging in {name}",
                    f"{and_list(holders)}, when no page of it is busy any more" if holders else "the last operation under way in it")
        if tag == "vmspace" and (who := wirers(fetch(pointer_to("struct vmspace", start)))):
            return name, f"{and_list(who)}, who is wiring an entry of it"
        return name, waker


Wait()
