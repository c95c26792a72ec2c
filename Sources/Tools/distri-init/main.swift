// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

if CommandLine.arguments.first == View.daemonName { ViewDaemon.run() }
guard getpid() == 1 else {
  Console.say("this is the first process of an initramfs; distri-mkimage puts it there. It does nothing elsewhere.")
  exit(64)
}
if CommandLine.arguments.first == Shutdown.program { Shutdown.run(CommandLine.arguments.dropFirst().first) }
Boot.run()
