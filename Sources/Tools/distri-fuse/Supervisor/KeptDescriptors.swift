// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The open files that a supervisor holds for its servers.
struct KeptDescriptors {
  private(set) var byName: [String: FileDescriptor] = [:]
  /// How many were not taken, since there were too many.
  private(set) var refusedCount = 0
  /// Some are left for sockets and the like.
  let limit: Int

  init(limit: Int) { self.limit = limit }

  /// The descriptor is ours from now on; one that does not fit is closed.
  mutating func keep(_ descriptor: FileDescriptor, as name: String) {
    if byName[name] == nil && byName.count >= limit {
      refusedCount += 1
      try? descriptor.close()
    } else {
      let before = byName.updateValue(descriptor, forKey: name)
      try? before?.close()
    }
  }

  mutating func noteRefusal() { refusedCount += 1 }

  mutating func release(_ name: String) { try? byName.removeValue(forKey: name)?.close() }

  /// All of them, as messages of at most so many descriptors and bytes: names that end with NUL.
  var messages: [Message] {
    var result: [Message] = []
    var message = Message(.kept)
    for (name, descriptor) in byName {
      if message.descriptors.count == Channel.descriptorLimit || message.bytes.count > 32 << 10 {
        result.append(message)
        message = Message(.kept)
      }
      message.bytes += Array(name.utf8) + [0]
      message.descriptors.append(descriptor)
    }
    if !message.descriptors.isEmpty { result.append(message) }
    return result
  }

  /// Takes what such a message brings.
  mutating func take(_ message: Message) {
    let names = message.bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    for (index, descriptor) in message.descriptors.enumerated() {
      if index < names.count { keep(descriptor, as: names[index]) } else { try? descriptor.close() }
    }
  }
}
