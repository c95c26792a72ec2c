// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Logging
import SystemPackage

/// A mounted file system, for as long as ``withMount(of:at:options:logger:isolation:_:)`` runs its body.
public struct Mount: ~Copyable, Sendable {
  /// Where it is, without symbolic links.
  public let mountPoint: FilePath
  private let session: Session

  fileprivate init(_ session: Session) {
    mountPoint = session.connection.mountPoint
    self.session = session
  }

  /// Returns when somebody else has unmounted it, or when the task is cancelled.
  public func waitUntilUnmounted() async { await session.context.ended.wait() }

  /// Whether somebody else has unmounted it.
  public var isUnmounted: Bool { session.context.ended.isOpen }

  /// Makes the kernel forget what has changed. A ``LiveFileSystem`` reports its changes by itself.
  ///
  /// Must not be called while a request is being answered: it waits for such requests.
  public func invalidate(_ changes: [FileSystemChange]) { session.invalidate(changes) }

  /// Unmounts a view, also one whose process is dead.
  ///
  /// - Parameter lazily: also while it is in use; users keep what they have open until they close it.
  /// - Throws: ``MountError/notMounted(_:)`` where nothing of ours is mounted; ``MountError/busy(_:)`` when it is in use.
  public static func unmount(_ mountPoint: FilePath, lazily: Bool = false) throws(MountError) {
    let path = Mount.canonical(mountPoint)
    guard let entry = try MountTable.current().entry(at: path), entry.isOurs else { throw .notMounted(mountPoint) }
    do {
      try SystemCalls.unmount(path, lazily: lazily)
    } catch {
      if error == .resourceBusy { throw .busy(mountPoint) }
      throw .system(operation: "unmount", path: mountPoint, error)
    }
  }

  /// The path as the mount table has it. Only the parent is resolved where the last component is a dead mount, which cannot be looked at.
  public static func canonical(_ path: FilePath) -> FilePath {
    if let resolved = try? SystemCalls.canonical(path) { return resolved }
    guard let name = path.lastComponent, let parent = try? SystemCalls.canonical(path.removingLastComponent().orCurrent) else {
      return path
    }
    return parent.appending(name)
  }

  /// Checks the mount point, and clears a mount of ours away whose process is dead.
  static func prepare(_ mountPoint: FilePath) throws(MountError) -> FilePath {
    let path = canonical(mountPoint)
    let isOurs = try MountTable.current().entry(at: path)?.isOurs == true
    do throws(Errno) {
      // The kernel knows the attributes of a dead mount's root still: only a question that it has to pass on tells.
      if isOurs { try SystemCalls.askCapacity(of: path) }
      guard try SystemCalls.isDirectory(path) else { throw Errno.notDirectory }
    } catch {
      guard isOurs, error == .socketNotConnected || error == .connectionAbort else { throw .invalidMountPoint(mountPoint, error) }
      try unmount(path, lazily: true)
      return try prepare(path)
    }
    if isOurs { throw .busy(mountPoint) }
    return path
  }
}

extension FilePath {
  fileprivate var orCurrent: FilePath { isEmpty ? "." : self }
}

/// Mounts the file system, runs the body, and unmounts when the body returns or throws.
///
/// The mount answers before the body starts. A dead mount of ours on the same place is cleared away first. A ``LiveFileSystem`` is followed.
/// A mount that is still in use when the body ends is detached, and what its users have open gives errors.
///
/// - Throws: ``MountError``; what the body throws.
@discardableResult
public func withMount<R>(
  of fileSystem: some FileSystem, at mountPoint: FilePath, options: MountOptions = MountOptions(),
  logger: Logger = Logger(label: "distri.fs"), isolation: isolated (any Actor)? = #isolation,
  _ body: (borrowing Mount) async throws -> R
) async throws -> R {
  let connection = try Connection.mount(at: mountPoint, options: options)
  let path = connection.mountPoint
  let session: Session
  do {
    session = try Session(of: fileSystem, on: connection, maximumThreadCount: options.maximumThreadCount)
    try session.start()
  } catch {
    connection.unmount()
    throw error
  }
  let subscription: (any ChangeSubscription)?
  do {
    subscription = try (fileSystem as? any LiveFileSystem)?.subscribe { changes in
      logger.debug("the view has changed", metadata: ["changes": "\(changes.count)"])
      session.invalidate(changes)
    }
  } catch {
    await session.stop()
    throw error
  }
  logger.debug("mounted", metadata: ["path": "\(path)"])
  let result: Result<R, any Error>
  do {
    result = .success(try await body(Mount(session)))
  } catch {
    result = .failure(error)
  }
  subscription?.cancel()
  await session.stop()
  logger.debug("unmounted", metadata: ["path": "\(path)"])
  return try result.get()
}
