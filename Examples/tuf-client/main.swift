// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// tuf-client: a client of any repository that speaks The Update Framework, with the command line of the framework's conformance suite.

import DistriRepo
import Glibc
import SystemPackage

/// What the command line says: options with a value, and words.
struct Invocation {
  var words: [String] = []
  private var options: [String: String] = [:]

  init(_ arguments: [String]) {
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      if argument.hasPrefix("--") { options[argument] = rest.popFirst() } else { words.append(argument) }
    }
  }

  subscript(option: String) -> String {
    get throws { if let value = options[option] { value } else { throw Misuse() } }
  }
}

struct Misuse: Error, CustomStringConvertible {
  let description = """
    usage: tuf-client --metadata-dir DIR init ROOT.json
           tuf-client --metadata-dir DIR --metadata-url URL refresh
           tuf-client --metadata-dir DIR --metadata-url URL --target-name PATH --target-base-url URL --target-dir DIR download
    """
}

do {
  // 1. Read the command line.
  let invocation = Invocation(Array(CommandLine.arguments.dropFirst()))
  // 2. Say where trusted metadata lies.
  let store = TrustStore(path: FilePath(try invocation["--metadata-dir"]))
  switch invocation.words.first {
  case "init" where invocation.words.count == 2:
    // 3. Trust a root: the one thing that has to come on another way.
    let root = try FileDescriptor.open(invocation.words[1], .readOnly)
    let bytes = try root.closeAfter { try [UInt8](unsafeUninitializedCapacity: 1 << 20) { try $1 = root.read(into: .init($0)) } }
    try await store.initialize(root: bytes, file: invocation.words[1], replacing: true)
  case "refresh", "download":
    // 4. Bring the metadata up to date; what does not verify is an error.
    let client = TUFClient(store: store, metadata: try invocation["--metadata-url"], transport: try StandardTransport())
    var repository = try await client.refresh()
    guard invocation.words == ["download"] else { break }
    // 5. Find a file, and bring it, unless it is there.
    let target = try await repository.target(try invocation["--target-name"])
    let path = FilePath(try invocation["--target-dir"]).appending(target.path.trustName)
    try await repository.download(target, from: try invocation["--target-base-url"], to: path)
  default:
    throw Misuse()
  }
} catch {
  print("tuf-client: \(error)")
  exit(1)
}
