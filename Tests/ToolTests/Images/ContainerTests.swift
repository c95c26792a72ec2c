// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

/// Images of containers, as skopeo, umoci and tar see them.
@Suite struct ContainerTests {
  private struct Image: Decodable {
    struct Config: Decodable {
      struct Process: Decodable {
        let Cmd: [String]
        let Env: [String]
      }
      struct Step: Decodable { let created_by: String }
      let created: String
      let architecture: String
      let config: Process
      let history: [Step]
    }
    struct Summary: Decodable { let Layers: [String] }

    let config: Config
    let layers: [String]

    /// Of a reference as skopeo has them.
    init(_ reference: String) async throws {
      func ask<T: Decodable>(_ arguments: [String], _ type: T.Type) async throws -> T {
        let asked = try await ToolProcess.run("skopeo", ["inspect"] + arguments + [reference])
        try #require(asked.status == 0, "\(asked.errors)")
        return try JSONDecoder().decode(type, from: Data(asked.output.utf8))
      }
      config = try await ask(["--config"], Config.self)
      layers = try await ask([], Summary.self).Layers
    }
  }

  /// What a shell says in a root directory, as somebody who may nothing outside.
  private func run(_ command: String, in root: FilePath) async throws -> String {
    let ran = try await ToolProcess.run("unshare", ["-Urm", "chroot", root.string, "/bin/bash", "-c", command])
    #expect(ran.status == 0, "\(ran.errors)")
    return ran.output
  }

