// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import Synchronization

/// Notes what reaches the file system behind it: what the kernel answers by itself does not.
package final class CountingFileSystem: LiveFileSystem {
  /// A question.
  package enum Question: Hashable, Sendable {
    case lookUp(String, in: NodeID)
    case attributes(NodeID)
    case entries(NodeID)
    case read(NodeID)
    case target(NodeID)
    case extendedAttributes(NodeID)
  }

  private let base: any LiveFileSystem
  private let log = Mutex<[Question]>([])
  private let reported = Mutex<[FileSystemChange]>([])

  package init(_ base: any LiveFileSystem) { self.base = base }

  /// What was asked since the last call.
  package func takeQuestions() -> [Question] {
    log.withLock { log in
      defer { log = [] }
      return log
    }
  }

  /// What was said to have changed since the last call.
  package func takeChanges() -> [FileSystemChange] {
    reported.withLock { reported in
      defer { reported = [] }
      return reported
    }
  }

  private func note(_ question: Question) { log.withLock { $0.append(question) } }

  package func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes {
    note(.lookUp(name.description, in: directory))
    return try base.lookUp(name, in: directory)
  }

  package func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes {
    note(.attributes(inode))
    return try base.attributes(of: inode)
  }

  package func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) {
    note(.entries(directory))
    try base.entries(of: directory, after: cookie, emit)
  }

  package func read(_ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    note(.read(file))
    try base.read(file, at: offset, count: count, into: &reply)
  }

  package func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    note(.target(link))
    try base.symbolicLinkTarget(of: link, into: &reply)
  }

  package func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute] {
    note(.extendedAttributes(inode))
    return try base.extendedAttributes(of: inode)
  }

  package var capacity: FileSystemCapacity { base.capacity }

  package func forget(_ inode: NodeID, lookups: UInt64) { base.forget(inode, lookups: lookups) }

  package func subscribe(_ report: @escaping @Sendable ([FileSystemChange]) -> Void) throws -> any ChangeSubscription {
    try base.subscribe { [self] changes in
      reported.withLock { $0 += changes }
      report(changes)
    }
  }
}
