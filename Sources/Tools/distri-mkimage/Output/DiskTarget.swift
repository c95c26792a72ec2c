// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// A disk that an image is installed on: a block device, or a file.
struct DiskTarget {
  let path: FilePath
  let isDevice: Bool
  /// Bytes; nil for a file that is not there yet, which becomes as large as the image.
  let byteCount: UInt64?
  /// What the kernel says of a device.
  private let directory: FilePath

  /// The partition table comes last: until all the rest is on the disk, it has none, and nobody takes it for what it was or shall be.
  private static let startByteCount = 1 << 20
  /// The end has a copy of the table, which would be found where the first one is missing.
  private static let endByteCount: UInt64 = 1 << 20

  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for what is neither a device nor a file.
  init(path: FilePath) throws {
    self.path = path
    var status = stat()
    guard stat(path.string, &status) == 0 else {
      guard errno == ENOENT, !path.string.hasPrefix("/dev/") else {
        throw MkimageError.unusableFile(path.string, reason: "\(Errno(rawValue: errno))")
      }
      (isDevice, byteCount, directory) = (false, nil, FilePath())
      return
    }
    switch status.st_mode & S_IFMT {
    case S_IFBLK: isDevice = true
    case S_IFREG: isDevice = false
    default: throw MkimageError.unusableFile(path.string, reason: "it is neither a disk nor a file")
    }
    guard isDevice else {
      (byteCount, directory) = (UInt64(status.st_size), FilePath())
      return
    }
    // Not opened before it is clear that nothing uses it. Sectors have 512 bytes here, whatever the disk has.
    directory = FilePath("/sys/dev/block").appending(Self.numbers(of: status.st_rdev)).resolved()
    let text = try directory.appending("size").contents(atMost: 64)
    guard let sectors = UInt64(String(decoding: text.prefix { $0 != 0x0a }, as: UTF8.self)) else {
      throw MkimageError.unusableFile(path.string, reason: "the kernel does not say how large it is")
    }
    byteCount = sectors * 512
  }

  /// A device's number as sysfs writes it; the C library has macros for this, which Swift does not see.
  private static func numbers(of device: dev_t) -> String {
    let major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfff)
    let minor = (device & 0xff) | (device >> 12 & ~0xff)
    return "\(major):\(minor & 0xffff_ffff)"
  }

  /// What uses the device or a partition of it: mount points, swap, other devices on top.
  func users() throws -> [String] {
    guard isDevice, let name = directory.lastComponent?.string else { return [] }
    let files = FileManager.default
    let parts = try files.contentsOfDirectory(atPath: directory.string).filter { part in
      part.hasPrefix(name) && files.fileExists(atPath: directory.appending(part).appending("partition").string)
    }
    var users: [String] = []
    for part in [name] + parts {
      let device = FilePath("/sys/class/block").appending(part)
      let number = try device.appending("dev").contents(atMost: 64).prefix { $0 != 0x0a }
      users += try mountPoints(of: String(decoding: number, as: UTF8.self)).map { "/dev/\(part) is mounted on \($0)" }
      let holders = (try? files.contentsOfDirectory(atPath: device.appending("holders").string)) ?? []
      users += holders.map { "/dev/\(part) is part of /dev/\($0)" }
      let swaps = try FilePath("/proc/swaps").contents(atMost: 1 << 20)
      if String(decoding: swaps, as: UTF8.self).contains("/dev/\(part) ") { users.append("/dev/\(part) is used as swap") }
    }
    return users
  }

  /// proc(5), mountinfo: the third field is the device's number, the fifth the mount point.
  private func mountPoints(of number: String) throws -> [String] {
    let text = String(decoding: try FilePath("/proc/self/mountinfo").contents(atMost: 64 << 20), as: UTF8.self)
    return text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      return fields.count > 4 && fields[2] == number ? String(fields[4]) : nil
    }
  }

  /// A file that lies on the disk instead of a part of the image.
  struct Replacement {
    /// Bytes of the disk, behind its partition table; the file has as many.
    let range: Range<UInt64>
    let file: FileDescriptor
  }

  /// Where the part of a disk begins that is not written last.
  static let firstReplaceable = UInt64(startByteCount)

  /// Copies a disk onto this one. What is interrupted leaves a disk without a partition table.
  ///
  /// - Parameter report: is told how many bytes more are done.
  func write(
    _ disk: FileDescriptor, byteCount: UInt64, replacing replacement: Replacement? = nil, report: (UInt64) -> Void
  ) throws {
    // A device that something mounts at this moment cannot be opened like this.
    let options: FileDescriptor.OpenOptions = isDevice ? [.closeOnExec, .exclusiveCreate] : [.closeOnExec, .create]
    let output: FileDescriptor
    do {
      output = try FileDescriptor.open(path, .readWrite, options: options, permissions: [.ownerReadWrite, .groupRead, .otherRead])
    } catch Errno.resourceBusy {
      throw MkimageError.unusableFile(path.string, reason: "something uses it")
    }
    defer { try? output.close() }
    if self.byteCount ?? 0 < byteCount { try output.resize(to: Int64(byteCount)) }
    let size = max(self.byteCount ?? 0, byteCount)
    let start = min(Self.startByteCount, Int(byteCount))
    let zeros = [UInt8](repeating: 0, count: start)
    try output.writeAll(toAbsoluteOffset: 0, zeros)
    try output.writeAll(
      toAbsoluteOffset: Int64(size - min(size, Self.endByteCount)), zeros.prefix(Int(min(size, Self.endByteCount))))
    guard fsync(output.rawValue) == 0 else { throw Errno(rawValue: errno) }
    if let replacement {
      try copy(disk, UInt64(start)..<replacement.range.lowerBound, to: output, report: report)
      try copy(replacement.file, replacement.range, from: 0, to: output, report: report)
      try copy(disk, replacement.range.upperBound..<byteCount, to: output, report: report)
    } else {
      try copy(disk, UInt64(start)..<byteCount, to: output, report: report)
    }
    guard fsync(output.rawValue) == 0 else { throw Errno(rawValue: errno) }
    try copy(disk, 0..<UInt64(start), to: output, report: report)
    guard fsync(output.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// - Parameter origin: where in the input the range is; nil for the same place.
  private func copy(
    _ input: FileDescriptor, _ range: Range<UInt64>, from origin: UInt64? = nil, to output: FileDescriptor, report: (UInt64) -> Void
  ) throws {
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var position = range.lowerBound
    while position < range.upperBound {
      let wanted = Int(min(range.upperBound - position, UInt64(buffer.count)))
      let place = Int64(origin.map { $0 + position - range.lowerBound } ?? position)
      let count = try buffer.withUnsafeMutableBytes {
        try input.read(fromAbsoluteOffset: place, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
      }
      guard count > 0 else { throw MkimageError.unusableFile(path.string, reason: "the image shrank while it was being copied") }
      // A file that was not there is empty already.
      if byteCount != nil || buffer[..<count].contains(where: { $0 != 0 }) {
        try output.writeAll(toAbsoluteOffset: Int64(position), buffer[..<count])
      }
      position += UInt64(count)
      report(UInt64(count))
    }
  }

  /// Moves the copy of the table to the end of a disk that is larger than the image.
  func relocateTable(work: FilePath) throws {
    try ChildProcess.run(
      ChildProcess.locate("sfdisk", package: "fdisk"), ["--quiet", "--relocate", "gpt-bak-std", path.resolved().string], work: work)
  }
}
