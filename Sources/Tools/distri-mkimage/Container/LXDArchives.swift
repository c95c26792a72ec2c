// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// An image of Incus and LXD as «split tarballs»: one that says what it is, one with the files.
struct LXDArchives {
  let contents: ContainerContents

  private static let metadata = "metadata.tar.gz"
  private static let root = "rootfs.tar.gz"
  /// The files that it consists of.
  static let names = [metadata, root]

  /// Writes the two into a directory.
  ///
  /// - Throws: as ``ContainerContents/writeAll(to:report:)`` and ``GzipFiles/finish()``.
  func write(to directory: FilePath, work: FilePath, report: (String) -> Void) throws {
    var files = try GzipFiles()
    var about = Contents()
    try about.addFile(TreePath(parsing: "metadata.yaml"), description)
    let (metadata, root) = (work.appending("metadata.tar"), work.appending("rootfs.tar"))
    try TarArchive.write(to: metadata) { try $0.append(about, time: contents.time) }
    try files.add(metadata, to: directory.appending(Self.metadata))
    try contents.writeAll(to: root, report: report)
    report("compressing")
    try files.add(root, to: directory.appending(Self.root))
    _ = try files.finish()
  }

  /// A host name has no characters that YAML would take for something else between quotes.
  private var description: String {
    let architecture =
      switch contents.architecture {
      case .amd64: "x86_64"
      case .i686: "i686"
      case .arm64: "aarch64"
      }
    return """
      architecture: "\(architecture)"
      creation_date: \(contents.time)
      properties:
        architecture: "\(architecture)"
        description: "distri \(contents.description.hostname)"
        name: "\(contents.description.hostname)"
        os: "distri"

      """
  }
}
