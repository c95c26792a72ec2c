# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""terminal.py SCRIPT COMMAND…: runs a command on a terminal of its own and talks to it.

SCRIPT is a JSON list of pairs: what to wait for in the output (a regular expression), and what to type then; a pair whose second
element is [rows, columns] resizes the terminal instead. Prints all output, then a line with the exit status and whether the terminal is
as it was before the command. Gives up after 60 seconds without what it waits for.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time


def main():
    script, command = json.loads(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    before = termios.tcgetattr(terminal)
    output, start, deadline = "", 0, time.monotonic() + 60
    while True:
        if script and (found := re.search(script[0][0], output[start:])):
            start += found.end()
            typed = script.pop(0)[1]
            if isinstance(typed, list):
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *typed, 0, 0))
            else:
                os.write(terminal, typed.encode())
            deadline = time.monotonic() + 60
            continue
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            print(output, f"\nnothing more came; waiting for {script[:1]}")
            os.kill(child, signal.SIGKILL)
            sys.exit(1)
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        output += data.decode(errors="replace")
    _, status = os.waitpid(child, 0)
    # The other side is closed by now; its settings stay with the terminal.
    same = termios.tcgetattr(terminal) == before
    print(output.replace("\r\n", "\n"))
    print(f"ended with {os.waitstatus_to_exitcode(status)}, terminal {'restored' if same else 'changed'}")


main()
