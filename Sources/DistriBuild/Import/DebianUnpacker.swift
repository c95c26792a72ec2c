// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// Lays the files of Debian packages out as one package of ours, without names or links of a version yet.
///
/// `usr/*`, `bin`, `lib` … go below `out/`, `etc` stays apart, and what must exist at run time is noted for systemd-tmpfiles.
/// Contents are written to numbered files of a directory: no name of an archive reaches the file system.
struct DebianUnpacker {
  private(set) var tree = PackageTree()
  private(set) var temporaryFiles: [TemporaryFile] = []
  private let package: String
  private let directory: FilePath
  private let transfer = ContentsTransfer()
  private var fileCount = 0

  /// More than any package has; an archive may be made to fill the disk.
  private static let limits = ArchiveTree.Limits(entryCount: 2 << 20, byteCount: 16 << 30, depth: 128)

  /// - Parameter directory: an empty directory for contents; must stay until the image is written.
  init(package: String, directory: FilePath) {
    self.package = package
    self.directory = directory
  }

  /// Adds the files of one Debian package.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for what no package of ours can hold; what reading the archive throws.
  mutating func add(_ archive: DebianArchive) throws {
    var data = try archive.data(limits: Self.limits)
    while var entry = try data.next() {
      tree.modificationTime = max(tree.modificationTime, entry.modificationTime)
      let original = entry.path
      switch Self.place(of: original) {
      case .nowhere: continue
      case .runTime:
        try addTemporaryFile(entry, &data)
      case .package(let path):
        entry.path = path
        try add(entry, from: original, &data)
      }
    }
  }

  private enum Place {
    case package(TreePath), runTime, nowhere
  }

  private static func place(of path: TreePath) -> Place {
    guard let first = path.components.first?.description else { return .nowhere }
    switch first {
    case "usr" where path.components.count > 1 && path.components[1].description == "local": return .runTime
    // A machine has these, whatever its packages.
    case "opt", "srv", "boot", "dev", "proc", "sys", "run", "tmp": if path.components.count == 1 { return .nowhere }
    default: break
    }
    return PackageLayout.inPackage(path).map { .package($0) } ?? .runTime
  }

  private mutating func add(_ entry: TreeEntry, from original: TreePath, _ data: inout ArchiveTree) throws {
    var entry = entry
    for parent in [entry.path.parent] where tree.kind(of: parent) != nil && tree.kind(of: parent) != .directory {
      throw defect("\(original) is below \(parent), which is no directory")
    }
    if tree.kind(of: entry.path) == .directory, entry.kind != .directory {
      throw defect("\(original) is a directory in another of its Debian packages")
    }
    switch entry.kind {
    case .directory:
      // Merged directories keep what the first package said of them.
      if tree.kind(of: entry.path) != nil { return }
      tree.insert(.init(entry: entry))
    case .regular(let byteCount):
      tree.insert(.init(entry: entry, contents: try store(byteCount, &data)))
    case .symbolicLink(let target):
      guard let target = relocated(target, from: original, to: entry.path) else { return }
      entry.kind = .symbolicLink(target: target)
      tree.insert(.init(entry: entry))
    case .hardLink(let first):
      guard case .package(let path) = Self.place(of: first), let file = tree.file(at: path) else {
        throw defect("\(original) is a hard link to \(first), which is not there")
      }
      entry.kind = .hardLink(to: file.entry.path)
      tree.insert(.init(entry: entry))
    case .characterDevice, .blockDevice, .fifo, .socket:
      throw defect("\(original) is a device, pipe or socket")
    }
  }

  private func defect(_ reason: String) -> BuildError { .invalidPackage(package, pass: "unpack", reason: reason) }

  private mutating func store(_ byteCount: UInt64, _ data: inout ArchiveTree) throws -> PackageTree.Contents {
    if byteCount == 0 { return .bytes([]) }
    fileCount += 1
    let path = directory.appending(String(fileCount))
    try transfer.write(&data, byteCount: byteCount, to: path)
    return .file(path)
  }

