// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// memory-server pack TREE FILE [--no-contents]: writes a directory tree into one file.
// memory-server mount FILE DIRECTORY: loads it into memory and shows it; in the background until it is unmounted.
// As little as a FUSE server can do on libfuse's low-level interface: what it needs is the price of the interface and of the kernel.

#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Children are next to each other, sorted by name; offsets are of the pool behind the nodes. Node n has inode number n + 1.
struct node {
  uint64_t size, contents, name;
  int64_t time;
  uint32_t mode, uid, gid, nlink, parent, child, children, length;
};
struct header {
  char magic[8];
  uint64_t nodes, pool;
};
#define NOWHERE (~0ull)
static const char magic[8] = "memtree1";
static const double for_ever = HUGE_VAL;

// --- pack

static struct node *nodes;
static uint64_t count, room;
static FILE *pool;
static uint64_t pool_size;
static int with_contents = 1;

static uint64_t store(const void *bytes, size_t size) {
  if (fwrite(bytes, 1, size, pool) != size) err(1, "write");
  pool_size += size;
  return pool_size - size;
}

static uint32_t add(uint32_t parent, const char *name, const struct stat *s) {
  if (count == room) nodes = realloc(nodes, (room = room ? room * 2 : 1024) * sizeof *nodes);
  nodes[count] = (struct node){.size = s->st_size, .time = s->st_mtime, .mode = s->st_mode, .uid = s->st_uid, .gid = s->st_gid,
    .nlink = s->st_nlink, .parent = parent, .name = store(name, strlen(name) + 1), .length = strlen(name)};
  return count++;
}

static void fill(int directory, uint32_t node, const char *name) {
  static char buffer[1 << 16];
  nodes[node].contents = S_ISREG(nodes[node].mode) && !with_contents ? NOWHERE : pool_size;
  if (S_ISLNK(nodes[node].mode)) {
    ssize_t n = readlinkat(directory, name, buffer, sizeof buffer - 1);
    if (n < 0) err(1, "readlink %s", name);
    buffer[n] = 0;
    nodes[node].size = n;
    store(buffer, n + 1);
  } else if (S_ISREG(nodes[node].mode) && with_contents) {
    int file = openat(directory, name, O_RDONLY);
    ssize_t n;
    if (file < 0) err(1, "%s", name);
    while ((n = read(file, buffer, sizeof buffer)) > 0) store(buffer, n);
    if (n < 0) err(1, "read %s", name);
    nodes[node].size = pool_size - nodes[node].contents;
    close(file);
  }
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
}

static void pack_directory(int parent, const char *path, uint32_t node) {
  int directory = openat(parent, path, O_RDONLY | O_DIRECTORY);
  if (directory < 0) err(1, "%s", path);
  struct dirent **list;
  int n = scandirat(directory, ".", &list, NULL, NULL);
  if (n < 0) err(1, "scandir %s", path);
  qsort(list, n, sizeof *list, by_name);
  nodes[node].child = count;
  for (int i = 0; i < n; i++) {
    const char *name = list[i]->d_name;
    struct stat s;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    if (fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW)) err(1, "stat %s", name);
    fill(directory, add(node, name, &s), name);
    nodes[node].children++;
  }
  for (uint32_t i = nodes[node].child, end = i + nodes[node].children, k = 0; i < end; i++, k++) {
    while (!strcmp(list[k]->d_name, ".") || !strcmp(list[k]->d_name, "..")) k++;
    if (S_ISDIR(nodes[i].mode)) pack_directory(directory, list[k]->d_name, i);
  }
  for (int i = 0; i < n; i++) free(list[i]);
  free(list);
  close(directory);
}

static int pack(const char *tree, const char *path) {
  struct stat s;
  pool = tmpfile();
  if (!pool || stat(tree, &s)) err(1, "%s", tree);
  pack_directory(AT_FDCWD, tree, add(0, "", &s));
  FILE *out = fopen(path, "w");
  if (!out) err(1, "%s", path);
  struct header header = {.nodes = count, .pool = pool_size};
  memcpy(header.magic, magic, sizeof magic);
  fwrite(&header, sizeof header, 1, out);
  fwrite(nodes, sizeof *nodes, count, out);
  static char buffer[1 << 20];
  rewind(pool);
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pool)) > 0;) fwrite(buffer, 1, n, out);
  if (fclose(out)) err(1, "%s", path);
  printf("%lu entries, %lu bytes\n", count, pool_size);
  return 0;
}

// --- mount

static const char *bytes;

static void load(const char *path) {
  struct stat s;
  int file = open(path, O_RDONLY);
  if (file < 0 || fstat(file, &s)) err(1, "%s", path);
  char *memory = mmap(NULL, s.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) err(1, "mmap");
  for (off_t done = 0; done < s.st_size;) {
    ssize_t n = read(file, memory + done, s.st_size - done);
    if (n <= 0) err(1, "read %s", path);
    done += n;
  }
  close(file);
  struct header *header = (void *)memory;
  if (memcmp(header->magic, magic, sizeof magic)) errx(1, "%s is not of `memory-server pack`", path);
  nodes = (void *)(header + 1);
  count = header->nodes;
  bytes = (char *)(nodes + count);
}

