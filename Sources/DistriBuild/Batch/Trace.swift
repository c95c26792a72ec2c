// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// When what happened, as a file that Perfetto and Chrome's `about:tracing` show: a row a worker, builds with their steps inside.
///
/// Format: the JSON of Chrome's «Trace Event Format», complete events (`ph` X), times in microseconds from the start.
public final class Trace: Sendable {
  private struct Span {
    var name: String
    var category: String
    var worker: Int
    var begin: Duration
    var length: Duration
  }

  private let start = ContinuousClock.now
  private let spans = Mutex<[Span]>([])

  /// Starts the clock.
  public init() {}

  /// Notes something that ends now.
  public func add(_ name: String, category: String, worker: Int = 0, took length: Duration) {
    let end = ContinuousClock.now - start
    add(name, category: category, worker: worker, from: max(.zero, end - length), to: end)
  }

  /// Notes something of a simulation: times from the start.
  public func add(_ name: String, category: String, worker: Int, from begin: Duration, to end: Duration) {
    spans.withLock { $0.append(Span(name: name, category: category, worker: worker, begin: begin, length: end - begin)) }
  }

  /// Notes a part of a build that has ended; other events are left out.
  public func add(_ event: BuildEvent, worker: Int = 0) {
    if case .finished(let what, let duration) = event { add(what, category: "step", worker: worker, took: duration) }
  }

  /// Notes the builds of a batch and their parts.
  public func add(_ event: Batch.Event) {
    switch event {
    case .started: break
    case .progress(_, let worker, let event): add(event, worker: worker)
    case .ended(let package, let worker, let duration, let error):
      let category = error == nil ? "build" : "failed build"
      add(package.description, category: category, worker: worker, took: duration)
    }
  }

  /// The whole file.
  public var json: String {
    let spans = spans.withLock { $0 }.sorted { ($0.begin, $1.length) < ($1.begin, $0.length) }
    let workers = Set(spans.map(\.worker)).sorted().map { worker in
      #"{"name":"thread_name","ph":"M","pid":1,"tid":\#(worker),"args":{"name":"worker \#(worker + 1)"}}"#
    }
    let events = spans.map { span in
      #"{"name":\#(JSONText.quoted(span.name)),"cat":"\#(span.category)","ph":"X","pid":1,"tid":\#(span.worker),"#
        + #""ts":\#(Self.microseconds(span.begin)),"dur":\#(Self.microseconds(span.length))}"#
    }
    return #"{"displayTimeUnit":"ms","traceEvents":["# + "\n" + (workers + events).joined(separator: ",\n") + "\n]}\n"
  }

  private static func microseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
  }
}
