// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// probe: the operations that view.py times, one thread, nothing but system calls. Prints a count and nanoseconds.
//   walk DIR…          readdir and lstat of everything below            links DIR…    the same, and readlink of links
//   absent DIR COUNT   lstat of names that do not exist                 files DIR…    open, read, close of every regular file below
//   read FILE          all of it, 128 KiB at a time                     random FILE COUNT   4 KiB at random places
//   spawn COUNT COMMAND…   runs it so many times, output to /dev/null; prints the median of a run

#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
enum { STAT = 1, READLINK = 2, CONTENTS = 4 };
static char buffer[128 << 10] __attribute__((aligned(4096)));

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void contents(int directory, const char *name) {
  int file = openat(directory, name, O_RDONLY);
  if (file < 0) err(1, "%s", name);
  ssize_t count;
  while ((count = read(file, buffer, sizeof buffer)) > 0) {}
  if (count < 0) err(1, "read %s", name);
  close(file);
}

static long below(int descriptor, int what) {
  DIR *directory = fdopendir(descriptor);
  if (!directory) err(1, "opendir");
  long count = 0;
  for (struct dirent *e; (e = readdir(directory));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    struct stat s = {.st_mode = DTTOIF(e->d_type)};
    if (what & STAT || e->d_type == DT_UNKNOWN)
      if (fstatat(descriptor, e->d_name, &s, AT_SYMLINK_NOFOLLOW)) err(1, "stat %s", e->d_name);
    if (S_ISDIR(s.st_mode)) {
      int child = openat(descriptor, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (child < 0) err(1, "%s", e->d_name);
      count += below(child, what);
    }
    if (S_ISLNK(s.st_mode) && what & READLINK && readlinkat(descriptor, e->d_name, buffer, sizeof buffer) < 0)
      err(1, "readlink %s", e->d_name);
    if (S_ISREG(s.st_mode) && what & CONTENTS) contents(descriptor, e->d_name);
    count += what & CONTENTS ? S_ISREG(s.st_mode) : 1;
  }
  closedir(directory);
  return count;
}

static long trees(char **paths, int what) {
  long count = 0;
  for (; *paths; paths++) {
    int descriptor = open(*paths, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0) err(1, "%s", *paths);
    count += below(descriptor, what);
  }
  return count;
}

static long absent(const char *path, long count) {
  int directory = open(path, O_RDONLY | O_DIRECTORY);
  if (directory < 0) err(1, "%s", path);
  for (long i = 0; i < count; i++) {
    char name[32];
    struct stat s;
    snprintf(name, sizeof name, "absent-%ld", i);
    if (!fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW)) errx(1, "%s exists", name);
  }
  return count;
}

static long randomly(const char *path, long count) {
  int file = open(path, O_RDONLY);
  struct stat s;
  if (file < 0 || fstat(file, &s)) err(1, "%s", path);
  uint64_t x = 88172645463325252ull;
  for (long i = 0; i < count; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    if (pread(file, buffer, 4096, x % (s.st_size / 4096) * 4096) != 4096) err(1, "read %s", path);
  }
  return count;
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void spawn(long count, char **command) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  uint64_t *times = calloc(count, sizeof *times);
  if (!times) err(1, "calloc");
  for (long i = 0; i < count; i++) {
    uint64_t start = now();
    pid_t child;
    int status;
    if (posix_spawn(&child, command[0], &actions, NULL, command, environ)) errx(1, "cannot start %s", command[0]);
    if (waitpid(child, &status, 0) < 0 || status) errx(1, "%s failed", command[0]);
    times[i] = now() - start;
  }
  qsort(times, count, sizeof *times, ascending);
  printf("%ld %lu\n", count, times[count / 2]);
}

int main(int count, char **words) {
  if (count < 3) errx(64, "see the head of probe.c");
  const char *verb = words[1];
  long done;
  uint64_t start = now();
  if (!strcmp(verb, "walk")) done = trees(words + 2, STAT);
  else if (!strcmp(verb, "links")) done = trees(words + 2, STAT | READLINK);
  else if (!strcmp(verb, "files")) done = trees(words + 2, CONTENTS);
  else if (!strcmp(verb, "absent") && count == 4) done = absent(words[2], atol(words[3]));
  else if (!strcmp(verb, "random") && count == 4) done = randomly(words[2], atol(words[3]));
  else if (!strcmp(verb, "spawn") && count > 3) return spawn(atol(words[2]), words + 3), 0;
  else if (!strcmp(verb, "read")) {
    struct stat s;
    contents(AT_FDCWD, words[2]);
    done = stat(words[2], &s) ? 0 : s.st_size;
  } else errx(64, "see the head of probe.c");
  printf("%ld %lu\n", done, now() - start);
}
