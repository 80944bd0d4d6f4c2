# SPDX-License-Identifier: BSD-2-Clause
#
# Faultline's build.  Everything made here lands in build/.
#
# `make help` prints the targets and variables: it reads the comments with two hashes below.
# Nothing that make evaluates while it reads this file may need more than a POSIX shell, for on a
# fresh machine `make setup run` starts before there is a compiler or a Python.

## Variables (make NAME=value ...)
#: CC=gcc         compiler: gcc or clang; each has a build folder of its own
#: DEBUG=1        1: assertions and lock checks; 0: release; each has a build folder of its own
#: SAN=           ubsan: watch for undefined behaviour; kasan: for bad memory accesses; 1: for both; race: for races, with YIELDS=1;
#:                ubsan,race: for both of these
#: TEST=GLOB      test: only the self-tests whose name matches, e.g. TEST='pager.*'
#: SEED=N         test: order of the self-tests (default: random, and printed)
#: BS=N           test: block size of the test volume (1024 2048 4096 8192 65536), one run only
#: MEM=SIZE       RAM, e.g. 8M or 1G (default 256M); test: one run only
#: CPU=MODEL      QEMU's CPU model (default max); test: one run only
#: BOOT=WAY       way in: pvh, bios, uefi or efi (default pvh); test: one run only
#: MACHINE=TYPE   pc (default) or q35; test: one run only
#: DRIVE=BUS      the disks' bus: virtio, ata (IDE on pc, AHCI on q35) or pio (IDE without DMA); test: one run only,
#:                also ahci and virtio4k (sectors of 4096 bytes)
#: TORTURE=1      test: every page is evicted as soon as it can be; one run only
#: YIELDS=1       test: threads are made to give way at locks, at random by SEED; one run only
#: SMP=N          number of CPUs (default 1)
#: ACCEL=NAME     tcg or kvm (default tcg)
#: ARGS=WORDS     run, gdb: the kernel's command line
#: BREAK=WHERE    gdb: where to stop first (default vnode_pager_leaf_getpages; with TEST=NAME, that test)
#: RR=1           gdb: record the run first, then repeat it under gdb, where `vm undo` goes backwards
#: GLOB=GLOB      bench: only the measurements whose name matches
#: V=1            print each command
#: CI=1           compiler warnings are errors

SHELL := /bin/bash
.SUFFIXES:
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# ---- packages -------------------------------------------------------------------------------------

PACKAGES := gcc libc6-dev make binutils python3 qemu-system-x86 qemu-utils grub-pc-bin grub-common \
	grub-efi-amd64-bin ovmf gnu-efi xorriso mtools e2fsprogs gdb busybox-static dash coreutils sqlite3 fdisk
ifneq ($(findstring clang,$(CC)),)
PACKAGES += clang
endif

.PHONY: setup
setup: ## install the Debian packages that are missing (no network when none is)
	@missing=; for p in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then echo "setup: all packages are installed"; exit 0; fi; \
	command -v apt-get >/dev/null || { echo "setup: this is no Debian system; please install what is like:$$missing" >&2; exit 1; }; \
	echo "setup: installing$$missing"; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	$$sudo apt-get -q update || echo "setup: the package lists could not all be refreshed; going on" >&2; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$missing

# With `make setup run` the goals after setup must wait for it, -j or not, and must be read by a make
# that starts when the tools are there.  So this make does the set-up only and a second one the rest.
GOALS_AFTER_SETUP := $(if $(filter setup,$(MAKECMDGOALS)),$(filter-out setup,$(MAKECMDGOALS)))
ifneq ($(GOALS_AFTER_SETUP),)

.PHONY: $(GOALS_AFTER_SETUP)
$(firstword $(GOALS_AFTER_SETUP)): setup
	+@$(MAKE) --no-print-directory $(GOALS_AFTER_SETUP)
$(wordlist 2,99,$(GOALS_AFTER_SETUP)): $(firstword $(GOALS_AFTER_SETUP)) ; @:

else

# ---- configuration --------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
DEBUG ?= 1
LD := ld
NM := nm
OBJCOPY := objcopy
PYTHON := python3

comma := ,
SANS := $(subst $(comma), ,$(SAN:1=ubsan,kasan))
CONFIG := $(if $(filter 0,$(DEBUG)),release,debug)-$(notdir $(firstword $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN:1=san)))
B := build/$(CONFIG)
O := $(B)/obj
Q := $(if $(V),,@)

