// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

/// A store whose view `distri-fuse` has mounted, for tests that kill what serves it.
struct SupervisedMount {
  let store: TestStore
  let files: [String: [UInt8]]

  init() async throws {
    store = try TestStore()
    var files: [String: [UInt8]] = [:]
    for (package, options) in [("a", ["-noI", "-noD", "-noF", "-no-fragments"]), ("b", ["-comp", "zstd"])] {
      let contents = (0..<12).reduce(into: [String: String]()) { contents, number in
        contents["out/lib/\(package)\(number)"] = String(repeating: "\(package)-\(number)-", count: 3000 * number + 1)
      }
      try await store.add("\(package)-amd64-1-1", contents, options: options)
      for (name, text) in contents { files["\(package)-amd64-1-1/\(name)"] = Array(text.utf8) }
    }
    self.files = files
    let mount = try await distriFuse("mount", store.path.string, store.mountPoint.string)
    try #require(mount.status == 0, "\(mount.errors)")
  }

  var root: FilePath { Mount.canonical(store.mountPoint) }

  func distriFuse(_ words: String...) async throws -> ToolProcess.Outcome { try await ToolProcess.run("distri-fuse", words) }

  func supervision() async throws -> MountStatus.Supervision {
    struct Status: Decodable { var supervision: MountStatus.Supervision? }
    let status = try await distriFuse("status", "--json", root.string)
    return try #require(try JSONDecoder().decode(Status.self, from: Data(status.output.utf8)).supervision, "\(status)")
  }

  /// Kills the server that follows another one, once it is there and the condition holds.
  ///
  /// - Returns: which was killed.
  static func killServer(of supervisor: pid_t, after last: pid_t, when isTime: @escaping @Sendable () -> Bool) async throws -> pid_t
  {
    #expect(try await eventually { isTime() && server(of: supervisor).map { $0 != last } == true })
    let killed = try #require(server(of: supervisor))
    kill(killed, SIGKILL)
    return killed
  }

  /// The process that serves; nil while there is none.
  static func server(of supervisor: pid_t) -> pid_t? {
    let children = try? String(contentsOfFile: "/proc/\(supervisor)/task/\(supervisor)/children", encoding: .utf8)
    return children?.split(separator: " ").first.flatMap { pid_t($0) }
  }

  /// Whether a process has ended, also if nobody has asked yet how.
  static func hasEnded(_ process: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return true }
    return text.split(separator: ")").last?.hasPrefix(" Z") == true
  }

  func unmount() async throws { #expect(try await distriFuse("unmount", root.string).status == 0) }
}

extension MountTests {
  @Suite struct SupervisorTests {
    @Test func `nobody notices that the server is killed two hundred times`() async throws {
      let mount = try await SupervisedMount()
      let supervisor = try await mount.supervision().supervisor
      let load = MountLoad(on: mount.root, files: mount.files)
      var last: pid_t = 0
      for number in 0..<200 {
        // Each server does some work first: as many operations as it takes for it to be killed in the midst of any of them.
        let goal = load.operationCount + 20 + number * 7 % 60
        last = try await SupervisedMount.killServer(of: supervisor, after: last) { load.operationCount >= goal }
      }
      let goal = load.operationCount + 100
      #expect(try await eventually { load.operationCount >= goal })
      let report = await load.stop()
      #expect(report.failures == [])
      #expect(report.longest < .seconds(1))
      #expect(report.operationCount > 4000)
      let supervision = try await mount.supervision()
      #expect(supervision.supervisor == supervisor)
      #expect(supervision.replacementCount == 200)
      #expect(supervision.refusedRequestCount == 0)
      try await mount.unmount()
      #expect(try await eventually { SupervisedMount.hasEnded(supervisor) })
    }

