// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Views of selections that were made before, in the store's index directory: what one build sees is what another one saw, or little else.
///
/// There is a fixed number of places, so nothing has to be thrown away: a view takes the place of another one.
struct SelectionViews {
  static let count: UInt64 = 16
  private let directory: IndexDirectory
  private let digest: UInt64

  init(_ store: LocalStore, _ sources: [ExchangeSource]) {
    directory = IndexDirectory(store)
    digest = ViewSaver.digest(of: sources)
  }

  /// The view that has the fewest other packages; nil when it takes as much to begin with nothing.
  func nearest(to packages: Set<PackageID>) -> ViewFile? {
    let wanted = Set(packages.map { IndexBytes(Array($0.description.utf8)).checksum })
    var best: (file: MappedFile, distance: Int)?
    for place in 0..<Self.count {
      guard let file = directory.map(name(place)), let names = ViewFile.packageNames(file, sources: digest) else { continue }
      let distance = names.symmetricDifference(wanted).count
      if distance < best?.distance ?? wanted.count { best = (file, distance) }
      if distance == 0 { break }
    }
    return best.flatMap { ViewFile($0.file, sources: digest) }
  }

  /// Writes a view for the next one; nothing happens where that is not possible.
  func keep(_ view: View, _ fingerprint: StoreScan.Fingerprint) {
    let names = view.shown.map(\.description).sorted().joined(separator: "\n")
    let place = IndexBytes(Array(names.utf8)).checksum % Self.count
    directory.write(name(place), ViewFile.bytes(of: view, fingerprint, sources: digest))
  }

  private func name(_ place: UInt64) -> String { "\(ViewSaver.fileName(digest))-\(place)" }
}
