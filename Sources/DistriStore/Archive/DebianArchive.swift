// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A Debian binary package: an `ar` file of the format's version, `control.tar` and `data.tar`, either compressed.
public struct DebianArchive {
  /// The file.
  public let path: FilePath
  /// The fields of the `control` file as they are spelled there. A folded value has its lines joined by `\n`, without the
  /// indentation; a line that is only a dot is empty.
  public let control: [String: String]

  /// The most that is read of the control archive's files together, in bytes; the data archive is never held in memory.
  public static let maximumControlByteCount = 64 << 20

  private let file: OwnedDescriptor
  private let dataRange: Range<UInt64>
  private let files: [EntryName: [UInt8]]

  /// Opens a package and reads its control archive.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the file cannot be read; ``StoreError/invalidArchive(_:entry:reason:)``
  ///   when it is no Debian package, or one whose control archive is damaged or lacks `Package`, `Version` or `Architecture`.
  public init(path: FilePath) throws(StoreError) {
    self.path = path
    file = try OwnedDescriptor(reading: path)
    let members = try Self.members(of: file, path: path)
    guard members.first?.name == "debian-binary" else {
      throw .invalidArchive(path, entry: nil, reason: "no Debian package: its first member is not debian-binary")
    }
    let version = try Self.bytes(members[0].range, of: file, path: path, limit: 16)
    guard version.starts(with: Array("2.".utf8)) else {
      throw .invalidArchive(path, entry: "debian-binary", reason: "not version 2 of the format")
    }
    guard let control = members.first(where: { $0.name == "control.tar" || $0.name.hasPrefix("control.tar.") }),
      let data = members.first(where: { $0.name == "data.tar" || $0.name.hasPrefix("data.tar.") })
    else { throw .invalidArchive(path, entry: nil, reason: "it has no control.tar or no data.tar") }
    dataRange = data.range
    files = try Self.files(of: file, range: control.range, path: path)
    guard let text = files[try EntryName("control")] else {
      throw .invalidArchive(path, entry: control.name, reason: "it has no file «control»")
    }
    self.control = try Self.fields(of: text, path: path)
    for field in ["Package", "Version", "Architecture"] where self.control[field] == nil {
      throw .invalidArchive(path, entry: "control", reason: "the field \(field) is missing")
    }
  }

  /// The names of the control archive's files, sorted: `control`, `conffiles`, `postinst` …
  public var controlFileNames: [String] { files.keys.sorted().map(\.description) }

  /// A file of the control archive; nil when there is none of that name. Maintainer scripts are data: nothing ever runs them.
  public func controlFile(_ name: String) -> [UInt8]? {
    guard let name = try? EntryName(name) else { return nil }
    return files[name]
  }

  /// The files that the package installs, from the first one; every call starts anew.
  ///
  /// - Throws: as ``ArchiveTree/init(path:strippingComponents:limits:)``.
  public func data(limits: ArchiveTree.Limits = .init()) throws(StoreError) -> ArchiveTree {
    try ArchiveTree(file: file, range: dataRange, path: path, strippingComponents: 0, limits: limits)
  }

  // MARK: The control archive

  private static func files(
    of file: OwnedDescriptor, range: Range<UInt64>, path: FilePath
  ) throws(StoreError) -> [EntryName: [UInt8]] {
    let limits = ArchiveTree.Limits(entryCount: 4096, byteCount: UInt64(maximumControlByteCount), depth: 16)
    do {
      var tree = try ArchiveTree(file: file, range: range, path: path, strippingComponents: 0, limits: limits)
      var files: [EntryName: [UInt8]] = [:]
      while let entry = try tree.next() {
        // Only files at the top have a meaning; dpkg itself ignores the rest.
        guard case .regular(let byteCount) = entry.kind, entry.path.components.count == 1, let name = entry.path.name else {
          continue
        }
        files[name] = try tree.readContents(limit: Int(clamping: byteCount))
      }
      return files
    } catch let error as StoreError {
      throw error
    } catch {
      throw .invalidArchive(path, entry: "control.tar", reason: "\(error)")
    }
  }

