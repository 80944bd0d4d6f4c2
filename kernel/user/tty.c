/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal: the console with a line discipline and job control.
 *
 *	UART, keyboard --console_input()--> tty_input() --> [ input ring ] --> tty_read()
 *						|               read..done..edit
 *						+--> echo, signals to the foreground group
 *
 *	ring:  tail ......... done ......... head	[tail, done) may be read; [done, head) is a line being edited
 *
 * In canonical mode a line becomes readable as a whole, by its newline or by an end-of-file mark (a code that is no
 * byte); in raw mode every byte does at once.
 *
 * There is one terminal.  It belongs to a session; of that session's groups one is in the foreground, gets the
 * keyboard's signals and may read.
 *
 * Lock: the terminal's spin lock, also taken by the input interrupt; then proc_lock inside signal_pgrp().
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/console.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"
#include "kernel/fs/vnode.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

#define RING		4096		/* codes; a power of two */
#define EOF_MARK	0x100		/* Ctrl-D: ends a read, is no byte */
#define NCCS		19

enum { VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP, VEOL, VREPRINT, VDISCARD, VWERASE,
    VLNEXT, VEOL2 };

#define INLCR	0000100u
#define IGNCR	0000200u
#define ICRNL	0000400u
#define IXON	0002000u
#define OPOST	0000001u
#define ONLCR	0000004u
#define ISIG	0000001u
#define ICANON	0000002u
#define ECHO	0000010u
#define ECHOE	0000020u
#define ECHOK	0000040u
#define ECHONL	0000100u
#define NOFLSH	0000200u
#define TOSTOP	0000400u
#define ECHOCTL	0001000u
#define ECHOKE	0004000u
#define IEXTEN	0100000u

/* Linux's kernel struct termios, 36 bytes. */
struct termios {
	uint32_t	iflag, oflag, cflag, lflag;
	uint8_t		line;
	uint8_t		cc[NCCS];
};
_Static_assert(sizeof(struct termios) == 36, "struct termios");

struct winsize {
	uint16_t	rows, columns, xpixel, ypixel;
};

static const struct termios sane = {
	.iflag = ICRNL | IXON, .oflag = OPOST | ONLCR, .cflag = 0xbf, /* 38400 baud, 8 bits, receiver on */
	.lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.cc = { [VINTR] = 3, [VQUIT] = 28, [VERASE] = 127, [VKILL] = 21, [VEOF] = 4, [VMIN] = 1, [VSTART] = 17,
	    [VSTOP] = 19, [VSUSP] = 26, [VREPRINT] = 18, [VDISCARD] = 15, [VWERASE] = 23, [VLNEXT] = 22 },
};

static struct {
	struct spinlock	lock;
	struct termios	t;		/* (lock) */
	struct winsize	size;		/* (lock) */
	int		sid, pgid;	/* (lock) session and foreground group; 0: none */
	uint32_t	tail, done, head; /* (lock) only grow; index modulo RING */
	uint16_t	ring[RING];	/* (lock) */
} tty = {
	.lock = SPINLOCK_INITIALIZER("terminal", RANK_FILE), .size = { 24, 80, 0, 0 },
};

/* ---- input.  => all with the lock held ---- */

static void
echo(int c)
{
	char text[2] = { '^', (char)(c ^ 0x40) };

	if ((tty.t.lflag & ECHO) == 0 && !(c == '\n' && (tty.t.lflag & ECHONL)))
		return;
	if ((c < ' ' && c != '\n' && c != '\t' && (tty.t.lflag & ECHOCTL)) || c == 127)
		console_write(text, 2);
	else
		console_putc((char)c);
}

/* Take the last code of the line being edited away, also from the screen. */
static void
erase_one(void)
{
	int c = tty.ring[--tty.head % RING];
	int columns = c < ' ' || c == 127 ? 2 : 1;

	if ((tty.t.lflag & (ECHO | ECHOE)) == (ECHO | ECHOE))
		while (columns-- > 0)
			console_write("\b \b", 3);
}

static void
erase_line(void)
{
	while (tty.head != tty.done)
		erase_one();
}

static void
erase_word(void)
{
	while (tty.head != tty.done && tty.ring[(tty.head - 1) % RING] == ' ')
		erase_one();
	while (tty.head != tty.done && tty.ring[(tty.head - 1) % RING] != ' ')
		erase_one();
}

/* What has been typed so far may be read. */
static void
commit(void)
{
	tty.done = tty.head;
	wakeup(&tty);
	poll_wakeup();
}

