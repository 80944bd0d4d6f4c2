#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Play gdb sessions back and check what the `vm` commands print.

Each session is a machine and a script for gdb.  One looks at everything around one page fault and then lets the machine
run to its end, which it must reach as if nobody had looked.  One damages structures on purpose, which must be noticed.
Others follow a fault by its stages, the tour, threads that wait for each other, a program, a double fault and a panic.
The last is `make gdb` without a terminal.  The values are checked against each other and
against three witnesses from outside: debugfs, the volume's pattern, and QEMU's own translation.  FAULTLINE_KERNEL names
another kernel to test with.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import play  # noqa: E402
from play import SECONDS, TOP, Session, equal, frame_names, number  # noqa: E402
import mkimage  # noqa: E402
import run  # noqa: E402
import volume  # noqa: E402

FILE = "/b/contig"
PAGE = 4096
TESTS = []


def test(function):
    TESTS.append(function)
    return function


# ---- sessions -------------------------------------------------------------------------------------

LOOK = """\
reset_walk      vm walk 0xfffffff0
reset_threads   vm threads
reset_page      vm page 1
reset_selftest  vm selftest
-               tbreak kernel_main
-               continue
early_walk      vm walk kernel_main
early_page      vm page 1
early_selftest  vm selftest
-               break vnode_pager_leaf_getpages if ((struct vnode *)object->handle)->v_ino == {inode}
stop            continue
bt              bt
-               set $va = $cr2
-               set $page = m[reqpage]
values          printf "object %#lx page %#lx pfn %u index %lu va %#lx\\n", object, $page, $page->pfn, $page->pindex, $va
object          vm object object
object_of_page  vm object m[reqpage]
page            vm page m[reqpage]
page_by_pfn     vm page m[reqpage]->pfn
walk            vm walk $va
qemu_before     monitor gva2gpa $HEX
threads         vm threads
sleeper         vm bt pageout
runner          vm bt main
map             vm map
map_sleeper     vm map pageout
queues          vm queues
selftest        vm selftest
fault           vm fault
why             vm why m[reqpage]
whatis          vm whatis object
whatis_va       vm whatis $va
vnode           vm vnode object->handle m[reqpage]->pindex*4096
print_page      print *m[reqpage]
print_object    print *object
print_vnode     print *(struct vnode *)object->handle
print_inode     print *(struct ext2_inode *)((struct vnode *)object->handle)->v_data
-               set $entry = (struct vm_map_entry *)cpus[0].thread->vmspace->map.entries.root
print_entry     print *$entry
raw_entry       printf "[%#lx, %#lx) r-- share, object %#lx from byte %ld\\n", $entry->start, $entry->end, $entry->object, $entry->offset
no_page         vm page 99999999
no_thread       vm bt 4711
no_address      vm walk 0x8000000000000000
no_symbol       vm object nosuchthing
direct_map      vm walk $page
help            help vm walk
-               delete
snap            vm snap
-               frame function vm_fault_trap
finish          finish
diff            vm diff
fault_after     vm fault
walk_after      vm walk $va
-               set $table = cpus[0].thread->vmspace->pmap.pml4
-               set $direct = (unsigned long)$table - cpus[0].thread->vmspace->pmap.pml4_pa
print_kernels   print $table[511]
-               set $table = (pt_entry_t *)($direct + ($table[$va >> 39 & 511] & 0xffffffffff000))
-               set $table = (pt_entry_t *)($direct + ($table[$va >> 30 & 511] & 0xffffffffff000))
-               set $table = (pt_entry_t *)($direct + ($table[$va >> 21 & 511] & 0xffffffffff000))
print_pte       print $table[$va >> 12 & 511]
print_no_pte    print (pt_entry_t)0x1066
qemu_after      monitor gva2gpa $HEX
page_after      vm page $page
bytes           x/1xg ($va & ~4095)
-               detach
"""

