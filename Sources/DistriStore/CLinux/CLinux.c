// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

int clinux_openat_beneath(int directory, const char *path, int flags, unsigned mode, int follow) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = (unsigned)flags;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow ? 0 : RESOLVE_NO_SYMLINKS);
  // RESOLVE_BENEATH may fail with EAGAIN while another process renames: bounded retries, as openat2(2) advises.
  for (int attempt = 0;; attempt++) {
    int file = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (file >= 0 || attempt == 16 || (errno != EAGAIN && errno != EINTR)) return file;
  }
}

int clinux_o_path(void) { return O_PATH; }
int clinux_o_tmpfile(void) { return O_TMPFILE; }

ssize_t clinux_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count) {
  off64_t in = from_offset, out = to_offset;
  return copy_file_range(from, &in, to, &out, count, 0);
}

int clinux_fallocate(int file, int keep_size, int64_t offset, int64_t length) {
  return fallocate(file, keep_size ? FALLOC_FL_KEEP_SIZE : 0, offset, length);
}

int clinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to) {
  return renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE);
}

int clinux_rename_exchange(int from_directory, const char *from, int to_directory, const char *to) {
  return renameat2(from_directory, from, to_directory, to, RENAME_EXCHANGE);
}

int clinux_syncfs(int file) { return syncfs(file); }

int clinux_start_writeback(int file, int64_t offset, int64_t length) {
  return sync_file_range(file, offset, length, SYNC_FILE_RANGE_WRITE);
}

int clinux_pipe_cloexec(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int clinux_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int clinux_populate_read(const void *address, size_t length) {
  return madvise((void *)address, length, MADV_POPULATE_READ);
}

int clinux_will_need(const void *address, size_t length) { return madvise((void *)address, length, MADV_WILLNEED); }

int clinux_random_access(const void *address, size_t length) { return madvise((void *)address, length, MADV_RANDOM); }

uint64_t clinux_makedev(uint32_t major, uint32_t minor) { return makedev(major, minor); }
uint32_t clinux_major(uint64_t device) { return major(device); }
uint32_t clinux_minor(uint64_t device) { return minor(device); }