static void
append(int c)
{
	if (tty.head - tty.tail < RING - 1 || (c == '\n' && tty.head - tty.tail < RING))
		tty.ring[tty.head++ % RING] = (uint16_t)c;
}

static bool
is_control(int c, int which)
{
	return (tty.t.cc[which] != 0 && c == tty.t.cc[which]);
}

/* A key that is a signal?  Then it is done with. */
static bool
input_signal(int c)
{
	int sig = is_control(c, VINTR) ? SIGINT : is_control(c, VQUIT) ? SIGQUIT : is_control(c, VSUSP) ? SIGTSTP : 0;

	if ((tty.t.lflag & ISIG) == 0 || sig == 0)
		return (false);
	echo(c);
	if ((tty.t.lflag & NOFLSH) == 0)
		tty.tail = tty.done = tty.head;
	if (tty.pgid != 0)
		(void)signal_pgrp(tty.pgid, sig, NULL);
	return (true);
}

/* A key that edits the line or ends it?  Then it is done with. */
static bool
input_edit(int c)
{
	if ((tty.t.lflag & ICANON) == 0)
		return (false);
	if (is_control(c, VERASE) || c == '\b') {
		if (tty.head != tty.done)
			erase_one();
	} else if (is_control(c, VKILL)) {
		erase_line();
	} else if (is_control(c, VWERASE) && (tty.t.lflag & IEXTEN)) {
		erase_word();
	} else if (is_control(c, VEOF)) {
		append(EOF_MARK);
		commit();
	} else {
		return (false);
	}
	return (true);
}

static void
tty_input(char byte)
{
	int c = (uint8_t)byte;

	spin_lock(&tty.lock);
	if (c == '\r' && (tty.t.iflag & ICRNL))
		c = '\n';
	else if (c == '\n' && (tty.t.iflag & INLCR))
		c = '\r';
	if (!(byte == '\r' && (tty.t.iflag & IGNCR)) && !input_signal(c) && !input_edit(c)) {
		append(c);
		echo(c);
		if ((tty.t.lflag & ICANON) == 0 || c == '\n' || is_control(c, VEOL))
			commit();
	}
	spin_unlock(&tty.lock);
}

/* A line too long to be ended would wait for ever: then what comes is dropped. */
static bool
tty_has_room(void)
{
	bool room;

	spin_lock(&tty.lock);
	room = tty.head - tty.tail < RING - 1 || tty.done == tty.tail;
	spin_unlock(&tty.lock);
	return (room);
}

void
tty_init(void)
{
	static const struct console_taker taker = { .take = tty_input, .has_room = tty_has_room };

	tty.t = sane;
	console_set_input(&taker);
}

/* ---- job control ---- */

/*
 * May curproc read from, or change, its terminal?  A background group is stopped by `sig` and tries again; one that
 * cannot be stopped gets an error.
 */
static int
foreground(int sig)
{
	struct proc *p = curproc;
	bool background, orphaned;

	spin_lock(&tty.lock);
	background = tty.sid != 0 && p->sid == tty.sid && p->pgid != tty.pgid;
	spin_unlock(&tty.lock);
	if (!background)
		return (0);
	if (signal_ignored(sig))
		return (sig == SIGTTOU ? 0 : EIO);
	spin_lock(&proc_lock);
	orphaned = pgrp_orphaned(p->pgid);
	spin_unlock(&proc_lock);
	if (orphaned)
		return (EIO);
	(void)signal_pgrp(p->pgid, sig, NULL);
	return (ERESTARTSYS);
}

void
tty_session_ends(struct proc *p)
{
	int pgid = 0;

	spin_lock(&tty.lock);
	if (tty.sid != 0 && tty.sid == p->sid) {
		pgid = tty.pgid;
		tty.sid = tty.pgid = 0;
	}
	spin_unlock(&tty.lock);
	if (pgid != 0) {
		(void)signal_pgrp(pgid, SIGHUP, NULL);
		(void)signal_pgrp(pgid, SIGCONT, NULL);
	}
}

bool
tty_is_ours(void)
{
	bool ours;

	spin_lock(&tty.lock);
	ours = tty.sid != 0 && tty.sid == curproc->sid;
	spin_unlock(&tty.lock);
	return (ours);
}

