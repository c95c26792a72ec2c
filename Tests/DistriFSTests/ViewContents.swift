// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import Testing

/// All paths of a view, with what a program sees of them; numbers and times may differ. Directories that are not here are not looked into.
func contents(_ fileSystem: PackageFileSystem, isHere: (String) -> Bool = { _ in true }) throws -> [String: String] {
  var result: [String: String] = [:]
  var pending: [(String, NodeID)] = [("", .root)]
  while let (path, directory) = pending.popLast() {
    var names: [String] = []
    try fileSystem.entries(of: directory, after: 0) { name, attributes, _ in
      var reply = ReplyBuffer()
      try? fileSystem.symbolicLinkTarget(of: attributes.inode, into: &reply)
      if attributes.kind == .directory, isHere("\(path)/\(name)") { pending.append(("\(path)/\(name)", attributes.inode)) }
      result["\(path)/\(name)"] = "\(attributes.kind) \(attributes.linkCount) \(String(decoding: reply.bytes, as: UTF8.self))"
      // What is listed is found, and is the same.
      #expect((try? fileSystem.lookUp(name, in: directory))?.inode == attributes.inode, "\(path)/\(name)")
      names.append(name.description)
      return true
    }
    // The order of a listing is part of what a build sees.
    result["\(path)/"] = names.joined(separator: " ")
  }
  return result
}
