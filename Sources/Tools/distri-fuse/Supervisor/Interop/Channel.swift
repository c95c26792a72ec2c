// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSupervisor
import Glibc
import SystemPackage

/// What processes of a mount tell each other: a word, text, descriptors.
package struct Message {
  package enum Kind: UInt8 {
    // A server to its supervisor.
    case prepared = 1
    case serving, keep, release, rescanned
    // A supervisor to its server: the connection; look at the store.
    case go, rescan
    // A client to a supervisor, and back.
    case status, takeOver, commit, done, recipe, connection, kept, end, failure
  }

  package var kind: Kind
  var bytes: [UInt8] = []
  package var descriptors: [FileDescriptor] = []

  package var text: String { String(decoding: bytes, as: UTF8.self) }

  package init(_ kind: Kind, _ bytes: [UInt8] = [], _ descriptors: [FileDescriptor] = []) {
    self.kind = kind
    self.bytes = bytes
    self.descriptors = descriptors
  }

  package init(_ kind: Kind, _ text: String, _ descriptors: [FileDescriptor] = []) {
    self.init(kind, Array(text.utf8), descriptors)
  }
}

/// One end of a socket that keeps messages apart. It does not own its descriptor.
package struct Channel: Sendable {
  let descriptor: FileDescriptor

  /// As many as a message carries.
  static let descriptorLimit = Int(CSUPERVISOR_MESSAGE_DESCRIPTORS)

  static func pair() throws(Errno) -> (Channel, Channel) {
    var ends: [Int32] = [-1, -1]
    guard csupervisor_pair(&ends) == 0 else { throw Errno(rawValue: errno) }
    return (Channel(descriptor: FileDescriptor(rawValue: ends[0])), Channel(descriptor: FileDescriptor(rawValue: ends[1])))
  }

  /// Sends a message; the descriptors are duplicated.
  ///
  /// - Parameter waiting: for room, at most five seconds; else a full socket is `EAGAIN`.
  package func send(_ message: Message, waiting: Bool = true) throws(Errno) {
    let bytes = [message.kind.rawValue] + message.bytes
    let descriptors = message.descriptors.map(\.rawValue)
    let status = csupervisor_send(descriptor.rawValue, bytes, bytes.count, descriptors, descriptors.count, waiting ? 1 : 0)
    guard status == 0 else { throw Errno(rawValue: errno) }
  }

  /// The next message, whose descriptors belong to the caller; nil at the end.
  ///
  /// - Throws: `EAGAIN` where none is there, or none has come for five seconds; `EMFILE` when its descriptors are lost.
  package func receive(waiting: Bool) throws(Errno) -> Message? {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var descriptors = [Int32](repeating: -1, count: Self.descriptorLimit)
    var count = descriptors.count
    var isTruncated: Int32 = 0
    let length = csupervisor_receive(
      descriptor.rawValue, &buffer, buffer.count, &descriptors, &count, &isTruncated, waiting ? 1 : 0)
    if length < 0 {
      if errno == ECONNRESET { return nil }
      throw Errno(rawValue: errno)
    }
    let received = descriptors[..<count].map(FileDescriptor.init(rawValue:))
    guard length > 0, isTruncated == 0, let kind = Message.Kind(rawValue: buffer[0]) else {
      for descriptor in received { try? descriptor.close() }
      if length == 0 { return nil }
      throw isTruncated != 0 ? .tooManyOpenFiles : .badMessage
    }
    return Message(kind, Array(buffer[1..<length]), received)
  }

  /// Waits without end for something to read.
  package func waitForInput() {
    var polled = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
    while poll(&polled, 1, -1) < 0 && errno == EINTR {}
  }

  package func close() { try? descriptor.close() }
}
