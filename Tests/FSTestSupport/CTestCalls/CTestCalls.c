// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CTestCalls.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

ssize_t ctest_getdents(int directory, void *buffer, size_t count) {
  return syscall(SYS_getdents64, directory, buffer, count);
}

int ctest_statx(const char *path, uint64_t fields[11]) {
  struct statx status;
  int result = statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status);
  if (result != 0) return result;
  uint64_t values[] = {status.stx_mode, status.stx_uid, status.stx_gid, status.stx_nlink, status.stx_size,
                       (uint64_t)status.stx_mtime.tv_sec, status.stx_ino, status.stx_rdev_major, status.stx_rdev_minor,
                       status.stx_blocks, status.stx_mask};
  for (int i = 0; i < 11; i++) fields[i] = values[i];
  return 0;
}

int ctest_open_path(const char *path) { return open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

int ctest_statfs(const char *path, uint64_t fields[7]) {
  struct statfs status;
  int result = statfs(path, &status);
  if (result != 0) return result;
  uint64_t values[] = {(uint64_t)status.f_type, (uint64_t)status.f_bsize, status.f_blocks, status.f_bfree, status.f_bavail,
                       status.f_ffree, (uint64_t)status.f_namelen};
  for (int i = 0; i < 7; i++) fields[i] = values[i];
  return 0;
}
