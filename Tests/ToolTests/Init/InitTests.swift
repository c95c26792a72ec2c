// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_init

@Suite struct KernelParameterTests {
  @Test func `the kernel's words are split at blanks outside of quotes`() {
    #expect(KernelParameters.words(of: "") == [])
    #expect(KernelParameters.words(of: " a  b=c\n") == ["a", "b=c"])
    #expect(KernelParameters.words(of: "x=\"a b\" \"y=c d\" z=\"\"") == ["x=a b", "y=c d", "z="])
    #expect(KernelParameters.words(of: "x=\"never closed") == ["x=never closed"])
  }

  @Test func `all parameters of ours are understood`() throws {
    let text = """
      BOOT_IMAGE=/vmlinuz root=LABEL=distri ro quiet console=ttyS0 init=/lib/systemd/systemd distri.run="cat /etc/motd; ls" \
      distri.timeout=7 distri.rescue=no
      """
    let parameters = try KernelParameters(parsing: text)
    #expect(parameters.root == .label("distri"))
    #expect(parameters.isReadOnly)
    #expect(parameters.initProgram == "/lib/systemd/systemd")
    #expect(parameters.command == "cat /etc/motd; ls")
    #expect(parameters.timeout == 7)
    #expect(!parameters.offersRescue)
  }

  @Test func `the last of several wins, and what follows two hyphens is not ours`() throws {
    let parameters = try KernelParameters(parsing: "ro root=/dev/vda rw root=/dev/vdb init=/a init= -- root=/dev/vdc ro")
    #expect(parameters.root == .device("/dev/vdb"))
    #expect(!parameters.isReadOnly)
    #expect(parameters.initProgram == nil)
  }

  @Test(arguments: [
    "root=", "root=LABEL=", "root=LABEL=seventeen-bytes-x", "root=UUID=12", "root=UUID=zz1a0a52-7a33-8000-8000-000000000001",
    "root=PARTUUID=6f1a0a52-7a33-8000-8000-000000000001", "root=sda", "root=/dev/", "root=/dev/../etc/passwd", "distri.timeout=0",
    "distri.timeout=soon",
  ])
  func `a parameter that makes no sense is refused by name`(text: String) throws {
    let failure = #expect(throws: BootFailure.self) { try KernelParameters(parsing: text) }
    #expect(try #require(failure).description.contains(text))
  }

  @Test func `a UUID is read in both cases and shown as it is written`() throws {
    let root = try DeviceSpecification(parsing: "UUID=6F1A0A52-7a33-8000-8000-0000000000FF")
    #expect(root.description == "UUID=6f1a0a52-7a33-8000-8000-0000000000ff")
    #expect(try DeviceSpecification(parsing: root.description) == root)
  }
}

@Suite struct SuperblockTests {
  @Test func `label and UUID of a real file system are found`() async throws {
    let folder = try TemporaryDirectory()
    let disk = folder.path.appending("disk").string
    let uuid = "6f1a0a52-7a33-8000-8000-000000000001"
    let made = try await ToolProcess.run("/sbin/mke2fs", ["-q", "-t", "ext4", "-U", uuid, "-L", "a label of 16 b", disk, "4M"])
    try #require(made.status == 0, "\(made.errors)")
    let bytes = try System.read(disk, at: Ext4Superblock.offset, count: Ext4Superblock.byteCount)
    let superblock = try #require(Ext4Superblock(bytes))
    #expect(superblock.label == Array("a label of 16 b".utf8))
    #expect(superblock.matches(try DeviceSpecification(parsing: "UUID=\(uuid)")))
    #expect(superblock.matches(.label("a label of 16 b")))
    #expect(!superblock.matches(.label("a label")))
    #expect(!superblock.matches(.device(disk)))
  }

  @Test func `whatever a disk holds, looking at it is safe`() {
    var generator = SystemRandomNumberGenerator()
    for count in [0, 1, 57, 1023, 1024, 2048] {
      #expect(Ext4Superblock([UInt8](repeating: 0, count: count)) == nil)
      for _ in 0..<100 {
        var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
        if count > 57 { bytes.replaceSubrange(56..<58, with: [0x53, 0xef]) }
        if let superblock = Ext4Superblock(bytes) {
          #expect(superblock.uuid.count == 16)
          #expect(superblock.label.count <= 16)
        }
      }
    }
    var impossible = [UInt8](repeating: 0, count: 1024)
    impossible.replaceSubrange(56..<58, with: [0x53, 0xef])
    #expect(Ext4Superblock(impossible) != nil)
    impossible[0x18] = 7
    #expect(Ext4Superblock(impossible) == nil)
  }
}

