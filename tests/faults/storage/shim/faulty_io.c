/* Sits between the services (and the programs that they start) and the C library, by LD_PRELOAD, and makes
 * input and output on files below some folders fail, or writes down in which order it happened.
 *
 * FAULTY_IO_CONTROL names a file that all processes map: `struct control`. FAULTY_IO_FOLDERS are the folders,
 * FAULTY_IO_LOG is where records go. What lies elsewhere passes through.
 *
 * While recording, an operation and its record are one: a lock on the log is held over both. So the log is a
 * total order of what all processes did, syncs included.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum class { READ, WRITE, SYNC, RENAME, LINK, UNLINK, MAKE, CLASSES };
enum mode { FAULTS = 1, RECORDS = 2, LOSES = 4 };
enum kind { MADE_FILE = 1, MADE_FOLDER, WROTE, SIZED, ZEROED, SYNCED, SYNCED_ALL, RENAMED, LINKED, UNLINKED, MODED };

#define LOSSES 16

/* Python has the same layout: tests/faults/faulty_io.py. */
struct control {
    _Atomic uint64_t mode, class, first, last; /* the operations of a class that fail, by their number */
    _Atomic int64_t fault;                     /* an errno; 0 is a short write */
    _Atomic uint64_t hits, waiting;            /* waiting: a sync failed, and what was not synced is being lost */
    _Atomic uint64_t counted[CLASSES];
    _Atomic uint64_t clock, losses, lost_inode[LOSSES], lost_at[LOSSES]; /* the last syncs that failed */
    char where[512]; /* the first hit */
};

struct record {
    uint32_t bytes, kind;
    int32_t error;
    uint32_t mode;
    uint64_t inode, offset, length;
    uint32_t path_bytes, target_bytes;
};

static struct control *control;
static const char *folders, *log_path;
#define SHORT (-1)
#define DESCRIPTORS 65536
static uint64_t opened_at[DESCRIPTORS], born; /* by control->clock */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTY_IO_CONTROL");
    folders = getenv("FAULTY_IO_FOLDERS");
    log_path = getenv("FAULTY_IO_LOG");
    if (!path || !folders || !log_path)
        return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        born = ++(control = mapped)->clock;
}

/* A recorder that cannot record must not pass for one. */
static void give_up(const char *what) {
    char text[256];
    int length = snprintf(text, sizeof text, "faulty_io: %s: errno %d\n", what, errno);
    syscall(SYS_write, 2, text, length);
    abort();
}

static int is_ours(const char *path) {
    for (const char *folder = folders; folder && *folder;) {
        size_t length = strcspn(folder, ":");
        if (!strncmp(path, folder, length) && (path[length] == '/' || path[length] == 0))
            return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

static int path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

static int path_of_name(int folder, const char *name, char *path) {
    path[0] = 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return is_ours(path);
    }
    char start[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, start, sizeof start) < 0)
            return 0;
    } else {
        path_of_fd(folder, start);
    }
    return snprintf(path, PATH_MAX, "%s/%s", start, name) < PATH_MAX && is_ours(path);
}

/* The errno that this operation is to fail with, SHORT, or 0. */
static int fault_at(enum class class, const char *call, const char *path) {
    if (!(control->mode & FAULTS))
        return 0;
    uint64_t number = ++control->counted[class];
    if (class != control->class || number < control->first || number > control->last)
        return 0;
    if (!control->hits++)
        snprintf(control->where, sizeof control->where, "%s %s", call, path);
    return control->fault ? (int)control->fault : SHORT;
}

static int take_order(void) {
    if (!(control->mode & RECORDS))
        return -1;
    int log = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (log < 0 || syscall(SYS_flock, log, LOCK_EX) < 0)
        give_up("no log");
    return log;
}

static void give_order(int log) {
    int error = errno;
    if (log >= 0) {
        syscall(SYS_flock, log, LOCK_UN); /* not by the close alone: a fork may have the descriptor too */
        syscall(SYS_close, log);
    }
    errno = error;
}

static void put(int log, struct record record, const char *path, const char *target, const void *data) {
    if (log < 0)
        return;
    int error = errno;
    record.path_bytes = path ? strlen(path) : 0;
    record.target_bytes = target ? strlen(target) : 0;
    uint64_t data_bytes = data ? record.length : 0;
    record.bytes = sizeof record + record.path_bytes + record.target_bytes + data_bytes;
    struct iovec parts[] = {{&record, sizeof record},
                            {(void *)path, record.path_bytes},
                            {(void *)target, record.target_bytes},
                            {(void *)data, data_bytes}};
    if (syscall(SYS_writev, log, parts, 4) != (ssize_t)record.bytes)
        give_up("log not written");
    errno = error;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    if (fstat(fd, &found) < 0)
        give_up("fstat");
    return found.st_ino;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : found.st_ino;
}

