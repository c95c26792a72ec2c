// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// A package in a view: its image, opened on first use and kept for as long as anybody uses a file of it.
final class MountedPackage: Sendable {
  let id: PackageID
  /// As in ``InodeCodec``.
  let number: UInt32
  /// Nil for an empty directory that only keeps the package's place.
  let file: ImageFile?
  /// How many references the kernel holds to files of the package.
  let lookups = Atomic<Int64>(0)
  private let opened = AtomicLazyReference<PackageImage>()
  private let loaded = AtomicLazyReference<ExchangeContents>()
  private let damage = Mutex<StoreError?>(nil)
  /// Where the whole contents of files lie in the image; reading would otherwise look at a file's whole block list each time.
  private let runs = Mutex<[PackageImage.Node: Range<UInt64>?]>([:])
  private static let maximumRunCount = 4096

  /// Makes a package; `contents`, where they are known already.
  init(id: PackageID, number: UInt32, file: ImageFile?, contents: ExchangeContents? = nil) {
    self.id = id
    self.number = number
    self.file = file
    if let contents { _ = loaded.storeIfNil(contents) }
  }

  /// In seconds since 1970; of what has no image, 0.
  var modificationTime: Int64 { file?.modificationTime ?? 0 }

  /// What it brings into the exchange directories, as far as ``loadContents(of:)`` has found it.
  var contents: ExchangeContents { loaded.load() ?? .empty }

  /// What is wrong with the image, as far as it has been noticed.
  var problem: StoreError? { damage.withLock { $0 } }

  /// The image.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``, remembered; ``StoreError/system(operation:path:_:)``, tried again next time.
  func image() throws(StoreError) -> PackageImage {
    if let image = opened.load() { return image }
    guard let file else { throw .notFound(id.description) }
    if let problem, case .damagedImage = problem { throw problem }
    do {
      return opened.storeIfNil(try PackageImage(path: file.path))
    } catch {
      throw note(error)
    }
  }

  /// Reads what the package brings into the exchange directories, once. A damaged image brings nothing, and is remembered as damaged.
  func loadContents(of sources: [ExchangeSource]) {
    if file == nil || sources.isEmpty || loaded.load() != nil { return }
    do throws(StoreError) {
      var reader = ContentsReader(try image())
      _ = loaded.storeIfNil(try reader.read(sources))
    } catch {
      if case .damagedImage = note(error) { _ = loaded.storeIfNil(.empty) }
    }
  }

  /// Remembers damage for ``problem``.
  func note(_ error: StoreError) -> StoreError {
    damage.withLock { if $0 == nil { $0 = error } }
    return error
  }

  /// Where the whole contents of a file lie uncompressed and in one piece.
  ///
  /// - Throws: as ``PackageImage/storedRun(of:)``.
  func storedRun(of node: PackageImage.Node, in image: PackageImage) throws(StoreError) -> Range<UInt64>? {
    if let known = runs.withLock({ $0[node] }) { return known }
    let run = try image.storedRun(of: node)
    runs.withLock { runs in
      if runs.count >= Self.maximumRunCount { runs.removeAll(keepingCapacity: true) }
      runs[node] = .some(run)
    }
    return run
  }
}