@Suite struct EncryptedDeviceTests {
  @Test func `the header that cryptsetup makes is found`() async throws {
    let folder = try TemporaryDirectory()
    let disk = folder.path.appending("disk").string
    let uuid = "6f1a0a52-7a33-8000-8000-000000000001"
    let made = try await ToolProcess.run(
      "sh",
      [
        "-c",
        "truncate -s 20M $1; printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --uuid $2 $1 -",
        "sh", disk, uuid,
      ])
    try #require(made.status == 0, "\(made.errors)")
    let device = DeviceFinder.Device(readingFrom: disk)
    #expect(device.superblock == nil)
    let header = try #require(device.luks)
    #expect(DeviceSpecification.text(ofUUID: header.uuid) == uuid)
    #expect(try KernelParameters(parsing: "rd.luks.uuid=\(uuid)").encryptedDevice == header.uuid)
    #expect(try KernelParameters(parsing: "rd.luks.uuid=luks-\(uuid)").encryptedDevice == header.uuid)
    #expect(EncryptedDevice(path: disk, uuid: header.uuid).name == "luks-\(uuid)")
    #expect(DeviceFinder.hints(for: [device]).contains("\(disk): LUKS UUID=\(uuid)"))
  }

  @Test func `whatever a disk begins with, looking at it is safe`() {
    let magic = Array("LUKS".utf8) + [0xba, 0xbe, 0, 2]
    for count in [0, 8, 207, 511] { #expect(LUKSHeader(magic + [UInt8](repeating: 0, count: count)) == nil) }
    #expect(LUKSHeader(magic + [UInt8](repeating: UInt8(ascii: "z"), count: 600)) == nil)
    // Version 1 has its UUID at the same place.
    #expect(LUKSHeader(magic.dropLast() + [1] + [UInt8](repeating: UInt8(ascii: "0"), count: 600)) == nil)
  }

  @Test func `a passphrase is read at the terminal where somebody types it, and not shown`() throws {
    var ends: [(Int32, String)] = []
    for _ in 0..<2 {
      let leader = open("/dev/ptmx", O_RDWR | O_NOCTTY)
      // TIOCSPTLCK and TIOCGPTN: unlock the terminal, and say which it is.
      var number: Int32 = 0
      try #require(leader >= 0 && ioctl(leader, 0x4004_5431, &number) == 0 && ioctl(leader, 0x8004_5430, &number) == 0)
      ends.append((leader, "/dev/pts/\(number)"))
    }
    defer { for end in ends { close(end.0) } }
    let consoles = Consoles(paths: ["/dev/null", "/nonexistent"] + ends.map(\.1))
    // A terminal keeps what is typed before somebody reads it; the first line is empty.
    System.write(Array("\nopen sesame\n".utf8), to: ends[1].0)
    #expect(try consoles.readSecret(prompt: "Passphrase: ") == Array("open sesame".utf8))
    for (leader, _) in ends {
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = Glibc.read(leader, &buffer, buffer.count)
      #expect(String(decoding: buffer[..<max(0, count)], as: UTF8.self).contains("Passphrase: "))
    }
    let none = Consoles(paths: ["/dev/null"])
    #expect(throws: System.CallFailure.self) { try none.readSecret(prompt: "") }
  }

  @Test func `a secret is handed over by a pipe`() throws {
    let pipe = try SecretPipe(holding: Array("open sesame".utf8))
    let program = try distri_init.Process(
      path: "/bin/sh", arguments: ["sh", "-c", "[ \"$(cat /dev/fd/3)\" = 'open sesame' ]"], ready: pipe.reader)
    #expect(program.waitForIt() == 0)
  }
}

@Suite struct InitProgramTests {
  @Test func `modules are found by what the hardware says it is`() throws {
    let index = try ModuleIndex(
      parsing: """
        # first
        module virtio
        module virtio_ring virtio

        module virtio_pci virtio_ring virtio
        module virtio_blk virtio_ring
        load virtio_ring
        alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
        alias virtio:d00000002v* virtio_blk
        alias acpi*:VMBUS:* virtio_blk
        """)
    #expect(index.always == ["virtio_ring"])
    #expect(index.dependencies["virtio_pci"] == ["virtio_ring", "virtio"])
    #expect(index.modules(for: "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00") == ["virtio_pci"])
    #expect(index.modules(for: "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00") == [])
    #expect(index.modules(for: "virtio:d00000002v00001AF4") == ["virtio_blk"])
    #expect(index.modules(for: "virtio:d00000001v00001AF4") == [])
    #expect(index.modules(for: "acpi:VMBUS:") == ["virtio_blk"])
    #expect(index.modules(for: "") == [])
    #expect(try ModuleIndex(parsing: "").always == [])
  }

