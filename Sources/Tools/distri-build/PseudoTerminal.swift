// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import FoundationEssentials
import Glibc
import SystemPackage

/// A terminal for a program that is to have one of its own, as wide as ours; what is typed and printed passes through. A program that
/// was given our own could not have job control, and could type into it.
enum PseudoTerminal {
  /// Whether there is somebody to talk to: all three streams are terminals, and we are in the foreground.
  static var isPossible: Bool {
    (0...2).allSatisfy { isatty($0) == 1 } && tcgetpgrp(0) == getpgrp()
  }

  /// Calls the body with the terminal's inner side, and passes everything on until it returns. Our own terminal is as before then.
  ///
  /// - Throws: `Errno` when there is none to be had; what the body throws.
  static func with<R: Sendable>(_ body: (FileDescriptor) async throws -> R) async throws -> R {
    let outer = try FileDescriptor.open("/dev/ptmx", .readWrite, options: [.closeOnExec])
    defer { try? outer.close() }
    var locked: Int32 = 0
    guard ioctl(outer.rawValue, 0x4004_5431 /* TIOCSPTLCK */, &locked) == 0 else { throw Errno(rawValue: errno) }
    let number = ioctl(outer.rawValue, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard number >= 0 else { throw Errno(rawValue: errno) }
    let inner = FileDescriptor(rawValue: number)

    var before = termios()
    guard tcgetattr(0, &before) == 0 else {
      try? inner.close()
      throw Errno(rawValue: errno)
    }
    // What is typed goes to the program as it is; how it is edited is the business of its own terminal.
    var settings = before
    _ = tcsetattr(inner.rawValue, TCSANOW, &settings)
    copySize(to: outer)
    let resized = DispatchSource.makeSignalSource(signal: SIGWINCH, queue: .global())
    resized.setEventHandler { copySize(to: outer) }
    resized.resume()
    cfmakeraw(&settings)
    _ = tcsetattr(0, TCSADRAIN, &settings)
    let passing = Passing(outer)
    Thread.start { passing.run() }
    let result: Result<R, any Error>
    do {
      result = .success(try await body(inner))
    } catch {
      result = .failure(error)
    }
    // The last one who has it open: what was printed is read to its end, then the thread ends.
    try? inner.close()
    await passing.end()
    resized.cancel()
    _ = tcsetattr(0, TCSADRAIN, &before)
    return try result.get()
  }

  private static func copySize(to outer: FileDescriptor) {
    var size = winsize()
    if ioctl(0, UInt(TIOCGWINSZ), &size) == 0 { _ = ioctl(outer.rawValue, UInt(TIOCSWINSZ), &size) }
  }

  /// A thread of our own, since reading a terminal blocks.
  private enum Thread {
    static func start(_ body: @escaping @Sendable () -> Void) { DispatchQueue(label: "terminal").async(execute: body) }
  }

  /// Passes bytes between our terminal and the outer side of the other.
  private final class Passing: Sendable {
    private let outer: FileDescriptor
    private let finished: AsyncStream<Void>
    private let finish: AsyncStream<Void>.Continuation

    init(_ outer: FileDescriptor) {
      self.outer = outer
      (finished, finish) = AsyncStream.makeStream()
    }

    func end() async { for await _ in finished {} }

    func run() {
      defer { finish.finish() }
      var sources = [
        pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: outer.rawValue, events: Int16(POLLIN), revents: 0),
      ]
      while true {
        guard poll(&sources, 2, -1) >= 0 || errno == EINTR else { return }
        // Output first: once the program has ended and all is read, this fails.
        if sources[1].revents != 0, !copy(from: outer, to: .standardOutput) { return }
        if sources[0].revents != 0, !copy(from: .standardInput, to: outer) { sources[0].fd = -1 }
      }
    }

    private func copy(from: FileDescriptor, to: FileDescriptor) -> Bool {
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
        guard let count = try? from.read(into: buffer), count > 0 else { return false }
        return (try? to.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]))) != nil
      }
    }
  }
}