  /// A link's target after directories were merged; nil for a link that would lead to itself then.
  ///
  /// What stays in `out` becomes relative where it was, else `/usr/…`; what leads elsewhere becomes or stays absolute.
  private func relocated(_ target: [UInt8], from original: TreePath, to path: TreePath) -> [UInt8]? {
    let isAbsolute = target.first == UInt8(ascii: "/")
    guard let destination = Self.destination(of: target, at: original) else { return target }
    guard let inPackage = PackageLayout.inPackage(destination) else { return Array("/\(destination)".utf8) }
    if inPackage == path { return nil }
    guard !isAbsolute, path.components.first == inPackage.components.first else { return Array("/\(destination)".utf8) }
    return PackageLayout.relative(from: path.parent, to: inPackage)
  }

  /// The path that a link means, from the file system's root; nil for what is above it.
  private static func destination(of target: [UInt8], at link: TreePath) -> TreePath? {
    var result = target.first == UInt8(ascii: "/") ? [] : link.parent.components
    for part in target.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(".".utf8) {
      if part.elementsEqual("..".utf8) {
        if !result.isEmpty { result.removeLast() }
      } else {
        guard let name = try? EntryName(part) else { return nil }
        result.append(name)
      }
    }
    return TreePath(components: result)
  }

  private mutating func addTemporaryFile(_ entry: TreeEntry, _ data: inout ArchiveTree) throws {
    var file = TemporaryFile(entry: entry)
    let factory = TreePath(components: PackageLayout.path("out/share/factory").components + entry.path.components)
    switch entry.kind {
    case .regular(let byteCount):
      var copy = entry
      copy.path = factory
      tree.insert(.init(entry: copy, contents: try store(byteCount, &data)))
      file.factory = factory
    case .hardLink(let first):
      file.factory = TreePath(components: PackageLayout.path("out/share/factory").components + first.components)
      guard file.factory.flatMap(tree.file(at:)) != nil else {
        throw defect("\(entry.path) is a hard link to \(first), which is not there")
      }
    case .socket: throw defect("\(entry.path) is a socket")
    default: break
    }
    temporaryFiles.append(file)
  }
}

/// Something that must exist at run time outside of packages: a line of a `tmpfiles.d` file.
struct TemporaryFile: Sendable, Hashable {
  var entry: TreeEntry
  /// Where the package keeps the contents of a file.
  var factory: TreePath?

  private var isPlainDirectory: Bool {
    entry.kind == .directory && entry.permissions == 0o755 && entry.userID == 0 && entry.groupID == 0
  }

  private func line(of package: PackageID) -> String {
    let path = Self.quoted("/\(entry.path)")
    let mode = String(entry.permissions, radix: 8)
    let attributes = "\(String(repeating: "0", count: max(0, 4 - mode.count)))\(mode) \(entry.userID) \(entry.groupID) -"
    return switch entry.kind {
    case .directory: "d \(path) \(attributes)"
    case .regular, .hardLink: "C \(path) \(attributes) \(factory.map { Self.quoted(PackageLayout.inView($0, of: package)) } ?? "-")"
    case .symbolicLink(let target): "L \(path) - - - - \(Self.quoted(String(decoding: target, as: UTF8.self)))"
    case .fifo: "p \(path) \(attributes)"
    case .characterDevice(let major, let minor): "c \(path) \(attributes) \(major):\(minor)"
    case .blockDevice(let major, let minor): "b \(path) \(attributes) \(major):\(minor)"
    case .socket: "# \(path)"
    }
  }

  /// A word of the format: `%` starts a specifier, everything but plain characters is escaped as in C.
  private static func quoted(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "%"): result += "%%"
      case 0x21...0x7e where byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "'"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default: result += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
    return result
  }

  /// The text for a package's files. Plain directories that another line makes on its way are left out.
  static func text(of files: [TemporaryFile], package: PackageID) -> String {
    let sorted = files.sorted { $0.entry.path.components.lexicographicallyPrecedes($1.entry.path.components) }
    let needed = sorted.enumerated().filter { index, file in
      guard file.isPlainDirectory, index + 1 < sorted.count else { return true }
      return !sorted[index + 1].entry.path.components.starts(with: file.entry.path.components)
    }
    return needed.map { $1.line(of: package) + "\n" }.joined()
  }
}