  @Test(arguments: [
    "virtio", "module", "module ../etc/passwd", "module a b", "load a", "module a\nload a b", "module a\nalias x", "alias pci:* a",
    "module a\0",
  ])
  func `an index of modules that is damaged is refused`(text: String) {
    #expect(throws: BootFailure.self) { try ModuleIndex(parsing: text) }
  }

  @Test func `a keymap is read whole or not at all`() throws {
    var bytes = Array("bkeymap".utf8) + [UInt8](repeating: 0, count: 256)
    bytes[7 + 4] = 1
    #expect(throws: BootFailure.self) { try Keymap(bytes) }
    bytes += (0..<128).flatMap { [$0, 0xfb] }
    let keymap = try Keymap(bytes)
    #expect(keymap.tables.map(\.number) == [4])
    #expect(keymap.tables[0].meanings.count == 128 && keymap.tables[0].meanings[127] == 0xfb7f)
    for count in [0, 6, 7, 8, 262, 263, bytes.count - 1] {
      #expect(throws: BootFailure.self) { try Keymap(Array(bytes.prefix(count))) }
    }
    #expect(throws: BootFailure.self) { try Keymap(bytes + [0]) }
    #expect(throws: BootFailure.self) { try Keymap(bytes.map { $0 == 1 ? 0 : $0 }) }
    #expect(try Keymap(Array(bytes.prefix(7)) + [UInt8](repeating: 0, count: 256)).tables == [])
  }

  @Test func `commands are the lines that are neither blank nor comments`() {
    #expect(
      Boot.commands(in: "cat /etc/os-release\n\n  # a comment\n \t\n  ls # not one\n") == ["cat /etc/os-release", "  ls # not one"])
  }

  @Test func `a machine without its root file system names what it has`() throws {
    #expect(DeviceFinder.hints(for: []).joined().contains("--module"))
    var bytes = [UInt8](repeating: 0, count: 1024)
    bytes.replaceSubrange(0x38..<0x3a, with: [0x53, 0xef])
    bytes.replaceSubrange(0x78..<0x7c, with: Array("root".utf8))
    let hints = DeviceFinder.hints(for: [
      .init(path: "/dev/vda", superblock: Ext4Superblock(bytes)), .init(path: "/dev/vdb"),
    ])
    #expect(hints.contains("/dev/vda: LABEL=root UUID=00000000-0000-0000-0000-000000000000"))
    #expect(hints.contains("/dev/vdb: no ext4 file system"))
  }

  @Test func `the daemon of the view is named so that systemd spares it`() {
    for linked in [true, false] {
      let arguments = View.arguments(linked: linked)
      #expect(arguments[0].hasPrefix("@"))
      #expect(arguments.contains(View.daemonName))
      #expect(arguments.contains(View.program) == linked)
    }
  }

  @Test func `a program is started, waited for, and hands back its status`() throws {
    #expect(try distri_init.Process(path: "/bin/sh", arguments: ["sh", "-c", "exit 7"]).waitForIt() == 7)
    #expect(try distri_init.Process(path: "/bin/sh", arguments: ["sh", "-c", "kill -9 $$"]).waitForIt() == 137)
    #expect(throws: System.CallFailure.self) { try distri_init.Process(path: "/nonexistent", arguments: ["x"]) }
  }

  @Test func `a daemon is ready, gone or late`() throws {
    for (script, expected) in [
      ("printf r >&3; exec tail -f /dev/null", ReadinessPipe.Outcome.ready), ("exit 1", .gone),
      ("exec 3>&-; exec tail -f /dev/null", .gone), ("exec tail -f /dev/null", .late),
    ] {
      var pipe = try ReadinessPipe()
      var started: distri_init.Process?
      let outcome = try pipe.start(
        { ready throws(System.CallFailure) in
          let process = try distri_init.Process(path: "/bin/sh", arguments: ["sh", "-c", script], session: .own, ready: ready)
          started = process
          return process
        }, until: Deadline(seconds: expected == .late ? 1 : 20))
      #expect(outcome == expected, "\(script)")
      let process = try #require(started)
      kill(process.identifier, SIGKILL)
      _ = process.waitForIt()
    }
  }

  @Test func `outside of a machine's first process it does nothing`() async throws {
    let outcome = try await ToolProcess.run("distri-init")
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("first process"))
  }
}

extension distri_init.Process {
  /// Waits for this process only: the test's other children are not ours to collect.
  fileprivate func waitForIt() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }
}

@Suite struct ShutdownTests {
  @Test(
    arguments: [
      ("poweroff", System.Ending.powerOff), ("reboot", .reboot), ("halt", .halt), ("kexec", .kexec), ("nonsense", .powerOff),
      (nil, .powerOff),
    ] as [(String?, System.Ending)])
  func `systemd's word says how the machine ends`(_ verb: String?, _ ending: System.Ending) {
    #expect(Shutdown.ending(for: verb) == ending)
  }
}
