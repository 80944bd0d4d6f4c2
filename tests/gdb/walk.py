# SPDX-License-Identifier: BSD-2-Clause
"""vm walk: page tables as the processor sees them."""

import gdb
from common import (Command, Physical, PAGE_SHIFT, PAGE_SIZE, define, evaluate, machine_mode, plural, register, say)
import maps
import page
import session

LEVELS = {4: "PML4", 3: "PDPT", 2: "PD", 1: "PT"}
PMAP_H = "vm/pmap.h"


class Bits:
    """The bits of an entry, by their names in vm/pmap.h."""

    def __init__(self):
        for name in ("PG_V", "PG_RW", "PG_U", "PG_PCD", "PG_A", "PG_M", "PG_PS", "PG_G", "PG_W", "PG_NX", "PG_FRAME"):
            setattr(self, name, define(PMAP_H, name))

    def words(self, entry, leaf, user_half):
        """What an entry that is present allows and has seen."""
        words = ["writable" if entry & self.PG_RW else "read-only", "user" if entry & self.PG_U else "kernel only"]
        if leaf or entry & self.PG_NX:
            words.append("no execute" if entry & self.PG_NX else "executable")
        words.append("accessed" if entry & self.PG_A else "not accessed")
        if leaf:
            words.append("modified" if entry & self.PG_M else "not modified")
        more = (self.PG_G, "global"), (self.PG_PCD, "uncached"), (self.PG_W, "wired")
        words += [word for bit, word in more if entry & bit]
        if not leaf and user_half:
            words.append(plural(entry >> 52 & 0x3FF, "entry", "entries") + " of it in use")
        return ", ".join(words)


def level_shift(level):
    return PAGE_SHIFT + 9 * (level - 1)


def canonical(va):
    return va >> 47 in (0, (1 << 17) - 1)


def walk(va, cr3):
    """Follow va from the root at cr3 to the last entry that there is -> [(level, table's address, index, entry)]."""
    bits, steps = Bits(), []
    table = cr3 & bits.PG_FRAME
    with Physical() as memory:
        for level in (4, 3, 2, 1):
            index = va >> level_shift(level) & 511
            entry = memory.read64(table + 8 * index)
            steps.append((level, table, index, entry))
            if not entry & bits.PG_V or level == 1 or (level < 4 and entry & bits.PG_PS):
                break
            table = entry & bits.PG_FRAME
    return steps


def translate(steps, va):
    """The physical address at the end of a walk, or None."""
    bits, (level, _, _, entry) = Bits(), steps[-1]
    if not entry & bits.PG_V:
        return None
    inside = (1 << level_shift(level)) - 1
    return (entry & bits.PG_FRAME & ~inside) | (va & inside)


def second_opinion(va, steps):
    """What QEMU's own walk of the tables, `info tlb`, says against ours: a sentence, or None: it cannot be asked."""
    listed, bits = session.tlb(), Bits()
    if listed is None:
        return None
    level, _, _, entry = steps[-1]
    start = va & -(1 << level_shift(level))
    theirs = listed.get(start - (1 << 64) if start >> 64 else start)
    if not entry & bits.PG_V:
        covers = [base for n in (1, 2, 3) if (base := va & -(1 << level_shift(n))) in listed]
        return f"BEWARE: QEMU's info tlb has {listed[covers[0]][0]:#x} there" if covers else "QEMU's info tlb has nothing there either"
    letters = (bits.PG_NX, "X"), (bits.PG_G, "G"), (bits.PG_M, "D"), (bits.PG_A, "A"), (bits.PG_PCD, "C"), (bits.PG_U, "U"), (bits.PG_RW, "W")
    ours = {letter for bit, letter in letters if entry & bit}
    if theirs is None:
        return "BEWARE: QEMU's info tlb has nothing there"
    if theirs[0] != entry & bits.PG_FRAME & -(1 << level_shift(level)) or theirs[1] - {"P", "T"} != ours:
        return f"BEWARE: QEMU's info tlb says {theirs[0]:#x}, {''.join(sorted(theirs[1]))}; the entry says {''.join(sorted(ours))}"
    return "QEMU's info tlb agrees"


