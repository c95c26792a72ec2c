// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import ToolSupport

/// `distri-build batch --scaling`: what more workers would bring.
struct ScalingReport {
  let set: SetOptions
  let store: LocalStore
  let history: BuildHistory

  private static let workers = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]

  func print() throws {
    let (graph, assumed) = try completeGraph()
    let usual = history.usualDuration
    let unknown = graph.nodes.count { history.records[$0.name] == nil }
    let scaling = Scaling(graph, workers: Self.workers) { history.records[graph.nodes[$0].name]?.duration ?? usual }
    for row in scaling.rows {
      let speed = row.duration > .zero ? scaling.total / row.duration : 1
      Terminal.standardOutput.write("workers \(row.workers) \(clock(row.duration)) \(Self.hundredths(speed))\n")
    }
    for (level, width) in scaling.widths.enumerated() { Terminal.standardOutput.write("level \(level + 1) \(width)\n") }
    let way = scaling.longestWayNodes.map { graph.nodes[$0].name }.joined(separator: " → ")
    Terminal.standardError.write("\(graph.nodes.count) builds; the longest way takes \(clock(scaling.longestWay)): \(way)\n")
    if unknown > 0 { Terminal.standardError.write("\(unknown) were never built: the usual \(clock(usual)) each\n") }
    if !assumed.isEmpty {
      Terminal.standardError.write("\(assumed.count) packages that neither the set nor the store has were taken to be there\n")
    }
  }

  /// The graph of all definitions, as if what is missing were in the store.
  private func completeGraph() throws -> (BuildGraph, [PackageID]) {
    let files = try set.files()
    var assumed: [PackageID] = []
    while true {
      do {
        return (try set.graph(files, try store.packages() + assumed), assumed)
      } catch BuildError.missingDependency(let name, let user) {
        guard let query = try? PackageQuery(parsing: name),
          let package = try? query.exact
            ?? PackageID(name: query.name, architecture: query.architecture ?? .host, upstream: "0", revision: 1),
          !assumed.contains(package)
        else { throw BuildError.missingDependency(name, of: user) }
        assumed.append(package)
      }
    }
  }

  /// Such as `12.34`.
  private static func hundredths(_ number: Double) -> String {
    let count = Int((number * 100).rounded())
    return "\(count / 100).\(count % 100 < 10 ? "0" : "")\(count % 100)"
  }
}
