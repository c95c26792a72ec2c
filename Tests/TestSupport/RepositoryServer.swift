// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import SystemPackage

/// Serves the files below a directory, whole or in parts, counts what it gives, and misbehaves when it is told to.
public final class RepositoryServer: Sendable {
  /// What it does with requests.
  public enum Mood: Sendable {
    /// It answers.
    case honest
    /// It says nothing.
    case silent
    /// It ends the connection.
    case gone
  }

  private final class Notes: Sendable {
    struct State {
      var mood = Mood.honest
      var lies: [(path: String, offset: Int)] = []
      var requests: [(path: String, byteCount: Int)] = []
    }
    let state = Mutex(State())
  }

  private let server: ScriptedServer
  private let notes: Notes

  /// Serves a directory on the loopback device.
  public init(_ directory: FilePath) throws {
    let notes = Notes()
    self.notes = notes
    server = try ScriptedServer { request in
      switch notes.state.withLock({ $0.mood }) {
      case .honest: break
      case .silent: return [.hang]
      case .gone: return [.close]
      }
      let path = request.path.removingPercentEncoding ?? ""
      guard var body = (try? Data(contentsOf: URL(fileURLWithPath: directory.string + path))).map({ Array($0) }) else {
        return .status("404 Not Found")
      }
      for lie in notes.state.withLock({ $0.lies }) where path.hasSuffix(lie.path) && lie.offset < body.count {
        body[lie.offset] ^= 1
      }
      let answer = [ScriptedServer.Step].file(body, for: request, tag: "\"\(body.count)\"")
      if case .send(let part)? = answer.last, answer.count > 1 {
        notes.state.withLock { $0.requests.append((path, part.count)) }
      }
      return answer
    }
  }

  /// The address of the repository.
  public var root: String { server.root }

  /// From the next request on.
  public func turn(_ mood: Mood) { notes.state.withLock { $0.mood = mood } }

  /// Gives one wrong bit of all files whose path ends so.
  public func lie(about path: String, at offset: Int) { notes.state.withLock { $0.lies.append((path, offset)) } }

  /// Gives files as they are again.
  public func tellTheTruth() { notes.state.withLock { $0.lies = [] } }

  /// What was given of files whose path ends so: bytes in the body of each answer, in order.
  public func given(_ suffix: String = "") -> [Int] {
    notes.state.withLock { $0.requests.filter { $0.path.hasSuffix(suffix) }.map(\.byteCount) }
  }

  /// Forgets what was given.
  public func forget() { notes.state.withLock { $0.requests = [] } }

  /// Listens no more.
  public func stop() { server.stop() }
}
