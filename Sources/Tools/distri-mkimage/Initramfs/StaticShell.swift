// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import SystemPackage

/// The shell that a person gets when a machine cannot start: it must run before there is any library.
enum StaticShell {
  private static let places: [FilePath] = ["/usr/bin/busybox", "/bin/busybox"]

  /// busybox of the building machine, or of an unpacked initramfs, where it is there and static.
  static func find(orElse model: FilePath? = nil) -> FilePath? {
    (places + (model.map { [$0.pushing("bin/busybox")] } ?? [])).first { place in
      guard let file = try? ELFFile(path: place.resolved()) else { return false }
      return file.interpreter == nil && file.needed.isEmpty
    }
  }
}
