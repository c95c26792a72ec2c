// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A thread that calls a function whenever files of a store's directory have come, gone or been replaced, or another generation is current; and
/// once at the start.
///
/// The events only say that it is time to look, and at what: what has changed is found by listing the directory, so an overflow of the queue
/// loses nothing.
final class StoreWatcher: Sendable {
  /// Why it is time to look.
  enum Event {
    /// The watch has begun.
    case start
    /// Something has happened to files of these packages, by their full names; none when only the generation may be another.
    case files(Set<[UInt8]>)
    /// So much that nobody knows what.
    case unknown
  }

  private let state: State

  /// What the thread works on.
  private final class State: Sendable {
    let queue: FileDescriptor
    let directory: FilePath
    let wakeUp: FileDescriptor
    let body: @Sendable (Event) -> Void

    init(queue: FileDescriptor, directory: FilePath, wakeUp: FileDescriptor, body: @escaping @Sendable (Event) -> Void) {
      self.queue = queue
      self.directory = directory
      self.wakeUp = wakeUp
      self.body = body
    }

    deinit {
      try? queue.close()
      try? wakeUp.close()
    }
  }

  private let sender: FileDescriptor
  private let thread: pthread_t

  /// Starts to watch.
  init(_ directory: FilePath, _ body: @escaping @Sendable (Event) -> Void) throws(Errno) {
    let queue = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    guard queue >= 0 else { throw Errno(rawValue: errno) }
    let events = IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR
    var ends: [Int32] = [-1, -1]
    guard
      unsafe directory.withPlatformString({ unsafe inotify_add_watch(queue, $0, UInt32(events)) }) >= 0,
      unsafe clinux_pipe_cloexec(&ends) == 0
    else {
      let error = Errno(rawValue: errno)
      close(queue)
      throw error
    }
    state = State(
      queue: FileDescriptor(rawValue: queue), directory: directory, wakeUp: FileDescriptor(rawValue: ends[0]), body: body)
    Self.watchGenerations(state)
    sender = FileDescriptor(rawValue: ends[1])
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(state)
    let status = unsafe pthread_create(
      &thread, nil,
      { @Sendable argument in
        if let argument = unsafe argument { StoreWatcher.run(unsafe Unmanaged<State>.fromOpaque(argument).takeRetainedValue()) }
        return nil
      }, box.toOpaque())
    guard status == 0 else {
      unsafe box.release()
      try? sender.close()
      throw Errno(rawValue: status)
    }
    self.thread = thread
  }

  /// Ends the thread; when this returns, the function is not running and will not be called again.
  func cancel() {
    try? sender.close()
    pthread_join(thread, nil)
  }

  private static let generationsName = Array(".generations".utf8)

  /// Nothing happens where there are none, or where they are watched already.
  private static func watchGenerations(_ state: State) {
    let directory = state.directory.appending(".generations")
    _ = unsafe directory.withPlatformString {
      unsafe inotify_add_watch(state.queue.rawValue, $0, UInt32(IN_MOVED_TO | IN_ONLYDIR))
    }
  }

  private static func run(_ state: State) {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var event = Event.start
    repeat {
      state.body(event)
      guard let next = waitForEvent(state, &buffer) else { return }
      event = next
    } while true
  }

  /// Returns after an event that may mean a package; all that have come are taken together. Nil when it is over.
  private static func waitForEvent(_ state: State, _ buffer: inout [UInt8]) -> Event? {
    while true {
      var polled = [
        pollfd(fd: state.queue.rawValue, events: Int16(POLLIN), revents: 0),
        pollfd(fd: state.wakeUp.rawValue, events: Int16(POLLIN), revents: 0),
      ]
      if unsafe poll(&polled, 2, -1) < 0 {
        if errno == EINTR { continue }
        return nil
      }
      if polled[1].revents != 0 { return nil }
      var names: Set<[UInt8]> = []
      var isOverflown = false
      var isSwitched = false
      while true {
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(state.queue.rawValue, $0.baseAddress, $0.count) }
        if count <= 0 { break }
        if !collect(buffer[..<count], state, into: &names, &isSwitched) { isOverflown = true }
      }
      if isOverflown { return .unknown }
      if !names.isEmpty || isSwitched { return .files(names) }
    }
  }

  /// An event is a watch (4 bytes), a mask (4), a cookie (4), the length of the name (4), and the name with NULs at its end. False when
  /// events have been lost.
  private static func collect(
    _ events: ArraySlice<UInt8>, _ state: State, into names: inout Set<[UInt8]>, _ isSwitched: inout Bool
  ) -> Bool {
    var rest = events
    while rest.count >= 16 {
      let start = rest.startIndex
      let word = { (offset: Int) in (0..<4).reduce(UInt32(0)) { $0 | UInt32(rest[start + offset + $1]) << (8 * UInt32($1)) } }
      let name = rest[(start + 16)...].prefix(Int(word(12))).prefix { $0 != 0 }
      if word(4) & UInt32(IN_Q_OVERFLOW) != 0 { return false }
      for suffix in [".squashfs", ".meta.textproto"] where name.reversed().starts(with: suffix.utf8.reversed()) {
        names.insert(Array(name.dropLast(suffix.utf8.count)))
      }
      if name.elementsEqual("current".utf8) { isSwitched = true }
      if name.elementsEqual(generationsName) {
        watchGenerations(state)
        isSwitched = true
      }
      rest = rest.dropFirst(16 + Int(word(12)))
    }
    return true
  }
}
