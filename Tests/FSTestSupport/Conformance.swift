// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import SystemPackage

/// The laws that every ``FileSystem`` keeps, checked through the protocol.
package enum Conformance {
  /// Walks the whole file system, and gives a sentence for each broken law.
  package static func violations(of fileSystem: any FileSystem) throws -> [String] {
    var violations: [String] = []
    try check(try fileSystem.attributes(of: .root), ".", fileSystem, &violations)
    return violations
  }

  private static func check(
    _ attributes: Attributes, _ path: String, _ fileSystem: any FileSystem, _ violations: inout [String]
  ) throws {
    if try fileSystem.attributes(of: attributes.inode) != attributes {
      violations.append("\(path): attributes differ from those listed")
    }
    var buffer = ReplyBuffer()
    let absent = try EntryName("no such name, of course")
    if attributes.kind == .directory {
      if errno(of: { () throws(FileSystemFailure) in _ = try fileSystem.lookUp(absent, in: attributes.inode) })
        != .noSuchFileOrDirectory
      {
        violations.append("\(path): an absent name is found")
      }
      try checkListing(attributes, path, fileSystem, &violations)
    } else {
      for failure in [
        errno(of: { () throws(FileSystemFailure) in _ = try fileSystem.lookUp(absent, in: attributes.inode) }),
        errno(of: { () throws(FileSystemFailure) in try fileSystem.entries(of: attributes.inode, after: 0) { _, _, _ in true } }),
      ] where failure == nil { violations.append("\(path): it is treated as a directory") }
    }
    if attributes.kind == .regular {
      try checkReading(attributes, path, fileSystem, &violations)
    } else if errno(of: { () throws(FileSystemFailure) in try fileSystem.read(attributes.inode, at: 0, count: 1, into: &buffer) })
      == nil
    {
      violations.append("\(path): it can be read although it is no file")
    }
    if attributes.kind == .symbolicLink {
      try fileSystem.symbolicLinkTarget(of: attributes.inode, into: &buffer)
      if buffer.byteCount != Int(attributes.byteCount) { violations.append("\(path): its target is not as long as its size") }
    } else if errno(of: { () throws(FileSystemFailure) in try fileSystem.symbolicLinkTarget(of: attributes.inode, into: &buffer) })
      == nil
    {
      violations.append("\(path): it has a target although it is no link")
    }
  }

  private static func checkListing(
    _ attributes: Attributes, _ path: String, _ fileSystem: any FileSystem, _ violations: inout [String]
  ) throws {
    var all: [(name: EntryName, attributes: Attributes, cookie: UInt64)] = []
    try fileSystem.entries(of: attributes.inode, after: 0) { name, attributes, cookie in
      all.append((name, attributes, cookie))
      return true
    }
    if Set(all.map(\.name)).count != all.count { violations.append("\(path): a name is listed twice") }
    if all.contains(where: { $0.cookie == 0 || $0.cookie >= 1 << 62 }) { violations.append("\(path): a cookie is out of range") }
    var resumed: [EntryName] = []
    while true {
      var last: UInt64?
      var count = 0
      try fileSystem.entries(of: attributes.inode, after: resumed.isEmpty ? 0 : all[resumed.count - 1].cookie) { name, _, cookie in
        count += 1
        if count > 3 { return false }
        resumed.append(name)
        last = cookie
        return true
      }
      if last == nil || resumed.count >= all.count { break }
    }
    if resumed != all.map(\.name) { violations.append("\(path): going on from a cookie loses or repeats names") }
    for entry in all {
      if try fileSystem.lookUp(entry.name, in: attributes.inode) != entry.attributes {
        violations.append("\(path)/\(entry.name): look-up and listing differ")
      }
      try check(entry.attributes, "\(path)/\(entry.name)", fileSystem, &violations)
    }
  }

  private static func checkReading(
    _ attributes: Attributes, _ path: String, _ fileSystem: any FileSystem, _ violations: inout [String]
  ) throws {
    var whole = ReplyBuffer()
    try fileSystem.read(attributes.inode, at: 0, count: Int(attributes.byteCount) + 10, into: &whole)
    let bytes = whole.bytes
    if bytes.count != Int(attributes.byteCount) {
      violations.append("\(path): \(bytes.count) bytes instead of \(attributes.byteCount)")
    }
    for (offset, count) in [
      (0, 1), (1, 4095), (4096, 4096), (bytes.count / 2, 70_000), (max(bytes.count - 1, 0), 10), (bytes.count, 1),
    ] {
      var part = ReplyBuffer()
      try fileSystem.read(attributes.inode, at: UInt64(offset), count: count, into: &part)
      if part.bytes != Array(bytes.dropFirst(offset).prefix(count)) { violations.append("\(path): wrong bytes at \(offset)") }
    }
    var past = ReplyBuffer()
    try fileSystem.read(attributes.inode, at: UInt64(Int64.max), count: 10, into: &past)
    if past.byteCount != 0 { violations.append("\(path): bytes past the end") }
  }

  /// The error of a call; nil when there is none.
  package static func errno(of body: () throws(FileSystemFailure) -> Void) -> Errno? {
    do throws(FileSystemFailure) {
      try body()
      return nil
    } catch {
      if case .errno(let errno) = error { return errno }
      return .resourceTemporarilyUnavailable
    }
  }
}
