// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// System calls of Linux that Swift's Glibc module lacks, and what has to happen between fork and exec.
// Each returns what the call returns (-1 and errno on failure) unless it says otherwise.
#ifndef DISTRI_CINIT_H
#define DISTRI_CINIT_H

#include <sys/types.h>

enum {
  CINIT_READ_ONLY = 1,
  CINIT_NO_SUID = 2,
  CINIT_NO_DEVICES = 4,
  CINIT_NO_EXEC = 8,
};

/// mount(2) of a new file system; `options` are those of the file system and may be NULL.
int cinit_mount(const char *source, const char *target, const char *type, unsigned flags, const char *options);

/// mount(2) with MS_BIND: shows a directory at a second place.
int cinit_bind(const char *source, const char *target);

/// mount(2) with MS_MOVE.
int cinit_move(const char *source, const char *target);

/// mount(2) with MS_REMOUNT | MS_RDONLY.
int cinit_make_read_only(const char *target);

/// umount2(2): nothing may use it.
int cinit_unmount(const char *target);

/// umount2(2) with MNT_DETACH.
int cinit_detach(const char *target);

/// finit_module(2) without parameters.
int cinit_load_module(int file);

/// ioctl(2) with KDSKBENT: what a key means to all consoles with a screen, with the modifiers of a table.
int cinit_set_key(int terminal, unsigned char table, unsigned char key, unsigned short meaning);

/// A non-blocking socket on which the kernel announces devices.
int cinit_open_uevents(void);

/// pidfd_open(2): readable once the process has ended.
int cinit_open_process(pid_t process);

enum {
  CINIT_POWER_OFF,
  CINIT_REBOOT,
  CINIT_HALT,
  CINIT_KEXEC,
};

/// reboot(2): ends the machine, in one of these ways. Returns only on failure.
int cinit_end(int how);

enum {
  /// A session of its own without a terminal.
  CINIT_NEW_SESSION = 1,
  /// A session of its own whose terminal is /dev/console: a shell there has job control.
  CINIT_ON_CONSOLE = 2,
};

/// Starts a program. `ready`, unless -1, is inherited as descriptor 3; nothing else above 2 is.
/// Returns the process, or -1 and errno when it could not be started, including when exec failed.
pid_t cinit_spawn(const char *path, char *const arguments[], char *const environment[], unsigned flags, int ready);

/// WIFEXITED, WEXITSTATUS, WTERMSIG: the exit status as a shell would say it, 128 + signal for a killed process.
int cinit_exit_status(int wait_status);

#endif