ifneq ($(filter-out 0 1,$(DEBUG)),)
$(error DEBUG=$(DEBUG): must be 0 or 1)
endif

ifneq ($(filter-out ubsan kasan race,$(SANS))$(and $(filter kasan,$(SANS)),$(filter race,$(SANS))),)
$(error SAN=$(SAN): must be ubsan, kasan, race, ubsan$(comma)race or 1)
endif
ifeq ($(if $(SAN),1)$(DEBUG),10)
$(error SAN=$(SAN) needs DEBUG=1: release builds have no red zones around objects)
endif
UBSAN := $(if $(filter ubsan,$(SANS)),1,0)
KASAN := $(if $(filter kasan,$(SANS)),1,0)
RACE := $(if $(filter race,$(SANS)),1,0)

CPPFLAGS := -I. -DFAULTLINE_DEBUG=$(DEBUG) -DFAULTLINE_UBSAN=$(UBSAN) -DFAULTLINE_KASAN=$(KASAN) -DFAULTLINE_RACE=$(RACE)
CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fno-strict-aliasing -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
	-fno-common -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wno-unused-parameter \
	$(if $(CI),-Werror)
ASFLAGS := -g -fno-pic -mcmodel=kernel -Wa,--noexecstack $(if $(CI),-Werror)
LDFLAGS := -n -T linker.ld -z max-page-size=4096 -z noexecstack --build-id=none --defsym=kasan=$(KASAN)

