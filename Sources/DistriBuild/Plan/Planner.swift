// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A build as a value: everything that will happen between the unpacked source and the installed files. Print it to read it.
public struct BuildPlan: Sendable, Hashable, CustomStringConvertible {
  /// Where things are.
  public var layout: BuildLayout
  /// What the build sees below `/ro`, run-time closures included.
  public var dependencies: [PackageID]
  /// The commands, in order.
  public var steps: [[String]]
  /// What ``BuildLayout/libraries`` links to, by name: the shared libraries of the dependencies, but for those of C libraries.
  public var libraries: [EntryName: PackageSet.Location]
  /// Packages that the result needs to run because of its builder, by name.
  public var runtimeDependencies: [String]
  /// Where the steps run. The view of the dependencies comes first of its operations.
  public var sandbox: SandboxPlan

  /// Steps, then the sandbox.
  public var description: String {
    let lines =
      ["build \(layout.package)"] + dependencies.map { "with \($0)" } + steps.map { "run \(Self.line($0))" }
    return (lines + [sandbox.description]).joined(separator: "\n")
  }

  /// A command as a shell would take it.
  public static func line(_ command: [String]) -> String {
    command.map { word in
      let isPlain =
        !word.isEmpty
        && word.utf8.allSatisfy { byte in
          (0x30...0x39).contains(byte) || (0x40...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
            || "-_=./:,+%".utf8.contains(byte)
        }
      return isPlain ? word : "'\(word.replacing("'", with: #"'\''"#))'"
    }.joined(separator: " ")
  }
}

/// Makes a ``BuildPlan`` of a definition. Pure: the same arguments, the same plan.
public struct Planner {
  private let definition: Definition
  private let layout: BuildLayout
  private let dependencies: [PackageID]
  private let contents: PackageSet
  private let view: FilePath
  private let sourceDate: Int64

  /// - Parameters:
  ///   - dependencies: what the build sees, run-time closures included.
  ///   - contents: the same packages' names of files.
  ///   - view: where the dependencies are mounted, outside.
  ///   - sourceDate: seconds since 1970, for `SOURCE_DATE_EPOCH`.
  public init(
    _ definition: Definition, layout: BuildLayout, dependencies: [PackageID], contents: PackageSet, view: FilePath,
    sourceDate: Int64
  ) {
    self.definition = definition
    self.layout = layout
    self.dependencies = dependencies
    self.contents = contents
    self.view = view
    self.sourceDate = sourceDate
  }

  /// - Throws: ``BuildError``: unknown variables' packages, options that do not go together, a definition without steps.
  public func plan() throws -> BuildPlan {
    let system = try definition.buildSystem().plan(definition, in: layout, with: dependencies)
    let steps = definition.steps.isEmpty ? system.steps : definition.steps
    guard !steps.isEmpty, steps.allSatisfy({ !($0.first ?? "").isEmpty }) else {
      throw BuildError.invalidPackage(
        definition.name, pass: "plan", reason: steps.isEmpty ? "neither builder nor build_step" : "a build_step without argv")
    }
    let variables = Variables(layout: layout, dependencies: dependencies)
    var sandbox = SandboxPlan(operations: try operations(), workingDirectory: layout.insideBuild, hostname: "distri")
    sandbox.environment = try environment(system).mapValues { value throws(BuildError) in try variables.expand(value) }
    return BuildPlan(
      layout: layout, dependencies: dependencies,
      steps: try steps.map { try $0.map { argument throws(BuildError) in try variables.expand(argument) } },
      libraries: contents.sharedLibraries(of: layout.package.architecture), runtimeDependencies: system.runtimeDependencies,
      sandbox: sandbox)
  }

  private func environment(_ system: SystemPlan) throws -> [String: String] {
    var extraLinkerFlags: [String] = []
    if case .c(let options) = definition.builder { extraLinkerFlags = options.extraLinkerFlags }
    let found = BuildEnvironment(dependencies: contents, architecture: layout.package.architecture)
    var result = try found.variables(for: layout, extraLinkerFlags: extraLinkerFlags)
    // The same bytes on every machine and at every time.
    result["SOURCE_DATE_EPOCH"] = String(sourceDate)
    result["LC_ALL"] = "C"
    result["TZ"] = "UTC"
    result["HOME"] = "/tmp"
    return result.merging(system.environment) { $1 }
  }

  private func operations() throws -> [SandboxPlan.Operation] {
    let environment = BuildEnvironment(dependencies: contents, architecture: layout.package.architecture)
    let loader = try environment.dynamicLinker().map { FilePath($0).removingLastComponent().string }
    var result: [SandboxPlan.Operation] = [
      .bind(from: view, to: "/ro", readOnly: true),
      // What is being built finds itself, as it will when it runs.
      .bind(from: layout.installed, to: layout.home),
      .symbolicLink(at: "/bin", to: "/ro/bin"), .symbolicLink(at: "/sbin", to: "/ro/bin"),
      .symbolicLink(at: "/lib", to: "/ro/lib"), .symbolicLink(at: "/lib64", to: loader ?? "/ro/lib64"),
      .symbolicLink(at: "/usr/bin", to: "/ro/bin"), .symbolicLink(at: "/usr/sbin", to: "/ro/bin"),
      .symbolicLink(at: "/usr/lib", to: "/ro/lib"), .symbolicLink(at: "/usr/lib64", to: loader ?? "/ro/lib64"),
      .symbolicLink(at: "/usr/libexec", to: "/ro/libexec"), .symbolicLink(at: "/usr/share", to: "/ro/share"),
      .symbolicLink(at: "/usr/include", to: "/ro/include"),
      .proc(at: "/proc"), .devices(at: "/dev"), .tmpfs(at: "/tmp"),
      .file(at: "/etc/passwd", contents: Array("root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n".utf8)),
      .file(at: "/etc/group", contents: Array("root:x:0:\nnogroup:x:65534:\n".utf8)),
      .file(at: "/etc/hosts", contents: Array("127.0.0.1 localhost\n::1 localhost\n".utf8)),
      .bind(from: layout.libraries, to: layout.insideLibraries, readOnly: true),
      .bind(from: layout.destination, to: layout.insideDestination),
      .bind(from: layout.source, to: layout.insideSource, readOnly: !definition.hasWritableSource),
    ]
    if !layout.buildsInTree { result.append(.bind(from: layout.build, to: layout.insideBuild)) }
    if let stylesheets = contents.packages.first(where: { $0.name == "docbook-xsl" }) {
      result.append(.symbolicLink(at: "/etc/xml/catalog", to: "/ro/\(stylesheets)/out/docbook-xsl.xmlcatalog"))
    }
    let wrappers = layout.definition.appending("wrappers")
    if wrappers.isDirectory { result.append(.bind(from: wrappers, to: "/usr/src/wrappers", readOnly: true)) }
    return result
  }
}