  static func fields(of bytes: [UInt8], path: FilePath) throws(StoreError) -> [String: String] {
    var fields: [String: String] = [:]
    var last: String?
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      let text = String(decoding: line, as: UTF8.self)
      if text.utf8.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }) {
        last = nil
      } else if text.utf8.first == UInt8(ascii: " ") || text.utf8.first == UInt8(ascii: "\t") {
        guard let last else { throw damaged(path, "a folded line without a field before it") }
        let value = text.trimmed
        fields[last]?.append("\n" + (value == "." ? "" : value))
      } else if text.utf8.first != UInt8(ascii: "#") {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon != text.startIndex else {
          throw damaged(path, "«\(text.printable)» is no field")
        }
        guard last != nil || fields.isEmpty else { throw damaged(path, "it has more than one paragraph") }
        let name = String(text[..<colon])
        guard fields.updateValue(text[text.utf8.index(after: colon)...].trimmed, forKey: name) == nil else {
          throw damaged(path, "the field \(name.printable) comes twice")
        }
        last = name
      }
    }
    return fields
  }

  private static func damaged(_ path: FilePath, _ reason: String) -> StoreError {
    .invalidArchive(path, entry: "control", reason: reason)
  }

  // MARK: The outer archive

  private struct Member {
    var name: String
    var range: Range<UInt64>
  }

  /// `ar`: eight bytes of magic, then members of a 60-byte text header and contents, each at an even offset.
  private static func members(of file: OwnedDescriptor, path: FilePath) throws(StoreError) -> [Member] {
    let byteCount: UInt64
    do { byteCount = try file.descriptor.status().byteCount } catch { throw .system(operation: "stat", path: path, error) }
    guard byteCount >= 8, try bytes(0..<8, of: file, path: path, limit: 8) == Array("!<arch>\n".utf8) else {
      throw .invalidArchive(path, entry: nil, reason: "no Debian package: it does not start as an ar archive")
    }
    var members: [Member] = []
    var offset: UInt64 = 8
    while offset + 60 <= byteCount {
      guard members.count < 64 else { throw .invalidArchive(path, entry: nil, reason: "more than 64 members") }
      let header = try bytes(offset..<(offset + 60), of: file, path: path, limit: 60)
      let name = String(decoding: header[0..<16], as: UTF8.self).trimmed
      guard header[58...] == [0x60, 0x0a], let size = UInt64(String(decoding: header[48..<58], as: UTF8.self).trimmed),
        size <= byteCount - offset - 60
      else { throw .invalidArchive(path, entry: name, reason: "a damaged header, or the file is cut short") }
      let start = offset + 60
      members.append(Member(name: name.hasSuffix("/") ? String(name.dropLast()) : name, range: start..<(start + size)))
      offset = start + size + size % 2
    }
    return members
  }

  private static func bytes(
    _ range: Range<UInt64>, of file: OwnedDescriptor, path: FilePath, limit: Int
  ) throws(StoreError) -> [UInt8] {
    let wanted = min(range.upperBound - range.lowerBound, UInt64(limit))
    let result: [UInt8]
    do {
      result = try [UInt8](capacity: Int(wanted)) { output throws(Errno) in
        _ = try file.descriptor.readAppending(at: range.lowerBound, limit: wanted, to: &output)
      }
    } catch {
      throw .system(operation: "read", path: path, error)
    }
    guard result.count == Int(wanted) else { throw .invalidArchive(path, entry: nil, reason: "the file became shorter") }
    return result
  }
}

extension StringProtocol {
  /// Without spaces, tabs and carriage returns at both ends.
  fileprivate var trimmed: String {
    let blank: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
    return String(decoding: Array(Array(utf8).drop(while: blank).reversed().drop(while: blank).reversed()), as: UTF8.self)
  }
}
