// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Has a machine with our tools start the kernel that `distri-fetch` has selected, by units of systemd: whatever changes the selection, a new
/// generation is what all changes end with.
enum KernelUpdates {
  /// The programs that it takes beside each other.
  static let tools = ["distri-mkimage", "distri-init"]

  private static let name = "distri-boot-entry"
  private static let directory = "etc/systemd/system"
  private static let needed = ["out/lib/systemd/systemd", "out/bin/zstd"]

  /// Whether the packages have systemd, and what compresses an initramfs.
  static func arePossible(with images: [PackageImage]) throws -> Bool {
    try needed.allSatisfy { path in
      let place = try TreePath(parsing: path)
      return try images.contains { try $0.node(at: place) != nil }
    }
  }

  static func addUnits(to contents: inout Contents) throws {
    try contents.addFile(
      TreePath(parsing: "\(directory)/\(name).path"),
      """
      [Unit]
      Description=Changes of the selected packages

      [Path]
      PathChanged=/roimg/.generations

      [Install]
      WantedBy=paths.target

      """)
    try contents.addFile(
      TreePath(parsing: "\(directory)/\(name).service"),
      """
      [Unit]
      Description=Boot entry of the selected kernel
      Documentation=man:distri-mkimage-boot-entry(1)
      RequiresMountsFor=/roimg

      [Service]
      Type=oneshot
      ExecStart=/usr/local/bin/distri-mkimage boot-entry

      """)
    try contents.addLink(TreePath(parsing: "\(directory)/paths.target.wants/\(name).path"), to: "../\(name).path")
  }
}
