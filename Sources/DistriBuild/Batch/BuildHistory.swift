// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// How long builds took the last time, and how much memory, so that a batch can begin with the longest way and stay within its budget: a small
/// file beside the logs.
///
/// Text, a definition a line, sorted: name, milliseconds, jobs, bytes of memory, separated by a space. What does not parse is left out: it is
/// knowledge that nothing depends on.
public struct BuildHistory: Sendable, Hashable {
  /// What is known of one definition.
  public struct Record: Sendable, Hashable {
    /// How long it took.
    public var duration: Duration
    /// With how many jobs.
    public var jobs: Int
    /// The most that one of its processes had, in bytes, which is about what a job takes; 0 where nobody knows.
    public var memory: UInt64

    /// Makes a record.
    public init(duration: Duration, jobs: Int, memory: UInt64 = 0) {
      self.duration = duration
      self.jobs = jobs
      self.memory = memory
    }
  }

  /// By the definition's name.
  public var records: [String: Record] = [:]

  /// Knows nothing.
  public init() {}

  /// What a build takes of which nothing is known: the median of what is, a minute where nothing is.
  public var usualDuration: Duration {
    let known = records.values.map(\.duration).sorted()
    return known.isEmpty ? .seconds(60) : known[known.count / 2]
  }

  /// The largest file that is read, in bytes.
  private static let maximumByteCount = 4 << 20

  /// Reads what was written; nothing where there is no file.
  public init(path: FilePath) {
    guard let bytes = try? path.contents(limit: Self.maximumByteCount) else { return }
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
      guard (3...4).contains(words.count), let time = Int64(words[1]), time >= 0, let jobs = Int(words[2]), jobs > 0,
        let memory = words.count > 3 ? UInt64(words[3]) : 0
      else { continue }
      records[words[0]] = Record(duration: .milliseconds(time), jobs: jobs, memory: memory)
    }
  }

  /// Writes the file anew, by renaming.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public func write(to path: FilePath) throws(BuildError) {
    let lines = records.sorted { $0.key < $1.key }.map { name, record in
      let (seconds, attoseconds) = record.duration.components
      return "\(name) \(seconds * 1000 + attoseconds / 1_000_000_000_000_000) \(record.jobs) \(record.memory)\n"
    }
    let temporary = FilePath("\(path).new")
    try temporary.write(Array(lines.joined().utf8))
    try temporary.rename(to: path)
  }
}
