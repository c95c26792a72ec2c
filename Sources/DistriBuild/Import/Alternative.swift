// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A link that a maintainer script would have `update-alternatives` make.
public struct Alternative: Sendable, Hashable {
  /// The link, such as `/usr/bin/awk`.
  public var link: String
  /// Where it leads, such as `/usr/bin/gawk`.
  public var target: String
  /// Of several with the same link, the highest wins.
  public var priority: Int

  /// Finds `update-alternatives --install` calls in the text of a maintainer script. Nothing of it is run.
  ///
  /// Understood are continued lines, quotes, options in front, `--slave` links, and variables that the script assigns a fixed text
  /// before. A call with any other variable is left out.
  public static func parse(_ script: String) -> [Alternative] {
    var variables: [String: String] = [:]
    var result: [Alternative] = []
    for line in ShellText.logicalLines(script) {
      let words = ShellText.words(line)
      for word in words {
        guard let equals = word.firstIndex(of: "="), ShellText.isName(word[..<equals]) else { break }
        variables[String(word[..<equals])] = ShellText.expand(String(word[word.index(after: equals)...]), variables)
      }
      guard let start = words.firstIndex(where: { $0 == "update-alternatives" || $0.hasSuffix("/update-alternatives") }) else {
        continue
      }
      let arguments = words[(start + 1)...].prefix { !ShellText.separators.contains($0) }
      result += alternatives(of: arguments.map { ShellText.expand($0, variables) })
    }
    return result
  }

  /// - Parameter arguments: nil for a word that only running the script would tell.
  private static func alternatives(of arguments: [String?]) -> [Alternative] {
    guard let install = arguments.firstIndex(of: "--install") else { return [] }
    let rest = Array(arguments[(install + 1)...])
    guard rest.count >= 4, let link = rest[0], let target = rest[2], let priority = rest[3].flatMap({ Int($0) }) else { return [] }
    var result = [Alternative(link: link, target: target, priority: priority)]
    var index = 4
    while index + 3 < rest.count {
      guard rest[index] == "--slave" else {
        index += 1
        continue
      }
      if let link = rest[index + 1], let target = rest[index + 3] {
        result.append(Alternative(link: link, target: target, priority: priority))
      }
      index += 4
    }
    return result.filter { $0.link.hasPrefix("/") && $0.target.hasPrefix("/") }
  }

  /// Who makes which link: of several packages that declare it, the one with the highest priority; of equals the first by name.
  public static func winners(of declared: [String: [Alternative]]) -> [String: [Alternative]] {
    var best: [String: (package: String, alternative: Alternative)] = [:]
    for (package, alternatives) in declared.sorted(by: { $0.key < $1.key }) {
      for alternative in alternatives where best[alternative.link].map({ $0.alternative.priority < alternative.priority }) ?? true {
        best[alternative.link] = (package, alternative)
      }
    }
    return Dictionary(grouping: best.values, by: \.package).mapValues { winners in
      winners.map(\.alternative).sorted { $0.link < $1.link }
    }
  }
}

/// As much of the shell's grammar as it takes to find a call with fixed arguments.
private enum ShellText {
  static let separators: Set<String> = [";", "|", "&", "(", ")", "}", "fi", "done"]
  /// Stands for a `$` that is none, from within single quotes.
  private static let literalDollar: Character = "\u{1}"

  /// Lines with their continuations, without comments.
  static func logicalLines(_ script: String) -> [String] {
    var result: [String] = [], pending = ""
    for line in script.split(separator: "\n", omittingEmptySubsequences: false) {
      let text = pending + line
      if text.hasSuffix("\\") {
        pending = text.dropLast() + " "
        continue
      }
      pending = ""
      if !text.drop(while: \.isWhitespace).hasPrefix("#") { result.append(text) }
    }
    return pending.isEmpty ? result : result + [pending]
  }

  static func words(_ line: String) -> [String] {
    var words: [String] = [], text = "", quote: Character?, isOpen = false
    func close() {
      if isOpen { words.append(text) }
      text = ""
      isOpen = false
    }
    for character in line {
      if let open = quote {
        if character == open { quote = nil } else { text.append(open == "'" && character == "$" ? literalDollar : character) }
      } else if character == "\"" || character == "'" {
        quote = character
        isOpen = true
      } else if character.isWhitespace {
        close()
      } else if ";|&()".contains(character) {
        close()
        words.append(String(character))
      } else {
        text.append(character)
        isOpen = true
      }
    }
    close()
    return words
  }

  static func isName(_ text: Substring) -> Bool {
    guard let first = text.first, !first.isNumber else { return false }
    return text.allSatisfy(isNamePart)
  }

  private static func isNamePart(_ character: Character) -> Bool {
    character == "_" || (character.isASCII && (character.isLetter || character.isNumber))
  }

  /// The text with `$name` and `${name}` replaced; nil where a variable is not known, or what is asked for is more than a name.
  static func expand(_ text: String, _ variables: [String: String]) -> String? {
    guard !text.contains("`") else { return nil }
    var result = "", rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[rest.index(after: dollar)...]
      let name: Substring
      if rest.first == "{" {
        guard let end = rest.firstIndex(of: "}") else { return nil }
        name = rest[rest.index(after: rest.startIndex)..<end]
        rest = rest[rest.index(after: end)...]
      } else {
        name = rest.prefix(while: isNamePart)
        rest = rest[name.endIndex...]
      }
      guard isName(name), let value = variables[String(name)] else { return nil }
      result += value
    }
    return String((result + rest).map { $0 == literalDollar ? "$" : $0 })
  }
}
