/* Preloaded into a process: from the n-th write to (or sync of) a file whose path has BROKEN_PATH in it, every one fails.

   BROKEN_PATH   part of a path
   BROKEN_FROM   which of these calls is the first to fail, from 1
   BROKEN_ERRNO  the error, as a number (EIO, ENOSPC)
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int calls;

static int fails(int descriptor) {
    char link[64], path[PATH_MAX];
    const char *broken = getenv("BROKEN_PATH");
    if (!broken) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!strstr(path, broken)) return 0;
    if (__sync_add_and_fetch(&calls, 1) < atoi(getenv("BROKEN_FROM"))) return 0;
    errno = atoi(getenv("BROKEN_ERRNO"));
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int d, const void *data, size_t size) { return fails(d) ? -1 : REAL(write)(d, data, size); }
ssize_t pwrite(int d, const void *data, size_t size, off_t at) { return fails(d) ? -1 : REAL(pwrite)(d, data, size, at); }
ssize_t pwrite64(int d, const void *data, size_t size, off64_t at) { return fails(d) ? -1 : REAL(pwrite64)(d, data, size, at); }
int fsync(int d) { return fails(d) ? -1 : REAL(fsync)(d); }
int fdatasync(int d) { return fails(d) ? -1 : REAL(fdatasync)(d); }
int ftruncate(int d, off_t size) { return fails(d) ? -1 : REAL(ftruncate)(d, size); }
int ftruncate64(int d, off64_t size) { return fails(d) ? -1 : REAL(ftruncate64)(d, size); }
