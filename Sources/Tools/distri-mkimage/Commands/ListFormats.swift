// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `distri-mkimage list-formats`.
struct ListFormats: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List what build can write: disks and containers.",
    discussion: """
      A line a format: its name, whether the same packages give the same bytes («same» or «differs»), and who reads it.

        distri-mkimage list-formats | cut -f 1
      """)

  func run() {
    for format in ImageFormat.allCases {
      print("\(format.rawValue)\t\(format.isReproducible ? "same" : "differs")\t\(format.summary)")
    }
  }
}
