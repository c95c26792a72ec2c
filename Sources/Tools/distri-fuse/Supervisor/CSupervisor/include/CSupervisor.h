// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What a supervisor of forked processes needs and Swift does not offer: fork itself, signals as descriptors, and messages that carry
// descriptors. Each returns what the call returns (-1 and errno on failure).
#ifndef DISTRI_CSUPERVISOR_H
#define DISTRI_CSUPERVISOR_H

#include <stddef.h>
#include <sys/types.h>

/// How many descriptors one message carries at most (SCM_MAX_FD of Linux).
#define CSUPERVISOR_MESSAGE_DESCRIPTORS 253

/// fork(2), refused with EBUSY where the process has more than one thread: its child would have lost them, and locks with them.
pid_t csupervisor_fork(void);

/// Stops a child and waits until it has stopped, at most two seconds; -1 when it has not, or has ended, which is left for waitpid.
int csupervisor_stop(pid_t process);

/// Blocks SIGCHLD, SIGTERM, SIGINT, SIGHUP and SIGUSR1, and gives a descriptor that they are read from. They stay blocked in children.
int csupervisor_signals(void);

/// The next signal; 0 when there is none.
int csupervisor_next_signal(int descriptor);

/// Gives the signals that mean a crash their default action, and unblocks what `csupervisor_signals` blocked if `unblock` is set.
void csupervisor_reset_signals(int unblock);

/// Writes a line to the system's log, as a warning of a daemon.
void csupervisor_log(const char *line);

/// A pair of connected sockets that keep messages apart, with room for many messages. Close-on-exec.
int csupervisor_pair(int sockets[2]);

/// Sends a message with descriptors, waiting for room if `wait` is set (at most five seconds), else failing with EAGAIN.
int csupervisor_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count, int wait);

/// Receives a message; its length, 0 at the end. `count` is how many descriptors fit, and on return how many came. EAGAIN where nothing is
/// there and `wait` is not set, or after five seconds. `truncated` says that some of the descriptors are lost.
ssize_t csupervisor_receive(int socket, void *bytes, size_t length, int *descriptors, size_t *count, int *truncated, int wait);

/// A socket file, mode 0600, that keeps messages apart.
int csupervisor_listen(const char *path);
int csupervisor_connect(const char *path);
/// The next client, if it runs as the same user; else -1 and EACCES or EAGAIN.
int csupervisor_accept(int socket);
/// Whether the other side runs as the same user.
int csupervisor_is_same_user(int socket);

/// sd_notify(3) to the socket, `@` in front meaning an abstract one.
int csupervisor_notify(const char *path, const char *text);

/// Closes all descriptors above 2 but those of the list.
void csupervisor_close_others(const int *kept, size_t count);

/// Locks this program and the code of its libraries in memory, or at least reads them in: what serves the files of programs must not wait
/// for a disk itself, let alone for its own mount.
void csupervisor_stay_resident(void);

#endif