DAMAGE = """\
-               break vnode_pager_leaf_getpages if ((struct vnode *)object->handle)->v_ino == {inode}
-               continue
whole           vm queues
-               set var depot.list[0].count += 1
counter         vm queues
-               set var depot.list[0].count -= 1
-               set $second = vm_page_array[depot.list[0].head].q_next
-               set var vm_page_array[$second].q_next = depot.list[0].head
cycle           vm queues
check_queue     vm check
-               set var object->resident_page_count += 1
resident        vm object object
check_object    vm check
-               set var object->resident_page_count -= 1
-               set $node = object->memq.root
-               set var $node->child[0] = $node
tree            vm object object
-               set var object->backing_object = object
chain           vm object object
-               set var all_threads.first->all_link.next->all_link.prev = all_threads.last
back_link       vm threads
-               set var all_threads.first->all_link.next->all_link.prev = all_threads.first
-               set var all_threads.first->all_link.next = (struct thread *)0x1234
list            vm threads
-               kill
"""


STAGES = """\
stages          vm stages
no_stage        vm step nosuch
no_condition    vm step copied if nosuch == 1
no_points       maint info breakpoints
reset_story     vm walk 0
enter           vm step fault enter if addr > 0x1000
step            vm step
-               python import late
submitted       vm step DISK_REQUEST
-               vm step return
story           vm story
detach          detach
"""


# Self-tests in which threads wait for each other; then a double fault (a stack that has run over), and after the panic that it is.
SCENES = ("lock.waiting_writer_keeps_new_readers_out", "object.termination_waits_for_paging_and_for_busy_pages",
          "wirerace.unmapping_waits_for_the_wiring", "bio.two_readers_of_one_block_cause_one_read")
ENDS = """\
-               tbreak ktest_lock_waiting_writer_keeps_new_readers_out
-               continue
-               tbreak rw_runlock if rw == &'tests/kernel/t_lock.c'::rwl
-               continue
wait_lock       vm wait
-               tbreak ktest_object_termination_waits_for_paging_and_for_busy_pages
-               continue
-               tbreak vm_object_pip_wakeup
-               continue
wait_object     vm wait
-               tbreak vm_page_xunbusy
-               continue
wait_page       vm wait
-               tbreak ktest_wirerace_unmapping_waits_for_the_wiring
-               continue
-               tbreak let_go
-               continue
wait_map        vm wait
-               tbreak ktest_bio_two_readers_of_one_block_cause_one_read
-               continue
-               tbreak fake_release
-               continue
wait_buffer     vm wait
-               tbreak check_stack_guard
-               continue
double          vm selftest
double_bt       bt 1
-               tbreak machine_exit_panic
-               continue
panic           vm selftest
panic_bt        bt
panic_fault     vm fault
-               kill
"""

# The tour's faults, traced: a page's life, a request at the device, stops at one thing.
TOUR = """\
-               tbreak play_acts
-               continue
freeze          vm freeze on
thaw            vm freeze off
-               vm break vnode t->vp + 1
break           vm break vnode t->vp
bmap            continue
bmap_value      printf "inode %lu\\n", vp->v_ino
-               delete
no_offset       vm break /b/mib:
other_folder    vm break /mib:0x5000
other_part      vm break c/mib:0x5000
other_page      vm break /b/mib:0xff000
file_break      vm break b/mib:0x5000
pager           continue
pager_value     printf "pages %lu to %lu\\n", m[0]->pindex, m[0]->pindex + count - 1
-               delete
-               python import late
submitted       vm step disk submitted
print_buf       print *bp
raw_buf         printf "read of %u bytes at sector %ld\\n", bp->b_bcount, bp->b_blkno
-               set $request = bp
asleep          vm step asleep
-               set var ticks += 7
io              vm io
wait            vm wait
-               set var ticks -= 7
-               vm step interrupt
interrupt       vm selftest
interrupt_bt    bt
-               vm step woken
print_done      print *$request
entered         vm step page entered
-               python import stages; gdb.set_convenience_variable("pfn", next(stages.operand(p.operands[1]) for p in stages.places() if p.address == stages.register("rip")))
life            vm page $pfn
trace           vm trace 5
trace_html      vm trace -f html {scratch}/ring.html
trace_nowhere   vm trace -f json /dev/null/ring.json
mem             vm mem $pfn 4
-               kill
"""

# A program of tests/user as the first process: symbols of user code, a trap and a system call from it, another process.
PROGRAM = """\
-               tbreak main_thread
-               continue
kernels         vm user
-               tbreak syscall
-               continue
user            vm user
again           vm user
first_call      bt
-               tbreak main
main            continue
main_bt         bt
main_selftest   vm selftest
main_threads    vm threads
wrong           vm user build/user/probe
other           vm user build/user/mem_fork
back            vm user
-               tbreak vm_fault_trap if pf_error & 4
trap            continue
trap_bt         bt
-               frame function trap
trap_from       printf "0x%016lx\\n", f->rip
-               tbreak sys_ftruncate
call            continue
call_bt         bt
-               frame function syscall
call_from       printf "0x%016lx\\n", f->rip
map             vm map pid 1
no_process      vm map pid 4711
runner          vm bt pid 1
off             vm user off
off_bt          bt 5
-               kill
"""