  @Test func `an image in the OCI layout is unpacked by umoci and runs without a mount`() async throws {
    let images = try await ImageStore.make()
    try await images.addPrograms()
    let built = try await images.build(["--package", "bash", "--package", "coreutils", "--package", "base", "--format", "oci"])
    try #require(built.status == 0, "\(built.errors)")
    let image = try await Image("oci:\(images.output)")
    #expect(image.config.architecture == "amd64" && image.config.created == "1980-01-01T00:00:00Z")
    #expect(image.config.config.Cmd == ["/bin/bash"])
    #expect(
      image.config.history.map(\.created_by)
        == ["base-amd64-1-1", "bash-amd64-1-1", "coreutils-amd64-1-1", "libc-amd64-1-1", "links and configuration"].map {
          "distri-mkimage \($0)"
        })
    let bundle = images.folder.path.appending("bundle")
    let unpacked = try await ToolProcess.run(
      "umoci", ["unpack", "--rootless", "--image", "\(images.output):latest", bundle.string])
    try #require(unpacked.status == 0, "\(unpacked.errors)")
    let root = bundle.appending("rootfs")
    #expect(
      try await run("cat /etc/motd /share/doc/a; echo $UID; stat -c %N /ro/bin/ls; ls /usr/bin", in: root)
        == "welcome\ntext\n0\n'/ro/bin/ls' -> '../coreutils-amd64-1-1/bin/ls'\nbash\ncat\nls\nsh\nstat\n")
    #expect(!FileManager.default.fileExists(atPath: root.appending("roimg").string))
  }

  @Test func `a package's layer depends on the package alone, and the same image is the same bytes`() async throws {
    let images = try await ImageStore.make()
    var layers: [[String]] = []
    for (place, packages, time) in [("one", ["more"], "1"), ("sub/two", ["more"], "1"), ("three", ["base"], "99999999")] {
      let output = images.folder.path.pushing(FilePath(place))
      let built = try await images.build(
        packages.flatMap { ["--package", $0] } + ["--format", "oci"], to: output, environment: ["SOURCE_DATE_EPOCH": time])
      try #require(built.status == 0, "\(built.errors)")
      layers.append(try await Image("oci:\(output)").layers)
    }
    let same = try await ToolProcess.run("diff", ["-r", "one", "sub/two"], in: images.folder.path)
    #expect(same.status == 0, "\(same.output)")
    #expect(layers[0].count == 3 && layers[2].count == 2)
    #expect(layers[0][0] == layers[2][0] && layers[0][2] != layers[2][1])
    // Once more: the old one is replaced.
    let again = try await images.build(["--package", "base", "--format", "oci"], to: images.folder.path.appending("one"))
    #expect(again.status == 0, "\(again.errors)")
    #expect(try await Image("oci:\(images.folder.path.appending("one"))").layers.count == 2)
  }

  @Test func `an archive for docker load has the same layers, and its digests are right`() async throws {
    let images = try await ImageStore.make()
    let archives = ["one.tar", "two.tar"].map { images.folder.path.appending($0) }
    for archive in archives {
      let built = try await images.build(
        ["--package", "base", "--format", "docker", "--hostname", "Box", "--run", "echo '1'", "--run", "false"], to: archive)
      try #require(built.status == 0, "\(built.errors)")
    }
    #expect(try await ToolProcess.run("cmp", archives.map(\.string)).status == 0)
    let image = try await Image("docker-archive:\(archives[0]):box:latest")
    #expect(image.config.config.Cmd.first == "/bin/sh" && image.config.config.Cmd.suffix(2) == ["echo '1'", "false"])
    for kind in ["docker-archive", "oci-archive"] {
      let copy = images.folder.path.appending(kind)
      // What is copied is compared with its digest.
      let copied = try await ToolProcess.run("skopeo", ["copy", "\(kind):\(archives[0])", "dir:\(copy)"])
      #expect(copied.status == 0, "\(copied.errors)")
    }
    // The commands run one after another, up to the first that fails.
    let ran = try await ToolProcess.run(image.config.config.Cmd[0], image.config.config.Cmd.dropFirst() + ["echo 2"])
    #expect(ran.output == "1\n" && ran.status == 1)
  }

  @Test func `the archives for Incus hold packages as they are: owners, modes, links, attributes, times`() async throws {
    let images = try await ImageStore.make()
    let long = String(repeating: "long", count: 40)
    let script = """
      set -e; mkdir -p tree/out/share; cd tree/out/share
      echo x > file; ln file other; ln -s ../share/file link; mkfifo pipe; mknod null c 1 3; mknod disk b 7 0; mkdir \(long); echo y > \(long)/\(long)
      ln \(long)/\(long) \(long)/again; ln -s \(long)/\(long) away
      chown 3000000:7 file; chmod 4751 file; setfattr -n user.test -v 'a=b' file; chown 12:34 \(long); chmod 2710 \(long); chown -h 5:6 link
      cd ../../..; find tree -exec touch -h -d @1600000000 {} +
      mksquashfs tree store/odd-amd64-1-1.squashfs -quiet -no-progress; : > store/odd-amd64-1-1.meta.textproto
      """
    let made = try await ToolProcess.run("sh", ["-c", script], in: images.folder.path)
    try #require(made.status == 0, "\(made.errors)")
    for output in ["one", "two"] {
      let built = try await images.build(
        ["--package", "odd", "--format", "lxd", "--hostname", "box"], to: images.folder.path.appending(output))
      try #require(built.status == 0, "\(built.errors)")
    }
    let compare = """
      diff -r one two; mkdir root about; tar -xzf one/metadata.tar.gz -C about
      tar -xpzf one/rootfs.tar.gz --xattrs --xattrs-include='*' --numeric-owner -C root
      rsync -naiXHD --numeric-ids --delete tree/ root/ro/odd-amd64-1-1/
      """
    let compared = try await ToolProcess.run("sh", ["-c", compare], in: images.folder.path)
    #expect(compared.status == 0 && compared.output.isEmpty && compared.errors.isEmpty, "\(compared.output)\(compared.errors)")
    let about = try String(contentsOfFile: images.folder.path.appending("about/metadata.yaml").string, encoding: .utf8)
    #expect(about.hasPrefix("architecture: \"x86_64\"\ncreation_date: 315532800\n") && about.contains("name: \"box\"\n"))
    let link = images.folder.path.appending("root/ro/share/file").string
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "../odd-amd64-1-1/out/share/file")
  }

  @Test func `a container shows what a mount of its packages shows`() async throws {
    let images = try await ImageStore.make()
    let script = """
      set -e; mkdir -p app/bin app/out/lib/plugins/sub other/bin other/out/share/deep plug/out/lib/plugins
      echo a > app/bin/tool; echo o > other/bin/tool; echo x > other/out/share/deep/x; ln -s x other/out/share/deep/y; echo p > plug/out/lib/plugins/p
      chmod 2711 app/out/lib/plugins; chown 7:8 app/out/lib/plugins; find app other plug -exec touch -h -d @1600000000 {} +
      for package in app other plug; do mksquashfs $package store/$package-amd64-1-1.squashfs -quiet -no-progress; done
      echo > store/app-amd64-1-1.meta.textproto; echo > store/other-amd64-1-1.meta.textproto
      echo 'runtime_union { dir: "lib/plugins" pkg: "app-amd64-1-1" }' > store/plug-amd64-1-1.meta.textproto
      """
    let made = try await ToolProcess.run("sh", ["-c", script], in: images.folder.path)
    try #require(made.status == 0, "\(made.errors)")
    let packages = ["app", "other", "plug", "more", "base", "linux-image"]
    let built = try await images.build(packages.flatMap { ["--package", $0] } + ["--format", "lxd"])
    try #require(built.status == 0, "\(built.errors)")
    // The view's own directories cannot be written to, and the times of its links are those of packages.
    let compare = """
      set -e; mkdir mount root; tar -xpzf image/rootfs.tar.gz --numeric-owner -C root
      "$1"/distri-fuse mount store mount; trap '"$1"/distri-fuse unmount mount' EXIT
      list() {
        (cd $1; find . -mindepth 1 -type f -printf '%p %m %U %G %n %T@\\n' -o -printf '%p %y %m %U %G %l\\n') | sed 's/ d 555 / d 755 /' | LC_ALL=C sort
      }
      list mount > shown; list root/ro > held; diff shown held; grep '^./app.*plugins[ /]' shown
      rsync -nic -r --no-links mount/ root/ro/ | grep '^>' || echo same
      """
    let compared = try await ToolProcess.run("sh", ["-c", compare, "sh", ToolProcess.binaries.string], in: images.folder.path)
    #expect(
      compared.output == """
        ./app-amd64-1-1/out/lib/plugins d 2711 7 8\u{20}
        ./app-amd64-1-1/out/lib/plugins/p l 777 0 0 ../../../../plug-amd64-1-1/out/lib/plugins/p
        ./app-amd64-1-1/out/lib/plugins/sub d 755 0 0\u{20}
        same

        """, "\(compared.errors)")
  }

  @Test func `a container shows what was put into it, in every form`() async throws {
    struct Found: Decodable {
      struct Layer: Decodable {
        let digest: String
        let packages: [String]
      }
      let format: String
      let digest: String
      let command: [String]
      let layers: [Layer]
      let packages: [String]
    }
    let images = try await ImageStore.make()
    func inspect(_ path: FilePath) async throws -> (status: Int32, output: String, errors: String) {
      let shown = try await ToolProcess.run("distri-mkimage", ["inspect", "--json", path.string])
      return (shown.status, shown.output, shown.errors)
    }
    for format in ["oci", "docker", "lxd", "tar"] {
      let output = images.folder.path.appending("image.\(format)")
      let built = try await images.build(["--package", "more", "--format", format], to: output)
      try #require(built.status == 0, "\(built.errors)")
      let shown = try await inspect(output)
      try #require(shown.status == 0, "\(shown.errors)")
      let found = try JSONDecoder().decode(Found.self, from: Data(shown.output.utf8))
      #expect(found.format == format && found.packages == ["base-amd64-1-1", "more-amd64-1-1"])
      guard ["oci", "docker"].contains(format) else { continue }
      let reference = format == "oci" ? "oci:\(output)" : "docker-archive:\(output)"
      #expect(
        try await Image(reference).layers.count == 3
          && found.layers.map(\.packages) == [["base-amd64-1-1"], ["more-amd64-1-1"], []])
      #expect(found.command == ["/bin/sh"] || found.command == ["/bin/bash"])
    }
    // A blob that is not what its name says, and one that is missing.
    let layout = images.folder.path.appending("image.oci")
    let blobs = layout.appending("blobs").appending("sha256")
    let sound = try JSONDecoder().decode(Found.self, from: Data(try await inspect(layout).output.utf8))
    let manifest = blobs.appending(String(sound.digest.dropFirst(7))).string
    let bytes = try Data(contentsOf: URL(filePath: manifest))
    try (bytes + Data(" ".utf8)).write(to: URL(filePath: manifest))
    let damaged = try await inspect(layout)
    #expect(damaged.status == 65 && damaged.errors.contains("is not what its name says"), "\(damaged.errors)")
    try bytes.write(to: URL(filePath: manifest))
    let layer = try #require(sound.layers.first)
    try FileManager.default.removeItem(atPath: blobs.appending(String(layer.digest.dropFirst(7))).string)
    let incomplete = try await inspect(layout)
    #expect(incomplete.status == 65 && incomplete.errors.contains(layer.digest), "\(incomplete.errors)")
  }

  @Test func `what cannot be a container is said, and nothing is replaced`() async throws {
    let images = try await ImageStore.make()
    try await images.add("white-amd64-1-1", files: ["out/share/.wh.a": []])
    let both = try await images.build(["--package", "base", "--format", "oci", "--format", "raw"])
    #expect(both.status == 64 && both.errors.contains("alone"), "\(both.errors)")
    let mark = try await images.build(["--package", "white", "--format", "oci"])
    #expect(mark.status == 65 && mark.errors.contains("/ro/white-amd64-1-1/out/share/.wh.a"), "\(mark.errors)")
    #expect(!FileManager.default.fileExists(atPath: images.output.string))
    try FileManager.default.createDirectory(atPath: images.output.appending("blobs").string, withIntermediateDirectories: true)
    let other = try await images.build(["--package", "base", "--format", "oci"])
    #expect(other.status == 65 && other.errors.contains("other files"), "\(other.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: images.output.string) == ["blobs"])
  }
}

@Suite struct LayerPlanTests {
  private func packages(_ count: Int, changed: Int? = nil) throws -> [(id: PackageID, byteCount: UInt64)] {
    try (0..<count).map { (try PackageID(parsing: "p\($0)-amd64-1-\($0 == changed ? 2 : 1)"), UInt64($0 % 150 * 1000)) }
  }

  @Test func `up to a hundred packages have a layer each`() throws {
    let few = try packages(LayerPlan.limit)
    #expect(LayerPlan.layers(of: few.shuffled()) == few.map(\.id).sorted().map { [$0] })
  }

  @Test func `of many packages all are in a layer, the largest alone, and an update changes one layer`() throws {
    let many = try packages(1000)
    let layers = LayerPlan.layers(of: many)
    #expect(layers.count == LayerPlan.limit)
    #expect(layers.joined().sorted() == many.map(\.id).sorted())
    #expect(LayerPlan.layers(of: many.shuffled()) == layers)
    #expect(layers.contains([try PackageID(parsing: "p149-amd64-1-1")]))
    for changed in [7, 299] {
      let after = LayerPlan.layers(of: try packages(1000, changed: changed))
      #expect(Set(after).subtracting(layers).count == 1)
    }
  }
}
