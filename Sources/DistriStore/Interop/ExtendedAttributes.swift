// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

extension DirectoryHandle {
  /// The extended attributes of an entry, sorted by name; of a link, its own. None where the file system knows none.
  func extendedAttributes(of name: EntryName) throws(StoreError) -> [ExtendedAttribute] {
    let place = path.appending(raw: name)
    return try unsafe withNullTerminated(procPath(of: name)) { file throws(StoreError) in
      try unsafe attributes(
        place, list: { unsafe llistxattr(file, $0, $1) }, get: { unsafe lgetxattr(file, $0, $1, $2) })
    }
  }

  /// Attaches an extended attribute to an entry; to a link itself.
  func setExtendedAttribute(_ attribute: ExtendedAttribute, of name: EntryName) throws(StoreError) {
    guard !attribute.name.contains(0) else {
      throw .system(operation: "setxattr", path: path.appending(raw: name), .invalidArgument)
    }
    _ = try systemCall("setxattr", path.appending(raw: name)) {
      unsafe withNullTerminated(procPath(of: name)) { file in
        unsafe withNullTerminated(attribute.name) { key in
          unsafe attribute.value.withUnsafeBytes { unsafe lsetxattr(file, key, $0.baseAddress, $0.count, 0) }
        }
      }
    }
  }

  // There are no …at() calls for attributes: the directory's entry in /proc stands for it, the last component is not followed.
  private func procPath(of name: EntryName) -> [UInt8] {
    Array("/proc/self/fd/\(descriptor.rawValue)/".utf8) + name.bytes
  }
}

extension FileDescriptor {
  /// The extended attributes of an open file, sorted by name. None where the file system knows none.
  func extendedAttributes(path: FilePath) throws(StoreError) -> [ExtendedAttribute] {
    try unsafe attributes(
      path, list: { unsafe flistxattr(rawValue, $0, $1) }, get: { unsafe fgetxattr(rawValue, $0, $1, $2) })
  }

  /// Attaches an extended attribute to an open file.
  func setExtendedAttribute(_ attribute: ExtendedAttribute, path: FilePath) throws(StoreError) {
    guard !attribute.name.contains(0) else { throw .system(operation: "setxattr", path: path, .invalidArgument) }
    _ = try systemCall("setxattr", path) {
      unsafe withNullTerminated(attribute.name) { key in
        unsafe attribute.value.withUnsafeBytes { unsafe fsetxattr(rawValue, key, $0.baseAddress, $0.count, 0) }
      }
    }
  }
}

/// The kernel's limit on the list of names and on one value, in bytes.
private let attributeLimit = 65_536

private func attributes(
  _ path: FilePath, list: (UnsafeMutablePointer<CChar>?, Int) -> Int,
  get: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
) throws(StoreError) -> [ExtendedAttribute] {
  // Nearly every file has none: ask for the size first, which needs no buffer.
  let size = list(nil, 0)
  if size < 0, Errno(rawValue: errno) == .notSupported { return [] }
  if size == 0 { return [] }
  var names = [UInt8](repeating: 0, count: attributeLimit)
  let count = try systemCall("listxattr", path) {
    unsafe names.withUnsafeMutableBytes { unsafe list($0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
  }
  var result: [ExtendedAttribute] = []
  var value = [UInt8](repeating: 0, count: attributeLimit)
  for name in names.prefix(count).split(separator: 0) {
    let length = unsafe withNullTerminated(Array(name)) { name in
      unsafe value.withUnsafeMutableBytes { unsafe get(name, $0.baseAddress, $0.count) }
    }
    guard length >= 0 else { throw .system(operation: "getxattr", path: path, Errno(rawValue: errno)) }
    result.append(ExtendedAttribute(name: Array(name), value: Array(value.prefix(length))))
  }
  return result.sorted { $0.name.lexicographicallyPrecedes($1.name) }
}