/* Reads back what was written: the same for every call that writes. */
static void put_data(int log, int fd, const char *path, uint64_t offset, ssize_t length) {
    if (log < 0 || length <= 0)
        return;
    int error = errno;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    char *data = malloc(length);
    for (ssize_t done = 0, count; done < length; done += count)
        if (again < 0 || !data || (count = syscall(SYS_pread64, again, data + done, length - done, offset + done)) <= 0)
            give_up("written data not read back");
    put(log, (struct record){.kind = WROTE, .inode = inode_of(fd), .offset = offset, .length = length}, path, NULL, data);
    free(data);
    syscall(SYS_close, again);
    errno = error;
}

static int failed(int error) {
    errno = error;
    return -1;
}

/* Reads. */

#define READS(name, parameters, number, ...)                                    \
    ssize_t name parameters {                                                   \
        char path[PATH_MAX];                                                    \
        if (control && control->mode & FAULTS && path_of_fd(fd, path)) {        \
            int error = fault_at(READ, #name, path);                            \
            if (error > 0)                                                      \
                return failed(error);                                           \
        }                                                                       \
        return syscall(number, fd, __VA_ARGS__);                                \
    }
READS(read, (int fd, void *data, size_t length), SYS_read, data, length)
READS(pread, (int fd, void *data, size_t length, off_t at), SYS_pread64, data, length, at)
READS(pread64, (int fd, void *data, size_t length, off64_t at), SYS_pread64, data, length, at)
READS(readv, (int fd, const struct iovec *parts, int count), SYS_readv, parts, count)
READS(preadv, (int fd, const struct iovec *parts, int count, off_t at), SYS_preadv, parts, count, at, 0)
READS(preadv64, (int fd, const struct iovec *parts, int count, off64_t at), SYS_preadv, parts, count, at, 0)
READS(preadv2, (int fd, const struct iovec *parts, int count, off_t at, int flags), SYS_preadv2, parts, count, at, 0, flags)
READS(preadv64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags), SYS_preadv2, parts, count, at, 0, flags)
READS(__read_chk, (int fd, void *data, size_t length, size_t room), SYS_read, data, length)
READS(__pread_chk, (int fd, void *data, size_t length, off_t at, size_t room), SYS_pread64, data, length, at)
READS(__pread64_chk, (int fd, void *data, size_t length, off64_t at, size_t room), SYS_pread64, data, length, at)

/* Writes. A gather is written as one buffer: so a short one is one too. `at` < 0: where the file stands. */

static ssize_t write_at(const char *call, int fd, const void *data, size_t length, int64_t at) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    int is_watched = control && control->mode && path_of_fd(fd, path);
    if (is_watched) {
        log = take_order();
        error = fault_at(WRITE, call, path);
    }
    if (error > 0) {
        give_order(log);
        return failed(error);
    }
    if (error == SHORT && length > 1)
        length /= 2;
    ssize_t done = at < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, at);
    if (log >= 0 && done > 0)
        put_data(log, fd, path, at < 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) - done : at, done);
    give_order(log);
    return done;
}

