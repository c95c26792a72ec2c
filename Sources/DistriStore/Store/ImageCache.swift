// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import SystemPackage

/// The images that somebody uses at the moment. It keeps none alive itself.
final class ImageCache: Sendable {
  private struct Slot {
    weak var image: PackageImage?
    let identity: FileStatus.Identity
  }

  private let slots = Mutex<[PackageID: Slot]>([:])

  /// The image in use, if it is still the file of that name, or a newly opened one.
  func image(of package: PackageID, at path: FilePath) throws(StoreError) -> PackageImage {
    let file = try OwnedDescriptor(reading: path)
    let status: FileStatus
    do { status = try file.descriptor.status() } catch { throw .system(operation: "stat", path: path, error) }
    let known = slots.withLock { $0[package] }
    if let image = known?.image, known?.identity == status.identity { return image }
    // Not under the lock: opening reads from the disk.
    let image = try PackageImage(path: path)
    return slots.withLock { slots in
      if let other = slots[package]?.image, slots[package]?.identity == status.identity { return other }
      if slots.count >= 64 { slots = slots.filter { $0.value.image != nil } }
      slots[package] = Slot(image: image, identity: status.identity)
      return image
    }
  }
}
