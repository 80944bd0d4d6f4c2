#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make the symbol table that a panic's backtrace is printed with.

The kernel is linked twice.  The first link carries an empty table; `nm` of its
result, read here on stdin, becomes an assembly file that the second link adds:

    ksyms_count     .quad   number of symbols
    ksyms_addr[]    .long   address - KERNBASE, ascending
    ksyms_name[]    .long   offset of the name in ksyms_strings
    ksyms_strings           the names, each ended by a zero byte

The table lies in read-only data behind all text, so that no function moves
between the two links.  `ksyms.py --check A B` proves it for two `nm` outputs.

    ksyms.py --empty          print a table without symbols
    nm KERNEL | ksyms.py      print the table of KERNEL's functions
"""

import sys

KERNBASE = 0xFFFFFFFF80000000


def text_symbols(lines):
    """`nm` output -> sorted (address, name) of the functions in the kernel's half."""
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and fields[1] in "tT":
            address = int(fields[0], 16)
            if KERNBASE <= address < KERNBASE + (1 << 31):
                found.append((address, fields[2]))
    return sorted(found)


def assembly(symbols):
    out = ['\t.section .ksyms, "a"', "\t.globl ksyms_count, ksyms_addr, ksyms_name, ksyms_strings",
           "\t.balign 8", "ksyms_count:", f"\t.quad {len(symbols)}", "ksyms_addr:"]
    out += [f"\t.long {address - KERNBASE:#x}" for address, _ in symbols]
    out.append("ksyms_name:")
    offset = 0
    for _, name in symbols:
        out.append(f"\t.long {offset}")
        offset += len(name) + 1
    out.append("ksyms_strings:")
    out += [f'\t.asciz "{name}"' for _, name in symbols]
    out += ["\t.byte 0", '\t.section .note.GNU-stack, "", @progbits']
    return "\n".join(out)


def check(path_a, path_b):
    with open(path_a, encoding="utf-8") as a, open(path_b, encoding="utf-8") as b:
        first, second = text_symbols(a), text_symbols(b)
    if first == second:
        return 0
    moved = sorted(set(first) ^ set(second))[0]
    print(f"ksyms: the text moved between the two links, first at {moved[1]} ({moved[0]:#x}): "
          "linker.ld must keep .ksyms behind all text", file=sys.stderr)
    return 1


def main(argv):
    if argv[:1] == ["--check"] and len(argv) == 3:
        return check(argv[1], argv[2])
    if argv not in ([], ["--empty"]):
        print(__doc__, file=sys.stderr)
        return 2
    print(assembly([] if argv else text_symbols(sys.stdin)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
