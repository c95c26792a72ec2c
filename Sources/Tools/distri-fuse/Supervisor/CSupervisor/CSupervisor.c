// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CSupervisor.h"

#include <errno.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define PATIENCE_MILLISECONDS 5000

static int has_other_threads(void) {
  struct stat status;
  // A directory per thread, and a link each for them.
  return stat("/proc/self/task", &status) == 0 && status.st_nlink > 3;
}

pid_t csupervisor_fork(void) {
  if (has_other_threads()) {
    errno = EBUSY;
    return -1;
  }
  return fork();
}

// A thread that tells the kernel of a change may wait, uninterruptibly, for a request that one of those that have stopped already was to answer. So they go on
// for a moment, and are stopped again.
int csupervisor_stop(pid_t process) {
  for (int round = 0; round < 20; round++) {
    if (kill(process, SIGSTOP) < 0) return -1;
    for (int attempt = 0; attempt < 200; attempt++) {
      siginfo_t information;
      information.si_pid = 0;
      if (waitid(P_PID, (id_t)process, &information, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) < 0) return -1;
      if (information.si_pid == process) return information.si_code == CLD_STOPPED ? 0 : -1;
      usleep(500);
    }
    kill(process, SIGCONT);
    usleep(10000);
  }
  errno = ETIMEDOUT;
  return -1;
}

static void fill(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGCHLD);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGHUP);
  sigaddset(set, SIGUSR1);
}

int csupervisor_signals(void) {
  sigset_t set;
  fill(&set);
  if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
  // A signal that is ignored is not delivered to a descriptor either.
  const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};
  for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) signal(numbers[index], SIG_DFL);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int csupervisor_next_signal(int descriptor) {
  struct signalfd_siginfo info;
  return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void csupervisor_reset_signals(int unblock) {
  const int numbers[] = {SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGBUS, SIGSEGV, SIGQUIT};
  for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) signal(numbers[index], SIG_DFL);
  if (unblock) {
    sigset_t set;
    fill(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
  }
}

static void make_roomy(int socket) {
  int size = 4 << 20;
  if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0) {
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
}

int csupervisor_pair(int sockets[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) return -1;
  make_roomy(sockets[0]);
  make_roomy(sockets[1]);
  return 0;
}

static int wait_for(int socket, short events) {
  struct pollfd polled = {socket, events, 0};
  int status = poll(&polled, 1, PATIENCE_MILLISECONDS);
  if (status == 0) errno = EAGAIN;
  return status > 0 ? 0 : -1;
}

int csupervisor_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count, int wait) {
  struct iovec vector = {(void *)bytes, length};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * CSUPERVISOR_MESSAGE_DESCRIPTORS)];
  if (count > CSUPERVISOR_MESSAGE_DESCRIPTORS) {
    errno = EINVAL;
    return -1;
  }
  if (count > 0) {
    memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
  }
  // Bounded: signals are blocked, and the other side either takes messages or is gone.
  for (int attempt = 0; attempt < 1000; attempt++) {
    if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno == ETOOMANYREFS && wait) {
      usleep(5000);
      continue;
    }
    if (errno != EAGAIN || !wait || wait_for(socket, POLLOUT) < 0) return -1;
  }
  errno = EAGAIN;
  return -1;
}

ssize_t csupervisor_receive(int socket, void *bytes, size_t length, int *descriptors, size_t *count, int *truncated, int wait) {
  struct iovec vector = {bytes, length};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * CSUPERVISOR_MESSAGE_DESCRIPTORS)];
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  size_t room = *count;
  *count = 0;
  *truncated = 0;
  if (wait && wait_for(socket, POLLIN) < 0) return -1;
  ssize_t received;
  do received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -1;
  *truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < found; index++) {
      int descriptor;
      memcpy(&descriptor, CMSG_DATA(header) + index * sizeof(int), sizeof descriptor);
      if (*count < room) {
        descriptors[(*count)++] = descriptor;
      } else {
        close(descriptor);
        *truncated = 1;
      }
    }
  }
  return received;
}

static int address_of(const char *path, struct sockaddr_un *address, socklen_t *length) {
  size_t count = strlen(path);
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (count == 0 || count >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address->sun_path, path, count);
  *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + 1);
  if (path[0] == '@') {
    address->sun_path[0] = 0;
    *length -= 1;
  }
  return 0;
}

int csupervisor_listen(const char *path) {
  struct sockaddr_un address;
  socklen_t length;
  if (address_of(path, &address, &length) < 0) return -1;
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return -1;
  // The number of the mount is ours: what has its name is the remains of an older one.
  unlink(path);
  mode_t mask = umask(0177);
  int status = bind(listener, (struct sockaddr *)&address, length);
  umask(mask);
  if (status < 0 || listen(listener, 16) < 0) {
    int error = errno;
    close(listener);
    errno = error;
    return -1;
  }
  return listener;
}

int csupervisor_connect(const char *path) {
  struct sockaddr_un address;
  socklen_t length;
  if (address_of(path, &address, &length) < 0) return -1;
  int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (client < 0) return -1;
  if (connect(client, (struct sockaddr *)&address, length) < 0) {
    int error = errno;
    close(client);
    errno = error;
    return -1;
  }
  make_roomy(client);
  return client;
}

int csupervisor_is_same_user(int socket) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

int csupervisor_accept(int socket) {
  int client = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
  if (client < 0) return -1;
  if (!csupervisor_is_same_user(client)) {
    close(client);
    errno = EACCES;
    return -1;
  }
  make_roomy(client);
  return client;
}

int csupervisor_notify(const char *path, const char *text) {
  struct sockaddr_un address;
  socklen_t length;
  if (address_of(path, &address, &length) < 0) return -1;
  int client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (client < 0) return -1;
  ssize_t sent = sendto(client, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
  int error = errno;
  close(client);
  errno = error;
  return sent < 0 ? -1 : 0;
}

static int compare(const void *left, const void *right) { return *(const int *)left - *(const int *)right; }

void csupervisor_close_others(const int *kept, size_t count) {
  int *sorted = malloc((count + 1) * sizeof *sorted);
  if (!sorted) return;
  memcpy(sorted, kept, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare);
  unsigned next = 3;
  for (size_t index = 0; index < count; index++) {
    if (sorted[index] < (int)next) continue;
    if ((unsigned)sorted[index] > next) close_range(next, (unsigned)sorted[index] - 1, 0);
    next = (unsigned)sorted[index] + 1;
  }
  close_range(next, ~0U, 0);
  free(sorted);
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

static int stay_resident(struct dl_phdr_info *object, size_t size, void *data) {
  (void)size;
  int *is_library = data;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  for (int index = 0; index < object->dlpi_phnum; index++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[index];
    // Of libraries the code only: some hold megabytes of tables that we never look at. What can be written is memory of our own already.
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) || (*is_library && !(segment->p_flags & PF_X))) continue;
    uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~page;
    uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz + page) & ~page;
    if (mlock((void *)start, end - start) != 0) madvise((void *)start, end - start, MADV_POPULATE_READ);
  }
  *is_library = 1;
  return 0;
}

void csupervisor_stay_resident(void) {
  // The program itself is the first object.
  int is_library = 0;
  dl_iterate_phdr(stay_resident, &is_library);
}

void csupervisor_log(const char *line) {
  openlog("distri-fuse", LOG_PID, LOG_DAEMON);
  syslog(LOG_WARNING, "%s", line);
}
