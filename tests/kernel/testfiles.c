/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manifest of the test volume, and the pattern of its files.
 *
 *	# comment
 *	name size kind offset:length offset:length ...
 *
 * The pattern: seed = FNV-1a (32 bits) of the path; sector s of the file begins with v = mix64(seed
 * * 0x9E3779B97F4A7C15 + s * 0xD1B54A32D192ED03), and its little-endian 64-bit word i is v ^ (i *
 * 0x0101010101010101).  So every sector of every file differs from all others, and a byte that came
 * from the wrong place is seen.
 */
#include "tests/kernel/testfiles.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"

static MALLOC_DEFINE(M_TESTFILE, "test files");

#define TEXT_MAX	(16 * KiB)
#define FILES_MAX	64
#define EXTENTS_MAX	512
#define READ_CHUNK	(24 * KiB)	/* no multiple of most block sizes */

static char text[TEXT_MAX];
static struct testfile files[FILES_MAX];
static struct testfile_extent extents[EXTENTS_MAX];
static size_t nfiles, nextents;

/* ---- the pattern ---- */

static uint64_t
path_seed(const char *path)
{
	uint32_t hash = 0x811c9dc5u;

	for (; *path != '\0'; path++)
		hash = (hash ^ (uint8_t)*path) * 0x01000193u;
	return (hash);
}

static void
pattern_fill(uint64_t seed, uint64_t off, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t at = off + i, word = at % DEV_BSIZE / 8;
		uint64_t v = ktest_mix64(seed * 0x9e3779b97f4a7c15ul + at / DEV_BSIZE * 0xd1b54a32d192ed03ul);

		v ^= word * 0x0101010101010101ul;
		do {
			buf[i] = (uint8_t)(v >> at % 8 * 8);
		} while (++at % 8 != 0 && ++i < len);
	}
}

void
testfile_pattern(const char *path, uint64_t off, void *buf, size_t len)
{
	pattern_fill(path_seed(path), off, buf, len);
}

/* ---- the manifest ---- */

/* Cut the next word off a line; NULL at its end. */
static char *
next_word(char **line)
{
	char *word = *line;

	while (*word == ' ')
		word++;
	if (*word == '\0')
		return (NULL);
	for (*line = word; **line != ' ' && **line != '\0'; (*line)++)
		continue;
	if (**line == ' ')
		*(*line)++ = '\0';
	return (word);
}

static bool
parse_extents(struct testfile *tf, char *line)
{
	const char *end;
	char *word;

	tf->extents = &extents[nextents];
	tf->nextents = 0;
	while ((word = next_word(&line)) != NULL) {
		struct testfile_extent *e = &extents[nextents];

		if (nextents == EXTENTS_MAX)
			return (false);
		e->off = strtou64(word, &end, 10);
		if (*end != ':')
			return (false);
		e->len = strtou64(end + 1, &end, 10);
		if (*end != '\0')
			return (false);
		nextents++;
		tf->nextents++;
	}
	return (true);
}

static bool
parse_line(char *line)
{
	struct testfile *tf = &files[nfiles];
	char *name = next_word(&line), *size, *kind;

	if (name == NULL || name[0] == '#')
		return (true);
	size = next_word(&line);
	kind = next_word(&line);
	if (size == NULL || kind == NULL || nfiles == FILES_MAX)
		return (false);
	if (snprintf(tf->path, sizeof(tf->path), "/t/%s", name) >= (int)sizeof(tf->path))
		return (false);
	tf->size = strtou64(size, NULL, 10);
	tf->kind = kind;
	tf->seed = path_seed(tf->path);
	nfiles++;
	return (parse_extents(tf, line));
}

bool
testfiles_load(void)
{
	char *line = text, *end;
	struct vnode *vp;
	size_t done = 0;
	int error;

	if (nfiles > 0)
		return (true);
	if (namei("/t/manifest", NULL, 0, &vp) != 0)
		return (false);
	error = vn_read(vp, text, sizeof(text) - 1, 0, &done);
	vrele(vp);
	if (error != 0 || done == sizeof(text) - 1) {
		ktest_fail(__FILE__, __LINE__, "/t/manifest: error %d after %lu bytes", error, done);
		return (false);
	}
	text[done] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		if (!parse_line(line)) {
			ktest_fail(__FILE__, __LINE__, "/t/manifest: bad line \"%s\"", line);
			return (false);
		}
		line = end + 1;
	}
	return (nfiles > 0);
}

