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
    let root = try RootSpecification(parsing: "UUID=6F1A0A52-7a33-8000-8000-0000000000FF")
    #expect(root.description == "UUID=6f1a0a52-7a33-8000-8000-0000000000ff")
    #expect(try RootSpecification(parsing: root.description) == root)
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
    #expect(superblock.matches(try RootSpecification(parsing: "UUID=\(uuid)")))
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

@Suite struct InitProgramTests {
  @Test func `the list of modules is read in its order`() throws {
    #expect(try ModuleList(parsing: "").paths == [])
    #expect(
      try ModuleList(parsing: "# first\n/modules/virtio.ko\n\n/modules/fuse.ko\n").paths == [
        "/modules/virtio.ko", "/modules/fuse.ko",
      ])
    for line in ["virtio", "/etc/passwd", "/modules/virtio.ko\0"] {
      #expect(throws: BootFailure.self) { try ModuleList(parsing: line) }
    }
  }

  @Test func `commands are the lines that are neither blank nor comments`() {
    #expect(
      Boot.commands(in: "cat /etc/os-release\n\n  # a comment\n \t\n  ls # not one\n") == ["cat /etc/os-release", "  ls # not one"])
  }

  @Test func `a machine without its root file system names what it has`() throws {
    #expect(RootFinder.hints(for: []).joined().contains("--module"))
    var bytes = [UInt8](repeating: 0, count: 1024)
    bytes.replaceSubrange(0x38..<0x3a, with: [0x53, 0xef])
    bytes.replaceSubrange(0x78..<0x7c, with: Array("root".utf8))
    let hints = RootFinder.hints(for: [
      .init(path: "/dev/vda", superblock: Ext4Superblock(bytes)), .init(path: "/dev/vdb", superblock: nil),
    ])
    #expect(hints.contains("/dev/vda: LABEL=root UUID=00000000-0000-0000-0000-000000000000"))
    #expect(hints.contains("/dev/vdb: no ext4 file system"))
  }

  @Test func `the daemon of the view is named so that systemd spares it`() {
    for linked in [true, false] {
      let arguments = View.arguments(linked: linked)
      #expect(arguments[0].hasPrefix("@"))
      #expect(arguments.suffix(2) == ["/roimg", "/ro"])
      #expect(arguments.contains(View.daemon) == linked)
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
