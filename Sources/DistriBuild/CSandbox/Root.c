// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "FirstProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int make_parents(const char *path) {
  char buffer[4096];
  size_t length = strlen(path);
  if (length >= sizeof buffer) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(buffer, path, length + 1);
  for (size_t i = 1; i < length; i++) {
    if (buffer[i] != '/') continue;
    buffer[i] = 0;
    // A directory on a read-only mount answers EROFS even when it is there: only its absence counts.
    struct stat status;
    if (mkdir(buffer, 0755) && errno != EEXIST && stat(buffer, &status)) return -1;
    buffer[i] = '/';
  }
  return 0;
}

static int make_directory(const char *path, mode_t mode) {
  struct stat status;
  if (mkdir(path, mode) == 0) return chmod(path, mode);
  int error = errno;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) return 0;
  errno = error;
  return -1;
}

static int make_file(const char *path, const char *contents, uint64_t length, mode_t mode) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (file < 0) return -1;
  while (length > 0) {
    ssize_t written = write(file, contents, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return -1;
    contents += written;
    length -= (uint64_t)written;
  }
  if (fchmod(file, mode)) return -1;
  return close(file);
}

static int make_read_only(int tree) {
  struct mount_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes);
}

static int attach(int tree, const char *target) {
  if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)) return -1;
  return close(tree);
}

static int open_source(struct csandbox_operation *operation) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (operation->flags & CSANDBOX_RECURSIVE) flags |= AT_RECURSIVE;
  operation->tree = open_tree(AT_FDCWD, operation->source, flags);
  return operation->tree < 0 ? -1 : 0;
}

static int bind_source(const struct csandbox_operation *operation) {
  struct stat status;
  if (fstat(operation->tree, &status)) return -1;
  if (S_ISDIR(status.st_mode)) {
    if (make_directory(operation->target, 0755)) return -1;
  } else if (access(operation->target, F_OK) && make_file(operation->target, "", 0, 0644)) {
    return -1;
  }
  if ((operation->flags & CSANDBOX_READ_ONLY) && make_read_only(operation->tree)) return -1;
  return attach(operation->tree, operation->target);
}

// An outer sandbox that covers a part of its /proc keeps the kernel from mounting another one in here. In the outer one our
// processes have other numbers, and /proc/self is right.
static int mount_proc(const struct csandbox_operation *operation) {
  const char *target = operation->target;
  if (make_directory(target, 0755)) return -1;
  int result = mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  if (!(operation->flags & CSANDBOX_OUTER)) return result;
  return result && errno == EPERM ? attach(operation->tree, target) : result | close(operation->tree);
}

static int protect(const char *target) {
  int tree = open_tree(AT_FDCWD, target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return errno == ENOENT ? 0 : -1; // a kernel without this file has nothing to protect
  if (make_read_only(tree)) return -1;
  return attach(tree, target);
}

static int perform(const struct csandbox_operation *operation) {
  const char *target = operation->target;
  if (make_parents(target)) return -1;
  switch (operation->kind) {
  case CSANDBOX_BIND: return bind_source(operation);
  case CSANDBOX_DIRECTORY: return make_directory(target, operation->mode);
  case CSANDBOX_SYMBOLIC_LINK: return symlink(operation->source, target);
  case CSANDBOX_FILE: return make_file(target, operation->source, operation->length, operation->mode);
  case CSANDBOX_TMPFS:
    if (make_directory(target, 0755)) return -1;
    return mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, operation->source);
  case CSANDBOX_PROC: return mount_proc(operation);
  case CSANDBOX_PTS:
    if (make_directory(target, 0755)) return -1;
    return mount("devpts", target, "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
  case CSANDBOX_PROTECT: return protect(target);
  case CSANDBOX_HIDE:
    if (access(target, F_OK)) return 0; // a kernel without this file has nothing to hide
    return make_read_only(operation->tree) ? -1 : attach(operation->tree, target);
  }
  errno = EINVAL;
  return -1;
}

void csandbox_make_root(const struct csandbox_plan *plan) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) csandbox_fail(CSANDBOX_STAGE_PRIVATE, 0);
  // Sources are taken while their paths still mean what the caller meant; the rest happens in the new root, so that no
  // symbolic link in there can lead out.
  for (size_t i = 0; i < plan->operation_count; i++) {
    const struct csandbox_operation *operation = &plan->operations[i];
    bool has_source = operation->kind == CSANDBOX_BIND || operation->kind == CSANDBOX_HIDE || (operation->flags & CSANDBOX_OUTER);
    if (has_source && open_source(&plan->operations[i])) csandbox_fail(CSANDBOX_STAGE_SOURCE, i);
  }
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") || chdir("/tmp") ||
      syscall(SYS_pivot_root, ".", "."))
    csandbox_fail(CSANDBOX_STAGE_ROOT, 0);
  // The old root now lies over the new one and is reached by "." only. It goes last: the kernel lets an ordinary user
  // mount /proc only where another whole /proc can be seen.
  for (size_t i = 0; i < plan->operation_count; i++) {
    if (perform(&plan->operations[i])) csandbox_fail(CSANDBOX_STAGE_OPERATION, i);
  }
  if (umount2(".", MNT_DETACH) || chdir("/")) csandbox_fail(CSANDBOX_STAGE_DETACH, 0);
}
