// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// fuzz TARGET [libFuzzer's flags and corpus folders]

import CFuzzer
import DistriStore
import Glibc

/// One parser under test: takes any bytes, may throw, must not do anything else.
typealias Target = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

let targets: [String: Target] = [
  "name": { @Sendable data, size in
    let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
    if let id = try? PackageID(parsing: text) {
      // What is accepted has one spelling and is a safe file name.
      precondition((try? PackageID(parsing: id.description)) == id)
      precondition(!id.description.contains("/") && id.imageFileName.utf8.count < 255)
    }
    _ = try? PackageQuery(parsingPath: text)
    return 0
  },
  "metadata": { @Sendable data, size in
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    if let metadata = try? PackageMetadata(textproto: bytes, subject: "fuzz") {
      let again = try? PackageMetadata(textproto: Array(metadata.textproto.utf8), subject: "fuzz")
      precondition(again?.textproto == metadata.textproto)
    }
    _ = try? RepositoryIndex(serialized: bytes, subject: "fuzz")
    return 0
  },
]

guard CommandLine.arguments.count > 1, let target = targets[CommandLine.arguments[1]] else {
  print("usage: fuzz \(targets.keys.sorted().joined(separator: "|")) [FLAGS] [CORPUS…]")
  exit(64)
}
var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.enumerated().filter { $0.offset != 1 }.map {
  strdup($0.element)
}
arguments.append(nil)
var count = CInt(arguments.count - 1)
arguments.withUnsafeMutableBufferPointer { buffer in
  var base = buffer.baseAddress
  withUnsafeMutablePointer(to: &base) { pointer in
    pointer.withMemoryRebound(to: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?.self, capacity: 1) {
      exit(LLVMFuzzerRunDriver(&count, $0, target))
    }
  }
}