/* The terminal becomes that of curproc's session, if both are free for it. */
static int
acquire(void)
{
	struct proc *p = curproc;
	int error = 0;

	spin_lock(&tty.lock);
	if (p->sid != p->pid)
		error = tty.sid == p->sid ? 0 : EPERM;
	else if (tty.sid == 0 || tty.sid == p->sid) {
		tty.pgid = tty.sid == 0 ? p->pgid : tty.pgid;
		tty.sid = p->sid;
	} else
		error = EPERM;
	spin_unlock(&tty.lock);
	return (error);
}

/* ---- reading ---- */

/* Is there enough for a read of `want` bytes in the mode that we are in?  => lock */
static bool
enough(size_t want, bool waited)
{
	uint32_t have = tty.done - tty.tail;

	if (tty.t.lflag & ICANON)
		return (have > 0);
	if (tty.t.cc[VMIN] == 0)
		return (have > 0 || tty.t.cc[VTIME] == 0 || waited);
	return (have >= MIN((size_t)tty.t.cc[VMIN], want) || (have > 0 && tty.t.cc[VTIME] != 0 && waited));
}

/* Take up to `max` bytes: to the end of a line at most.  *eof: a mark was met first.  => lock */
static size_t
take(char *buf, size_t max, bool *end)
{
	size_t n = 0;

	*end = false;
	while (n < max && tty.tail != tty.done && !*end) {
		int c = tty.ring[tty.tail++ % RING];

		if (c == EOF_MARK && (tty.t.lflag & ICANON)) {
			*end = true;
			break;
		}
		if (c == EOF_MARK)
			c = tty.t.cc[VEOF];	/* typed before raw mode began */
		buf[n++] = (char)c;
		*end = (tty.t.lflag & ICANON) && (c == '\n' || is_control(c, VEOL));
	}
	/* A mark right behind a full read ended that line, not the next. */
	if ((tty.t.lflag & ICANON) && !*end && n > 0 && tty.tail != tty.done && tty.ring[tty.tail % RING] == EOF_MARK) {
		tty.tail++;
		*end = true;
	}
	return (n);
}

/* => lock held, and again on return */
static int
wait_for_input(struct file *fp, size_t want)
{
	bool waited = false;
	int error = 0;

	while (error == 0 && !enough(want, waited)) {
		uint64_t limit = tty.t.lflag & ICANON ? 0 : tty.t.cc[VTIME] * (uint64_t)HZ / 10;

		if (tty.t.cc[VMIN] > 0 && tty.done == tty.tail)
			limit = 0;		/* the timer runs from the first byte on */
		if (fp->flags & O_NONBLOCK)
			return (EAGAIN);
		error = tsleep_sig(&tty, &tty.lock.lk, "ttyin", limit);
		if (error == EWOULDBLOCK) {
			waited = true;
			error = 0;
		}
	}
	return (error);
}

static int
tty_read(struct file *fp, struct user_io *io, off_t *pos)
{
	bool end = false, first = true;
	char buf[256];
	int error = foreground(SIGTTIN);

	while (error == 0 && io->len > 0 && !end) {
		size_t n = 0;

		spin_lock(&tty.lock);
		if (first)
			error = wait_for_input(fp, io->len);
		first = false;
		if (error == 0)
			n = take(buf, MIN(io->len, sizeof(buf)), &end);
		spin_unlock(&tty.lock);
		console_input_goes_on();
		if (error == 0 && n == 0)
			break;
		if (error == 0)
			error = user_out(io, buf, n);
	}
	return (error);
}

/* ---- writing ---- */

static int
tty_write(struct file *fp, struct user_io *io, off_t *pos)
{
	char buf[256];
	int error = 0;

	if (tty.t.lflag & TOSTOP)
		error = foreground(SIGTTOU);
	while (error == 0 && io->len > 0) {
		size_t want = MIN(io->len, sizeof(buf)), before = io->len;

		error = user_in(io, buf, want);
		console_write(buf, before - io->len);
	}
	return (error);
}

static int
tty_poll(struct file *fp)
{
	int bits = POLLOUT;

	spin_lock(&tty.lock);
	if (tty.done != tty.tail)
		bits |= POLLIN;
	spin_unlock(&tty.lock);
	return (bits);
}

/* ---- ioctl ---- */

#define TCGETS		0x5401
#define TCSETS		0x5402
#define TCSETSW		0x5403
#define TCSETSF		0x5404
#define TCSBRK		0x5409
#define TCXONC		0x540a
#define TCFLSH		0x540b
#define TIOCSCTTY	0x540e
#define TIOCGPGRP	0x540f
#define TIOCSPGRP	0x5410
#define TIOCGWINSZ	0x5413
#define TIOCSWINSZ	0x5414
#define FIONREAD	0x541b
#define TIOCNOTTY	0x5422
#define TIOCGSID	0x5429