static ssize_t write_parts(const char *call, int fd, const struct iovec *parts, int count, int64_t at) {
    char path[PATH_MAX];
    if (!control || !control->mode || !path_of_fd(fd, path))
        return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0);
    size_t length = 0, filled = 0;
    for (int each = 0; each < count; each++)
        length += parts[each].iov_len;
    char *data = malloc(length + 1);
    if (!data)
        give_up("no memory");
    for (int each = 0; each < count; filled += parts[each++].iov_len)
        memcpy(data + filled, parts[each].iov_base, parts[each].iov_len);
    ssize_t done = write_at(call, fd, data, length, at);
    int error = errno;
    free(data);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t length) { return write_at("write", fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return write_at("pwrite", fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return write_at("pwrite", fd, data, length, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_parts("writev", fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return write_parts("pwritev", fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return write_parts("pwritev", fd, parts, count, at); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) { return write_parts("pwritev2", fd, parts, count, at); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) { return write_parts("pwritev2", fd, parts, count, at); }

ssize_t copy_file_range(int from, off64_t *from_at, int fd, off64_t *at, size_t length, unsigned flags) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_fd(fd, path)) {
        log = take_order();
        error = fault_at(WRITE, "copy_file_range", path);
    }
    if (error == SHORT && length > 1)
        length /= 2;
    uint64_t offset = at ? *at : (log >= 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : 0);
    ssize_t done = error > 0 ? failed(error) : syscall(SYS_copy_file_range, from, from_at, fd, at, length, flags);
    put_data(log, fd, path, offset, done);
    give_order(log);
    return done;
}

ssize_t sendfile(int fd, int from, off_t *from_at, size_t length) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_fd(fd, path)) {
        log = take_order();
        error = fault_at(WRITE, "sendfile", path);
    }
    if (error == SHORT && length > 1)
        length /= 2;
    ssize_t done = error > 0 ? failed(error) : syscall(SYS_sendfile, fd, from, from_at, length);
    if (log >= 0 && done > 0)
        put_data(log, fd, path, syscall(SYS_lseek, fd, 0, SEEK_CUR) - done, done);
    give_order(log);
    return done;
}
ssize_t sendfile64(int fd, int from, off64_t *from_at, size_t length) { return sendfile(fd, from, from_at, length); }

int ftruncate(int fd, off_t length) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_fd(fd, path)) {
        log = take_order();
        error = fault_at(WRITE, "ftruncate", path);
    }
    int done = error > 0 ? failed(error) : syscall(SYS_ftruncate, fd, length);
    if (log >= 0 && done == 0)
        put(log, (struct record){.kind = SIZED, .inode = inode_of(fd), .length = length}, path, NULL, NULL);
    give_order(log);
    return done;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_fd(fd, path)) {
        log = take_order();
        error = fault_at(WRITE, "fallocate", path);
    }
    int done = error > 0 ? failed(error) : syscall(SYS_fallocate, fd, mode, offset, length);
    if (log >= 0 && done == 0) {
        struct stat now;
        fstat(fd, &now);
        if (mode & ~FALLOC_FL_KEEP_SIZE)
            put(log, (struct record){.kind = ZEROED, .inode = now.st_ino, .offset = offset, .length = length}, path, NULL, NULL);
        put(log, (struct record){.kind = SIZED, .inode = now.st_ino, .length = now.st_size}, path, NULL, NULL);
    }
    give_order(log);
    return done;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

/* Syncs. One that fails loses what was not synced, as Linux does: the harness takes it away meanwhile. And as on
 * Linux each descriptor that was open by then is told so once; one opened later is not. */

static int is_told(enum kind kind, int fd, uint64_t inode) {
    if (!(control->mode & LOSES) || fd >= DESCRIPTORS)
        return 0;
    uint64_t since = opened_at[fd] ? opened_at[fd] : born;
    for (uint64_t each = 0; each < control->losses && each < LOSSES; each++)
        if (control->lost_at[each] > since && (kind == SYNCED_ALL || control->lost_inode[each] == inode)) {
            opened_at[fd] = ++control->clock;
            return 1;
        }
    return 0;
}

static int sync_by(const char *call, long number, enum kind kind, int fd) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_fd(fd, path)) {
        log = take_order();
        error = fault_at(SYNC, call, path);
    }
    int done = error > 0 ? failed(error) : log >= 0 && is_told(kind, fd, inode_of(fd)) ? failed(EIO) : syscall(number, fd);
    if (log >= 0)
        put(log, (struct record){.kind = kind, .error = done ? errno : 0, .inode = inode_of(fd)}, path, NULL, NULL);
    if (error > 0 && control->mode & LOSES) {
        uint64_t loss = control->losses++ % LOSSES;
        control->lost_inode[loss] = inode_of(fd);
        opened_at[fd % DESCRIPTORS] = control->lost_at[loss] = ++control->clock;
        control->waiting = 1;
        while (control->waiting) /* the harness lets go within a bound; if it ended, so does its stack */
            usleep(1000);
    }
    give_order(log);
    return error > 0 ? failed(error) : done;
}
int fsync(int fd) { return sync_by("fsync", SYS_fsync, SYNCED, fd); }
int fdatasync(int fd) { return sync_by("fdatasync", SYS_fdatasync, SYNCED, fd); }
int syncfs(int fd) { return sync_by("syncfs", SYS_syncfs, SYNCED_ALL, fd); }

/* Names. */

