// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import SystemPackage
import ToolSupport
import ViewSupervisor

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Say what a view shows, and what is wrong with it.",
    discussion: """
      The first line says where the view is, what it shows, how many packages, and who watches it; each further line names a problem: a
      package, a tab, the reason. The exit status is 69 when the view does not answer.

        distri-fuse status /ro
      """)

  @Argument(help: ArgumentHelp("Where the view is.", valueName: "mount point"))
  var mountPoint: String

  @Flag(help: "Print JSON.")
  var json = false

  private struct Record: Encodable {
    var mountPoint: String
    var store: String
    var isAlive: Bool
    var packages: Int
    var supervision: MountStatus.Supervision?
    var problems: [MountStatus.Problem]
  }

  func run() throws {
    var status = try MountStatus(of: FilePath(mountPoint))
    status.supervision = Self.supervision(of: status.mountPoint)
    if json {
      try printJSON(
        Record(
          mountPoint: status.mountPoint.string, store: status.source, isAlive: status.isAlive, packages: status.packageCount,
          supervision: status.supervision, problems: status.problems))
    } else {
      let state =
        status.isAlive ? "\(status.packageCount) packages, \(Self.words(for: status.supervision))" : "dead; mount it again"
      Terminal.standardOutput.write("\(status.mountPoint): \(status.source), \(state)\n")
      for problem in status.problems { Terminal.standardOutput.write("\(problem.subject)\t\(problem.reason)\n") }
    }
    if !status.isAlive { throw ExitStatus.unavailable }
  }

  /// What the supervisor says; nil when there is none that we may ask.
  static func supervision(of mountPoint: FilePath) -> MountStatus.Supervision? {
    guard let entry = try? MountTable.current().entry(at: mountPoint), let client = ControlSocket.connect(device: entry.device)
    else {
      return nil
    }
    defer { client.close() }
    guard (try? client.send(Message(.status))) != nil, let answer = try? client.receive(waiting: true), answer.kind == .status
    else {
      return nil
    }
    let facts = Dictionary(
      answer.text.split(separator: "\n").map { $0.split(separator: "\t", maxSplits: 1).map(String.init) }.filter { $0.count == 2 }
        .map { ($0[0], $0[1]) }, uniquingKeysWith: { first, _ in first })
    func number(_ name: String) -> Int { facts[name].flatMap { Int($0) } ?? 0 }
    return MountStatus.Supervision(
      supervisor: Int32(clamping: number("supervisor")), server: Int32(clamping: number("server")),
      replacementCount: number("replacements"), refusedRequestCount: number("refused"), keptDescriptorCount: number("kept"),
      canResend: facts["resend"] == "yes")
  }

  private static func words(for supervision: MountStatus.Supervision?) -> String {
    guard let supervision else { return "not supervised" }
    var words = ["supervised by \(supervision.supervisor)"]
    if supervision.replacementCount > 0 { words.append("servers replaced: \(supervision.replacementCount)") }
    if supervision.refusedRequestCount > 0 { words.append("requests refused that killed it: \(supervision.refusedRequestCount)") }
    if !supervision.canResend { words.append("this kernel cannot resend requests: some may hang after a replacement") }
    return words.joined(separator: ", ")
  }
}
