// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization
import SystemPackage

/// How many references the kernel holds to files of each package: in memory that the next server goes on with.
///
/// A count is raised before the kernel is told, and lowered after it has forgotten; so a server that is killed in between leaves one too
/// many, never one too few.
///
/// `@unchecked Sendable`: the memory is accessed through atomics only, and unmapped in `deinit`.
@safe final class ReferenceCounts: @unchecked Sendable {
  /// The name under which the memory is kept.
  static let keeperName = "references"
  /// Packages of higher numbers are not counted, and kept to the end. The memory is there only as far as it is used.
  private static let limit: UInt32 = 1 << 24

  private let counts: UnsafeMutablePointer<Atomic<Int64>>

  /// Goes on with what the keeper holds, or starts at zero.
  init(_ keeper: (any DescriptorKeeper)?) throws(Errno) {
    let byteCount = Int(Self.limit) * MemoryLayout<Int64>.stride
    let inherited = keeper?.inherited[Self.keeperName]
    let file = unsafe inherited ?? FileDescriptor(rawValue: clinux_memfd("distri-references"))
    defer { if inherited == nil { close(file.rawValue) } }
    guard file.rawValue >= 0, inherited != nil || ftruncate(file.rawValue, off_t(byteCount)) == 0 else {
      throw Errno(rawValue: errno)
    }
    var status = stat()
    guard unsafe fstat(file.rawValue, &status) == 0, status.st_size == byteCount else { throw .invalidArgument }
    let address = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
    unsafe counts = address.bindMemory(to: Atomic<Int64>.self, capacity: Int(Self.limit))
    if inherited == nil { keeper?.keep(file, as: Self.keeperName) }
  }

  deinit { unsafe munmap(counts, Int(Self.limit) * MemoryLayout<Int64>.stride) }

  /// One more.
  func add(_ package: UInt32) {
    if package < Self.limit { unsafe counts[Int(package)].add(1, ordering: .relaxed) }
  }

  /// So many fewer; true when none is left.
  func subtract(_ lookups: UInt64, from package: UInt32) -> Bool {
    guard package < Self.limit else { return false }
    return unsafe counts[Int(package)].subtract(Int64(clamping: lookups), ordering: .relaxed).newValue <= 0
  }

  /// Whether the kernel refers to files of the package.
  func isUsed(_ package: UInt32) -> Bool {
    unsafe package >= Self.limit || counts[Int(package)].load(ordering: .relaxed) > 0
  }
}