class Evidence:
    """What the tests look at."""

    def __init__(self, scratch):
        self.image = run.fresh(os.path.join(run.IMAGES, "bench.img"), mkimage.build_bench, "mkimage.py", "volume.py")
        stat = volume.debugfs(self.image, f"stat {FILE}")
        self.inode = int(re.search(r"Inode: (\d+)", stat).group(1))
        self.size = int(re.search(r"Size: (\d+)", stat).group(1))
        self.links, self.sectors = re.search(r"Links: (\d+) +Blockcount: (\d+)", stat).groups()
        self.look = Session(self.image, scratch, "look", LOOK.format(inode=self.inode))
        self.ends = Session(self.image, scratch, "ends", ENDS, ["monitor"],
                            typed="".join(f"selftest {name}\n" for name in SCENES).encode() + b"overflow\n")
        self.tour = Session(self.image, scratch, "tour", TOUR.replace("{scratch}", scratch), ["tour=/b/mib", "trace"])
        self.stages = Session(self.image, scratch, "stages", STAGES)
        self.damage = Session(self.image, scratch, "damage", DAMAGE.format(inode=self.inode))
        self.program = Session(self.volume_with("mem_eof", scratch), scratch, "program", PROGRAM,
                               ["init=/bin/mem_eof", "--", "/scratch"], mode="")
        with open(os.path.join(scratch, "ring.html"), encoding="utf-8") as f:
            self.html = f.read()
        self.values = {}
        values = re.search(r"object (\S+) page (\S+) pfn (\d+) index (\d+) va (\S+)", self.look.said.get("values", ""))
        if values:
            self.values = dict(zip(("object", "page", "pfn", "index", "va"), (int(v, 0) for v in values.groups())))

    def volume_with(self, program, scratch):
        """A volume with one program of tests/user in /bin."""
        host, image = os.path.join(scratch, "root"), os.path.join(scratch, "program.img")
        for folder in ("bin", "dev", "proc", "tmp", "scratch"):
            os.makedirs(os.path.join(host, folder))
        shutil.copy(os.path.join(TOP, "build", "user", program), os.path.join(host, "bin"))
        volume.mke2fs(image, 4096, 16 << 20, host)
        return image

    def says(self, label, *parts, session=None):
        return (session or self.look).says(label, *parts)


# ---- the tests ------------------------------------------------------------------------------------

@test
def no_command_breaks(e):
    for session in (e.look, e.stages, e.ends, e.tour, e.program, e.damage):
        for word in ("Traceback", "Python Exception", "gdb hung", "Error occurred"):
            equal(f"gdb says {word}", word in session.text, False)


@test
def before_paging_it_answers_in_a_sentence(e):
    e.says("reset_walk", "paging is off (real mode): every address is a physical address")
    e.says("reset_threads", "has not come to that yet: paging is off")
    e.says("reset_page", "has not come to that yet: paging is off")


@test
def on_the_boot_tables_too(e):
    e.says("early_walk", "the kernel image", "present: physical 0x2", "PML4", "no vm_page")
    e.says("early_page", "vm_page_init() has not run")


@test
def stops_in_the_pager_for_our_file(e):
    e.says("stop", "Breakpoint", "vnode_pager_leaf_getpages")
    equal("values read", len(e.values), 5)


@test
def backtrace_crosses_the_trap(e):
    text = e.says("bt", "vnode_pager_leaf_getpages")
    names = frame_names(text)
    order = ["vnode_pager_leaf_getpages", "vm_pager_read_page", "vm_fault", "vm_fault_trap", "trap",
             "signal handler called", "touch_read", "bench_cold", "bench_main", "thread_start"]
    places = [names.index(n) if n in names else -1 for n in order]
    equal(f"the order of {order} in {names}", -1 not in places and places == sorted(places), True)


