// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Files of boot loaders that Debian's packages have.
enum BootFiles {
  struct File {
    let path: FilePath
    let package: String

    /// - Throws: ``MkimageError/missingTool(_:package:)``.
    func checkedPath() throws(MkimageError) -> FilePath {
      guard access(path.string, R_OK) == 0 else { throw .missingTool(path.string, package: package) }
      return path
    }

    /// - Throws: as ``checkedPath()``; ``MkimageError/unusableFile(_:reason:)``.
    func contents() throws(MkimageError) -> [UInt8] { try checkedPath().contents(atMost: 16 << 20) }
  }

  static let stub = File(path: "/usr/lib/systemd/boot/efi/linuxx64.efi.stub", package: "systemd-boot-efi")
  static let systemdBoot = File(path: "/usr/lib/systemd/boot/efi/systemd-bootx64.efi", package: "systemd-boot-efi")
  /// Starts GRUB from the first sector of a disk.
  static let grubBoot = File(path: "/usr/lib/grub/i386-pc/boot.img", package: "grub-pc-bin")
}
