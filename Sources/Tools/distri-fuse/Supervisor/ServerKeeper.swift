// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import Synchronization
import SystemPackage

/// The server's side of what its supervisor keeps.
///
/// A descriptor is handed over at once where the socket has room, so that it survives even if the server dies a moment later. Where it has not,
/// a thread waits for room, and the caller does not.
final class ServerKeeper: DescriptorKeeper {
  let inherited: [String: FileDescriptor]
  private let channel: Channel
  private let queue = Mutex(Queue())

  private struct Queue {
    var messages: [Message] = []
    var hasSender = false
    var isClosed = false
  }

  /// Each that waits costs a descriptor of this process.
  private static let limit = 65536

  init(inherited: [String: FileDescriptor], channel: Channel) {
    self.inherited = inherited
    self.channel = channel
  }

  func keep(_ descriptor: FileDescriptor, as name: String) { hand(Message(.keep, name, [descriptor])) }

  func release(_ name: String) { hand(Message(.release, name)) }

  private func hand(_ message: Message) {
    queue.withLock { queue in
      if queue.isClosed { return }
      if !queue.hasSender {
        do throws(Errno) {
          return try channel.send(message, waiting: false)
        } catch .resourceTemporarilyUnavailable {
          // No room: a thread takes over, in order.
        } catch {
          // The supervisor is gone: the mount goes on without.
          queue.isClosed = true
          return
        }
      }
      guard queue.messages.count < Self.limit, let waiting = try? Self.duplicate(message) else { return }
      queue.messages.append(waiting)
      if queue.hasSender { return }
      queue.hasSender = (try? ProcessCalls.detachThread { [self] in sendWaiting() }) != nil
    }
  }

  /// The caller may close its descriptor at any time.
  private static func duplicate(_ message: Message) throws -> Message {
    Message(message.kind, message.bytes, try message.descriptors.map { try $0.duplicate() })
  }

  /// Sends what waits, until nothing does.
  private func sendWaiting() {
    while true {
      let batch = queue.withLock { queue in
        defer { queue.messages = [] }
        if queue.messages.isEmpty { queue.hasSender = false }
        return queue.messages
      }
      if batch.isEmpty { return }
      for message in batch {
        send(message)
        for descriptor in message.descriptors { try? descriptor.close() }
      }
    }
  }

  private func send(_ message: Message) {
    // A supervisor that takes nothing for a minute has other worries.
    for _ in 0..<12 {
      do throws(Errno) {
        return try channel.send(message)
      } catch .resourceTemporarilyUnavailable {
        continue
      } catch {
        queue.withLock { $0.isClosed = true }
        return
      }
    }
  }
}