@test
def object_is_the_file(e):
    text = e.says("object", f"object {e.values['object']:#x} (vnode, inode {e.inode})", f"vnp_size {e.size} bytes",
                  f"{e.size // PAGE} pages", "paging in progress: 1", "can persist")
    equal("what `vm object` says of a page", e.look.said["object_of_page"], text)


@test
def strip_shows_the_pages_being_read(e):
    """The demanded page and its cluster are busy; nothing else is there, as this is the first fault."""
    strip = re.findall(r"^ +(\d+) ([.iAdBWo]+)$", e.says("object", "B"), re.M)
    letters = {int(at) + i: c for at, line in strip for i, c in enumerate(line)}
    busy = [i for i, c in letters.items() if c == "B"]
    equal("the demanded page's letter", letters.get(e.values["index"]), "B")
    equal("the busy pages are neighbours", busy, list(range(busy[0], busy[0] + len(busy))))
    equal("the pages resident", number(r"(\d+) resident", e.look.said["object"]), len(busy))
    equal("other letters than B and absent", set(letters.values()) <= {"B", "."}, True)


@test
def page_is_busy_invalid_unmapped(e):
    pfn, first = e.values["pfn"], e.values["index"] * PAGE
    text = e.says("page", f"page {pfn}, physical {pfn * PAGE:#x}, vm_page {e.values['page']:#x}",
                  f"index {e.values['index']} of object {e.values['object']:#x} (vnode, inode {e.inode})",
                  f"bytes {first} to {first + PAGE - 1} of the file",
                  "exclusive-busy by thread", "valid     none", "dirty     none", "queue     none", "mapped    nowhere")
    running = number(r"(?m)^\* +(\d+)", e.look.said["threads"])
    equal("the thread that has it busy", number(r"busy by thread (\d+)", text), running)
    equal("what `vm page PFN` says", e.look.said["page_by_pfn"], text)


@test
def walk_says_not_present(e):
    e.says("walk", f"{e.values['va']:#x}, the user half", "PML4", "not present", "map entry [0x",
           f"index {e.values['index']} of object {e.values['object']:#x} (vnode, inode {e.inode})")
    e.says("walk", "QEMU's info tlb has nothing there either")
    e.says("qemu_before", "Unmapped")


@test
def threads_have_wait_names(e):
    e.says("threads", re.compile(r"pageout +asleep +pageout +psleep +0x[0-9a-f]+ +pageout_thread"),
           re.compile(r"reaper +asleep +kernel +reaper +0x[0-9a-f]+ +reaper"),
           re.compile(r"^\* +\d+ +main +running .*runs now", re.M))


@test
def sleeping_thread_has_a_backtrace(e):
    text = e.says("sleeper", "asleep, waits for psleep", "sleep_on", "pageout_thread", "thread_trampoline")
    equal("sleep_on is called by the thread's loop", text.index(" sleep_on") < text.index(" pageout_thread"), True)
    e.says("sleeper", re.compile(r"pageout_thread at vm/vm_pageout\.c:\d+"))
    e.says("runner", "runs now", "vnode_pager_leaf_getpages")


