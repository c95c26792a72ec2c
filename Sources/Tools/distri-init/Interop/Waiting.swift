// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CInit
import Glibc

/// A point in time that waiting ends at. Counts from the start of the machine, whatever the clock says.
struct Deadline {
  private let end: Int64

  init(seconds: Int) { end = Self.now() + Int64(seconds) * 1000 }

  /// Milliseconds until then, 0 when it has passed.
  var remaining: Int32 { Int32(clamping: max(0, end - Self.now())) }

  private static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  /// Waits until one of the descriptors is readable, or ends.
  ///
  /// - Returns: the positions of those that are; empty when the time is over.
  func wait(for descriptors: [Int32]) -> [Int] {
    var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    while true {
      let count = poll(&polled, nfds_t(polled.count), remaining)
      if count < 0 && errno == EINTR { continue }
      return polled.indices.filter { polled[$0].revents != 0 }
    }
  }
}

/// The kernel's announcements of devices that come and go.
struct Uevents: ~Copyable {
  private let socket: Int32

  init() throws(System.CallFailure) {
    socket = cinit_open_uevents()
    guard socket >= 0 else { throw System.CallFailure("open the socket of device events") }
  }

  deinit { close(socket) }

  /// Waits for at least one event and takes all that are there: what they say is read from /sys, which is never behind.
  ///
  /// - Returns: false when the time is over.
  func wait(until deadline: Deadline) -> Bool {
    guard !deadline.wait(for: [socket]).isEmpty else { return false }
    var buffer = [UInt8](repeating: 0, count: 8192)
    // Non-blocking. An overrun (ENOBUFS) counts as an event; it is cleared by being reported.
    while recv(socket, &buffer, buffer.count, 0) > 0 {}
    return true
  }
}

/// A pipe on which a daemon says that it is ready.
struct ReadinessPipe: ~Copyable {
  private let reader: Int32
  private var writer: Int32

  init() throws(System.CallFailure) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw System.CallFailure("pipe") }
    (reader, writer) = (ends[0], ends[1])
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
  }

  deinit {
    close(reader)
    if writer >= 0 { close(writer) }
  }

  /// What became of the daemon.
  enum Outcome: Equatable {
    /// It said so.
    case ready
    /// It ended or closed the pipe without a word.
    case gone
    /// The time was over.
    case late
  }

  /// Starts the daemon with the pipe as descriptor 3, does something else meanwhile, and waits for its byte.
  mutating func start(
    _ daemon: (Int32) throws(System.CallFailure) -> Process, meanwhile other: () -> Void = {}, until deadline: Deadline
  ) throws(System.CallFailure) -> Outcome {
    let process = try daemon(writer)
    close(writer)
    writer = -1
    let ended = cinit_open_process(process.identifier)
    defer { if ended >= 0 { close(ended) } }
    other()
    let events = deadline.wait(for: ended >= 0 ? [reader, ended] : [reader])
    if events.isEmpty { return .late }
    var byte: UInt8 = 0
    return events.contains(0) && read(reader, &byte, 1) == 1 ? .ready : .gone
  }
}

/// A pipe that holds a secret until a program has read it: it is in no file and on no command line.
struct SecretPipe: ~Copyable {
  /// Ends after the secret.
  let reader: Int32

  /// - Parameter secret: at most 4096 bytes, which fit into any pipe.
  init(holding secret: [UInt8]) throws(System.CallFailure) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw System.CallFailure("pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    System.write(secret, to: ends[1])
    close(ends[1])
    reader = ends[0]
  }

  deinit { close(reader) }
}