static int
set_termios(vm_offset_t arg, bool flush)
{
	struct termios t;
	int error = foreground(SIGTTOU);

	if (error == 0)
		error = copyin(arg, &t, sizeof(t));
	if (error != 0)
		return (error);
	spin_lock(&tty.lock);
	if (flush)
		tty.tail = tty.done = tty.head;
	tty.t = t;
	if ((t.lflag & ICANON) == 0)
		commit();		/* a line half typed is raw input now */
	spin_unlock(&tty.lock);
	console_input_goes_on();
	return (0);
}

static int
set_foreground(vm_offset_t arg)
{
	struct proc *p = curproc;
	bool exists;
	int pgid, error = foreground(SIGTTOU);

	if (error == 0)
		error = copyin(arg, &pgid, sizeof(pgid));
	if (error != 0)
		return (error);
	if (tty.sid == 0 || p->sid != tty.sid)
		return (ENOTTY);
	if (pgid < 0)
		return (EINVAL);
	spin_lock(&proc_lock);
	exists = pgrp_exists(pgid, p->sid);
	spin_unlock(&proc_lock);
	if (!exists)
		return (EPERM);
	spin_lock(&tty.lock);
	tty.pgid = pgid;
	spin_unlock(&tty.lock);
	return (0);
}

static int
int_out(vm_offset_t to, int value)
{
	return (copyout(&value, to, sizeof(value)));
}

static int
tty_ioctl(struct file *fp, uint64_t request, vm_offset_t arg)
{
	struct termios t;
	struct winsize w;

	switch (request) {
	case TCGETS:
		spin_lock(&tty.lock);
		t = tty.t;
		spin_unlock(&tty.lock);
		return (copyout(&t, arg, sizeof(t)));
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		return (set_termios(arg, request == TCSETSF));
	case TCFLSH:
		spin_lock(&tty.lock);
		if (arg != 1)
			tty.tail = tty.done = tty.head;
		spin_unlock(&tty.lock);
		console_input_goes_on();
		return (0);
	case TCSBRK:
	case TCXONC:
		return (0);			/* output is never held back */
	case TIOCSCTTY:
		return (acquire());
	case TIOCNOTTY:
		if (curproc->sid == curproc->pid)
			tty_session_ends(curproc);
		return (0);
	case TIOCGPGRP:
		return (curproc->sid != tty.sid || tty.sid == 0 ? ENOTTY : int_out(arg, tty.pgid));
	case TIOCSPGRP:
		return (set_foreground(arg));
	case TIOCGSID:
		return (tty.sid == 0 ? ENOTTY : int_out(arg, tty.sid));
	case TIOCGWINSZ:
		return (copyout(&tty.size, arg, sizeof(tty.size)));
	case TIOCSWINSZ:
		if (copyin(arg, &w, sizeof(w)) != 0)
			return (EFAULT);
		spin_lock(&tty.lock);
		tty.size = w;
		spin_unlock(&tty.lock);
		if (tty.pgid != 0)
			(void)signal_pgrp(tty.pgid, SIGWINCH, NULL);
		return (0);
	case FIONREAD:
		return (int_out(arg, (int)(tty.done - tty.tail)));
	default:
		return (ENOTTY);
	}
}

static int
tty_stat(struct file *fp, struct vattr *va)
{
	*va = (struct vattr){ .va_type = VCHR, .va_mode = 0620, .va_nlink = 1, .va_rdev = DEV(5, 1), .va_blocksize = 1024 };
	return (0);
}

const struct fileops tty_fileops = {
	.name = "tty",
	.read = tty_read,
	.write = tty_write,
	.ioctl = tty_ioctl,
	.poll = tty_poll,
	.stat = tty_stat,
};

/* Init's standard files: the terminal, which becomes its session's. */
int
fdtable_open_console(struct fdtable *files)
{
	struct vnode *vp = NULL;
	struct file *fp;

	/* With a /dev the files have a name and can be looked at; without, they are there all the same. */
	if (namei("/dev/console", NULL, 0, &vp) != 0)
		vp = NULL;
	fp = file_alloc(&tty_fileops, NULL, vp, O_RDWR);
	for (int fd = 0; fd < 3; fd++) {
		if (fd > 0)
			file_ref(fp);
		fdtable_put(files, fd, fp);
	}
	return (acquire());
}
