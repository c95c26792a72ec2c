// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// The built `distri-fetch` on a machine that goes forth and back.
@Suite struct GenerationToolTests {
  /// A repository to which versions are added, and a machine.
  private struct World: ~Copyable {
    let scene: Scene
    var environment: [String: String] { ["DISTRICFG": scene.directory.path.appending("etc-distri").string] }

    init(_ packages: [PackageFixture]) async throws { scene = try await Scene(packages) }

    func publish(_ packages: [PackageFixture]) async throws {
      _ = try await LocalStore.make(at: scene.store.path, packages)
      _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    }

    /// Words, with the root and, for what wants one, the repository added.
    func run(_ line: String) async throws -> ToolProcess.Outcome {
      var words = line.split(separator: " ").map(String.init) + ["--root", scene.machine.string]
      if ["install", "update", "repair"].contains(words.first) {
        words += ["--repo", scene.repository.string, "--insecure-unsigned"]
      }
      return try await ToolProcess.run("distri-fetch", words, environment: environment)
    }

    func selected() async throws -> [String] {
      try await run("list --installed").output.split(separator: "\n").map(String.init)
    }

    func write(_ text: String, to file: String) throws {
      try Data(text.utf8).write(to: URL(fileURLWithPath: scene.machine.appending(file).string))
    }

    func read(_ file: String) -> String? {
      (try? contents(of: scene.machine.appending(file))).map { String(decoding: $0, as: UTF8.self) }
    }
  }

  private func version(_ number: Int, _ name: String = "nano", needs: [String] = ["libc-amd64-1-1"], conf: String? = nil) throws
    -> PackageFixture
  {
    var fixture = try PackageFixture("\(name)-amd64-\(number)-\(number)", needs: needs, byteCount: 3000)
    if let conf { fixture.files["etc/\(name).conf"] = Array(conf.utf8) }
    return fixture
  }

