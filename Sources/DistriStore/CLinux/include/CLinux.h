// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// System calls of Linux that Swift's Glibc module lacks. Each returns what the call returns (-1 and errno on failure).
// _GNU_SOURCE is defined in the .c file only: in this header it would leak into every importing module.
#ifndef DISTRI_CLINUX_H
#define DISTRI_CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/xattr.h>  // not part of the Glibc module

/// openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS and, unless `follow` is set, RESOLVE_NO_SYMLINKS.
int clinux_openat_beneath(int directory, const char *path, int flags, unsigned mode, int follow);

/// The value of O_PATH, which is a GNU extension.
int clinux_o_path(void);

/// The value of O_TMPFILE, which is a GNU extension.
int clinux_o_tmpfile(void);

/// copy_file_range(2) from and to explicit offsets; -1 and EXDEV, EINVAL, EOPNOTSUPP where the kernel cannot.
ssize_t clinux_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count);

/// fallocate(2) with mode 0 or FALLOC_FL_KEEP_SIZE.
int clinux_fallocate(int file, int keep_size, int64_t offset, int64_t length);

/// renameat2(2) with RENAME_NOREPLACE.
int clinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to);

/// renameat2(2) with RENAME_EXCHANGE.
int clinux_rename_exchange(int from_directory, const char *from, int to_directory, const char *to);

/// syncfs(2).
int clinux_syncfs(int file);

/// sync_file_range(2) that starts write-out of the range without waiting for it.
int clinux_start_writeback(int file, int64_t offset, int64_t length);

/// pipe2(2) with O_CLOEXEC.
int clinux_pipe_cloexec(int ends[2]);

/// memfd_create(2) with MFD_CLOEXEC.
int clinux_memfd(const char *name);

/// madvise(2) with MADV_POPULATE_READ: makes the range resident, or fails instead of a later SIGBUS.
int clinux_populate_read(const void *address, size_t length);

/// Takes SIGBUS over: a fault in a mapping of the table maps zeros over the page and marks the mapping, any other goes to the handler before.
int clinux_guard_install(void);

/// Adds a mapping to the table and gives its number; -1 when the guard is not installed or the table is full.
int clinux_guard_add(const void *start, size_t length);

/// Whether a page of the mapping has been replaced by zeros.
int clinux_guard_has_faulted(int mapping);

/// Takes a mapping out of the table, before it is unmapped. -1 is none.
void clinux_guard_remove(int mapping);

/// madvise(2) with MADV_WILLNEED: starts to read the range, and exactly that.
int clinux_will_need(const void *address, size_t length);

/// madvise(2) with MADV_RANDOM: a page that is touched brings no others along.
int clinux_random_access(const void *address, size_t length);

/// makedev(3), major(3), minor(3): macros in glibc.
uint64_t clinux_makedev(uint32_t major, uint32_t minor);
uint32_t clinux_major(uint64_t device);
uint32_t clinux_minor(uint64_t device);

#endif
