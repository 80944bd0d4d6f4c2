/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs of tests/user share: facts on standard output, and faults as answers.
 *
 * Each program covers one area of memory semantics and prints one fact a line.  It knows nothing of the kernel
 * under it and judges nothing: it runs on Linux unchanged, and the two transcripts are compared line by line.  So a
 * fact must not depend on addresses, times or on how the machine is set up, and what cannot be had at all
 * (no disk space, no memory) ends the program with status 2 and a sentence on standard error.
 *
 * Usage of every program:  PROGRAM [DIR]	where DIR is a folder on the filesystem under test, default "."
 */
#ifndef TESTS_USER_PROBE_H
#define TESTS_USER_PROBE_H

#include <stddef.h>
#include <stdint.h>

#define PAGE	4096ul

/* Install the fault handlers and change to DIR.  Call first. */
void probe_init(int argc, char **argv);

/* Print a fact: "WHAT: " and the rest as by printf, and a newline. */
void fact(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Access a byte and say what became of it, in words that depend on the outcome only:
 *	"0x41"				the byte read
 *	"stored"			a store that worked
 *	"SIGSEGV MAPERR", "SIGBUS ADRERR"	...and " at other address" when si_addr is not the byte's
 * The string is valid until the call after next.
 */
const char *load(const volatile void *at);
const char *store(volatile void *at, unsigned char byte);
const char *jump(const void *at);		/* call it as a function without arguments */
/* As these, but for any code: run fn(arg); `at` is the address that a fault is expected to name. */
const char *attempt(void (*fn)(void *), void *arg, const volatile void *at);

/* What errno was, by name: "ok" for a result that is not negative. */
const char *result(long value);
/* The same for mmap(): and unmaps what was mapped. */
const char *map_result(void *addr, size_t len, int prot, int flags, int fd, long off);
/* How a child ended: "exit 3", "killed by SIGSEGV". */
const char *status_text(int status);

/* A fresh file in DIR of `size` bytes, byte i being pattern(i); already unlinked unless `name` is given. */
int scratch_file(const char *name, size_t size);
unsigned char pattern(size_t i);
/* mmap() that must work. */
void *map(size_t len, int prot, int flags, int fd, long off);
/* Must not fail: ends the program with a sentence when `ok` is false. */
void need(int ok, const char *what);
/* All bytes of [p, p + len) equal to `byte`?  Or to the pattern from `from` on? */
int all_bytes(const volatile unsigned char *p, size_t len, unsigned char byte);
int all_pattern(const volatile unsigned char *p, size_t len, size_t from);
/*
 * For programs with random operations: numbers that a seed decides, and one sum of everything that came of them.
 */
extern uint64_t random_sum;
void random_begin(uint64_t seed);
uint32_t rnd(uint32_t below);
void mix(uint64_t value);
void mix_text(const char *s);
/* Run fn(arg) in a child; returns its wait status. */
int in_child(int (*fn)(void *), void *arg);

#endif
