// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import SystemPackage

/// What an image shall be: the content of an `image.textproto`, a proto text in the syntax of package definitions.
///
/// The schema (`ImageDescriptionFields.swift`) has all fields; `docs/images.md` tells what they do.
struct ImageDescription: Equatable {
  /// The description that this one adds to, from the directory of this one; empty for none.
  var include = ""
  /// Names of packages; what they need comes along.
  var packages: [String] = []
  /// Names of package sets: `<name>.pkgset` beside the description.
  var sets: [String] = []
  var kernel = "linux-image"
  var kernelParameters: [String] = []
  var hostname = "distri"
  var users: [User] = []
  var groups: [Group] = []
  /// Units of systemd to enable, such as `ssh.service` or `getty@tty1.service`.
  var units: [String] = []
  var files: [File] = []
  var links: [Link] = []
  var directories: [Directory] = []
  /// Shell commands that the machine runs instead of an init program.
  var bootCommands: [String] = []
  /// Kernel modules for the initramfs, besides those for virtio disks and ext4.
  var modules: [String] = []
  /// What the keys of the console mean: the name of a keymap of the packages; nil for the kernel's own, of the USA.
  var keymap: String?
  /// Whether there is a login on the first serial port.
  var hasSerialConsole = false
  /// Whether the machine has our own tools, to install packages with.
  var hasTools = false
  /// The name of the root file system.
  var label = "distri"
  /// Bytes of the disk; nil for what is needed and a little more.
  var byteCount: UInt64?
  var layout = Layout.direct
  /// What a disk with partitions boots on.
  var firmware = Firmware.both
  /// Whether the root partition of a disk is encrypted; the passphrase is in no description.
  var isEncrypted = false
  /// What a disk with partitions is written as; empty for its sectors.
  var formats: [ImageFormat] = []

  enum Layout: String, CaseIterable {
    /// A bare file system, with kernel and initramfs beside it.
    case direct
    /// A disk with a partition table that boots by itself.
    case gpt
  }

  /// Somebody who may log in, or a name for a service.
  struct User: Equatable {
    var name = ""
    var uid: UInt32?
    /// Nil: a group of the user's own, of the same name and number.
    var gid: UInt32?
    var gecos = ""
    /// Empty: `/home/<name>`.
    var home = ""
    var shell = "/bin/bash"
    /// As crypt(5) has it; empty: no password opens the account.
    var passwordHash = ""
    var authorizedKeys: [String] = []
    /// Further groups, by name.
    var groups: [String] = []
  }

  struct Group: Equatable {
    var name = ""
    var gid: UInt32?
  }

  /// Who something belongs to: names of the image, or numbers.
  struct Owner: Equatable {
    var user = "root"
    var group = "root"
  }

  struct File: Equatable {
    var path = ""
    var contents: String?
    /// A file beside the description.
    var source: String?
    var mode: UInt16 = 0o644
    var owner = Owner()
  }

  struct Link: Equatable {
    var path = ""
    var target = ""
  }

  struct Directory: Equatable {
    var path = ""
    var mode: UInt16 = 0o755
    var owner = Owner()
  }

  init() {}

  /// The kernel's parameters; the last console is that of distri-init and of the boot commands.
  ///
  /// - Parameters:
  ///   - root: the UUID of the root file system.
  ///   - encryption: of the partition that it is on.
  func commandLine(root: [UInt8], encryption: DiskEncryption? = nil, consoles: [String]) -> String {
    (["root=UUID=\(text(ofUUID: root))", "rw"] + (encryption.map { [$0.kernelParameter] } ?? []) + consoles.map { "console=\($0)" }
      + ["quiet", "panic=-1"] + kernelParameters)
      .joined(separator: " ")
  }

  /// Reads a description, and those that it includes.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)``, and as ``init(bytes:path:)``.
  init(path: FilePath) throws { try self.init(path: path, depth: 0) }

  /// Parses a description. What it includes is found from the directory of `path`.
  ///
  /// - Throws: ``MkimageError/invalidDescription(_:line:column:reason:)``; as ``init(path:)`` for what it includes.
  init(bytes: [UInt8], path: FilePath) throws { try self.init(bytes: bytes, path: path, depth: 0) }

  private init(path: FilePath, depth: Int) throws {
    try self.init(bytes: try path.contents(atMost: TextParser.maximumByteCount), path: path, depth: depth)
  }

  private init(bytes: [UInt8], path: FilePath, depth: Int) throws {
    try read(bytes, path: path)
    guard !include.isEmpty else { return }
    guard depth < Self.deepest else {
      throw MkimageError.invalidDescription(
        path.string, line: 1, column: 1, reason: "it includes itself, or descriptions are nested too deep")
    }
    let other = path.removingLastComponent().pushing(FilePath(include))
    var base = try Self(path: other, depth: depth + 1)
    // What it has beside itself has another name from here.
    base.packages = try base.packageNames(in: other.removingLastComponent())
    base.sets = []
    for index in base.files.indices {
      guard let source = base.files[index].source else { continue }
      base.files[index].source = FilePath(include).removingLastComponent().pushing(FilePath(source)).string
    }
    base.removeWhatIsIn(self)
    self = base
    try read(bytes, path: path)
  }

  /// Reads a description on top of this one: what may be there once is replaced, of the rest there is more.
  private mutating func read(_ bytes: [UInt8], path: FilePath) throws(MkimageError) {
    do throws(TextDefect) {
      var reader = DefinitionReader()
      try reader.read(try TextParser.parse(bytes), into: &self, .image)
    } catch {
      let (line, column) = error.position(in: bytes)
      throw .invalidDescription(path.string, line: line, column: column, reason: error.reason)
    }
  }

  /// Removes files and accounts that another description has, too.
  private mutating func removeWhatIsIn(_ other: Self) {
    let paths = Set(other.files.map(\.path) + other.links.map(\.path) + other.directories.map(\.path))
    files.removeAll { paths.contains($0.path) }
    links.removeAll { paths.contains($0.path) }
    directories.removeAll { paths.contains($0.path) }
    users.removeAll { user in other.users.contains { $0.name == user.name } }
    groups.removeAll { group in other.groups.contains { $0.name == group.name } }
  }

  /// How many descriptions may lead to one.
  private static let deepest = 8
}

extension FilePath {
  /// All of a file of the host that people write.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` where it cannot be read, or is larger.
  func contents(atMost limit: Int) throws(MkimageError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(self, .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while bytes.count <= limit {
        let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
        if count == 0 { return bytes }
        bytes += buffer[..<count]
      }
    } catch {
      throw .unusableFile(string, reason: "\(error)")
    }
    throw .unusableFile(string, reason: "it is larger than \(limit) bytes")
  }
}