def compare_with_tlb(limit=64):
    """Walk to mappings that QEMU's `info tlb` lists, evenly chosen -> (compared, listed, sentences about those that differ)."""
    listed = sorted(session.tlb() or {})
    chosen = listed[::max(1, len(listed) // limit)]
    wrong = []
    for va in chosen:
        va &= (1 << 64) - 1
        opinion = second_opinion(va, walk(va, register("cr3")))
        if not opinion.endswith("agrees"):
            wrong.append(f"{va:#x}: {opinion}")
    return len(chosen), len(listed), wrong


class Walk(Command):
    """Walk the page tables for a virtual address.

Shows each level's entry with its bits in words, then the physical address and the page at the end.  Works at any
stop, for the tables are read as physical memory.  For another address space give its root's physical address.
For the tables that are loaded QEMU's own walk is asked, too, and a difference is told.

    (gdb) vm walk $cr2
    (gdb) vm walk 0x10000 bench_vm->pmap.pml4_pa

    vm walk VA [CR3]"""

    NAME = "walk"

    def run(self, args):
        if len(args) not in (1, 2):
            self.usage()
        va = int(evaluate(args[0])[0]) & ((1 << 64) - 1)
        why = machine_mode()
        if why is not None:
            say(f"{va:#x}: {why}.  There are no page tables to walk yet.")
            return
        cr3 = int(evaluate(args[1])[0]) if len(args) == 2 else register("cr3")
        if not canonical(va):
            say(f"{va:#x} is not canonical: no processor with 4-level paging can use it (bits 47 to 63 differ).")
            return
        steps = walk(va, cr3)
        self.show(va, cr3, steps)
        self.conclude(va, cr3, steps)

    def show(self, va, cr3, steps):
        bits = Bits()
        say(f"{va:#x}, {region(va)}; root at {cr3 & bits.PG_FRAME:#x}")
        for level, table, index, entry in steps:
            leaf = level == 1 or (level < 4 and entry & bits.PG_PS)
            line = f"  {LEVELS[level]:4} {table:#x}[{index}] = {entry:#018x}  "
            if not entry & bits.PG_V:
                line += "not present" if entry == 0 else "not present, though not zero: the processor ignores the rest"
            elif leaf:
                line += "page: " + bits.words(entry, True, va >> 47 == 0)
            else:
                line += f"table at {entry & bits.PG_FRAME:#x}: " + bits.words(entry, False, va >> 47 == 0)
            say(line)

    def conclude(self, va, cr3, steps):
        pa, level = translate(steps, va), steps[-1][0]
        if pa is None:
            say(f"not present: the {LEVELS[level]} has nothing there")
        else:
            size = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB"}[level]
            say(f"present: physical {pa:#x}, page {pa >> PAGE_SHIFT} (byte {pa % PAGE_SIZE}), in a page of {size}")
            m = page.by_pfn(pa >> PAGE_SHIFT)
            say("  " + (page.one_line(m) if m is not None else
                        "no vm_page: that is no RAM, or vm_page_init() has not run"))
        if cr3 & Bits().PG_FRAME == register("cr3") & Bits().PG_FRAME and (opinion := second_opinion(va, steps)):
            say("  " + opinion)
        if va >> 47 == 0:
            say("  " + maps.explain_address(va, cr3 & Bits().PG_FRAME))


def region(va):
    """Where an address lies, in words (vm/vm.h)."""
    vm_h = "vm/vm.h"
    for name, words in (("KERNBASE", "the kernel image"), ("KVA_BASE", "the kernel's mapped memory"),
                        ("DMAP_BASE", "the direct map")):
        if va >= define(vm_h, name):
            return words
    return "page 0: a null pointer" if va < PAGE_SIZE else "the user half"


Walk()
