// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild

/// What a build may take at most.
struct LimitOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How much memory the steps of a build may take in all, such as 4G. Counted by a control group where one can be made, else for each process by itself.",
      valueName: "size"),
    transform: LimitOptions.byteCount)
  var memory: UInt64?

  @Option(help: ArgumentHelp("How many processes and threads the steps of a build may have at a time.", valueName: "number"))
  var processes: Int?

  @Option(
    help: ArgumentHelp("How long the steps of a build may take, such as 90s, 30m or 2h.", valueName: "time"),
    transform: LimitOptions.duration)
  var timeout: Duration?

  func validate() throws {
    if let processes, !(1...4_000_000).contains(processes) { throw ValidationError("--processes is a number from 1 to 4000000.") }
  }

  /// Whether anything is limited.
  var isUsed: Bool { memory != nil || processes != nil || timeout != nil }

  var limits: SandboxPlan.Limits { SandboxPlan.Limits(memory: memory, processes: processes, time: timeout) }

  /// `512M`: a number with K, M, G or T for powers of 1024, or with nothing for bytes.
  static func byteCount(_ text: String) throws -> UInt64 {
    let shifts: [Character: UInt64] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = text.last.flatMap { shifts[$0] }
    guard let number = UInt64(shift == nil ? text[...] : text.dropLast()), number > 0,
      case let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0)), !overflow, bytes >= 1 << 20
    else { throw ValidationError("«\(text)» is no size from 1M on, such as 512M or 4G.") }
    return bytes
  }

  /// `30m`: a number with s, m or h, or with nothing for seconds.
  static func duration(_ text: String) throws -> Duration {
    let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600]
    let unit = text.last.flatMap { units[$0] }
    guard let number = Int64(unit == nil ? text[...] : text.dropLast()), (1...1_000_000_000).contains(number) else {
      throw ValidationError("«\(text)» is no time, such as 90s, 30m or 2h.")
    }
    return .seconds(number * (unit ?? 1))
  }
}
