// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Glibc
import SystemPackage

/// Moves contents of files between trees and files, through one buffer.
@safe final class ContentsTransfer {
  private let buffer: UnsafeMutableRawBufferPointer

  init(byteCount: Int = 1 << 20) {
    unsafe buffer = .allocate(byteCount: byteCount, alignment: 4096)
  }

  deinit { unsafe buffer.deallocate() }

  /// Writes the regular file that the tree gave last to a new file.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``, and what the tree throws.
  func write<Tree: FileTree>(_ tree: inout Tree, byteCount: UInt64, to path: FilePath) throws {
    let file: FileDescriptor
    do {
      file = try .open(
        path, .writeOnly, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
        permissions: [.ownerReadWrite, .ownerExecute])
    } catch {
      throw BuildError.system(operation: "create", path: path, error as? Errno ?? .ioError)
    }
    defer { try? file.close() }
    var rest = byteCount
    while rest > 0 {
      var output = unsafe OutputRawSpan(buffer: buffer, initializedCount: 0)
      try tree.readContents(into: &output)
      let count = unsafe output.finalize(for: buffer)
      guard count > 0, UInt64(count) <= rest else {
        throw BuildError.system(operation: "read the contents for", path: path, .ioError)
      }
      do {
        _ = try unsafe file.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      } catch {
        throw BuildError.system(operation: "write", path: path, error as? Errno ?? .ioError)
      }
      rest -= UInt64(count)
    }
  }
}

extension FileDescriptor {
  /// Appends what can be read at an offset to the output; nothing at the end of the file.
  func read(at offset: UInt64, appendingTo output: inout OutputRawSpan) throws(Errno) -> Int {
    guard let offset = Int64(exactly: offset) else { return 0 }
    return try unsafe output.withUnsafeMutableBytes { memory, initialized throws(Errno) in
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[initialized...])
      do {
        let count = try unsafe read(fromAbsoluteOffset: offset, into: room)
        initialized += count
        return count
      } catch {
        throw error as? Errno ?? .ioError
      }
    }
  }

  /// A file in memory that holds the bytes.
  static func inMemory(_ bytes: [UInt8]) throws(Errno) -> FileDescriptor {
    let number = unsafe clinux_memfd("contents")
    guard number >= 0 else { throw Errno(rawValue: errno) }
    let file = FileDescriptor(rawValue: number)
    do {
      _ = try file.writeAll(bytes)
      return file
    } catch {
      try? file.close()
      throw error as? Errno ?? .ioError
    }
  }
}

/// Appends bytes from an offset on, as far as there is room.
func append(_ bytes: [UInt8], from offset: Int, to output: inout OutputRawSpan) -> Int {
  let count = min(bytes.count - offset, output.freeCapacity)
  for byte in bytes[offset..<offset + max(0, count)] { output.append(byte) }
  return max(0, count)
}
