// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// System calls that tests make and that Swift's Glibc module lacks. Each returns what the call returns (-1 and errno on failure).
#ifndef DISTRI_CTESTCALLS_H
#define DISTRI_CTESTCALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// getdents64(2): raw records, as many as fit.
ssize_t ctest_getdents(int directory, void *buffer, size_t count);

/// What statx(2) says, in the order: mode, uid, gid, links, size, mtime seconds, inode, major, minor of the device, blocks, mask.
int ctest_statx(const char *path, uint64_t fields[11]);

/// What statfs(2) says, in the order: type, block size, blocks, free, free for users, free inodes, the longest name.
int ctest_statfs(const char *path, uint64_t fields[7]);

/// open(2) with O_PATH | O_NOFOLLOW | O_CLOEXEC.
int ctest_open_path(const char *path);

#endif
