// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import Foundation
import SystemPackage
import Testing

extension CurlTransport.Options {
  /// Gives up as fast as libcurl can.
  static var impatient: Self {
    var options = Self()
    options.slownessTimeLimit = .seconds(1)
    options.connectTimeLimit = .seconds(2)
    options.maximumAttempts = 1
    options.retryDelay = .milliseconds(1)
    return options
  }
}

extension CurlTransport {
  static func impatient(attempts: Int = 1, perHost: Int = 8) throws -> CurlTransport {
    var options = Options.impatient
    options.maximumAttempts = attempts
    options.maximumTransfersPerHost = perHost
    return try CurlTransport(options: options)
  }
}

/// Bytes that look random and are the same in each run.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  var words = [UInt64](repeating: 0, count: count / 8 + 1)
  for index in words.indices {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    words[index] = state
  }
  return words.withUnsafeBytes { Array($0.prefix(count)) }
}

/// Runs a program and gives what it writes to its standard output.
@discardableResult
func run(_ program: String, _ arguments: [String] = [], input: [UInt8] = []) throws -> [UInt8] {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [program] + arguments
  let (stdin, stdout) = (Pipe(), Pipe())
  process.standardInput = stdin
  process.standardOutput = stdout
  process.standardError = FileHandle.nullDevice
  try process.run()
  let feeder = Thread {
    try? stdin.fileHandleForWriting.write(contentsOf: Data(input))
    try? stdin.fileHandleForWriting.close()
  }
  feeder.start()
  let output = try stdout.fileHandleForReading.readToEnd() ?? Data()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "\(program) \(arguments) ended with \(process.terminationStatus)")
  return Array(output)
}

/// The error that the body throws, as what it is.
func failure<E: Error>(_ type: E.Type = RepositoryError.self, of body: () async throws -> some Any) async throws -> E {
  do {
    _ = try await body()
  } catch let error as E {
    return error
  }
  throw NothingThrown()
}

struct NothingThrown: Error {}

func write(_ bytes: [UInt8], to path: FilePath) throws {
  try Data(bytes).write(to: URL(fileURLWithPath: path.string))
}

func contents(of path: FilePath) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path.string))) }

/// Sorted.
func names(in directory: FilePath) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: directory.string).sorted()
}
