// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

/// A description that has every field.
private let completeDescription = #"""
  # a machine
  package: "base" set: "tools"
  kernel: "linux-image"
  kernel_parameter: "mitigations=off"
  hostname: "box.example"
  user {
    name: "ada" uid: 1001 gecos: "Ada L." shell: "/bin/sh" password_hash: "$6$salt$hash" group: "wheel"
    authorized_key: "ssh-ed25519 AAAA ada"
  }
  user { name: "web" home: "/srv/web" gid: 65534 }
  group { name: "wheel" gid: 27 }
  enable: "sample.service"
  file { path: "/etc/systemd/system/sample.service" contents: "[Install]\nWantedBy=multi-user.target\n" }
  file { path: "/etc/secret" from: "secret" mode: 0640 user: "ada" group: "wheel" }
  link { path: "/etc/localtime" target: "../usr/share/zoneinfo/Europe/Paris" }
  directory { path: "/srv/web/files" mode: 2775 user: "web" }
  boot_command: "true"
  module: "lonely"
  serial: true
  label: "box"
  size: "128M"
  """#

@Suite struct ImageDescriptionTests {
  private func parse(_ text: String) throws -> ImageDescription {
    try ImageDescription(bytes: Array(text.utf8), path: "image.textproto")
  }

  @Test func `every field is read`() throws {
    let image = try parse(completeDescription)
    #expect(image.packages == ["base"] && image.sets == ["tools"] && image.kernelParameters == ["mitigations=off"])
    #expect(image.hostname == "box.example" && image.label == "box" && image.byteCount == 128 << 20 && image.hasSerialConsole)
    #expect(image.users.map(\.name) == ["ada", "web"] && image.users[0].uid == 1001 && image.users[1].gid == 65534)
    #expect(image.users[0].authorizedKeys == ["ssh-ed25519 AAAA ada"] && image.groups == [.init(name: "wheel", gid: 27)])
    #expect(image.units == ["sample.service"] && image.modules == ["lonely"] && image.bootCommands == ["true"])
    #expect(image.files[1] == .init(path: "/etc/secret", source: "secret", mode: 0o640, owner: .init(user: "ada", group: "wheel")))
    #expect(image.links.map(\.path) == ["/etc/localtime"])
    #expect(image.directories == [.init(path: "/srv/web/files", mode: 0o2775, owner: .init(user: "web"))])
  }

  @Test(arguments: [
    ("hostname: \"a\"\n  packge: \"b\"", "2:3: an image description has no field «packge»; did you mean package?"),
    ("user { uid: 3 }", "1:8: user needs name"),
    ("user { name: \"a\"\n usr: 1 }", "2:2: user has no field «usr»"),
    ("user { name: \"a:b\" }", "1:14: name «a:b» is no name of a user or group"),
    ("user { name: \"a\" uid: \"7\" }", "1:23: uid is a number, not a string"),
    ("user { name: \"a\" uid: 4294967295 }", "is no number"),
    ("user { name: \"a\" gecos: \"x\\ny\" }", "colon or a control character"),
    ("user { name: \"a\" password_hash: \"secret\" }", "openssl passwd"),
    ("user { name: \"a\" authorized_key: \"k\\nk\" }", "one line"),
    ("file { path: \"/etc/../x\" contents: \"\" }", "no absolute path"),
    ("file { path: \"/x\" }", "contents or from"),
    ("file { path: \"/x\" contents: \"\" mode: 888 }", "is no mode"),
    ("link { path: \"/x\" }", "link needs target"),
    ("enable: \"../x.service\"", "is no unit"),
    ("hostname: \"-x\"", "no host name"), ("hostname: \"a\" hostname: \"b\"", "1:15: hostname appears a second time"),
    ("label: \"more than sixteen bytes\"", "1 to 16"), ("size: \"big\"", "no size"), ("boot_command: \"a\\nb\"", "one line"),
    ("serial: \"yes\"", "true or false"), ("package: ", "1:10: expected a value"),
  ])
  func `what is wrong is said with its place`(text: String, words: String) {
    let error = #expect(throws: MkimageError.self) { try parse(text) }
    #expect("\(error!)".contains(words), "\(error!)")
    #expect("\(error!)".hasPrefix("image.textproto:"))
  }

  @Test func `a description adds to the one that it includes, and replaces what may be there once`() throws {
    let folder = try TemporaryDirectory()
    func write(_ name: String, _ text: String) throws {
      let path = folder.path.pushing(FilePath(name)).string
      try FileManager.default.createDirectory(
        at: URL(filePath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
    try write("base/tools.pkgset", "nano\n")
    try write(
      "base/image.textproto",
      #"""
      package: "bash" set: "tools" hostname: "base" serial: true enable: "ssh.service" user { name: "ada" uid: 1001 }
      file { path: "/etc/motd" contents: "base" } file { path: "/etc/key" from: "key" } link { path: "/etc/a" target: "base" }
      """#)
    try write(
      "own/image.textproto",
      #"""
      include: "../base/image.textproto"
      package: "i3-wm" hostname: "own" enable: "desktop.service" user { name: "ada" uid: 1002 }
      file { path: "/etc/motd" contents: "own" } file { path: "/etc/a" contents: "own" }
      """#)
    let image = try ImageDescription(path: folder.path.pushing("own/image.textproto"))
    #expect(image.packages == ["bash", "nano", "i3-wm"] && image.sets == [] && image.units == ["ssh.service", "desktop.service"])
    #expect(image.hostname == "own" && image.hasSerialConsole && image.users.map(\.uid) == [1002] && image.links == [])
    #expect(image.files.map { $0.contents ?? $0.source ?? "" } == ["../base/key", "own", "own"])
    for (text, words) in [(#"include: "image.textproto""#, "includes itself"), (#"include: "none""#, "own/none")] {
      try write("own/image.textproto", text)
      #expect { try ImageDescription(path: folder.path.pushing("own/image.textproto")) } throws: { "\($0)".contains(words) }
    }
  }

  @Test func `no damage to a description does more than an error with a place`() throws {
    let whole = Array(completeDescription.utf8)
    for index in whole.indices {
      for value in [nil, 0, UInt8(ascii: "{"), UInt8(ascii: "\""), UInt8(ascii: "9"), 0xff] as [UInt8?] {
        var damaged = whole
        if let value { damaged[index] = value } else { damaged.removeSubrange(index...) }
        do {
          _ = try ImageDescription(bytes: damaged, path: "x")
        } catch {
          #expect("\(error)".wholeMatch(of: /x:[0-9]+:[0-9]+: [^\0]+/.dotMatchesNewlines()) != nil, "\(error)")
        }
      }
    }
  }
}

@Suite struct AccountsTests {
  private func accounts(_ text: String) throws -> Accounts {
    try Accounts(of: ImageDescription(bytes: Array(text.utf8), path: "x"))
  }

  @Test func `nobody can log in unless the description says so`() throws {
    let lines = try accounts("").shadow.split(separator: "\n")
    #expect(lines == ["root:*:::::::", "nobody:*:::::::"])
  }

  @Test func `users get numbers, groups of their own and what the description says`() throws {
    let made = try accounts(completeDescription + #" user { name: "root" password_hash: "$y$a$b" } user { name: "eve" }"#)
    #expect(
      made.passwd == """
        root:x:0:0:root:/root:/bin/bash
        nobody:x:65534:65534:nobody:/nonexistent:/bin/false
        ada:x:1001:1001:Ada L.:/home/ada:/bin/sh
        web:x:1000:65534::/srv/web:/bin/bash
        eve:x:1002:1002::/home/eve:/bin/bash

        """)
    #expect(made.group.contains("wheel:x:27:ada\n") && made.group.contains("\nada:x:1001:\n"))
    #expect(made.shadow.contains("root:$y$a$b:") && made.shadow.contains("eve:*:"))
  }

  @Test(arguments: [
    (#"user { name: "a" } user { name: "a" }"#, "twice"), (#"user { name: "a" uid: 0 }"#, "as root has"),
    (#"group { name: "a" gid: 5 }"#, "as tty has"), (#"group { name: "tty" }"#, "twice"),
    (#"user { name: "a" group: "absent" }"#, "no group absent"),
  ])
  func `accounts that contradict each other are refused`(text: String, words: String) {
    let error = #expect(throws: MkimageError.self) { try accounts(text) }
    #expect("\(error!)".contains(words))
  }
}

@Suite struct UnitLinksTests {
  private func links(_ unit: String, _ text: String) throws -> [String] {
    try UnitLinks(of: unit, text: text, file: "/lib/x").links.map { "\($0.path) \($0.target)" }
  }

  @Test func `the install section becomes links`() throws {
    let text = """
      [Unit]
      WantedBy=no.target
      [Install]
      # WantedBy=comment.target
      WantedBy = a.target \\
        b.target
      RequiredBy=c.target
      Alias=sshd.service
      """
    #expect(
      try links("ssh.service", text) == [
        "a.target.wants/ssh.service /lib/x", "b.target.wants/ssh.service /lib/x", "c.target.requires/ssh.service /lib/x",
        "sshd.service /lib/x",
      ])
    #expect(
      try links("getty@.service", "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1")
        == ["getty.target.wants/getty@tty1.service /lib/x"])
    #expect(
      try links("a.service", "[Install]\nWantedBy=x.target\nWantedBy=\nWantedBy=y.target") == ["y.target.wants/a.service /lib/x"])
  }

  @Test(arguments: ["[Service]\nExecStart=/bin/true", "[Install]\nAlias=../../../passwd", "[Install]\nWantedBy=%i.target", ""])
  func `a unit that cannot be enabled is refused`(text: String) {
    #expect(throws: MkimageError.self) { try links("x.service", text) }
  }
}

@Suite struct DescribedImageTests {
  @Test func `an image has what its description says, and flags win`() async throws {
    let images = try await ImageStore.make()
    let folder = images.folder.path
    try await images.add(
      "units-amd64-1-1", files: ["out/lib/systemd/system/serial-getty@.service": Array("[Install]\nWantedBy=getty.target\n".utf8)])
    for (name, text) in [
      ("image.textproto", completeDescription.replacing("module: \"lonely\"", with: "")), ("secret", "s3cret\n"),
      ("tools.pkgset", "# more of them\nmore\n"), ("keys", "# mine\nssh-ed25519 BBBB root\n"),
    ] { try text.write(toFile: folder.appending(name).string, atomically: false, encoding: .utf8) }
    let description = folder.appending("image.textproto").string
    let built = try await images.build(
      [description, "--hostname", "other", "--add", "units", "--authorized-keys", folder.appending("keys").string])
    try #require(built.status == 0, "\(built.errors)")
    let disk = images.output.appending("disk.img").string
    func debugfs(_ command: String) async throws -> String {
      try await ToolProcess.run("/sbin/debugfs", ["-R", command, disk]).output
    }
    #expect(try await debugfs("cat /etc/hostname") == "other\n")
    #expect(try await debugfs("ls -p /roimg").contains("/more-amd64-1-1.squashfs/"))
    #expect(try await debugfs("cat /etc/secret") == "s3cret\n")
    #expect(try await debugfs("stat /etc/secret").contains(#/Mode: +0640.*\n?.*\n?User: +1001 +Group: +27/#))
    #expect(try await debugfs("stat /srv/web/files").contains(#/Mode: +02775/#))
    #expect(try await debugfs("cat /root/.ssh/authorized_keys") == "ssh-ed25519 BBBB root\n")
    #expect(try await debugfs("stat /home/ada/.ssh/authorized_keys").contains(#/Mode: +0600.*\n?.*\n?User: +1001 /#))
    #expect(try await debugfs("stat /etc/localtime").contains("Europe/Paris"))
    let wants = "/etc/systemd/system/multi-user.target.wants/sample.service"
    #expect(try await debugfs("stat \(wants)").contains("\"/etc/systemd/system/sample.service\""))
    let serial = "/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
    #expect(try await debugfs("stat \(serial)").contains("\"/lib/systemd/system/serial-getty@.service\""))
    #expect(try String(contentsOfFile: images.output.appending("cmdline").string, encoding: .utf8).contains(" mitigations=off"))
  }

  @Test(arguments: [
    ("enable: \"absent.service\"", Int32(65), "no package of the image has it"), ("set: \"absent\"", 65, "absent.pkgset"),
    ("file { path: \"/x\" contents: \"\" user: \"eve\" }", 65, "no such user"), ("pakage: \"base\"", 65, "image.textproto:1:1:"),
    ("file { path: \"/x\" contents: \"\" } link { path: \"/x\" target: \"y\" }", 65, "twice"),
  ])
  func `a description that cannot be followed is an error with its reason`(text: String, status: Int32, words: String) async throws
  {
    let images = try await ImageStore.make()
    let file = images.folder.path.appending("image.textproto").string
    try text.write(toFile: file, atomically: false, encoding: .utf8)
    let built = try await images.build([file, "--package", "base"])
    #expect(built.status == status && built.errors.contains(words), "\(built.errors)")
    #expect(!FileManager.default.fileExists(atPath: images.output.string))
  }
}
