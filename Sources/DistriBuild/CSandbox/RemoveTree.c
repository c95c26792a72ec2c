// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CSandbox.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status;
  (void)place;
  if (kind == FTW_DNR && chmod(path, 0700)) return errno; // a step took our right to read it
  return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

int csandbox_remove_tree(const char *path) {
  // FTW_PHYS: links are removed, not followed. FTW_MOUNT: what is mounted below stays.
  int result = nftw(path, remove_entry, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  if (result == -1) return errno == ENOENT ? 0 : errno;
  return result;
}
