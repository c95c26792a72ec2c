// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// A virtual machine that boots an image. Its first serial port is our standard input and output; through a virtio port of its own
/// (`org.distri.status`) distri-init says how it went, so that the words on the console need not be understood.
struct VirtualMachine {
  /// What it starts from.
  enum Source: Equatable {
    /// A directory with a kernel, started with these parameters.
    case directory(FilePath, parameters: [String])
    /// A disk with boot loaders, by the firmware of the machine.
    case disk(FilePath, DiskFormat, Firmware)
  }

  /// What the disk is attached to: as which hardware the machine sees it.
  enum DiskBus: String, CaseIterable {
    case virtio
    case virtioSCSI = "virtio-scsi"
    case nvme, ahci, usb
    /// Controllers of VMware and LSI, for which most firmware has no driver: a directory boots from them, a disk may not.
    case pvscsi, megasas

    /// qemu's devices for a drive `disk`.
    fileprivate var devices: [String] {
      switch self {
      case .virtio: ["virtio-blk-pci,drive=disk"]
      case .virtioSCSI: ["virtio-scsi-pci", "scsi-hd,drive=disk"]
      case .nvme: ["nvme,drive=disk,serial=distri"]
      case .ahci: ["ich9-ahci,id=ahci", "ide-hd,drive=disk,bus=ahci.0"]
      case .usb: ["qemu-xhci", "usb-storage,drive=disk"]
      case .pvscsi: ["pvscsi", "scsi-hd,drive=disk"]
      case .megasas: ["megasas", "scsi-hd,drive=disk"]
      }
    }
  }

  let source: Source
  let bus: DiskBus
  /// MiB.
  let memory: Int
  let processors: Int
  let accelerator: String
  let isWritable: Bool
  /// The port of this machine, on its loopback address, that leads to the SSH server of the virtual one.
  let sshPort: UInt16?
  /// The port of this machine, on its loopback address, at which VNC viewers find a screen; nil for a machine without one.
  let screenPort: UInt16?

  /// The first port of a VNC server; qemu counts from it.
  static let firstScreenPort: UInt16 = 5900

  /// Debian's firmware for UEFI machines, without a store for variables.
  private static let uefi = BootFiles.File(path: "/usr/share/ovmf/OVMF.fd", package: "ovmf")

  /// qemu's arguments; `status` is the descriptor that it inherits for the status port.
  ///
  /// - Throws: ``MkimageError/missingTool(_:package:)``.
  func arguments(status: Int32) throws(MkimageError) -> [String] {
    var arguments = [
      "-accel", accelerator, "-cpu", "max", "-smp", "\(processors)", "-m", "\(memory)", "-nodefaults", "-no-user-config",
      "-no-reboot", "-serial", "mon:stdio", "-display",
    ]
    if let screenPort {
      // The pointer of a tablet is where that of the viewer is.
      arguments += ["vnc=127.0.0.1:\(screenPort - Self.firstScreenPort)", "-vga", "std", "-device", "virtio-tablet-pci"]
    } else {
      arguments.append("none")
    }
    switch source {
    case .directory(let directory, let parameters):
      arguments += [
        "-kernel", directory.appending(OutputDirectory.kernel).string, "-initrd",
        directory.appending(OutputDirectory.initramfs).string, "-append", parameters.joined(separator: " "),
      ]
      arguments += drive(directory.appending(OutputDirectory.disk), .raw)
    case .disk(let disk, let format, let firmware):
      if firmware.hasUEFI { arguments += ["-machine", "q35", "-bios", try Self.uefi.checkedPath().string] }
      arguments += drive(disk, format)
    }
    if let sshPort {
      arguments += ["-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:\(sshPort)-:22", "-device", "virtio-net-pci,netdev=net"]
    }
    return arguments + [
      "-device", "virtio-serial-pci", "-chardev", "file,id=status,path=/dev/fd/\(status)",
      "-device", "virtserialport,chardev=status,name=org.distri.status",
    ]
  }

  private func drive(_ disk: FilePath, _ format: DiskFormat) -> [String] {
    // A comma in an option's value is written twice.
    let name = disk.string.replacing(",", with: ",,")
    return ["-drive", "file=\(name),format=\(format.qemuName),if=none,id=disk,cache=unsafe,snapshot=\(isWritable ? "off" : "on")"]
      + bus.devices.flatMap { ["-device", $0] }
  }

  /// Runs the machine until it is off.
  ///
  /// - Parameter seconds: when it is stopped; nil for never.
  /// - Returns: the status that the machine reported, 0 to 255.
  /// - Throws: ``MkimageError/machine(_:)`` when it did not report one, or not in time.
  func run(seconds: Int?) throws -> Int32 {
    let qemu = try ChildProcess.locate("qemu-system-x86_64", package: "qemu-system-x86")
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Errno(rawValue: errno) }
    let (reader, writer) = (FileDescriptor(rawValue: ends[0]), FileDescriptor(rawValue: ends[1]))
    defer { try? reader.close() }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    // Neither end may be the number that the machine gets: dup2 onto itself would leave it to be closed by exec.
    let status: Int32 = 64
    let child: ChildProcess
    do {
      defer { try? writer.close() }
      child = try ChildProcess(qemu, try arguments(status: status), descriptors: [status: writer.rawValue])
    }
    let deadline = seconds.map { ContinuousClock.now + .seconds($0) }
    // The pipe ends when the machine does: it alone holds the other end.
    if let said = try Self.readAll(from: reader, until: deadline) {
      let ended = child.wait()
      guard let reported = Self.status(in: said) else {
        throw MkimageError.machine(
          "the machine stopped (qemu's status \(ended)) without saying how it went; its last words are above")
      }
      return reported
    }
    kill(child.identifier, SIGTERM)
    if try Self.readAll(from: reader, until: .now + .seconds(5)) == nil { kill(child.identifier, SIGKILL) }
    _ = child.wait()
    throw MkimageError.machine("the machine was not done after \(seconds ?? 0) s and has been stopped")
  }

  /// The number of the last whole line `exit N`.
  static func status(in said: [UInt8]) -> Int32? {
    let lines = String(decoding: said, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    guard let line = lines.last(where: { $0.hasPrefix("exit ") }), let status = UInt8(line.dropFirst(5)) else { return nil }
    return Int32(status)
  }

  /// Everything up to the end; nil when the time is over first. A machine that says too much is cut short.
  private static func readAll(from file: FileDescriptor, until deadline: ContinuousClock.Instant?) throws -> [UInt8]? {
    var said: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      var polled = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
      let count = poll(&polled, 1, deadline.map { ($0 - .now).milliseconds } ?? -1)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return nil }
      let got = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
      if got == 0 { return said }
      said = Array((said + buffer[..<got]).suffix(1 << 16))
    }
  }
}

extension Duration {
  /// Whole milliseconds, rounded up; 0 where it is negative, the largest number where it is larger.
  fileprivate var milliseconds: Int32 {
    let (seconds, attoseconds) = components
    guard seconds < 1_000_000 else { return .max }
    return Int32(max(0, seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
  }
}
