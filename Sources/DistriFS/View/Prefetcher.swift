// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Opens packages before a walk comes to them, so that it does not wait for the disk at each.
///
/// Who lists the top of a package is likely to list that of the next one: in the order of names, or in the order in which the view lists them.
final class Prefetcher: Sendable {
  private static let distance = 4

  private let queue = DispatchQueue(label: "distri.prefetch")
  private let isBusy = Atomic(false)

  /// A walk has come to a package.
  ///
  /// - Parameter open: is called for the packages that come next and are not open yet, on another thread.
  func walkHasReached(_ package: MountedPackage, in view: View, _ open: @escaping @Sendable (MountedPackage) -> Void) {
    if isBusy.exchange(true, ordering: .acquiringAndReleasing) { return }
    queue.async { [self] in
      for next in Self.packages(after: package, in: view) where next.openedIfUsed == nil { open(next) }
      isBusy.store(false, ordering: .releasing)
    }
  }

  private static func packages(after package: MountedPackage, in view: View) -> [MountedPackage] {
    // Numbers are in the order of names, but for what came later.
    var result: [MountedPackage] = []
    for slot in view.slots.from(package.number + 1) {
      if result.count == distance { break }
      if slot.isShown { result.append(slot.package) }
    }
    guard let root = view.root else { return result }
    let position = root.position(from: nameHash(package.name.array)) + 1
    for index in position..<max(position, min(root.count, position + distance)) {
      let entry = root.entry(at: index)
      if entry.kind == .package, let next = view.package(numbered: entry.detail) { result.append(next) }
    }
    return result
  }
}