static struct stat attributes(uint32_t i) {
  const struct node *n = &nodes[i];
  return (struct stat){.st_ino = i + 1, .st_mode = n->mode, .st_nlink = n->nlink, .st_uid = n->uid, .st_gid = n->gid, .st_size = n->size,
    .st_mtime = n->time, .st_ctime = n->time, .st_atime = n->time, .st_blocks = (n->size + 511) / 512, .st_blksize = 4096};
}

static struct fuse_entry_param entry(uint32_t i) {
  return (struct fuse_entry_param){.ino = i + 1, .attr = attributes(i), .attr_timeout = for_ever, .entry_timeout = for_ever};
}

static void init(void *data, struct fuse_conn_info *connection) {
  (void)data;
  connection->want |= connection->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
  connection->want &= ~(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ);
}

static char *mount_point;

// As `distri-fuse mount --read-ahead 1024` does. Not before the kernel has been greeted: that sets its own.
static void read_ahead(void) {
  char line[4096], point[4096], path[128];
  unsigned id, parent, major, minor;
  FILE *table = fopen("/proc/self/mountinfo", "r");
  while (table && fgets(line, sizeof line, table))
    if (sscanf(line, "%u %u %u:%u %*s %4095s", &id, &parent, &major, &minor, point) == 5 && !strcmp(point, mount_point)) {
      snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
      FILE *setting = fopen(path, "w");
      if (!setting || fputs("1024\n", setting) < 0 || fclose(setting)) err(1, "%s", path);
    }
  if (table) fclose(table);
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, read_ahead);
  uint32_t low = nodes[parent - 1].child, high = low + nodes[parent - 1].children;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    int order = strcmp(name, bytes + nodes[middle].name);
    if (!order) {
      struct fuse_entry_param found = entry(middle);
      fuse_reply_entry(request, &found);
      return;
    }
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  struct fuse_entry_param nothing = {.entry_timeout = for_ever};
  fuse_reply_entry(request, &nothing);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
  (void)file;
  struct stat s = attributes(inode - 1);
  fuse_reply_attr(request, &s, for_ever);
}

static void readlinks(fuse_req_t request, fuse_ino_t inode) { fuse_reply_readlink(request, bytes + nodes[inode - 1].contents); }

static void no_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
  (void)inode, (void)file;
  fuse_reply_err(request, ENOSYS);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *file) {
  (void)file;
  const struct node *n = &nodes[inode - 1];
  size_t rest = (uint64_t)offset < n->size ? n->size - offset : 0;
  if (n->contents == NOWHERE) fuse_reply_err(request, EIO);
  else fuse_reply_buf(request, bytes + n->contents + offset, size < rest ? size : rest);
}

static void readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *file) {
  (void)file;
  const struct node *n = &nodes[inode - 1];
  char buffer[1 << 16];
  size_t used = 0;
  if (size > sizeof buffer) size = sizeof buffer;
  for (uint64_t i = offset; i < n->children + 2ull; i++) {
    struct fuse_entry_param e = entry(i == 0 ? inode - 1 : i == 1 ? n->parent : n->child + i - 2);
    if (i < 2) e.ino = 0;
    const char *name = i == 0 ? "." : i == 1 ? ".." : bytes + nodes[n->child + i - 2].name;
    size_t need = fuse_add_direntry_plus(request, buffer + used, size - used, name, &e, i + 1);
    if (need > size - used) break;
    used += need;
  }
  fuse_reply_buf(request, buffer, used);
}

static void forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  (void)inode, (void)lookups;
  fuse_reply_none(request);
}

int main(int argument_count, char **words) {
  if (argument_count >= 4 && !strcmp(words[1], "pack")) {
    with_contents = argument_count == 4;
    return pack(words[2], words[3]);
  }
  if (argument_count != 4 || strcmp(words[1], "mount")) errx(64, "see the head of memory-server.c");
  mount_point = realpath(words[3], NULL);
  if (!mount_point) err(1, "%s", words[3]);
  load(words[2]);
  struct fuse_lowlevel_ops operations = {.init = init, .lookup = lookup, .getattr = getattr, .readlink = readlinks, .open = no_open,
    .opendir = no_open, .read = read_file, .readdirplus = readdirplus, .forget = forget};
  char *options[] = {words[0], "-o", "ro,default_permissions,allow_other,fsname=memory-server"};
  struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
  struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
  if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, mount_point)) errx(1, "cannot mount %s", mount_point);
  if (fuse_daemonize(0)) err(1, "daemonize");
  struct fuse_loop_config *loop = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(loop, 0);
  fuse_loop_cfg_set_max_threads(loop, 8);
  int status = fuse_session_loop_mt(session, loop);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return status != 0;
}