static int name_by(const char *call, enum class class, enum kind kind, int from_folder, const char *from, int folder,
                   const char *to, int flags) {
    char path[PATH_MAX], target[PATH_MAX] = "";
    int log = -1, error = 0;
    if (control && control->mode && path_of_name(from_folder, from, path)) {
        if (to)
            path_of_name(folder, to, target);
        log = take_order();
        error = fault_at(class, call, path);
    }
    int done = error > 0         ? failed(error)
               : kind == RENAMED ? syscall(SYS_renameat2, from_folder, from, folder, to, flags)
               : kind == LINKED  ? syscall(SYS_linkat, from_folder, from, folder, to, flags)
                                 : syscall(SYS_unlinkat, from_folder, from, flags);
    if (done == 0)
        put(log, (struct record){.kind = kind}, path, to ? target : NULL, NULL);
    give_order(log);
    return done;
}
int rename(const char *from, const char *to) { return name_by("rename", RENAME, RENAMED, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return name_by("renameat", RENAME, RENAMED, a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return name_by("renameat2", RENAME, RENAMED, a, from, b, to, flags); }
int link(const char *from, const char *to) { return name_by("link", LINK, LINKED, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return name_by("linkat", LINK, LINKED, a, from, b, to, flags); }
int unlink(const char *name) { return name_by("unlink", UNLINK, UNLINKED, AT_FDCWD, name, 0, NULL, 0); }
int unlinkat(int folder, const char *name, int flags) { return name_by("unlinkat", UNLINK, UNLINKED, folder, name, 0, NULL, flags); }
int rmdir(const char *name) { return name_by("rmdir", UNLINK, UNLINKED, AT_FDCWD, name, 0, NULL, AT_REMOVEDIR); }
int remove(const char *name) {
    int done = unlink(name);
    return done && errno == EISDIR ? rmdir(name) : done;
}

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int log = -1, error = 0;
    if (control && control->mode && path_of_name(folder, name, path) && !inode_at(path)) {
        log = take_order();
        error = fault_at(MAKE, "mkdir", path);
    }
    int done = error > 0 ? failed(error) : syscall(SYS_mkdirat, folder, name, mode);
    if (log >= 0 && done == 0)
        put(log, (struct record){.kind = MADE_FOLDER, .inode = inode_at(path), .mode = mode}, path, NULL, NULL);
    give_order(log);
    return done;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int fchmod(int fd, mode_t mode) {
    char path[PATH_MAX];
    int log = control && control->mode && path_of_fd(fd, path) ? take_order() : -1;
    int done = syscall(SYS_fchmod, fd, mode);
    if (log >= 0 && done == 0)
        put(log, (struct record){.kind = MODED, .inode = inode_of(fd), .mode = mode}, path, NULL, NULL);
    give_order(log);
    return done;
}

static int opened(int fd) {
    if (control && fd >= 0 && fd < DESCRIPTORS)
        opened_at[fd] = ++control->clock;
    return fd;
}

static int open_by(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!control || !control->mode || !(flags & (O_CREAT | O_TRUNC)) || !path_of_name(folder, name, path))
        return opened(syscall(SYS_openat, folder, name, flags, mode));
    int log = take_order();
    int is_new = flags & O_CREAT && !inode_at(path);
    int error = is_new ? fault_at(MAKE, "open", path) : 0;
    int fd = error > 0 ? failed(error) : syscall(SYS_openat, folder, name, flags, mode);
    if (log >= 0 && fd >= 0) {
        struct stat now;
        fstat(fd, &now);
        if (is_new)
            put(log, (struct record){.kind = MADE_FILE, .inode = now.st_ino, .mode = now.st_mode & 07777}, path, NULL, NULL);
        else if (flags & O_TRUNC)
            put(log, (struct record){.kind = SIZED, .inode = now.st_ino, .length = 0}, path, NULL, NULL);
    }
    give_order(log);
    return opened(fd);
}

#define OPENS(name, parameters, last, folder)                \
    int name parameters {                                    \
        mode_t mode = 0;                                     \
        if (flags & (O_CREAT | O_TMPFILE)) {                 \
            va_list rest;                                    \
            va_start(rest, last);                            \
            mode = va_arg(rest, mode_t);                     \
            va_end(rest);                                    \
        }                                                    \
        return open_by(folder, path, flags, mode);           \
    }
OPENS(open, (const char *path, int flags, ...), flags, AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), flags, AT_FDCWD)
OPENS(openat, (int folder, const char *path, int flags, ...), flags, folder)
OPENS(openat64, (int folder, const char *path, int flags, ...), flags, folder)
int __open_2(const char *path, int flags) { return open_by(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_by(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_by(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_by(folder, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_by(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
