// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// Namespaces for the program itself, so that an ordinary user can mount.

#define _GNU_SOURCE
#include "CSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int write_own(const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/%s", name);
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t written = write(file, text, strlen(text));
  int error = errno;
  close(file);
  errno = error;
  return written == (ssize_t)strlen(text) ? 0 : -1;
}

int csandbox_enter_namespaces(struct csandbox_report *failure) {
  char users[32], groups[32];
  snprintf(users, sizeof users, "0 %u 1\n", (unsigned)geteuid());
  snprintf(groups, sizeof groups, "0 %u 1\n", (unsigned)getegid());
  enum csandbox_stage stage = CSANDBOX_STAGE_CLONE;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
    stage = CSANDBOX_STAGE_MAP_IDS;
    if (write_own("setgroups", "deny") == 0 && write_own("uid_map", users) == 0 && write_own("gid_map", groups) == 0) {
      stage = CSANDBOX_STAGE_PRIVATE;
      if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0) return 0;
    }
  }
  *failure = (struct csandbox_report){.stage = (int32_t)stage, .value = errno};
  return -1;
}
