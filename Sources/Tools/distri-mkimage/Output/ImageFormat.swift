// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// What a disk is written as, for whom.
enum ImageFormat: String, CaseIterable, Equatable {
  case raw
  case rawZstd = "raw.zst"
  case qcow2
  case vhd
  case vhdAzure = "vhd-azure"
  case vhdx, vdi, vmdk, gce
  /// No disk: the root file system's files.
  case tar
  /// No disks either: containers.
  case oci, docker, lxd

  /// One line for people.
  var summary: String {
    switch self {
    case .raw: "the sectors themselves, with holes where the disk is empty: dd, qemu, install"
    case .rawZstd: "the same, compressed by zstd"
    case .qcow2: "qemu, libvirt, OpenStack"
    case .vhd: "Hyper-V of generation 1, VirtualPC: only what is used"
    case .vhdAzure: "Azure: of fixed size, whole MiB"
    case .vhdx: "Hyper-V of generation 2"
    case .vdi: "VirtualBox"
    case .vmdk: "VMware: compressed (streamOptimized)"
    case .tar: "containers and chroots: the files of the root, without kernel and boot loaders"
    case .oci: "Podman, skopeo, umoci, registries: a directory in the OCI image layout, a layer a package"
    case .docker: "docker load, podman load: the same layers in a tar"
    case .lxd: "Incus, LXD: a directory with metadata.tar.gz and rootfs.tar.gz"
    case .gce: "Google Compute Engine: disk.raw of whole GiB in a tar.gz"
    }
  }

  /// How file names end.
  var ending: String {
    switch self {
    case .vhdAzure: "azure.vhd"
    case .gce: "gce.tar.gz"
    default: rawValue
    }
  }

  /// Whether it is made without a disk and without a kernel, and of the packages' files instead of their images.
  var isContainer: Bool { [.oci, .docker, .lxd].contains(self) }

  /// Whether the same packages give the same bytes. qemu puts random numbers into a VHDX that are protected by checksums of their own.
  var isReproducible: Bool { self != .vhdx }

  /// The size of the disk is a multiple of this, in bytes.
  var sizeUnit: UInt64 { self == .gce ? 1 << 30 : 1 << 20 }

  /// Writes a disk in this format.
  ///
  /// - Parameters:
  ///   - disk: its sectors; a file in `work`, that may be moved away.
  ///   - contents: of the root file system.
  ///   - identity: of what it holds; 16 bytes.
  ///   - time: seconds since 1970.
  /// - Throws: ``MkimageError/missingTool(_:package:)``; ``MkimageError/toolFailed(_:status:words:)``.
  func convert(_ disk: FilePath, to output: FilePath, contents: Contents, identity: [UInt8], time: Int64, work: FilePath) throws {
    switch self {
    case .tar: try TarArchive.write(to: output) { try $0.append(contents, time: time) }
    case .oci, .docker, .lxd: throw MkimageError.unusableFile(output.string, reason: "a container is not made of a disk")
    case .raw:
      guard rename(disk.string, output.string) == 0 else { throw Errno(rawValue: errno) }
    case .rawZstd:
      // One thread: several cut the data where it suits them.
      try ChildProcess.run(
        ChildProcess.locate("zstd", package: "zstd"), ["-q", "-3", "--single-thread", disk.string, "-o", output.string], work: work)
    case .gce:
      try ChildProcess.run(
        ChildProcess.locate("tar", package: "tar"),
        [
          "--create", "--file", output.string, "--use-compress-program", "gzip -n", "--format=oldgnu", "--sparse",
          "--hole-detection=raw", "--owner=root:0", "--group=root:0", "--mode=0644", "--mtime=@\(time)", "--directory",
          disk.removingLastComponent().string, "--transform=s/.*/disk.raw/", disk.lastComponent?.string ?? "",
        ], work: work)
    case .qcow2: try runQemuImage(disk, output, as: "qcow2", options: "compat=1.1", work: work)
    case .vhd: try runQemuImage(disk, output, as: "vpc", options: "subformat=dynamic,force_size=on", work: work)
    case .vhdAzure: try runQemuImage(disk, output, as: "vpc", options: "subformat=fixed,force_size=on", work: work)
    case .vhdx: try runQemuImage(disk, output, as: "vhdx", options: "subformat=dynamic", work: work)
    case .vdi: try runQemuImage(disk, output, as: "vdi", options: nil, work: work)
    case .vmdk: try runQemuImage(disk, output, as: "vmdk", options: "subformat=streamOptimized", work: work)
    }
    try DiskIdentity(uuid: derivedUUID(identity, rawValue), time: time).replace(in: output, of: self)
  }

  private func runQemuImage(_ disk: FilePath, _ output: FilePath, as name: String, options: String?, work: FilePath) throws {
    // One writer, in the order of the disk: several would allocate as they come.
    let words = ["convert", "-q", "-m", "1", "-f", "raw", "-O", name] + (options.map { ["-o", $0] } ?? [])
    try ChildProcess.run(
      ChildProcess.locate("qemu-img", package: "qemu-utils"), words + [disk.string, output.string], work: work)
  }
}