@test
def map_shows_the_mapping(e):
    text = e.says("map", "thread", re.compile(r"\d+ (entry|entries), \d+ KiB"))
    mapped = [(int(start, 0), int(end, 0), int(first), name) for start, end, first, name in
              re.findall(r"(0x\w+)-(0x\w+) r-- share .* from page (\d+) of (.*)", text)]
    equal("entries listed", len(mapped), min(200, number(r"(\d+) entr", text)))
    mine = [m for m in mapped if m[0] <= e.values["va"] < m[1]]
    equal("entries that hold the address", len(mine), 1)
    start, _, first, name = mine[0]
    equal("its object", name, f"object {e.values['object']:#x} (vnode, inode {e.inode})")
    equal("the index follows from the entry", first + (e.values["va"] - start) // PAGE, e.values["index"])
    e.says("map_sleeper", "has no address space of its own")


@test
def queues_agree_with_their_counters(e):
    text = e.says("queues", "free", "zero", "inactive", "active", "laundry")
    equal("counters that agree", text.count("the counter agrees"), 6)
    rows = dict(re.findall(r"^ *(\w[\w ]*\w) +(\d+)  ", text, re.M))
    equal("the sum of the queues", sum(int(n) for name, n in rows.items() if name != "RAM"), int(rows["RAM"]))


# What a cold fault passes; its texts are those of kernel/stage.h.
COLD = ["fault enter", "map lookup", "object lookup", "page allocated", "BMAP", "pager asked", "disk submitted", "asleep",
        "interrupt", "woken", "pager answers", "page entered", "return"]


@test
def stages_are_known_before_the_machine_runs(e):
    lines = re.findall(r"^ *(\S.*?) +0x[0-9a-f]+  (\w+) at (\S+):(\d+)$", e.says("stages", "fault enter", session=e.stages), re.M)
    equal("the stages of a cold fault that are listed", [n for n in COLD if n not in [line[0] for line in lines]], [])
    for name, function, path, number_ in lines:
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            source = f.read().splitlines()[int(number_) - 1]
        equal(f"the line of stage {name} is a stage", "STAGE" in source, True)
    e.says("no_stage", "there is no stage `nosuch`", session=e.stages)
    e.says("no_condition", "no condition at fault_resolve at vm/vm_fault.c:", "nosuch", session=e.stages)
    equal("the points that are left behind", "fault_resolve" in e.says("no_points", session=e.stages), False)


@test
def steps_lead_from_stage_to_stage(e):
    va = number(r"fault enter: page fault at (0x[0-9a-f]+), wanted r--", e.says("enter", "thread main", session=e.stages))
    text = e.says("step", f"map lookup: {va:#x} lies in [0x", "r-- share", session=e.stages)
    start, end = (int(word, 16) for word in re.search(r"in \[(\w+), (\w+)\)", text).groups())
    equal(f"{va:#x} lies in [{start:#x}, {end:#x})", start <= va < end, True)
    e.says("submitted", "disk submitted: vda, sector ", "disk_strategy at drivers/disk.c:", session=e.stages)


@test
def story_tells_a_whole_fault(e):
    text = e.says("story", "thread main:", "KERN_SUCCESS", session=e.stages)
    told = re.findall(r"^  (\S.*?)  +\S.*\n {19,}\w+ at \S+:\d+$", text, re.M)
    order = [told.index(n) if n in told else -1 for n in COLD]
    equal(f"the order of a cold fault's stages in {told}", -1 not in order and order == sorted(order), True)
    blocks = dict(volume.file_map(e.image, FILE)[0])
    pages = sorted({int(n) for n in re.findall(r"a frame for page (\d+) of object", text)})
    equal("the sector that the disk is asked for", number(r"disk submitted +vda, sector (\d+)", text), blocks[pages[0]] * 8)
    equal("the pages read", pages, list(range(pages[0], pages[0] + 16)))
    equal("the machine's end", e.stages.status, 0)


@test
def every_command_works_at_every_stop(e):
    for label, session in (("reset_selftest", e.look), ("early_selftest", e.look), ("selftest", e.look), ("interrupt", e.tour),
                           ("double", e.ends), ("panic", e.ends), ("main_selftest", e.program)):
        text = e.says(label, re.compile(r"^(\d+) of \1 commands are in order\.$", re.M), session=session)
        if label != "reset_selftest":
            compared = re.search(r"vm walk: (\d+) of the \d+ mappings in QEMU's info tlb were compared: all agree", text)
            equal(f"{label}: page tables are walked as QEMU walks them", int(compared.group(1)) >= 4 if compared else text, True)
    e.says("interrupt_bt", "disk_done", "intr_dispatch", session=e.tour)
    e.says("double_bt", "check_stack_guard", session=e.ends)
    e.says("panic_bt", "machine_exit_panic", session=e.ends)


@test
def the_fault_is_explained(e):
    page_, obj = e.values["index"], f"object {e.values['object']:#x} (vnode, inode {e.inode})"
    e.says("fault", f"page fault at {e.values['va']:#x}, error 0x0: no page is mapped, a read, in kernel mode; by ",
           "(touch_read)", f"should    {obj}, index {page_}: a frame is there and busy", "is        not mapped (yet)")
    e.says("fault_after", f"resident in {obj}, index {page_}", "a soft fault", f"is        mapped, to frame {e.values['pfn']:#x}")
    e.says("why", "evictable  no: exclusive-busy by thread", f"belongs to index {page_} of {obj}")
    e.says("whatis", f"is {obj}: vm object")
    e.says("whatis_va", "as a user address here: not mapped; map entry [0x", f"index {page_} of {obj}")
    blocks = dict(volume.file_map(e.image, FILE)[0])
    e.says("vnode", f"block {page_} of the file (of 4096 bytes)", f"sector {blocks[page_] * 8}", "pointer block")


@test
def structures_print_in_one_line(e):
    for label, pattern in (("print_page", rf"= page {e.values['pfn']}: index {e.values['index']} of object"),
                           ("print_object", r"= vnode object: \d+ pages, \d+ resident"),
                           ("print_vnode", rf"= inode {e.inode}, used \d+ times"),
                           ("print_inode", rf"= inode {e.inode}: {e.size} bytes, {e.links} links, {e.sectors} sectors$"),
                           ("print_entry", "= " + re.escape(e.says("raw_entry", "r-- share")) + "$"),
                           ("print_pte", rf"= 0x\w+: frame {e.values['pfn']:#x}, read-only, user$"),
                           ("print_kernels", r"= 0x\w+: frame 0x\w+, writable, kernel$"),
                           ("print_no_pte", "= 0x1066: not present$")):
        equal(f"the lines of {label}", len(e.says(label, re.compile(pattern)).splitlines()), 1)
    request = e.says("raw_buf", "read of ", session=e.tour)
    e.says("print_buf", re.compile(rf"^\$1 = {request}$"), session=e.tour)
    e.says("print_done", re.compile(rf"^\$2 = {request}, done$"), session=e.tour)


@test
def what_changed_is_shown(e):
    e.says("diff", f"page {e.values['pfn']:#x}: ", "queue none -> ", "v_vnodepgsin +16", "pages changed since the snapshot")


@test
def one_thing_can_be_waited_for(e):
    e.says("break", "The machine will stop at a question where a block of that file lies.", session=e.tour)
    # Before this one another vnode was to be waited for; that stop is not due.
    points = re.findall(r"Breakpoint (\d+) at ", e.tour.said["break"])
    equal("the stop is the vnode's", number(r"Breakpoint (\d+), .*vnode_getpages\.c", e.says("bmap", session=e.tour)) in map(int, points), True)
    inode = number(r"Inode: (\d+)", volume.debugfs(e.image, "stat /b/mib"))
    equal("the inode that is asked about", e.says("bmap_value", session=e.tour), f"inode {inode}")
    sector = number(r"disk submitted: vda, sector (\d+)", e.tour.said["submitted"])
    e.says("io", f"at sector {sector}, 1 request at the device", "pages: index 0 of object", "thread tour waits for it in vnread",
           session=e.tour)
    age = number(r"1 request at the device, (\d+) ticks old", e.tour.said["io"])
    equal(f"7 ticks and what it has waited: {age}", 7 <= age < 7 + 100 * SECONDS, True)
    e.says("wait", re.compile(rf"tour +in vnread +on buf 0x\w+, read of \d+ bytes at sector {sector}; woken by the interrupt of vda, "
                              rf"which got it {age} ticks ago"), session=e.tour)
    e.says("life", "events", re.compile(r"events +\d.* page-alloc "), session=e.tour)
    e.says("trace", re.compile(r"^\(\d+ events in the rings\)$", re.M), session=e.tour)
    events = number(r"ring\.html: (\d+) events", e.says("trace_html", session=e.tour))
    equal("events drawn and events in the rings", events, number(r"\((\d+) events", e.tour.said["trace"]))
    equal("the page has a fault's bar", "<title>fault, " in e.html and "disk-read, " in e.html, True)
    e.says("trace_nowhere", "/dev/null/ring.json cannot be written: Not a directory", session=e.tour)
    e.says("mem", "4 page frames, 1 to a letter", session=e.tour)
    e.says("freeze", "will not begin another scan", session=e.tour)


@test
def a_page_of_a_file_can_be_waited_for(e):
    e.says("no_offset", "usage: vm break ", session=e.tour)
    point = number(r"Breakpoint (\d+) at .*vm/vm_pager\.c", e.says("file_break", "asked for page 5 of b/mib", session=e.tour))
    e.says("pager", f"Breakpoint {point}, ", "vm_pager_get_pages", session=e.tour)
    first, last = (int(n) for n in re.search(r"pages (\d+) to (\d+)", e.says("pager_value", session=e.tour)).groups())
    equal(f"page 5 is among the pages {first} to {last}, read ahead of the one wanted", first <= 5 <= last and first < 5, True)


@test
def whoever_will_wake_a_sleeper_is_named(e):
    for label, thread, wait in (
            ("wait_lock", "t-writer", r"t-rwlock +on rwl, to write its lock `t-rwlock`; woken by main, who has it$"),
            ("wait_lock", "t-reader", r"t-rwlock +on rwl, to read its lock `t-rwlock`; woken by main, who has it$"),
            ("wait_object", "t-dealloc", r"objtrm +on the end of paging in object 0x\w+ \(anonymous\); woken by main, when no page "),
            ("wait_page", "t-dealloc", r"vmotrm +on page \d+, index 1 of object 0x\w+ \(anonymous\); woken by main, who has it busy$"),
            ("wait_map", "other", r"mapwire +on the map of the address space of wirer .*; woken by wirer, who is wiring an entry of it$"),
            ("wait_buffer", "reader", r"biord +on buf 0x\w+, read of 4096 bytes at sector 56; woken by the interrupt of \w+, which got it "),
            ("wait_buffer", "reader", r"getblk +on buf 0x\w+, read of 4096 bytes at sector 56; woken by thread \d+, reader, who has it busy$"),
            ("wait_map", "syncer", r"syncer +on syncer_main; woken by the clock in \d+ ticks?$"),
            ("wait_map", "pageout", r"psleep +on needed; woken by whoever finds that memory is short$")):
        e.says(label, re.compile(rf"^ +{thread} +in {wait}", re.M), session=e.ends)


@test
def every_wait_has_a_waker(e):
    """Of each wait that only a wakeup ends, `vm wait` says whose; it says it of no wait that is no more."""
    with open(os.path.join(TOP, "tests", "gdb", "waits.py"), encoding="utf-8") as f:
        known = set(re.findall(r'^    "(\w+)": "', f.read(), re.M))
    sources = ""
    for room in ("kernel", "vm", "drivers"):
        for folder, _, files in os.walk(os.path.join(TOP, room)):
            for name in (n for n in files if n.endswith(".c")):
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    sources += f.read()
    waits = set(re.findall(r'\btsleep\([^;"]*"(\w+)", 0\);', sources))
    equal("waits found", len(waits) > 15, True)
    equal("waits whose waker is not named", sorted(waits - known), [])
    equal("wakers of waits that are no more", sorted(w for w in known if f'"{w}"' not in sources), [])


@test
def broken_laws_are_named(e):
    e.says("check_queue", "BROKEN P1: queue free: ", session=e.damage)
    e.says("check_object", re.compile(r"BROKEN O8: object .* pages, resident_page_count says"), session=e.damage)


@test
def the_programs_symbols_are_loaded(e):
    path = os.path.join(TOP, "build", "user", "mem_eof")
    e.says("kernels", "there is no program here: thread main is the kernel's", session=e.program)
    text = e.says("user", f"process 1, mem_eof: {path} lies at 0x400000, where it is linked.", session=e.program)
    equal("what a second `vm user` says", e.program.said["again"], text)
    e.says("main", "breakpoint 3, main (argc=2, argv=0x7", "tests/user/mem_eof.c:", session=e.program)
    equal("the frames of main, in user mode", frame_names(e.says("main_bt", "main", session=e.program))[0], "main")
    e.says("wrong", "build/user/probe is no file", session=e.program)
    e.says("other", "BEWARE: ", "build/user/mem_fork is not the file that runs", session=e.program)
    equal("what `vm user` says after another file", e.program.said["back"], text)
    e.says("off", "the kernel's symbols only", session=e.program)
    equal("main after `vm user off`", "main (" in e.says("off_bt", "sys_ftruncate", session=e.program), False)


@test
def backtraces_reach_the_program(e):
    for label, order in (("trap", ["vm_fault_trap", "trap", "signal handler called", "main"]),
                         ("call", ["sys_ftruncate", "syscall", "signal handler called", "ftruncate64", "main"])):
        # gdb guesses its way to main even from a wrong place, so the first frame of the program is where it was left.
        left_at = e.says(label + "_from", "0x", session=e.program)
        names = frame_names(e.says(label + "_bt", re.compile(rf"<signal handler called>\n#\d+ +{left_at} in \w"), session=e.program))
        places = [names.index(n) if n in names else -1 for n in order]
        equal(f"the order of {order} in {names}", -1 not in places and places == sorted(places), True)


@test
def processes_are_named(e):
    e.says("main_threads", re.compile(r"^\* +\d+ +init +running .* 1 mem_eof +runs now", re.M),
           re.compile(r"pageout +asleep +\w+ +psleep +0x[0-9a-f]+ +pageout_thread"), session=e.program)
    e.says("map", re.compile(r"thread \d+, init, of process 1 mem_eof: \d+ entries"),
           re.compile(r"0x000000400000-0x[0-9a-f]+ r-- .* from page 0 of object 0x[0-9a-f]+ \(vnode, inode \d+\)"), session=e.program)
    e.says("no_process", "no thread belongs to a process 4711", session=e.program)
    e.says("runner", "init, runs now", "sys_ftruncate", session=e.program)


@test
def wrong_arguments_are_explained(e):
    e.says("no_page", "is neither the number of a page of RAM nor the address of a vm_page")
    e.says("no_thread", "there is no thread 4711")
    e.says("no_address", "is not canonical")
    e.says("no_symbol", 'No symbol "nosuchthing"')
    e.says("help", "(gdb) vm walk $cr2", "vm walk VA [CR3]")


@test
def large_pages_end_a_walk(e):
    e.says("direct_map", "the direct map", "PD ", "in a page of 2 MiB")
    equal("the walk has a fourth level", "PT  " in e.look.said["direct_map"], False)


@test
def after_the_fault_it_is_present(e):
    e.says("finish", "Value returned", "= 0")
    text = e.says("walk_after", "present: physical", "read-only, user, no execute", "QEMU's info tlb agrees",
                  f"index {e.values['index']} of object")
    pa = number(r"present: physical (0x[0-9a-f]+)", text)
    equal("the page mapped", pa // PAGE, e.values["pfn"])
    equal("QEMU's translation", number(r"gpa: (0x[0-9a-f]+)", e.says("qemu_after", "gpa")), pa)
    e.says("page_after", "not busy", "valid     all", "dirty     none", re.compile("queue     (in)?active"),
           f"mapped    at {e.values['va'] & -PAGE:#x} in the address space of main")


@test
def memory_holds_the_files_bytes(e):
    wanted = int.from_bytes(volume.pattern(FILE, e.values["index"] * PAGE, 8), "little")
    equal("the first word of the page", number(r":\s*(0x[0-9a-f]+)", e.look.said["bytes"]), wanted)


@test
def the_machine_has_not_noticed(e):
    equal(f"the exit status after `detach` ({e.look.console[-300:]})", e.look.status, 0)


@test
def damage_is_reported(e):
    def says(label, *parts):
        e.says(label, *parts, session=e.damage)

    equal("damage seen before there is any", "BROKEN" in e.damage.said.get("whole", "BROKEN"), False)
    says("counter", re.compile(r"free +\d+  BROKEN: \d+ pages in the depot, the counter says \d+"))
    says("cycle", re.compile(r"free +\d+  BROKEN: .*q_prev"))
    says("resident", "BROKEN: the tree holds", "resident_page_count says")
    says("tree", "BROKEN: the tree is broken: node", "comes again")
    says("chain", "BROKEN: the chain comes back to")
    says("back_link", re.compile(r"the list is broken at 0x[0-9a-f]+: its prev is"))
    says("list", "the list is broken: after 1 elements it points to 0x1234, which is no memory")


@test
def make_gdb_without_a_terminal_ends(e):
    """tests/gdb/run is what `make gdb` calls: it stops in the tour's first fault."""
    with tempfile.TemporaryDirectory(prefix="faultline-gdb-") as scratch:
        command = [os.path.join(TOP, "tests", "gdb", "run"), "vnode_pager_leaf_getpages",
                   "--disk", mkimage.ensure_default() + ",ro", "--log", os.path.join(scratch, "qemu.log")]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP,
                              timeout=SECONDS, env={**os.environ, "CONSOLE": os.path.join(scratch, "console.log")})
        text = done.stdout.decode(errors="replace")
        equal(f"the exit status ({text[-500:]})", done.returncode, 0)
        for part in ("breakpoint 1, vnode_pager_leaf_getpages", "struct vnode *vp", "in vm_fault_trap", "copyin"):
            equal(f"`{part}` in {text[-2500:]}", part in text, True)
        equal("QEMU is gone", subprocess.run(["pgrep", "-f", scratch], stdout=subprocess.DEVNULL).returncode, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="faultline-gdb-") as folder:
        sys.exit(play.main("gdb", TESTS, Evidence(folder)))
