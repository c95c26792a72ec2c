// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension Generation.PackageSet {
  /// Parses the text of a `.pkgset` file: a package a line; empty lines and lines that start with `#` say nothing.
  ///
  /// - Throws: `StoreError.invalidName`.
  public init(named name: String, parsing text: String) throws(StoreError) {
    self.init(name: try Generation.setName(name), members: [])
    for line in text.split(whereSeparator: \.isNewline) {
      guard let word = line.split(whereSeparator: \.isWhitespace).first, !word.hasPrefix("#") else { continue }
      let query = try PackageQuery(parsing: word)
      if !members.contains(where: { $0.description == query.description }) { members.append(query) }
    }
  }
}