size_t
testfile_count(void)
{
	return (nfiles);
}

const struct testfile *
testfile_at(size_t i)
{
	return (&files[i]);
}

const struct testfile *
testfile_find(const char *path)
{
	for (size_t i = 0; i < nfiles; i++) {
		if (streq(files[i].path, path))
			return (&files[i]);
	}
	return (NULL);
}

/* ---- what a file must hold ---- */

static const struct testfile *
must_find(const char *path)
{
	const struct testfile *tf = testfile_find(path);

	KASSERT(tf != NULL, "%s is not in the manifest", path);
	return (tf);
}

static bool
file_piece(const struct testfile *tf, uint64_t off, uint64_t *start, uint64_t *end)
{
	*start = 0;
	*end = MAX(tf->size, off + 1);
	for (size_t i = 0; i < tf->nextents; i++) {
		const struct testfile_extent *e = &tf->extents[i];

		if (off < e->off) {
			*end = e->off;
			return (false);
		}
		if (off < e->off + e->len) {
			*start = e->off;
			*end = e->off + e->len;
			return (true);
		}
		*start = e->off + e->len;
	}
	return (false);
}

bool
testfile_piece(const char *path, uint64_t off, uint64_t *start, uint64_t *end)
{
	return (file_piece(must_find(path), off, start, end));
}

static void
file_expect(const struct testfile *tf, uint64_t off, uint8_t *buf, size_t len)
{
	uint64_t start, end;

	while (len > 0) {
		bool data = file_piece(tf, off, &start, &end);
		size_t n = MIN(len, end - off);

		if (data)
			pattern_fill(tf->seed, off, buf, n);
		else
			memset(buf, 0, n);
		buf += n;
		off += n;
		len -= n;
	}
}

void
testfile_expect(const char *path, uint64_t off, void *buf, size_t len)
{
	file_expect(must_find(path), off, buf, len);
}

bool
testfile_verify(const char *path, uint64_t off, const void *buf, size_t len)
{
	const struct testfile *tf = must_find(path);
	const uint8_t *got = buf;
	uint8_t want[DEV_BSIZE];

	for (size_t at = 0; at < len; at += sizeof(want)) {
		size_t n = MIN(len - at, sizeof(want)), i = 0;

		file_expect(tf, off + at, want, n);
		if (memcmp(got + at, want, n) == 0)
			continue;
		while (got[at + i] == want[i])
			i++;
		ktest_fail(__FILE__, __LINE__, "%s: byte %lu is 0x%02x, must be 0x%02x", path, off + at + i,
		    got[at + i], want[i]);
		return (false);
	}
	return (true);
}

struct vnode *
testfile_open(const char *path)
{
	struct vnode *vp;
	int error = namei(path, NULL, 0, &vp);

	if (error == 0)
		return (vp);
	ktest_fail(__FILE__, __LINE__, "%s cannot be opened: %s", path, errno_name(error));
	return (NULL);
}

bool
testfile_read_verify(struct vnode *vp, const char *path, uint64_t off, uint64_t len)
{
	const struct testfile *tf = must_find(path);
	char *buf = kmalloc(READ_CHUNK, &M_TESTFILE, M_WAITOK);
	bool good = true;

	while (good && len > 0) {
		size_t chunk = MIN(len, READ_CHUNK), done;
		uint64_t left = off < tf->size ? tf->size - off : 0;
		int error;

		memset(buf, 0xa5, chunk);
		error = vn_read(vp, buf, chunk, (off_t)off, &done);
		if (error != 0 || done != MIN(chunk, left)) {
			ktest_fail(__FILE__, __LINE__, "%s: read of %lu at %lu gave %lu bytes, %s", path, chunk, off,
			    done, error != 0 ? errno_name(error) : "no error");
			good = false;
		} else {
			good = testfile_verify(path, off, buf, done);
		}
		off += chunk;
		len -= chunk;
	}
	kfree(buf, &M_TESTFILE);
	return (good);
}