    @Test func `the mount survives its supervisor, and goes with its server then`() async throws {
      let mount = try await SupervisedMount()
      let supervision = try await mount.supervision()
      let load = MountLoad(on: mount.root, files: mount.files)
      #expect(try await eventually { load.operationCount > 50 })
      kill(supervision.supervisor, SIGKILL)
      #expect(try await eventually { load.operationCount > 500 })
      let report = await load.stop()
      #expect(report.failures == [])
      let status = try await mount.distriFuse("status", mount.root.string)
      #expect(status.output.contains("not supervised"))
      #expect(try await mount.distriFuse("mount", "--take-over", mount.root.string).status == 69)
      // Both dead: the next mount clears it away.
      kill(supervision.server, SIGKILL)
      #expect(try await eventually { SupervisedMount.hasEnded(supervision.server) })
      let again = try await mount.distriFuse("mount", mount.store.path.string, mount.root.string)
      #expect(again.status == 0, "\(again.errors)")
      #expect(try await onThread { try TreeRecord.names(in: mount.root) }.contains("a-amd64-1-1"))
      try await mount.unmount()
    }

    @Test func `a newer program takes the mount over in the midst of use, again and again`() async throws {
      let mount = try await SupervisedMount()
      var before = try await mount.supervision()
      let load = MountLoad(on: mount.root, files: mount.files)
      for round in 0..<10 {
        let goal = load.operationCount + 50
        #expect(try await eventually { load.operationCount >= goal })
        if round % 3 == 1 { kill(before.server, SIGKILL) }
        let outcome = try await mount.distriFuse("mount", "--take-over", mount.root.string)
        #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
        let after = try await mount.supervision()
        #expect(after.supervisor != before.supervisor)
        let old = before
        #expect(try await eventually { SupervisedMount.hasEnded(old.supervisor) && SupervisedMount.hasEnded(old.server) })
        before = after
      }
      let report = await load.stop()
      #expect(report.failures == [])
      #expect(report.longest < .seconds(1))
      try await mount.unmount()
    }

    @Test func `a program that cannot take over leaves the mount to the old one`() async throws {
      let mount = try await SupervisedMount()
      let before = try await mount.supervision()
      // The new server cannot make the view: its store is not there, for a moment.
      let hidden = mount.store.file("hidden").string
      let load = MountLoad(on: mount.root, files: mount.files)
      try FileManager.default.moveItem(atPath: mount.store.path.string, toPath: hidden)
      try Data().write(to: URL(fileURLWithPath: mount.store.path.string))
      let outcome = try await mount.distriFuse("mount", "--take-over", mount.root.string)
      #expect(outcome.status != 0)
      #expect(outcome.errors.hasPrefix("distri-fuse: "))
      let goal = load.operationCount + 100
      #expect(try await eventually { load.operationCount >= goal })
      #expect(await load.stop().failures == [])
      let after = try await mount.supervision()
      #expect(after.supervisor == before.supervisor && after.server == before.server)
      try FileManager.default.removeItem(atPath: mount.store.path.string)
      try FileManager.default.moveItem(atPath: hidden, toPath: mount.store.path.string)
      try await mount.unmount()
    }

    @Test func `reading an image that was cut off is an error, and the server lives on`() async throws {
      let mount = try await SupervisedMount()
      let server = try await mount.supervision().server
      let image = mount.store.path.appending("a-amd64-1-1.squashfs")
      #expect(truncate(image.string, 4096) == 0)
      #expect(throws: (any Error).self) { try TreeRecord.bytes(of: mount.root.appending("a-amd64-1-1/out/lib/a11")) }
      let intact = mount.root.appending("b-amd64-1-1/out/lib/b11")
      #expect(try await onThread { try TreeRecord.bytes(of: intact) } == mount.files["b-amd64-1-1/out/lib/b11"])
      // An index, of whose package nobody has asked the rest yet.
      #expect(truncate(mount.store.path.appending(".index/b-amd64-1-1.index").string, 0) == 0)
      let failure = #expect(throws: TreeRecord.Failure.self) {
        try TreeRecord.names(in: mount.root.appending("b-amd64-1-1/out/lib"))
      }
      #expect(failure?.errno == EIO)
      #expect(try MountStatus(of: mount.root).problems.map(\.subject).sorted() == ["a-amd64-1-1", "b-amd64-1-1"])
      #expect(try await mount.supervision().server == server)
      try await mount.unmount()
    }
  }
}
