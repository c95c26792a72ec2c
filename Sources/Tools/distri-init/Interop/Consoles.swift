// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CInit
import Glibc

/// The terminals at which somebody may sit: all that the kernel writes its messages to. What is asked is asked at each, and answered at one.
struct Consoles: ~Copyable {
  private let terminals: [Int32]

  init() {
    let active = (try? System.text(of: "/sys/class/tty/console/active")) ?? "console"
    self.init(paths: active.split(whereSeparator: \.isWhitespace).map { "/dev/\($0)" })
  }

  /// Those of the paths that are terminals.
  init(paths: [String]) {
    terminals = paths.compactMap { path in
      let terminal = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
      guard terminal >= 0 else { return nil }
      if isatty(terminal) == 1 { return terminal }
      close(terminal)
      return nil
    }
  }

  deinit { for terminal in terminals { close(terminal) } }

  /// The keymap of all consoles with a screen. A machine that has none needs none.
  static func use(_ keymap: Keymap) throws(System.CallFailure) {
    let terminal = open("/dev/tty0", O_RDWR | O_NOCTTY | O_CLOEXEC)
    if terminal < 0 { return }
    defer { close(terminal) }
    for table in keymap.tables {
      for (key, meaning) in zip(UInt8.min...UInt8.max, table.meanings) {
        // A meaning that this kernel does not know is a key less.
        if cinit_set_key(terminal, table.number, key, meaning) != 0 && errno != EINVAL { throw System.CallFailure("set a key") }
      }
    }
  }

  func write(_ text: String) {
    for terminal in terminals { System.write(Array(text.utf8), to: terminal) }
  }

  /// A line that is not shown while it is typed, without its end. An empty one is asked for again.
  ///
  /// - Throws: when there is no terminal.
  func readSecret(prompt: String) throws(System.CallFailure) -> [UInt8] {
    guard !terminals.isEmpty else { throw System.CallFailure("ask for a passphrase", code: ENOTTY) }
    let before = terminals.map(Self.hideInput)
    defer {
      for (terminal, settings) in zip(terminals, before) {
        var settings = settings
        tcsetattr(terminal, TCSANOW, &settings)
      }
      write("\n")
    }
    while true {
      write(prompt)
      let line = try readLine()
      if !line.isEmpty { return line }
    }
  }

  private func readLine() throws(System.CallFailure) -> [UInt8] {
    var polled = terminals.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    while true {
      let count = poll(&polled, nfds_t(polled.count), -1)
      if count < 0 && errno == EINTR { continue }
      for index in polled.indices where polled[index].revents != 0 {
        // The terminal gives whole lines, of at most 4096 bytes.
        var buffer = [UInt8](repeating: 0, count: 4096)
        let got = read(polled[index].fd, &buffer, buffer.count)
        // Nothing is what Ctrl-D gives.
        if got > 0 || got == 0 && polled[index].revents & Int16(POLLHUP) == 0 {
          return Array(buffer[..<max(0, got)].prefix { $0 != UInt8(ascii: "\n") })
        }
        // Nobody will ever type here.
        polled[index].fd = -1
      }
      if polled.allSatisfy({ $0.fd < 0 }) { throw System.CallFailure("ask for a passphrase", code: EIO) }
    }
  }

  /// - Returns: the settings before.
  private static func hideInput(of terminal: Int32) -> termios {
    var settings = termios()
    tcgetattr(terminal, &settings)
    var hidden = settings
    hidden.c_lflag = hidden.c_lflag & ~tcflag_t(ECHO) | tcflag_t(ICANON)
    tcsetattr(terminal, TCSANOW, &hidden)
    return settings
  }
}

extension Keymap {
  /// Has all consoles with a screen use what the initramfs brings along. Without it, people have to know where the letters are on a keyboard from the USA;
  /// that is no reason not to start.
  static func loadOurs() {
    guard System.exists(path) else { return }
    do {
      let keymap = try Keymap(try System.read(path))
      try Consoles.use(keymap)
    } catch {
      Console.say("\(error)")
    }
  }
}
