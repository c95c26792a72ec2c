// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// The kernels that a machine's boot partition offers, with the partition mounted: what ``BootPartition`` makes, and a further kernel beside that.
///
/// Each file appears by being renamed, and the boot loader is told of the kernel last: who is interrupted leaves what was there.
struct BootEntries {
  /// Where the partition is mounted.
  let directory: FilePath

  private static let unified = "EFI/Linux"
  private static let loader = "loader/loader.conf"
  private static let grub = "\(BootPartition.grub)/grub.cfg"
  /// How files end that are not whole yet.
  private static let unfinished = ".new"
  private static let largestFile = 1 << 30

  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a directory that is no boot partition of ours.
  init(directory: FilePath) throws(MkimageError) {
    self.directory = directory
    guard Self.isBootPartition(directory) else {
      throw .unusableFile(directory.string, reason: "it is no boot partition: neither \(Self.unified) nor \(Self.grub) is there")
    }
  }

  static func isBootPartition(_ directory: FilePath) -> Bool {
    [unified, grub].contains { access(directory.pushing(FilePath($0)).string, F_OK) == 0 }
  }

  /// Whether this is the kernel that is started already, by each boot loader.
  func starts(_ kernel: [UInt8]) throws -> Bool {
    if isThere(Self.unified) {
      let configured = (try? directory.pushing(FilePath(Self.loader)).contents(atMost: 1 << 16)) ?? []
      let words = String(decoding: configured, as: UTF8.self).split(whereSeparator: \.isWhitespace)
      let name = words.firstIndex(of: "default").flatMap { words.dropFirst($0 + 1).first }.map(String.init) ?? "distri.efi"
      guard let file = FilePath.Component(name), let found = try kernelOfProgram(file), found.elementsEqual(kernel) else {
        return false
      }
    }
    if isThere(Self.grub) {
      let text = String(decoding: try directory.pushing(FilePath(Self.grub)).contents(atMost: 1 << 20), as: UTF8.self)
      guard let entry = Grub.entries(in: text).first, let file = FilePath.Component(String(entry.kernel.dropFirst())),
        let found = try? directory.appending(file).contents(atMost: kernel.count), found == kernel
      else { return false }
    }
    return true
  }

  /// Nil where there is no such program.
  private func kernelOfProgram(_ name: FilePath.Component) throws -> ArraySlice<UInt8>? {
    let path = directory.pushing(FilePath(Self.unified)).appending(name)
    guard access(path.string, F_OK) == 0 else { return nil }
    let bytes = try path.contents(atMost: Self.largestFile)
    return try PortableExecutable(bytes, path: path).sections.first { $0.name == ".linux" }.map { bytes[$0.range] }
  }

  /// Offers a kernel, as the one that is started from now on.
  ///
  /// - Parameters:
  ///   - kernel: with its initramfs and parameters.
  ///   - version: names the entry; one of this name is replaced.
  ///   - count: how many entries there may be with this one; the oldest go.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)``; `Errno`.
  func add(_ kernel: UnifiedKernelImage, version: String, keeping count: Int) throws {
    let lock = try FileDescriptor.open(directory, .readOnly, options: [.directory, .closeOnExec])
    defer { try? lock.close() }
    guard flock(lock.rawValue, LOCK_EX) == 0 else { throw Errno(rawValue: errno) }
    if isThere(Self.unified) { try addUnified(kernel, version: version, keeping: count) }
    if isThere(Self.grub) { try addForGRUB(kernel, version: version, keeping: count) }
    try synchronize(directory)
  }

  // MARK: systemd-boot

  private func addUnified(_ kernel: UnifiedKernelImage, version: String, keeping count: Int) throws {
    let name = "distri-\(version).efi"
    let place = directory.pushing(FilePath(Self.unified))
    let names = try FileManager.default.contentsOfDirectory(atPath: place.string)
    for leftover in names where leftover.hasSuffix(Self.unfinished) { unlink(place.appending(leftover).string) }
    let old = try names.filter { $0.hasPrefix("distri") && $0.hasSuffix(".efi") && $0 != name }
      .map { (name: $0, time: try modificationTime(of: place.appending($0))) }
      .sorted { ($0.time, $0.name) > ($1.time, $1.name) }.map(\.name)
    guard let model = old.first ?? names.first(where: { $0 == name }) else {
      throw MkimageError.unusableFile(place.string, reason: "it has no kernel of ours to take systemd's stub from")
    }
    let path = place.appending(model)
    let stub = try UnifiedKernelImage.stub(of: try path.contents(atMost: Self.largestFile), path: path)
    // Room is made first: the partition may hold no more than two.
    for name in old.dropFirst(count - 1) { unlink(place.appending(name).string) }
    try replace(place.appending(name), with: try kernel.bytes(stub: stub, path: path))
    try replace(directory.pushing(FilePath(Self.loader)), with: Array("timeout 0\ndefault \(name)\n".utf8))
  }

  // MARK: GRUB

  private func addForGRUB(_ kernel: UnifiedKernelImage, version: String, keeping count: Int) throws {
    let configuration = directory.pushing(FilePath(Self.grub))
    let new = Grub.Entry(
      title: "distri \(version)", kernel: "/vmlinuz-\(version)", initramfs: "/initramfs-\(version)", commandLine: kernel.commandLine
    )
    let text = String(decoding: try configuration.contents(atMost: 1 << 20), as: UTF8.self)
    let old = Grub.entries(in: text).filter { $0.kernel != new.kernel }
    let kept = Array(old.prefix(count - 1))
    // What is not offered any more goes before its files do.
    if kept.count < old.count { try replace(configuration, with: Array(Grub.configuration(kept).utf8)) }
    let needed = Set((kept + [new]).flatMap { [$0.kernel, $0.initramfs] }.map { String($0.dropFirst()) })
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.string) where !needed.contains(name) {
      if name.hasPrefix("vmlinuz") || name.hasPrefix("initramfs") { unlink(directory.appending(name).string) }
    }
    try replace(directory.appending("vmlinuz-\(version)"), with: kernel.kernel)
    try replace(directory.appending("initramfs-\(version)"), with: kernel.initramfs)
    try replace(configuration, with: Array(Grub.configuration([new] + kept).utf8))
  }

  // MARK: Files

  private func isThere(_ name: String) -> Bool { access(directory.pushing(FilePath(name)).string, F_OK) == 0 }

  /// Writes a file that appears whole, or not at all; one that has these bytes already stays as it is.
  private func replace(_ path: FilePath, with bytes: [UInt8]) throws {
    if let old = try? path.contents(atMost: bytes.count), old == bytes { return }
    let unfinished = FilePath(path.string + Self.unfinished)
    do {
      let file = try FileDescriptor.open(
        unfinished, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
      defer { try? file.close() }
      try file.writeAll(bytes)
      guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
      guard rename(unfinished.string, path.string) == 0 else { throw Errno(rawValue: errno) }
    } catch {
      unlink(unfinished.string)
      throw MkimageError.unusableFile(path.string, reason: "it cannot be written: \(error)")
    }
    try synchronize(path.removingLastComponent())
  }

  private func synchronize(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
    defer { try? file.close() }
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  private func modificationTime(of path: FilePath) throws -> Int64 {
    var status = stat()
    guard stat(path.string, &status) == 0 else { throw Errno(rawValue: errno) }
    return Int64(status.st_mtim.tv_sec)
  }
}
