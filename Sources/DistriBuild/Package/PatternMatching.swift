// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Whether a pattern takes a whole text: each part one element, those that are stars any number.
///
/// Takes time in proportion to both lengths at worst, whatever the pattern: only the last star is ever tried again.
func matches<Part, Element>(
  _ pattern: [Part], _ text: [Element], isStar: (Part) -> Bool, takes: (Part, Element) -> Bool
) -> Bool {
  var position = 0, index = 0, star: (pattern: Int, text: Int)?
  while index < text.count {
    if position < pattern.count, isStar(pattern[position]) {
      star = (position, index)
      position += 1
    } else if position < pattern.count, takes(pattern[position], text[index]) {
      position += 1
      index += 1
    } else if let last = star {
      star = (last.pattern, last.text + 1)
      position = last.pattern + 1
      index = last.text + 1
    } else {
      return false
    }
  }
  return pattern[position...].allSatisfy(isStar)
}
