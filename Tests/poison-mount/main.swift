// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSupervisor
import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage

/// A file system in memory that ends its process when a certain file is read.
struct PoisonedFileSystem: FileSystem {
  let memory = MemoryFileSystem()
  let poison: NodeID

  init() throws {
    for number in 0..<4 { try memory.add("good\(number)", contents: Array(repeating: UInt8(number), count: 300_000)) }
    poison = try memory.add("poison", contents: [1, 2, 3])
  }

  func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes {
    try memory.lookUp(name, in: directory)
  }
  func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes { try memory.attributes(of: inode) }
  func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) { try memory.entries(of: directory, after: cookie, emit) }
  func read(_ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    if file == poison { abort() }
    try memory.read(file, at: offset, count: count, into: &reply)
  }
  func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    try memory.symbolicLinkTarget(of: link, into: &reply)
  }
  func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute] {
    try memory.extendedAttributes(of: inode)
  }
}

// poison-mount MOUNTPOINT: a supervisor of the simplest kind. Prints how many servers have died when the mount is gone.
let fileSystem = try PoisonedFileSystem()
let record = try RequestRecord()
let connection = try Connection.mount(at: FilePath(CommandLine.arguments[1]))
for deaths in 0..<20 {
  let child = csupervisor_fork()
  guard child >= 0 else { exit(2) }
  if child == 0 {
    csupervisor_reset_signals(0)
    // Not on the first thread: Swift's locks take it for its parent's.
    Thread.detachNewThread { [fileSystem, connection, record] in
      do {
        try serve(fileSystem, on: connection, takingOver: deaths > 0, record: record)
        exit(0)
      } catch {
        exit(3)
      }
    }
    while true { pause() }
  }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 && errno == EINTR {}
  if status == 0 {
    print(deaths, record.refusedCount)
    exit(0)
  }
  record.countDeath()
}
exit(1)
