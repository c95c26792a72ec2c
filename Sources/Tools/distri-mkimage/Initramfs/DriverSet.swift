// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc

/// Which drivers an initramfs brings along, besides what every machine loads.
enum DriverSet: Equatable {
  /// Those of the disks that machines have, real and virtual.
  case generic
  /// Of these, those that hardware with one of the modaliases asks for.
  case host(modaliases: Set<String>)

  /// What every machine loads: the root's file system, the view's, and what they ask for by a name that no dependency mentions.
  static let always = ["ext4", "fuse"]
  static let alwaysWished = ["crc32c_generic"]

  /// Drivers of disks and of the buses that they are on; of keyboards, for passphrases and the rescue shell. Kernels lack some of them.
  private static let known = [
    // Virtual machines: qemu, Xen, Hyper-V, VMware, VirtualBox.
    "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "virtio_console", "xen_blkfront", "hv_vmbus", "hv_storvsc",
    "hyperv_keyboard", "vmw_pvscsi", "mptspi", "mptsas", "BusLogic",
    // Disks in computers and servers.
    "nvme", "vmd", "ahci", "ata_piix", "ata_generic", "sd_mod", "megaraid_sas", "mpt3sas", "smartpqi", "hpsa",
    // Disks on USB, cards.
    "xhci_pci", "ehci_pci", "uhci_hcd", "ohci_pci", "usb_storage", "uas", "sdhci_pci", "sdhci_acpi", "mmc_block",
    "usbhid", "hid_generic", "atkbd", "i8042",
  ]

  /// Modules of the kernel in the order in which they can be loaded.
  ///
  /// - Parameters:
  ///   - always: loaded on every machine; must exist.
  ///   - wished: loaded on every machine where they exist.
  func modules(of kernel: KernelPackage, always: [String], wished: [String]) throws -> [KernelPackage.Module] {
    var drivers = Self.known
    if case .host(let modaliases) = self {
      drivers = try kernel.loadOrder(of: [], wishes: drivers).filter { module in
        module.aliases.contains { pattern in modaliases.contains { fnmatch(pattern, $0, 0) == 0 } }
      }.map(\.name)
    }
    return try kernel.loadOrder(of: always, wishes: wished + drivers)
  }

  /// The drivers for the machine that this program runs on.
  static func ofThisMachine() -> DriverSet {
    let files = FileManager.default
    func names(_ directory: String) -> [String] { (try? files.contentsOfDirectory(atPath: directory)) ?? [] }
    var modaliases: Set<String> = []
    for bus in names("/sys/bus") {
      for device in names("/sys/bus/\(bus)/devices") {
        guard let data = files.contents(atPath: "/sys/bus/\(bus)/devices/\(device)/modalias") else { continue }
        modaliases.insert(String(decoding: data.prefix { $0 != 0x0a }, as: UTF8.self))
      }
    }
    return .host(modaliases: modaliases)
  }
}
