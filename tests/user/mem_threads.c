/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One address space, many threads: faults on the same pages, fork and unmapping while others fault, and stores that
 * are never lost.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS	8
#define PAGES	64
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)
#define RW	(PROT_READ | PROT_WRITE)

static unsigned char *memory;
static atomic_int stop, wrong, rounds;

static void
run(void *(*fn)(void *), int threads)
{
	pthread_t ids[THREADS];
	long i;

	for (i = 0; i < threads; i++)
		need(pthread_create(&ids[i], NULL, fn, (void *)i) == 0, "pthread_create");
	for (i = 0; i < threads; i++)
		need(pthread_join(ids[i], NULL) == 0, "pthread_join");
}

/* Each thread has one byte of each page, so every page is fought for and every byte is somebody's. */
static void *
store_my_byte(void *arg)
{
	long me = (long)arg, i;

	for (i = 0; i < PAGES; i++)
		memory[(i * 13 + me * 7) % PAGES * PAGE + me] = (unsigned char)(me + 1);
	return (NULL);
}

static void
same_pages(int flags, int fd, const char *kind)
{
	int good = 0, i, t;

	memory = map(PAGES * PAGE, RW, flags, fd, 0);
	run(store_my_byte, THREADS);
	for (i = 0; i < PAGES; i++)
		for (t = 0; t < THREADS; t++)
			good += memory[i * PAGE + t] == t + 1;
	fact(kind, "%d of %d bytes", good, PAGES * THREADS);
	munmap(memory, PAGES * PAGE);
}

/* Count in every page, for ever; each thread checks that nobody takes back what it stored. */
static void *
count_up(void *arg)
{
	long me = (long)arg, i;
	unsigned char n = 0;

	while (!atomic_load(&stop)) {
		n++;
		for (i = 0; i < PAGES; i++)
			memory[i * PAGE + me * 8] = n;
		for (i = 0; i < PAGES; i++)
			if (memory[i * PAGE + me * 8] != n)
				atomic_fetch_add(&wrong, 1);
		atomic_fetch_add(&rounds, 1);
	}
	return (NULL);
}

/* A child is a snapshot: no byte of it moves, however its parent's threads go on. */
static int
snapshot(void *arg)
{
	unsigned char seen[PAGES * 4];
	int i, t, turn;

	(void)arg;
	for (i = 0; i < PAGES; i++)
		for (t = 0; t < 4; t++)
			seen[i * 4 + t] = memory[i * PAGE + t * 8];
	for (turn = 0; turn < 20; turn++)
		for (i = 0; i < PAGES; i++)
			for (t = 0; t < 4; t++)
				if (seen[i * 4 + t] != memory[i * PAGE + t * 8])
					return (1);
	for (i = 0; i < PAGES; i++)
		memory[i * PAGE + 100] = 0xff;
	return (0);
}

static void
fork_while_others_fault(void)
{
	pthread_t ids[4];
	int i, good = 0, leaked = 0;

	memory = map(PAGES * PAGE, RW, ANON, -1, 0);
	for (i = 0; i < 4; i++)
		need(pthread_create(&ids[i], NULL, count_up, (void *)(long)i) == 0, "pthread_create");
	while (atomic_load(&rounds) < 4)
		usleep(1000);
	for (i = 0; i < 30; i++)
		good += in_child(snapshot, NULL) == 0;
	atomic_store(&stop, 1);
	for (i = 0; i < 4; i++)
		need(pthread_join(ids[i], NULL) == 0, "pthread_join");
	for (i = 0; i < PAGES; i++)
		leaked += memory[i * PAGE + 100] != 0;
	fact("children that are snapshots, while four threads store", "%d", good);
	fact("stores that were lost", "%d", atomic_load(&wrong));
	fact("pages that a child changed in its parent", "%d", leaked);
}

