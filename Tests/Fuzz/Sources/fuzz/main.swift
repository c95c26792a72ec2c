// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// fuzz TARGET [libFuzzer's flags and corpus folders]
// fuzz --list
// fuzz --seed TARGET FOLDER

import CFuzzer
import Glibc

let arguments = CommandLine.arguments
switch arguments.dropFirst().first {
case "--list":
  print(targets.keys.sorted().joined(separator: "\n"))
case "--seed" where arguments.count == 4:
  try writeSeeds(of: arguments[2], to: arguments[3])
case let name?:
  guard let target = targets[name] else { fallthrough }
  run(target, ["fuzz"] + arguments.dropFirst(2))
default:
  print("usage: fuzz --list | --seed TARGET FOLDER | TARGET [FLAGS] [CORPUS…]")
  exit(64)
}

func run(_ target: Target, _ arguments: [String]) -> Never {
  var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
  var count = CInt(arguments.count)
  pointers.withUnsafeMutableBufferPointer { buffer in
    var base = buffer.baseAddress
    withUnsafeMutablePointer(to: &base) { pointer in
      pointer.withMemoryRebound(to: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?.self, capacity: 1) {
        exit(LLVMFuzzerRunDriver(&count, $0, target))
      }
    }
  }
  exit(0)
}
