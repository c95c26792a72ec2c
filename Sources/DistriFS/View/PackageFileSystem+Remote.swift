// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension PackageFileSystem {
  /// Shows other remote packages than before, and looks at the store. What is in use stays until nobody uses it.
  ///
  /// - Parameters:
  ///   - source: has the same cache directory; nothing changes where the view was made without remote packages.
  ///   - time: now, in seconds since 1970.
  /// - Throws: as ``refresh(at:)``.
  public func follow(_ source: any RemotePackageSource, at time: Int64) throws(StoreError) {
    supply.remote?.replace(by: source)
    try refresh(at: time)
  }

  /// A package that lies elsewhere, what is open of it, and the bytes of its image.
  struct RemoteFile {
    var package: MountedPackage
    var opened: OpenedPackage
    var source: any RemoteByteSource
  }

  /// Bytes of a file of a package that lies elsewhere: what is not here is fetched while the request is parked.
  func read(
    _ node: PackageIndex.Node, of file: RemoteFile, at offset: UInt64, count: Int, into reply: inout ReplyBuffer
  ) throws(FileSystemFailure) {
    let (package, opened, source) = (file.package, file.opened, file.source)
    let count = min(UInt64(count), node.byteCount - offset)
    // What is read of the image, to be fetched where it is not here.
    var wanted: [Range<UInt64>] = []
    let failure: StoreError
    do throws(StoreError) {
      if let run = node.storedRun {
        let start = run.lowerBound + offset
        wanted = [start..<(start + count)]
        try reply.append(upTo: Int(count)) { output throws(StoreError) in
          do throws(Errno) { try source.read(into: &output, at: start) } catch {
            throw .system(operation: "read", path: FilePath(package.description), error)
          }
        }
        if let ahead = Self.expected(after: wanted[0], in: run) { source.expect(ahead) }
        return
      }
      if let image = try opened.image() {
        wanted = try image.storedRanges(of: node.image, at: offset, count: count)
        try reply.append(upTo: Int(count)) { output throws(StoreError) in
          try image.read(node.image, at: offset, into: &output)
        }
        return
      }
      failure = .unavailable(package.description, reason: "not here yet")
    } catch {
      failure = error
    }
    switch failure {
    case .unavailable:
      throw .notReady { [supply] in try await package.noting(in: supply) { try await opened.fetchImage(from: source) } }
    case .system(_, _, .resourceTemporarilyUnavailable):
      let ranges = wanted
      throw .notReady { [supply] in try await package.noting(in: supply) { try await source.fetch(ranges) } }
    default: throw .errno(Errno(answering: package.note(failure)))
    }
  }

  /// What is likely to be read next of a file that is read from one end to the other: then it comes in large pieces.
  private static func expected(after range: Range<UInt64>, in run: Range<UInt64>) -> Range<UInt64>? {
    let count = range.upperBound - range.lowerBound
    guard range.lowerBound > run.lowerBound, count >= 64 << 10, range.upperBound < run.upperBound else { return nil }
    return range.upperBound..<min(run.upperBound, range.upperBound + min(4 * count, 2 << 20))
  }
}