/* What munmap takes away while others use it is a fault, and nothing else. */
static void *
map_and_unmap(void *arg)
{
	long me = (long)arg, i;

	for (i = 0; i < 300; i++) {
		unsigned char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);

		if (p == MAP_FAILED || !all_bytes(p, 8 * PAGE, 0)) {
			atomic_fetch_add(&wrong, 1);
			continue;
		}
		memset(p, (int)me + 1, 8 * PAGE);
		if (!all_bytes(p, 8 * PAGE, (unsigned char)(me + 1)))
			atomic_fetch_add(&wrong, 1);
		mprotect(p + PAGE, 2 * PAGE, PROT_READ);
		munmap(p + 4 * PAGE, PAGE);
		munmap(p, 8 * PAGE);
	}
	return (NULL);
}

static void *
truncate_and_grow(void *arg)
{
	int fd = *(int *)arg, i;

	for (i = 0; i < 400; i++) {
		if (ftruncate(fd, i % 4 * (long)PAGE + 100) != 0 || ftruncate(fd, 8 * PAGE) != 0)
			atomic_fetch_add(&wrong, 1);
	}
	atomic_store(&stop, 1);
	return (NULL);
}

/* A page behind the end for a moment: SIGBUS or a byte, and a byte is 0 or what was stored. */
static void
truncate_while_others_fault(void)
{
	int fd = scratch_file(NULL, 0), strange = 0, i = 0;
	pthread_t id;

	need(ftruncate(fd, 8 * PAGE) == 0, "ftruncate");
	memory = map(8 * PAGE, RW, MAP_SHARED, fd, 0);
	atomic_store(&stop, 0);
	need(pthread_create(&id, NULL, truncate_and_grow, &fd) == 0, "pthread_create");
	while (!atomic_load(&stop)) {
		unsigned char *at = memory + i++ % 8 * PAGE + 200;
		const char *text = store(at, 0xe5);

		strange += strcmp(text, "stored") != 0 && strcmp(text, "SIGBUS ADRERR") != 0;
		text = load(at);
		strange += strcmp(text, "0xe5") != 0 && strcmp(text, "0x00") != 0 && strcmp(text, "SIGBUS ADRERR") != 0;
	}
	need(pthread_join(id, NULL) == 0, "pthread_join");
	fact("strange outcomes while the file is truncated", "%d", strange);
	need(ftruncate(fd, 0) == 0 && ftruncate(fd, 8 * PAGE) == 0, "ftruncate");
	fact("at the end, zeros", "%d", all_bytes(memory, 8 * PAGE, 0));
}

static void *
take_and_go(void *lock)
{
	need(pthread_mutex_lock(lock) == 0, "pthread_mutex_lock");
	return (NULL);
}

static int
take_and_be_killed(void *lock)
{
	need(pthread_mutex_lock(lock) == 0, "pthread_mutex_lock");
	kill(getpid(), SIGKILL);
	return (0);
}

/* Locks whose holder ends: the next one is told. */
static void
holders_that_go(void)
{
	pthread_mutex_t *lock = map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t robust;
	pthread_t id;

	need(pthread_mutexattr_init(&robust) == 0 && pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST) == 0 &&
	    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED) == 0 && pthread_mutex_init(lock, &robust) == 0, "robust");
	need(pthread_create(&id, NULL, take_and_go, lock) == 0 && pthread_join(id, NULL) == 0, "pthread_create");
	fact("a lock whose thread is gone", "%s", strerrorname_np(pthread_mutex_lock(lock)));
	need(pthread_mutex_consistent(lock) == 0 && pthread_mutex_unlock(lock) == 0, "pthread_mutex_consistent");
	fact("a process that takes it is", "%s", status_text(in_child(take_and_be_killed, lock)));
	fact("its lock", "%s", strerrorname_np(pthread_mutex_lock(lock)));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	holders_that_go();
	same_pages(ANON, -1, "anonymous pages, eight threads");
	same_pages(MAP_SHARED, scratch_file(NULL, PAGES * PAGE), "a file's pages, shared");
	same_pages(MAP_PRIVATE, scratch_file(NULL, PAGES * PAGE), "a file's pages, private");
	fork_while_others_fault();
	run(map_and_unmap, THREADS);
	fact("wrong bytes while eight threads map and unmap", "%d", atomic_load(&wrong));
	truncate_while_others_fault();
	return (0);
}