  @Test func `install, update, roll back, remove, collect`() async throws {
    let world = try await World([
      try version(1), try PackageFixture("libc-amd64-1-1", byteCount: 3000), try PackageFixture("less-amd64-1-1", byteCount: 3000),
    ])
    #expect(try await world.run("install nano less").status == 0)
    #expect(try await world.selected() == ["less-amd64-1-1", "libc-amd64-1-1", "nano-amd64-1-1"])
    #expect(try await world.run("update").errors.hasSuffix("\nnothing to do\n"))

    try await world.publish([try version(2), try PackageFixture("less-amd64-2-2", byteCount: 3000)])
    let dry = try await world.run("update --dry-run")
    #expect(dry.output == "=\tless-amd64-2-2\tless-amd64-1-1\n=\tnano-amd64-2-2\tnano-amd64-1-1\n", "\(dry.errors)")
    #expect(try await world.selected() == ["less-amd64-1-1", "libc-amd64-1-1", "nano-amd64-1-1"])
    let one = try await world.run("update nano")
    #expect(one.output == "=\tnano-amd64-2-2\tnano-amd64-1-1\n")
    #expect(one.errors.contains("\ngeneration 2: "))
    #expect(try await world.run("update").output == "=\tless-amd64-2-2\tless-amd64-1-1\n")

    let list = try await world.run("generations")
    let lines = list.output.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
    #expect(lines.map { $0[0] + $0[1] } == ["-1", "-2", "*3"])
    #expect(lines.map { $0[3] } == ["+3 -0 =0", "+0 -0 =1", "+0 -0 =1"])
    #expect(lines[1][4].hasPrefix("distri-fetch update nano --root "))
    #expect(try await world.run("generations 2").output == "=\tnano-amd64-2-2\tnano-amd64-1-1\n")

    // The way back needs no repository.
    try FileManager.default.removeItem(atPath: world.scene.repository.string)
    #expect(try await world.run("rollback --dry-run").output == "=\tless-amd64-1-1\tless-amd64-2-2\n")
    let back = try await world.run("rollback")
    #expect(back.output == "=\tless-amd64-1-1\tless-amd64-2-2\n" && back.errors.hasPrefix("generation 2: "))
    #expect(try await world.run("rollback 1").status == 0)
    #expect(try await world.selected() == ["less-amd64-1-1", "libc-amd64-1-1", "nano-amd64-1-1"])
    #expect(try await world.run("rollback").status == 66)
    #expect(try await world.run("rollback 9").status == 66)

    let why = try await world.run("why libc")
    #expect(why.output == "libc-amd64-1-1\tneeded\tnano-amd64-1-1\n")
    #expect(try await world.run("why nano").output == "nano-amd64-1-1\trequested\tnano\n")
    #expect(try await world.run("why vim").status == 66)
    let needed = try await world.run("remove libc")
    #expect(needed.status == 64 && needed.errors.contains("nano-amd64-1-1 needs it"))
    #expect(try await world.run("remove nano --dry-run").output == "-\tlibc-amd64-1-1\n-\tnano-amd64-1-1\n")
    #expect(try await world.run("remove nano").errors.hasPrefix("generation 4: "))
    #expect(try await world.selected() == ["less-amd64-1-1"])
    #expect(try await world.run("remove nano").status == 66)

    let plan = try await world.run("gc --keep 1 --keep-days 0 --dry-run")
    #expect(
      plan.output == ["less-amd64-2-2", "libc-amd64-1-1", "nano-amd64-1-1", "nano-amd64-2-2"].map { "pkg\t\($0)\n" }.joined())
    let collected = try await world.run("gc --keep 1 --keep-days 0")
    #expect(collected.output == plan.output && collected.errors.contains("removed 4 packages"), "\(collected.errors)")
    #expect(try await world.run("list --installed --all").output == "less-amd64-1-1\n")
    #expect(try await world.run("verify").status == 0)
    #expect(try await world.run("info less --installed").output.hasPrefix("package\tless-amd64-1-1\n"))
  }

  @Test func `pins and sets`() async throws {
    let world = try await World([
      try version(1), try PackageFixture("libc-amd64-1-1", byteCount: 3000), try PackageFixture("less-amd64-1-1", byteCount: 3000),
      try PackageFixture("vim-amd64-1-1", byteCount: 3000),
    ])
    let sets = world.scene.directory.path.appending("etc-distri/pkgset.d")
    try FileManager.default.createDirectory(atPath: sets.string, withIntermediateDirectories: true)
    try write(Array("# words\nnano\n\nless\n".utf8), to: sets.appending("tools.pkgset"))
    #expect(try await world.run("install --set missing").status == 66)
    let installed = try await world.run("install --set tools")
    #expect(installed.status == 0, "\(installed.errors)")
    let inSet = try await world.run("remove nano")
    #expect(inSet.status == 64 && inSet.errors.contains("tools"))
    #expect(try await world.run("pin nano").status == 0)
    #expect(try await world.run("pin").output == "nano-amd64-1-1\n")
    try await world.publish([try version(2), try PackageFixture("less-amd64-2-2", byteCount: 3000)])
    try write(Array("nano\nless\nvim\n".utf8), to: sets.appending("tools.pkgset"))
    #expect(try await world.run("update").output == "+\tvim-amd64-1-1\n=\tless-amd64-2-2\tless-amd64-1-1\n")
    #expect(try await world.run("unpin vim").status == 66)
    #expect(try await world.run("unpin nano").status == 0)
    try write(Array("nano\n".utf8), to: sets.appending("tools.pkgset"))
    #expect(
      try await world.run("update --set tools").output
        == "-\tless-amd64-2-2\n-\tvim-amd64-1-1\n=\tnano-amd64-2-2\tnano-amd64-1-1\n")
    #expect(try await world.run("why nano").output == "nano-amd64-2-2\tset\ttools\n")
    // An older version that the store has.
    #expect(try await world.run("pin nano-amd64-1-1").output == "=\tnano-amd64-1-1\tnano-amd64-2-2\n")
    #expect(try await world.run("update").errors.hasSuffix("\nnothing to do\n"))
    #expect(try await world.run("remove --set tools").status == 0)
    #expect(try await world.selected() == [])
  }

  @Test func `new defaults replace what nobody has changed, and lie beside the rest`() async throws {
    let world = try await World([
      try version(1, needs: [], conf: "one\n"), try version(1, "less", needs: [], conf: "one\n"),
      try version(1, "vim", needs: [], conf: "one\n"), try version(1, "same", needs: [], conf: "one\n"),
    ])
    #expect(try await world.run("install nano less vim same").status == 0)
    try world.write("mine\n", to: "etc/less.conf")
    try world.write("mine\n", to: "etc/same.conf")
    try FileManager.default.removeItem(atPath: world.scene.machine.appending("etc/vim.conf").string)
    try await world.publish([
      try version(2, needs: [], conf: "two\n"), try version(2, "less", needs: [], conf: "two\n"),
      try version(2, "vim", needs: [], conf: "two\n"), try version(2, "same", needs: [], conf: "one\n"),
    ])
    let updated = try await world.run("update")
    #expect(updated.status == 0)
    #expect(world.read("etc/nano.conf") == "two\n")
    #expect(world.read("etc/less.conf") == "mine\n")
    #expect(world.read("etc/less.conf.new") == "two\n")
    #expect(world.read("etc/vim.conf") == nil && world.read("etc/vim.conf.new") == nil)
    #expect(world.read("etc/same.conf") == "mine\n" && world.read("etc/same.conf.new") == nil)
    #expect(updated.errors.contains("\n/etc/less.conf.new: the new default; /etc/less.conf has been changed here and stays"))
    #expect(try names(in: world.scene.machine.appending("etc")) == ["less.conf", "less.conf.new", "nano.conf", "same.conf"])
    // Back, and forth to a third version: what is there is a default of a version that the store has.
    #expect(try await world.run("rollback").status == 0)
    try await world.publish([try version(3, needs: [], conf: "three\n")])
    #expect(try await world.run("update nano").status == 0)
    #expect(world.read("etc/nano.conf") == "three\n" && world.read("etc/nano.conf.new") == nil)
  }

  @Test func `verify names what is damaged`() async throws {
    let world = try await World([try version(1), try PackageFixture("libc-amd64-1-1")])
    #expect(try await world.run("install nano").status == 0)
    #expect(
      try await world.run("verify --insecure-unsigned --repo \(world.scene.repository.string)").errors
        .hasSuffix("\n2 packages, 2 of them compared with a repository\n"))
    let image = world.scene.machine.appending("roimg/libc-amd64-1-1.squashfs")
    var bytes = try contents(of: image)
    let place = try #require(bytes.indices.last { bytes[$0] != 0 })
    bytes[bytes.count / 2] ^= 1
    try write(bytes, to: image)
    let compared = try await world.run("verify --insecure-unsigned --repo \(world.scene.repository.string)")
    #expect(compared.status == 65 && compared.output.contains("libc-amd64-1-1\tlibc-amd64-1-1.squashfs is not the file"))
    try write(Array(bytes[..<(place / 2)]), to: image)
    let broken = try await world.run("verify --json")
    #expect(broken.status == 65 && broken.output.contains("\"subject\" : \"libc-amd64-1-1\""))
    try FileManager.default.removeItem(atPath: image.string)
    #expect(try await world.run("verify").output.contains("generation 1\tlibc-amd64-1-1 is not there"))
  }

  @Test func `repair brings what is damaged or gone, and names what it cannot`() async throws {
    let world = try await World([
      try version(1), try PackageFixture("libc-amd64-1-1"), try PackageFixture("less-amd64-1-1"),
      try PackageFixture("own-amd64-1-1"),
    ])
    #expect(try await world.run("install nano less own").status == 0)
    let store = try world.scene.machineStore().path
    func original(_ file: String) throws -> [UInt8] { try contents(of: world.scene.store.path.appending(file)) }
    // One image cut off, of which a reader has the old file open; one with another byte; metadata that is none; an image that is gone.
    let files = ["libc-amd64-1-1.squashfs", "less-amd64-1-1.squashfs", "own-amd64-1-1.meta.textproto", "nano-amd64-1-1.squashfs"]
    let open = try FileDescriptor.open(store.appending(files[1]), .readOnly)
    defer { try? open.close() }
    let cut = Array(try original(files[0]).prefix(5000))
    var flipped = try original(files[1])
    flipped[flipped.count / 2] ^= 1
    for (file, bytes) in [(files[0], cut), (files[1], flipped), (files[2], Array("version: 1-1".utf8))] {
      try FileManager.default.removeItem(atPath: store.appending(file).string)
      try write(bytes, to: store.appending(file))
    }
    try FileManager.default.removeItem(atPath: store.appending(files[3]).string)
    let dry = try await world.run("repair --dry-run")
    #expect(dry.output == "less-amd64-1-1\nlibc-amd64-1-1\nnano-amd64-1-1\nown-amd64-1-1\n", "\(dry.errors)")
    #expect(try contents(of: store.appending(files[0])) == cut)
    let repaired = try await world.run("repair")
    #expect(repaired.status == 0 && repaired.output == dry.output, "\(repaired.errors)")
    for file in files { #expect(try contents(of: store.appending(file)) == original(file), "\(file)") }
    #expect(try await world.run("verify").status == 0)
    #expect(try await world.run("repair").errors.hasSuffix("\nnothing is damaged\n"))
    // What no repository has stays, and is said.
    _ = try await LocalStore.make(at: store, [try version(3, "alien", needs: [])])
    try write(cut, to: store.appending("alien-amd64-3-3.squashfs"))
    let left = try await world.run("repair")
    #expect(left.status == 65 && left.output == "" && left.errors.contains("not repaired: alien-amd64-3-3\t"), "\(left.errors)")
  }

  @Test func `users and files that packages declare are made by systemd's tools`() async throws {
    var daemon = try version(1, "daemon", needs: [])
    daemon.files["out/lib/sysusers.d/daemon.conf"] = Array("u mydaemon 777 \"A daemon\" /var/lib/mydaemon\n".utf8)
    daemon.files["out/lib/tmpfiles.d/daemon.conf"] = Array("d /var/lib/mydaemon 0750 mydaemon mydaemon -\n".utf8)
    var other = try version(1, "other", needs: [])
    other.files["out/lib/tmpfiles.d/other.conf"] = Array("d /var/lib/other 0755 root root -\n".utf8)
    other.files["out/lib/tmpfiles.d/bad.conf"] = Array("what is this\n".utf8)
    let world = try await World([daemon, other])
    let installed = try await world.run("install daemon")
    #expect(installed.status == 0 && !installed.errors.contains("systemd"), "\(installed.errors)")
    #expect(world.read("etc/passwd")?.contains("mydaemon:x:777:777:A daemon:/var/lib/mydaemon:") == true)
    let made = try FileManager.default.attributesOfItem(atPath: world.scene.machine.appending("var/lib/mydaemon").string)
    #expect(made[.ownerAccountID] as? Int == 777 && made[.posixPermissions] as? Int == 0o750)
    // The administrator has the last word, and what fails is said and undoes nothing.
    try FileManager.default.createDirectory(
      atPath: world.scene.machine.appending("etc/tmpfiles.d").string, withIntermediateDirectories: true)
    try world.write("d /var/lib/mine 0755 root root -\n", to: "etc/tmpfiles.d/other.conf")
    let second = try await world.run("install other")
    #expect(
      second.status == 0 && second.errors.contains("distri-fetch: tmpfiles.d/bad.conf of other-amd64-1-1: systemd-tmpfiles: "),
      "\(second.errors)")
    #expect(try names(in: world.scene.machine.appending("var/lib")) == ["mine", "mydaemon"])
    #expect(try await world.selected() == ["daemon-amd64-1-1", "other-amd64-1-1"])
  }

  @Test func `a store without generations keeps what it shows`() async throws {
    let world = try await World([
      try version(1), try PackageFixture("libc-amd64-1-1", byteCount: 3000), try version(1, "vim", needs: []),
    ])
    let store = try world.scene.machineStore()
    _ = try await LocalStore.make(at: store.path, [try version(7, "old", needs: [])])
    let gc = try await world.run("gc")
    #expect(gc.status == 66 && gc.errors.contains("every installation"))
    #expect(try await world.selected() == ["old-amd64-7-7"])
    #expect(try await world.run("install vim").status == 0)
    #expect(try await world.selected() == ["old-amd64-7-7", "vim-amd64-1-1"])
    #expect(try await world.run("rollback").status == 0)
    #expect(try await world.selected() == ["old-amd64-7-7"])
    #expect(try await world.run("generations --json").output.contains("\"current\" : true"))
  }

  @Test func `damage of the current generation is named, and left`() async throws {
    let world = try await World([
      try version(1), try PackageFixture("libc-amd64-1-1", byteCount: 3000), try version(1, "vim", needs: []),
    ])
    #expect(try await world.run("install nano").status == 0)
    #expect(try await world.run("install vim").status == 0)
    try world.write("distri-generation 1\nnumber 2\n", to: "roimg/.generations/2")
    for command in ["install nano", "list --installed", "gc", "why nano"] {
      #expect(try await world.run(command).status == 65, "\(command)")
    }
    #expect(try await world.run("rollback 1").status == 0)
    #expect(try await world.selected() == ["libc-amd64-1-1", "nano-amd64-1-1"])
  }
}