SOURCES := $(sort $(wildcard boot/*.S boot/*.c kernel/*.c kernel/lib/*.c kernel/amd64/*.c kernel/amd64/*.S \
	kernel/fs/*.c kernel/fs/*/*.c kernel/user/*.c vm/*.c vm/amd64/*.c drivers/*.c tests/kernel/*.c tests/bench/*.c))
SOURCES := $(filter-out $(if $(filter 0,$(DEBUG)),kernel/lockorder.c) $(if $(filter 0,$(UBSAN)),kernel/ubsan.c) \
	$(if $(filter 0,$(KASAN)),kernel/kasan.c vm/amd64/pmap_shadow.c) $(if $(filter 0,$(RACE)),kernel/racewatch.c tests/kernel/t_racewatch.c),$(SOURCES))
OBJECTS := $(SOURCES:%=$(O)/%.o)

.PHONY: all kernel
all: kernel ## build the kernel (the default)

# build/kernel.elf points to the kernel that was asked for last.
kernel: $(B)/kernel.elf
	@if [ "$$(readlink build/kernel.elf)" != "$(CONFIG)/kernel.elf" ]; then ln -sfn $(CONFIG)/kernel.elf build/kernel.elf; fi

# ---- sanitizers -----------------------------------------------------------------------------------

# Not watched by UBSan: `null`, because page 0 is never mapped and the processor watches it for nothing.
# C++'s kinds and floating point's don't occur.
UBSAN_CFLAGS := -fsanitize=undefined -fno-sanitize=null
# The offset is KASAN_SHADOW_OFFSET of kernel/amd64/layout.h.  Accesses are checked by calls (a threshold
# of 0): that is half the size of checks in line, and kasan.c can let pass what has no shadow.
KASAN_OFFSET := 0xdffffc0000000000
KASAN_CFLAGS := -fsanitize=kernel-address $(if $(findstring clang,$(CC)), \
	-mllvm -asan-mapping-offset=$(KASAN_OFFSET) -mllvm -asan-instrumentation-with-call-threshold=0 \
	-mllvm -asan-stack=1 -mllvm -asan-globals=1 -mllvm -asan-use-after-return=never, \
	-fasan-shadow-offset=$(KASAN_OFFSET) --param asan-instrumentation-with-call-threshold=0 \
	--param asan-stack=1 --param asan-globals=1 --param asan-use-after-return=0)

# Races: who reads and writes the VM's and the filesystems' fields.  volatile is a mark, so it has calls of its own.
RACE_CFLAGS := -fsanitize=thread -fno-optimize-sibling-calls $(if $(findstring clang,$(CC)), \
	-mllvm -tsan-distinguish-volatile=1 -mllvm -tsan-instrument-func-entry-exit=0 -mllvm -tsan-instrument-memintrinsics=0, \
	--param tsan-distinguish-volatile=1 --param tsan-instrument-func-entry-exit=0 -Wno-tsan)
RACE_IN := vm/% kernel/fs/% kernel/lib/rbtree.c tests/kernel/t_racewatch.c

# Left out: the sanitizers themselves, which would report while they report; and for KASAN slab.c, which
# fills and reads the red zones and the free objects that nobody else may touch.
UBSAN_WITHOUT := kernel/ubsan.c kernel/kasan.c kernel/racewatch.c
KASAN_WITHOUT := kernel/ubsan.c kernel/kasan.c kernel/slab.c
# Here memcpy, memmove and memset are those that do not check: where they are defined, and where poison is
# handled.  The kernel's other files get kasan.c's, which check and then call these.
KASAN_RAW := kernel/lib/string.c kernel/slab.c
KASAN_RAW_CFLAGS := -Dmemcpy=raw_memcpy -Dmemmove=raw_memmove -Dmemset=raw_memset

# The flags for one source file.
kasan_cflags = $(if $(filter $1,$(KASAN_WITHOUT)),,$(KASAN_CFLAGS)) $(if $(filter $1,$(KASAN_RAW)),$(KASAN_RAW_CFLAGS))
ubsan_cflags = $(if $(filter $1,$(UBSAN_WITHOUT)),,$(UBSAN_CFLAGS))
race_cflags = $(if $(filter $(RACE_IN),$1),$(RACE_CFLAGS))
san_cflags = $(if $(filter 1,$(UBSAN)),$(call ubsan_cflags,$1)) $(if $(filter 1,$(KASAN)),$(call kasan_cflags,$1)) \
	$(if $(filter 1,$(RACE)),$(call race_cflags,$1))

# ---- compiling ------------------------------------------------------------------------------------

# Rewritten only when its text would change, so that a new flag or compiler rebuilds what depends on it.
.PHONY: FORCE
$(B)/flags: FORCE
	@command -v $(firstword $(CC)) >/dev/null || { echo "make: the compiler $(firstword $(CC)) is not installed: run make setup" >&2; exit 1; }
	@mkdir -p $(@D); \
	{ echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(call san_cflags,any) $(if $(filter 1,$(RACE)),$(RACE_CFLAGS)) | $(ASFLAGS) | $(LDFLAGS)'; $(CC) --version | head -n 1; } >$@.new || exit 1; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Likewise for the list of sources: a file that is gone must go from the kernel, too.
$(B)/sources: FORCE
	@mkdir -p $(@D); echo '$(SOURCES)' | cmp -s - $@ || echo '$(SOURCES)' >$@

$(O)/%.c.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC  $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call san_cflags,$<) -MMD -MP -c -o $@ $<

$(O)/%.S.o: %.S $(B)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  AS  $<")
	$(Q)$(CC) $(CPPFLAGS) $(ASFLAGS) -D__ASSEMBLER__ -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

# ---- linking: twice, for the symbol table of the panic's backtrace --------------------------------

$(B)/kernel.elf: $(OBJECTS) linker.ld kernel/ksyms.py $(B)/flags $(B)/sources
	$(if $(V),,@echo "  LD  $@")
	$(Q)$(PYTHON) kernel/ksyms.py --empty >$(B)/ksyms0.S
	$(Q)$(CC) -c -o $(B)/ksyms0.o $(B)/ksyms0.S
	$(Q)$(LD) $(LDFLAGS) -o $(B)/kernel.pass1 $(OBJECTS) $(B)/ksyms0.o
	$(Q)$(NM) $(B)/kernel.pass1 >$(B)/pass1.nm
	$(Q)$(PYTHON) kernel/ksyms.py <$(B)/pass1.nm >$(B)/ksyms.S
	$(Q)$(CC) -c -o $(B)/ksyms.o $(B)/ksyms.S
	$(Q)$(LD) $(LDFLAGS) -o $@ $(OBJECTS) $(B)/ksyms.o
	$(Q)$(NM) $@ >$(B)/pass2.nm
	$(Q)$(PYTHON) kernel/ksyms.py --check $(B)/pass1.nm $(B)/pass2.nm

.PHONY: iso
iso: kernel $(B)/faultline.iso ## build the GRUB ISO (Multiboot2; BIOS and UEFI)

# GRUB reads the whole file into memory before it looks at it: without the debug information, 8 MiB are enough.
$(B)/faultline.iso: $(B)/kernel.elf boot/grub/grub.cfg
	$(if $(V),,@echo "  ISO $@")
	@rm -rf $(B)/iso && mkdir -p $(B)/iso/boot/grub
	@cp boot/grub/grub.cfg $(B)/iso/boot/grub/
	$(Q)$(OBJCOPY) --strip-debug $(B)/kernel.elf $(B)/iso/boot/kernel.elf
	$(Q)grub-mkrescue -o $@ $(B)/iso >$(B)/iso.log 2>&1 || { cat $(B)/iso.log >&2; exit 1; }

# ---- programs that run inside: ordinary static Linux programs, which the host can run as well --------

USER_PROGRAMS := $(patsubst tests/user/%.c,build/user/%,$(filter-out tests/user/probe.c,$(wildcard tests/user/*.c)))

.PHONY: programs
programs: $(USER_PROGRAMS) ## build the programs of tests/user (they run on Linux, too)

build/user/%: tests/user/%.c tests/user/probe.c tests/user/probe.h
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC  $<")
	$(Q)$(CC) -O1 -g -static -pthread -Wall -Wextra $(if $(CI),-Werror) -o $@ $< tests/user/probe.c

# ---- the UEFI loader and the EFI system partition that holds it -------------------------------------

# gnu-efi's headers let firmware's functions be called in firmware's convention; its start-up code relocates us.
EFI_CFLAGS := -std=gnu11 -O2 -ffreestanding -fpic -fshort-wchar -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fno-strict-aliasing -fno-asynchronous-unwind-tables -DGNU_EFI_USE_MS_ABI \
	-isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -Wall -Wextra -Wstrict-prototypes -Wundef -Wvla \
	$(if $(CI),-Werror)
EFI_OBJECTS := $(patsubst %,$(B)/efi/%.o,$(wildcard boot/efi/*.c) boot/boot_map.c)

$(B)/efi/%.c.o: %.c boot/efi/loader.h boot/boot_info.h boot/elf.h Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC  $< (EFI)")
	$(Q)$(CC) -I. $(EFI_CFLAGS) -c -o $@ $<

$(B)/BOOTX64.EFI: $(EFI_OBJECTS)
	$(if $(V),,@echo "  LD  $@")
	$(Q)$(LD) -nostdlib -shared -Bsymbolic -z nocombreloc -z noexecstack --no-undefined -T /usr/lib/elf_x86_64_efi.lds \
		-o $(B)/efi/loader.so /usr/lib/crt0-efi-x86_64.o $(EFI_OBJECTS) -L/usr/lib -lefi -lgnuefi
	$(Q)$(OBJCOPY) -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j '.rel*' -j .reloc --target efi-app-x86_64 \
		$(B)/efi/loader.so $@

.PHONY: esp
esp: kernel $(B)/esp.img ## build the EFI system partition with our own loader

$(B)/esp.img: $(B)/BOOTX64.EFI $(B)/kernel.elf
	$(if $(V),,@echo "  ESP $@")
	$(Q)$(OBJCOPY) --strip-debug $(B)/kernel.elf $(B)/efi/kernel.elf
	@rm -f $@
	$(Q)$(PYTHON) tests/host/mkesp.py $@ $(B)/BOOTX64.EFI $(B)/efi/kernel.elf

# ---- running --------------------------------------------------------------------------------------

QEMU := boot/qemu $(if $(BOOT),--boot $(BOOT)) $(if $(MACHINE),--machine $(MACHINE)) $(if $(DRIVE),--drive $(DRIVE)) $(if $(MEM),--mem $(MEM)) $(if $(CPU),--cpu $(CPU)) \
	$(if $(SMP),--smp $(SMP)) $(if $(ACCEL),--accel $(ACCEL))
export TEST SEED BS MEM CPU BOOT MACHINE DRIVE TORTURE YIELDS SMP ACCEL SAN CI

# `make test` runs the suite once more in a kernel that watches for undefined behaviour, and the suites about races
# in the same kernel, where it watches for races, too.
ifeq ($(TEST)$(BS)$(MEM)$(CPU)$(BOOT)$(MACHINE)$(DRIVE)$(TORTURE)$(YIELDS)$(SMP)$(SAN)$(filter 0,$(DEBUG)),)
WATCHED_KERNEL := $(B)-ubsan-race/kernel.elf
.PHONY: $(WATCHED_KERNEL)
$(WATCHED_KERNEL):
	+@$(MAKE) --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$$(nproc)) SAN=ubsan,race $@
endif

.PHONY: disk run tour test soak gdb bench doctor
disk: ## build the default disk, build/root.img, from build/root/
	@$(PYTHON) tests/host/mkimage.py default

# What the chosen way in needs besides the kernel.
MEDIUM := $(if $(filter bios uefi,$(BOOT)),iso) $(if $(filter efi,$(BOOT)),esp)

run: kernel disk $(MEDIUM) ## boot the default disk and play the tour (Ctrl-A X quits)
	@$(QEMU) $(if $(ARGS),-- $(ARGS))

tour: kernel disk ## play the steps of README.md and of the rooms' pages at your own pace; ROOM=vm: those of one room
	@$(PYTHON) tests/host/rooms.py play $(ROOM)

test: kernel iso esp disk programs $(WATCHED_KERNEL) ## run all tests; the last line says N passed, N failed
	@WATCHED_KERNEL=$(WATCHED_KERNEL) $(PYTHON) tests/host/run.py

soak: kernel iso esp disk programs $(WATCHED_KERNEL) ## run the self-tests in every combination of boot path, memory, CPU and block size
	@WATCHED_KERNEL=$(WATCHED_KERNEL) $(PYTHON) tests/host/run.py --soak

BREAK := $(if $(TEST),ktest_$(subst .,_,$(TEST)),vnode_pager_leaf_getpages)
gdb: kernel disk $(MEDIUM) ## boot to BREAK in gdb, the guest's console in build/console.log
	@RR='$(RR)' tests/gdb/run '$(BREAK)' $(wordlist 2,99,$(QEMU)) $(if $(ARGS)$(TEST),-- $(or $(ARGS),selftest='$(TEST)'))

# Always a release build and the same machine: the numbers are to be compared.
BENCH_KERNEL := build/release-$(notdir $(firstword $(CC)))/kernel.elf
BENCH := boot/qemu --icount --kernel $(BENCH_KERNEL) --disk build/images/bench.img,snapshot
# Time instead of instructions: once for the rates, and once in the debug kernel, which counts how often locks are taken.
BENCH_SMP := boot/qemu --smp 4 --disk build/images/bench.img,snapshot

bench: kernel build/images/bench.img build/images/bench-swap.img programs ## print guest instructions for the VM's common operations
	@$(MAKE) --no-print-directory DEBUG=0 $(BENCH_KERNEL)
	@$(BENCH) --disk build/images/bench-swap.img,snapshot -- bench$(if $(GLOB),='$(GLOB)') swap=vdb
	@$(if $(GLOB),,$(BENCH) --mem 32M -- bench=small-ram)
	@$(if $(GLOB),,$(BENCH_SMP) --kernel $(BENCH_KERNEL) -- bench=smp)
	@$(if $(GLOB),,$(BENCH_SMP) --kernel $(B)/kernel.elf -- bench=smp)
	@$(if $(GLOB),,$(PYTHON) tests/host/bench_user.py $(BENCH_KERNEL))

build/images/bench.img: tests/host/mkimage.py tests/host/volume.py
	@$(PYTHON) tests/host/mkimage.py bench $@

build/images/bench-swap.img:
	@mkdir -p $(@D) && truncate -s 16M $@

doctor: ## print the versions of the tools found and what is missing
	@command -v $(PYTHON) >/dev/null || { echo "doctor: python3 is missing: run make setup" >&2; exit 1; }
	@$(PYTHON) tests/host/doctor.py

# ---- the rest -------------------------------------------------------------------------------------

.PHONY: help clean
help: ## print this
	@echo "Targets (make TARGET ...)"
	@sed -n 's/^\([a-z_.]*\):[^#]*## \(.*\)/\1@\2/p' Makefile | while IFS=@ read -r t d; do printf '  %-24s %s\n' "$$t" "$$d"; done
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^#: \(.*\)/  \1/p' Makefile

compile_commands.json: Makefile $(B)/sources ## write the compiler's command lines for editors
	@{ sep='['; for f in $(filter %.c,$(SOURCES)); do \
		printf '%s\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' "$$sep" '$(CURDIR)' $$f '$(CC) $(CPPFLAGS) $(CFLAGS)' $$f; sep=','; \
	done; if [ "$$sep" = '[' ]; then printf '['; fi; printf '\n]\n'; } >$@
	@echo "wrote $@"

clean: ## remove build/
	rm -rf build compile_commands.json

endif
